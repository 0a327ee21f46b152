//! The bare TCP proxy: what moving the bytes costs when nobody looks at them.

use std::io;

use clap::Args;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use super::{listen, print_json};

/// What `otlpd bench proxy` takes.
#[derive(Args, Debug)]
pub(super) struct ProxyArgs {
    /// Where it listens, HOST:PORT; port 0 is any
    #[arg(long)]
    listen: String,
    /// Where it sends every connection on to, HOST:PORT
    #[arg(long)]
    to: String,
    /// The copy buffer of each direction, in KiB
    #[arg(long, default_value_t = 64)]
    buffer_kib: usize,
    /// I/O threads
    #[arg(long, default_value_t = 2)]
    pub(super) threads: usize,
}

/// Copies until SIGTERM or SIGINT. The first line says where it listens. The error is a sentence about the listener.
pub(super) async fn run(args: ProxyArgs) -> Result<(), String> {
    let (listener, address) = listen(&args.listen).await?;
    print_json(&serde_json::json!({ "listening": { "proxy": address.to_string() } }))?;
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| format!("no SIGTERM: {error}"))?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A failed accept concerns that client alone.
                if let Ok((client, _)) = accepted {
                    let (to, buffer) = (args.to.clone(), args.buffer_kib << 10);
                    tokio::spawn(async move { copy(client, &to, buffer).await.ok() });
                }
            }
            _ = terminate.recv() => return Ok(()),
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

async fn copy(mut client: TcpStream, to: &str, buffer: usize) -> io::Result<(u64, u64)> {
    let mut server = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut server, buffer, buffer).await
}
