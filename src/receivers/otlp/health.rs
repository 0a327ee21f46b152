//! gRPC's health checking protocol, version 1 (`grpc.health.v1.Health`): what load balancers and
//! Kubernetes' probes ask. It says what `/readyz` says, for the whole process and for each
//! service that is served here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::answer::{Answer, framed};
use super::grpc::message_of;
use crate::intake::Intake;
use crate::otlp::Signal;
use crate::otlp::health::{self, Serving};
use crate::otlp::status::{GrpcCode, Status};
use crate::shutdown::Drain;
use crate::telemetry::health::Ready;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The longest question, in bytes: no service has a name of half that length.
const MAX_QUESTION: usize = 4 << 10;

/// How long a client may take to ask.
const QUESTION_TIME: Duration = Duration::from_secs(10);

/// So many clients of one listener are kept told at once, each by a stream.
const MAX_WATCHES: usize = 64;

/// How often a stream looks whether there is something to tell.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Answers for one listener.
pub(super) struct Health {
    ready: Ready,
    drain: Drain,
    places: Arc<Semaphore>,
}

impl Health {
    pub(super) fn new(ready: Ready, drain: Drain) -> Self {
        Self {
            ready,
            drain,
            places: Arc::new(Semaphore::new(MAX_WATCHES)),
        }
    }

    /// Whether this path is the health service's.
    pub(super) fn is_asked(path: &str) -> bool {
        path == CHECK || path == WATCH
    }

    /// Answers one call.
    pub(super) async fn answer(
        &self,
        intake: &Intake,
        request: Request<Incoming>,
    ) -> Response<Answer> {
        let watches = request.uri().path() == WATCH;
        let question = match message_of(request, MAX_QUESTION, QUESTION_TIME).await {
            Ok(question) => question,
            Err(failed) => return Answer::failure(&failed.status),
        };
        let Some(service) = health::read_request(&question) else {
            let problem = "this is no HealthCheckRequest";
            return Answer::failure(&Status::new(GrpcCode::InvalidArgument, problem));
        };
        let is_known = service.is_empty()
            || Signal::ALL
                .into_iter()
                .any(|signal| signal.grpc_service() == service && intake.takes(signal));
        match (watches, is_known) {
            (true, _) => self.watch(is_known),
            (false, true) => Answer::of_message(&health::response(serving(&self.ready))),
            (false, false) => {
                let problem = format!("no service {service:?} is served here");
                Answer::failure(&Status::new(GrpcCode::NotFound, problem))
            }
        }
    }

    fn watch(&self, is_known: bool) -> Response<Answer> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let problem = format!("{MAX_WATCHES} clients watch already: ask by Check instead");
            return Answer::failure(&Status::new(GrpcCode::ResourceExhausted, problem));
        };
        let watch = Watch {
            ready: self.ready.clone(),
            drain: self.drain.clone(),
            is_known,
            told: None,
            _place: place,
        };
        Answer::of_stream(watch.messages())
    }
}

/// A client that is told of every change.
struct Watch {
    ready: Ready,
    drain: Drain,
    is_known: bool,
    told: Option<Serving>,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// It ends when the process does: a stream that is open would hold up its end.
    fn messages(self) -> BoxStream<'static, Bytes> {
        stream::unfold(self, |mut watch| async {
            let now = watch.change().await?;
            watch.told = Some(now);
            Some((framed(0, &health::response(now)), watch))
        })
        .boxed()
    }

    /// Waits until there is something new to tell; `None` once nothing can be.
    async fn change(&mut self) -> Option<Serving> {
        loop {
            let drains = self.drain.has_begun();
            let now = match self.is_known {
                true => serving(&self.ready),
                false => Serving::ServiceUnknown,
            };
            if self.told != Some(now) {
                return Some(now);
            }
            if drains {
                return None;
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                _deadline = self.drain.begun() => {}
            }
        }
    }
}

fn serving(ready: &Ready) -> Serving {
    match ready.now() {
        true => Serving::Serving,
        false => Serving::NotServing,
    }
}
