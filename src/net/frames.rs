//! The frames of HTTP/2, counted as their bytes go by.
//!
//! The library answers each SETTINGS and each PING before it looks at the next frame, and a read
//! brings thousands of them, so that a few connections that send nothing else keep every thread
//! busy (CVE-2019-9512, CVE-2019-9515). So each connection has a credit: such frames use it up,
//! requests and time earn it, and whoever has none left is not read any further. Clients of gRPC
//! send a ping for what they receive at most, which is less than what their requests earn.

use std::io;

use tokio::time::Instant;

/// What a connection ends with whose credit is used up.
pub(super) const FLOODS: &str = "the client sends HTTP/2 frames that only cost, such as SETTINGS and \
                                 PING, and hardly any requests";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The credit of a new connection, and the most that there can be.
const MOST: i64 = 8000;
/// What a second earns.
const A_SECOND: f64 = 800.0;
/// What a frame earns that carries a request or a part of it.
const REQUEST: i64 = 16;
/// What a frame costs that has to be answered.
const ANSWERED: i64 = 8;
/// What any other costs.
const OTHER: i64 = 1;

/// What has been seen of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    state: State,
    credit: i64,
    /// When time was last paid for.
    paid: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// So many bytes of a frame's head have come.
    Head(usize, [u8; 9]),
    /// In a frame with so many bytes to come.
    Payload(usize),
    /// It is not HTTP/2.
    Off,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            state: State::Preface(0),
            credit: MOST,
            paid: None,
        }
    }

    /// Looks at what comes next.
    ///
    /// # Errors
    /// The credit is used up.
    pub(super) fn look(&mut self, mut bytes: &[u8], now: Instant) -> io::Result<()> {
        if matches!(self.state, State::Off) {
            return Ok(());
        }
        self.pay_for_time(now);
        while !bytes.is_empty() {
            let count = self.step(bytes);
            bytes = bytes.get(count..).unwrap_or_default();
            if self.credit < 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, FLOODS));
            }
        }
        Ok(())
    }

    fn pay_for_time(&mut self, now: Instant) {
        let since = self.paid.map_or(0.0, |paid| (now - paid).as_secs_f64());
        let earned = (since * A_SECOND) as i64;
        // Less than one is left to add up.
        if earned > 0 || self.paid.is_none() {
            self.credit = self.credit.saturating_add(earned).min(MOST);
            self.paid = Some(now);
        }
    }

    /// Takes some bytes, and says how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match &mut self.state {
            State::Off => bytes.len(),
            State::Preface(seen) => {
                let left = PREFACE.get(*seen..).unwrap_or_default();
                let count = left.len().min(bytes.len());
                if left.get(..count) != bytes.get(..count) {
                    self.state = State::Off;
                } else if count == left.len() {
                    self.state = State::Head(0, [0; 9]);
                } else {
                    *seen += count;
                }
                count
            }
            State::Head(seen, head) => {
                let left = head.get_mut(*seen..).unwrap_or_default();
                let count = left.len().min(bytes.len());
                let (into, from) = (left.get_mut(..count), bytes.get(..count));
                if let (Some(into), Some(from)) = (into, from) {
                    into.copy_from_slice(from);
                }
                *seen += count;
                if *seen == head.len() {
                    let head = *head;
                    self.begin(head);
                }
                count
            }
            State::Payload(left) => {
                let count = (*left).min(bytes.len());
                *left -= count;
                if *left == 0 {
                    self.state = State::Head(0, [0; 9]);
                }
                count
            }
        }
    }

    /// A frame begins (RFC 9113 section 4.1).
    fn begin(&mut self, [a, b, c, kind, flags, ..]: [u8; 9]) {
        const ACK: u8 = 1;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let earned = match kind {
            // DATA with something in it, and HEADERS.
            0 if length > 0 => REQUEST,
            1 => REQUEST,
            // SETTINGS and PING.
            4 | 6 if flags & ACK == 0 => -ANSWERED,
            _ => -OTHER,
        };
        self.credit = self.credit.saturating_add(earned).min(MOST);
        self.state = match length {
            0 => State::Head(0, [0; 9]),
            _ => State::Payload(length),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const ACKNOWLEDGED: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const WINDOW: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const HEADERS: &[u8] = &[0, 0, 2, 1, 4, 0, 0, 0, 1, 0x82, 0x84];

    /// How many of these frames are read, in pieces of this size, until it ends; at most 100,000.
    fn read(frame: &[u8], size: usize) -> usize {
        let (mut frames, now) = (Frames::new(), Instant::now());
        frames.look(PREFACE, now).unwrap();
        (0..100_000)
            .find(|_| {
                frame
                    .chunks(size)
                    .any(|piece| frames.look(piece, now).is_err())
            })
            .unwrap_or(100_000)
    }

    #[test]
    fn frames_that_only_cost_are_read_up_to_a_bound_in_whatever_pieces() {
        for size in [1, 2, 7, 64] {
            assert_eq!(read(SETTINGS, size), 1000);
            assert_eq!(read(PING, size), 1000);
            assert_eq!(read(WINDOW, size), 8000);
            assert_eq!(read(ACKNOWLEDGED, size), 8000);
            assert_eq!(read(HEADERS, size), 100_000);
        }
    }

    #[test]
    fn a_client_that_pings_for_each_of_its_requests_is_read_for_ever() {
        let frame = [HEADERS, PING, WINDOW, WINDOW].concat();
        assert_eq!(read(&frame, 5), 100_000);
    }

    #[test]
    fn time_earns_credit_in_small_steps_too() {
        let (mut frames, mut now) = (Frames::new(), Instant::now());
        frames.look(PREFACE, now).unwrap();
        // A hundred a second.
        for _ in 0..100_000 {
            now += Duration::from_millis(10);
            frames.look(PING, now).unwrap();
        }
        // Twice as many are too many.
        let mut too_many = (0..100_000).filter(|_| {
            now += Duration::from_millis(5);
            frames.look(PING, now).is_err()
        });
        assert!(too_many.next().is_some());
    }

    #[test]
    fn what_is_not_http_2_is_not_looked_at() {
        let (mut frames, now) = (Frames::new(), Instant::now());
        let bytes = [b"POST / HTTP/1.1\r\n\r\n", &SETTINGS.repeat(5000)[..]].concat();
        frames.look(&bytes, now).unwrap();
    }
}
