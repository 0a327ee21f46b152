//! Ports for whoever needs to know one before anybody listens there.

use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that the system gives to clients: while nobody listens on one of them, no client's
/// own socket can take its place, and none that tries to connect is connected with itself.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// Between choosing a port and listening on it a test beside this one may look for one, too. So
/// none is given out twice.
static NEXT: LazyLock<AtomicU16> =
    LazyLock::new(|| AtomicU16::new(rand::random_range(0..PORTS.len() as u16)));

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    free_listener().local_addr().unwrap().port()
}

/// A listener on one.
pub(crate) fn free_listener() -> TcpListener {
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len() as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", PORTS.start + next)) {
            return listener;
        }
    }
}
