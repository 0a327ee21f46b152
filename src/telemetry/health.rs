//! Whether clients should send to us, and what stands against it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;
use tokio::time::Instant;

use super::lanes::{Breaker, LaneSnapshot, Lanes};

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The listeners are not open yet.
    Starting,
    /// Requests are taken.
    Running,
    /// No new requests are taken; what is held is being delivered.
    Draining,
}

impl State {
    const ALL: [Self; 3] = [Self::Starting, Self::Running, Self::Draining];
}

/// The life of the process, told by the app, read by the admin side.
#[derive(Debug)]
pub struct Health {
    state: AtomicU8,
    started: Instant,
}

impl Default for Health {
    /// Starting, as of now.
    fn default() -> Self {
        Self {
            state: AtomicU8::new(State::Starting as u8),
            started: Instant::now(),
        }
    }
}

impl Health {
    /// The process is in this state from now on. Draining is the last one: it cannot be left.
    pub fn set(&self, state: State) {
        self.state.fetch_max(state as u8, Ordering::Relaxed);
    }

    /// The state now.
    pub fn state(&self) -> State {
        let state = usize::from(self.state.load(Ordering::Relaxed));
        State::ALL.get(state).copied().unwrap_or(State::Draining)
    }

    /// Seconds since the process started.
    pub fn uptime_seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Whether clients should send to us now.
    pub fn readiness(&self, lanes: &[LaneSnapshot]) -> Readiness {
        readiness(self.state(), lanes)
    }
}

/// Tells at any time whether clients should send to us.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The life of the process.
    pub health: Arc<Health>,
    /// Where what clients send would go.
    pub lanes: Arc<Lanes>,
}

impl Ready {
    /// Whether they should now, as `/readyz` says it.
    pub fn now(&self) -> bool {
        self.health.readiness(&self.lanes.snapshots()).ready
    }
}

