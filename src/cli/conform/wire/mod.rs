//! Small, exact clients. They share nothing with the daemon's own transport on purpose: a fault
//! there must not hide itself here; and they can send what no proper client would.

use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

pub(super) mod dial;
pub(super) mod frames;
pub(super) mod grpc;
pub(super) mod http1;
pub(super) mod tls;

/// Sends bytes to who must read them within `patience`. The error is a phrase.
async fn send(
    write: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    patience: Duration,
) -> Result<(), String> {
    let sending = async {
        write.write_all(bytes).await?;
        write.flush().await
    };
    match timeout(patience, sending).await {
        Ok(sent) => sent.map_err(|error| format!("the connection broke: {error}")),
        Err(_elapsed) => Err(format!("nothing was read for {patience:?}")),
    }
}
