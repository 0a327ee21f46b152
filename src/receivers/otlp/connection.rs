//! What each connection to a receiver is bounded by.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

use super::KeepaliveConfig;
use super::streams::STREAM;
use crate::budget::{Budget, Reservation};
use crate::net::serve::Limits;

/// The largest frame that a client may send. Large frames are most of what makes a pass-through
/// cheap; clients that pin theirs to 16 KiB are free to.
const MAX_FRAME: u32 = 1 << 20;

/// What one stream may send before anybody reads it: a frame and what stands around it.
const STREAM_WINDOW: u32 = MAX_FRAME + (64 << 10);

/// The most and the least that one connection may send before anybody reads it. The least is
/// HTTP/2's own initial window, which cannot be made smaller.
const WINDOW: (usize, usize) = (4 << 20, 64 << 10);

/// What the streams of a connection cost comes to no more than its window, so that silence alone
/// never fills the budget; but so many streams a connection may have. Where there are as many
/// connections as there can be, that is what bounds their streams.
const LEAST_STREAMS: u32 = 8;

/// The largest read buffer of an HTTP/1.1 connection, its headers included: it is what the
/// connection may send before anybody reads it, and no larger than its window is.
const HTTP1_BUFFER: usize = 96 << 10;

/// The longest list of headers.
const MAX_HEADERS: u32 = 16 << 10;

/// So many streams may be reset by the client before we came to see them, or by us for its
/// mistakes, before the connection is given up (CVE-2023-44487 and its kin).
const MAX_RESETS: (usize, usize) = (128, 1024);

/// Flow-control windows are memory that a client can fill before anybody reads: they are paid
/// for out of the budget, and all of them together take no more than three sixteenths of it.
#[derive(Clone)]
pub(super) struct Windows {
    budget: Budget,
    share: Budget,
}

/// One connection's window, and what pays for it.
pub(super) struct Window {
    bytes: usize,
    _paid: (Reservation, Reservation),
}

impl Windows {
    pub(super) fn new(budget: &Budget) -> Self {
        Self {
            budget: budget.clone(),
            share: budget.for_windows(),
        }
    }

    /// The first connections have large windows, later ones what is left. Where nothing is, a
    /// connection still has HTTP/2's least: their number is bounded.
    pub(super) fn open(&self) -> Window {
        let free = self.share.limit().saturating_sub(self.share.used());
        let (most, least) = WINDOW;
        let bytes = usize::try_from(free / 8)
            .unwrap_or(usize::MAX)
            .clamp(least, most);
        let paid = self.budget.try_reserve(bytes).and_then(|budget| {
            let share = self.share.try_reserve(bytes)?;
            Ok((budget, share))
        });
        match paid {
            Ok(paid) => Window { bytes, _paid: paid },
            Err(_unpaid) => Window {
                bytes: least,
                _paid: Default::default(),
            },
        }
    }

    /// As many connections as the share of all windows can pay for at their least.
    fn affordable(&self) -> usize {
        let (_, least) = WINDOW;
        usize::try_from(self.share.limit()).unwrap_or(usize::MAX) / least
    }
}

/// The bounds of a listener.
pub(super) fn limits(keepalive: &KeepaliveConfig, patience: Duration, windows: &Windows) -> Limits {
    let max_connections = match keepalive.max_connections {
        0 => windows.affordable().max(64),
        set => set,
    };
    Limits {
        max_connections,
        max_age: keepalive.max_connection_age,
        max_idle: keepalive.max_connection_idle,
        patience,
        grace: keepalive.max_connection_age_grace,
    }
}

/// What a connection of HTTP/2 may do.
pub(super) fn http2(
    builder: &mut Builder<TokioExecutor>,
    window: &Window,
    streams: u32,
    keepalive: &KeepaliveConfig,
) {
    let time = keepalive.time;
    let window = u32::try_from(window.bytes).unwrap_or(u32::MAX);
    let affordable = window / u32::try_from(STREAM).unwrap_or(u32::MAX);
    let streams = streams.min(affordable.max(LEAST_STREAMS));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_frame_size(MAX_FRAME)
        .initial_stream_window_size(window.min(STREAM_WINDOW))
        .initial_connection_window_size(window)
        .max_concurrent_streams(streams)
        .max_header_list_size(MAX_HEADERS)
        .max_pending_accept_reset_streams(MAX_RESETS.0)
        .max_local_error_reset_streams(MAX_RESETS.1)
        .keep_alive_interval((!time.is_zero()).then_some(time))
        .keep_alive_timeout(keepalive.timeout)
        .auto_date_header(false);
}

/// What a connection of HTTP/1.1 may do.
pub(super) fn http1(builder: &mut Builder<TokioExecutor>, window: &Window, patience: Duration) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(window.bytes.min(HTTP1_BUFFER));
}
