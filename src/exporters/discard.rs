//! Takes everything and keeps nothing.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::batch::Batch;
use crate::component::{Delivered, Exporter, Failure};

/// `type = "discard"`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscardConfig {}

/// Takes everything.
pub struct Discard;

impl Exporter for Discard {
    fn export<'a>(&'a self, _: &'a Batch) -> BoxFuture<'a, Result<Delivered, Failure>> {
        async { Ok(Delivered::default()) }.boxed()
    }
}