/// What `/readyz` says.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// Whether clients should send to us.
    pub ready: bool,
    /// Where the process is in its life.
    pub state: State,
    /// What is wrong, if anything; while `ready`, something that we can cope with.
    pub reasons: Vec<Trouble>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Trouble {
    /// For a program: `starting`, `draining`, `breaker_open`, `queue_full`, `disk_fails` or
    /// `files_removed`.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
    /// The exporter whose lane it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exporter: Option<String>,
    /// For how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_seconds: Option<f64>,
    /// What the lane's last failure was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Not ready while starting or draining, or when every required lane is blocked: one that is not
/// still takes what the clients send, so turning them all away would only make it worse.
fn readiness(state: State, lanes: &[LaneSnapshot]) -> Readiness {
    let mut reasons = Vec::from_iter(phase(state));
    let mut required = 0_usize;
    let mut blocked = 0_usize;
    for lane in lanes {
        let trouble = lane_trouble(lane);
        required += usize::from(lane.required);
        let blocks = |trouble: &Trouble| trouble.reason != "breaker_open" || !takes_on(lane);
        blocked += usize::from(lane.required && trouble.as_ref().is_some_and(blocks));
        reasons.extend(trouble);
        reasons.extend(files_removed(lane));
    }
    let all_blocked = required > 0 && blocked == required;
    Readiness {
        ready: state == State::Running && !all_blocked,
        state,
        reasons,
    }
}

/// Whether the lane takes what clients send although nothing is delivered: what is on disk can
/// wait for long.
fn takes_on(lane: &LaneSnapshot) -> bool {
    lane.queue_kind != "memory" && lane.queue_full_seconds.is_none() && !lane.disk_fails
}

fn phase(state: State) -> Option<Trouble> {
    let (reason, message) = match state {
        State::Running => return None,
        State::Starting => ("starting", "the listeners are not open yet"),
        State::Draining => (
            "draining",
            "otlpd is stopping: it delivers what it holds and takes no more",
        ),
    };
    Some(Trouble {
        reason,
        message: message.to_owned(),
        exporter: None,
        since_seconds: None,
        last_error: None,
    })
}

fn lane_trouble(lane: &LaneSnapshot) -> Option<Trouble> {
    let name = &lane.exporter;
    // A half-open breaker still passes nothing but its probe, and whoever watches us should not
    // see us come and go with each of them.
    let (reason, message, since_seconds) = if lane.disk_fails && lane.full_refuses {
        let message = format!(
            "the queue of exporter {name} cannot be written to disk: the log says why, and \
             it goes on by itself when that is mended"
        );
        ("disk_fails", message, None)
    } else if lane.breaker != Breaker::Closed {
        let message = match lane.breaker_until_seconds {
            Some(left) => format!("exporter {name} is not tried for another {left:.1} s"),
            None => format!("exporter {name} is being tried again"),
        };
        let message = format!("{message}: its breaker opened after failed attempts");
        ("breaker_open", message, lane.breaker_since_seconds)
    } else if lane.full_refuses && lane.queue_full_seconds.is_some() {
        let bytes = lane.queue_bytes.max(lane.disk_bytes);
        let message = format!(
            "the queue of exporter {name} is full ({bytes} of {} bytes)",
            lane.queue_capacity_bytes
        );
        ("queue_full", message, lane.queue_full_seconds)
    } else {
        return None;
    };
    Some(Trouble {
        reason,
        message,
        exporter: Some(name.clone()),
        since_seconds,
        last_error: lane.last_error.clone(),
    })
}

/// That some of what was stored would not outlive this process. It takes on as before.
fn files_removed(lane: &LaneSnapshot) -> Option<Trouble> {
    let (name, requests) = (&lane.exporter, lane.unsafe_requests);
    (requests > 0).then(|| Trouble {
        reason: "files_removed",
        message: format!(
            "{requests} requests in the queue of exporter {name} are not on disk any more: \
             something other than otlpd removed their files; they are delivered from memory, or \
             stored again when otlpd is stopped"
        ),
        exporter: Some(name.clone()),
        since_seconds: None,
        last_error: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(exporter: &str, required: bool) -> LaneSnapshot {
        LaneSnapshot {
            exporter: exporter.to_owned(),
            required,
            full_refuses: true,
            queue_kind: "memory",
            ..LaneSnapshot::default()
        }
    }

    fn open(exporter: &str, required: bool) -> LaneSnapshot {
        LaneSnapshot {
            breaker: Breaker::Open,
            breaker_since_seconds: Some(3.0),
            breaker_until_seconds: Some(1.5),
            last_error: Some("connection refused".to_owned()),
            ..lane(exporter, required)
        }
    }

    fn half_open(exporter: &str, required: bool) -> LaneSnapshot {
        LaneSnapshot {
            breaker: Breaker::HalfOpen,
            breaker_until_seconds: None,
            ..open(exporter, required)
        }
    }

    fn full(exporter: &str, required: bool) -> LaneSnapshot {
        LaneSnapshot {
            queue_full_seconds: Some(2.0),
            ..lane(exporter, required)
        }
    }

    #[test]
    fn a_queue_on_disk_takes_on_while_its_destination_is_away() {
        let on_disk = LaneSnapshot {
            queue_kind: "disk",
            ..open("backend", true)
        };
        let now = readiness(State::Running, std::slice::from_ref(&on_disk));
        assert!(now.ready);
        assert_eq!(now.reasons.len(), 1, "and says what is wrong");
        for broken in [
            LaneSnapshot {
                disk_fails: true,
                ..on_disk.clone()
            },
            LaneSnapshot {
                queue_full_seconds: Some(1.0),
                ..on_disk
            },
        ] {
            assert!(!readiness(State::Running, &[broken]).ready);
        }
    }

    #[test]
    fn requests_whose_files_are_gone_are_told_and_turn_nobody_away() {
        let lane = LaneSnapshot {
            unsafe_requests: 3,
            ..lane("backend", true)
        };
        let now = readiness(State::Running, &[lane]);
        assert!(now.ready);
        assert_eq!(now.reasons.len(), 1);
        assert_eq!(now.reasons[0].reason, "files_removed");
        assert!(now.reasons[0].message.starts_with("3 requests"));
    }

    #[test]
    fn a_full_queue_says_what_it_takes_on_disk_where_that_is_more() {
        let lane = LaneSnapshot {
            disk_bytes: 90,
            queue_bytes: 58,
            queue_capacity_bytes: 67,
            ..full("backend", true)
        };
        let message = &readiness(State::Running, &[lane]).reasons[0].message;
        assert!(message.contains("(90 of 67 bytes)"), "{message}");
    }

    #[test]
    fn only_a_running_process_is_ready() {
        for (state, ready) in [
            (State::Starting, false),
            (State::Running, true),
            (State::Draining, false),
        ] {
            let readiness = readiness(state, &[lane("out", true)]);
            assert_eq!(readiness.ready, ready, "{state:?}");
            assert_eq!(readiness.reasons.is_empty(), ready, "{state:?}");
        }
    }

    #[test]
    fn one_required_lane_that_takes_more_is_enough() {
        let cases = [
            (vec![], true),
            (vec![open("a", true)], false),
            (vec![full("a", true)], false),
            (vec![half_open("a", true)], false),
            (vec![open("a", true), full("b", true)], false),
            (vec![open("a", true), lane("b", true)], true),
            (vec![open("a", true), lane("b", false)], false),
            (vec![open("a", false)], true),
            (vec![lane("a", true), full("b", false)], true),
        ];
        for (lanes, ready) in cases {
            assert_eq!(readiness(State::Running, &lanes).ready, ready, "{lanes:?}");
        }
    }

    #[test]
    fn a_full_queue_that_gives_something_up_blocks_nobody() {
        let mut lane = full("a", true);
        lane.full_refuses = false;
        let readiness = readiness(State::Running, &[lane]);
        assert!(readiness.ready && readiness.reasons.is_empty());
    }

    #[test]
    fn a_reason_names_the_lane_its_state_since_when_and_the_last_error() {
        let readiness = readiness(State::Running, &[open("backend", true)]);
        let json = serde_json::to_value(&readiness.reasons[0]).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "reason": "breaker_open",
                "message": "exporter backend is not tried for another 1.5 s: \
                            its breaker opened after failed attempts",
                "exporter": "backend",
                "since_seconds": 3.0,
                "last_error": "connection refused",
            })
        );
    }

    #[test]
    fn draining_cannot_be_left() {
        let health = Health::default();
        health.set(State::Draining);
        health.set(State::Running);
        assert_eq!(health.state(), State::Draining);
    }
}
