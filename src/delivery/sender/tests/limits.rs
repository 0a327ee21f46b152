//! What holds a sender back: the limit, the retry budget, the breaker; and clients' deadlines.

use super::*;

fn budget(floor: u32) -> RetryConfig {
    RetryConfig {
        budget: 0.2,
        budget_floor: floor,
        ..config().retry_on_failure
    }
}

impl Running {
    fn openings(&self, by: OpenedBy) -> u64 {
        self.lane.stats.snapshot().breaker_openings[by.name()]
    }

    fn in_flight_limit(&self) -> u64 {
        self.lane.stats.snapshot().in_flight_limit
    }
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_begins_at_its_least_and_grows_while_attempts_are_not_slow() {
    let config = one_by_one(LaneConfig {
        max_in_flight: InFlight { min: 1, max: 16 },
        ..config()
    });
    let running = start(config, &[], Answer::TakeAfter(50 * MILLI));
    assert_eq!(running.in_flight_limit(), 1);
    for _ in 0..1000 {
        running.push(batch(1, 100));
    }
    running.settled().await;
    let calls = running.destination.calls();
    assert!(calls[1].at >= calls[0].at + 50 * MILLI, "one at a time");
    assert_eq!(running.in_flight_limit(), 16);
    let at_once = |now: Instant| {
        let under_way = |call: &&Call| call.at <= now && call.at + 50 * MILLI > now;
        calls.iter().filter(under_way).count()
    };
    let most = calls.iter().map(|call| at_once(call.at)).max();
    assert_eq!(most, Some(16));
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_falls_when_attempts_fail_and_refusals_for_good_are_none() {
    let limit = InFlight { min: 2, max: 32 };
    let config = || {
        one_by_one(LaneConfig {
            max_in_flight: limit,
            ..config()
        })
    };
    let mut script = vec![Answer::TakeAfter(50 * MILLI); 500];
    script.extend([Answer::Retry(None); 500]);
    let running = start(config(), &script, Answer::Take);
    for _ in 0..500 {
        running.push(batch(1, 100));
    }
    running.settled().await;
    assert_eq!(running.in_flight_limit(), 32);
    running.push(batch(1, 100));
    running.settled().await;
    assert_eq!(running.in_flight_limit(), 2);
    let script = [Answer::TakeAfter(50 * MILLI); 500];
    let running = start(config(), &script, Answer::Refuse);
    for _ in 0..1000 {
        running.push(batch(1, 100));
    }
    running.settled().await;
    assert_eq!(running.in_flight_limit(), 32);
}

#[tokio::test(start_paused = true)]
async fn retries_above_the_budget_wait_and_none_is_dropped() {
    let config = one_by_one(LaneConfig {
        retry_on_failure: budget(1),
        ..config()
    });
    let running = start(config, &[Answer::Retry(None); 60], Answer::Take);
    let begun = Instant::now();
    for _ in 0..20 {
        running.push(batch(1, 100));
    }
    running.settled().await;
    assert_eq!(running.counts().delivered, 20);
    assert_eq!(running.destination.calls().len(), 80);
    // Of the 60 retries 10 were saved up, 4 come from 20 successes, and one a second.
    let took = Instant::now() - begun;
    assert!(took > 40 * SECOND && took < 60 * SECOND, "{took:?}");
    assert!(running.lane.stats.snapshot().retries_put_off > 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_fresh_goes_while_retries_wait() {
    let config = one_by_one(LaneConfig {
        retry_on_failure: budget(1),
        ..config()
    });
    let running = start(config, &[Answer::Retry(None); 40], Answer::Take);
    for _ in 0..20 {
        running.push(batch(1, 100));
    }
    while running.lane.stats.snapshot().retries_put_off == 0 {
        sleep(MILLI).await;
    }
    let begun = Instant::now();
    running.push(batch(1, 777));
    while !running.destination.lock().iter().any(|c| c.bytes == 777) {
        assert!(Instant::now() < begun + SECOND, "it waits with them");
        sleep(MILLI).await;
    }
    assert!(Instant::now() < begun + 100 * MILLI);
    running.settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_breakers_probe_needs_no_budget() {
    let config = LaneConfig {
        retry_on_failure: budget(1),
        breaker: BreakerConfig {
            failures: 1,
            open_time: 100 * MILLI,
            max_open_time: 100 * MILLI,
            ..BreakerConfig::default()
        },
        ..config()
    };
    let running = start(config, &[Answer::Retry(None); 100], Answer::Take);
    let begun = Instant::now();
    running.push(batch(1, 100));
    running.settled().await;
    assert!(Instant::now() < begun + 11 * SECOND);
    assert_eq!(running.lane.stats.snapshot().retries_put_off, 0);
    assert_eq!(running.openings(OpenedBy::Failures), 1);
    assert_eq!(running.openings(OpenedBy::Probe), 99);
}

#[tokio::test(start_paused = true)]
async fn a_drain_needs_no_budget() {
    let config = LaneConfig {
        retry_on_failure: budget(1),
        ..config()
    };
    let running = start(config, &[Answer::Retry(None); 100], Answer::Take);
    running.push(batch(1, 100));
    running.called(11).await;
    sleep(MILLI).await;
    let begun = Instant::now();
    running.trigger.begin(begun + 10 * SECOND);
    running.trigger.done().await;
    assert!(Instant::now() < begun + 2 * SECOND);
    assert_eq!(
        running.accounts[Signal::Logs as usize].counts().delivered,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_fails_every_other_time_opens_the_breaker_by_its_share() {
    let config = one_by_one(LaneConfig {
        max_in_flight: InFlight::fixed(1),
        breaker: BreakerConfig {
            open_time: 5 * SECOND,
            max_open_time: 5 * SECOND,
            ..BreakerConfig::default()
        },
        ..config()
    });
    let script: Vec<_> = (0..100)
        .map(|attempt| match attempt % 2 {
            0 => Answer::Retry(None),
            _ => Answer::Take,
        })
        .collect();
    let running = start(config, &script, Answer::Take);
    for _ in 0..50 {
        running.push(batch(1, 100));
    }
    running.settled().await;
    assert_eq!(running.counts().delivered, 50);
    assert_eq!(running.openings(OpenedBy::Failures), 0);
    assert!(running.openings(OpenedBy::FailureRate) > 0);
    let calls = running.destination.calls();
    let paused = |pair: &&[Call]| pair[1].at - pair[0].at >= 3 * SECOND;
    let first = calls.windows(2).position(|pair| paused(&pair));
    assert!((19..22).contains(&first.unwrap()), "{first:?}");
}

fn due_in(deadline: Duration) -> Batch {
    Batch {
        deadline: Some(Instant::now() + deadline),
        ..batch(1, 100)
    }
}

/// A lane whose attempts may take 10 s, and whose breaker opens at the first failure.
fn patient() -> LaneConfig {
    LaneConfig {
        timeout: 10 * SECOND,
        max_in_flight: InFlight::fixed(1),
        breaker: BreakerConfig {
            failures: 1,
            ..BreakerConfig::default()
        },
        ..config()
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_leaves_time_for_the_answer_to_a_client_that_waits() {
    let running = start(patient(), &[Answer::Hang], Answer::Take);
    let begun = Instant::now();
    running.push(due_in(SECOND));
    running.settled().await;
    let second = running.destination.calls()[1].at - begun;
    assert!(
        second >= 800 * MILLI && second < 900 * MILLI,
        "answered in time: {second:?}"
    );
    assert_eq!(
        running.openings(OpenedBy::Failures),
        0,
        "a hasty client is not the destination's failure"
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_in_most_of_its_time_an_attempt_has_failed_whoever_waits() {
    let running = start(patient(), &[Answer::Hang], Answer::Take);
    running.push(due_in(8 * SECOND));
    running.settled().await;
    assert_eq!(running.openings(OpenedBy::Failures), 1);
}

#[tokio::test(start_paused = true)]
async fn when_the_client_has_gone_the_lanes_own_timeout_counts() {
    let config = LaneConfig {
        breaker: config().breaker,
        ..patient()
    };
    let running = start(
        config,
        &[Answer::TakeAfter(9 * SECOND); 20],
        Answer::TakeAfter(9 * SECOND),
    );
    let begun = Instant::now();
    running.push(due_in(SECOND));
    running.settled().await;
    let calls = running.destination.calls();
    assert!(calls.len() > 2, "cut short before the deadline");
    let last = calls.last().unwrap().at;
    assert!(last >= begun + SECOND && last < begun + 2 * SECOND);
    assert_eq!(running.counts().delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn the_client_that_waits_the_shortest_decides_for_a_merged_request() {
    let script = [Answer::TakeAfter(SECOND), Answer::Hang];
    let running = start(patient(), &script, Answer::Take);
    running.push(batch(1, 100));
    running.called(1).await;
    let begun = running.destination.calls()[0].at;
    running.push(batch(1, 100));
    running.push(due_in(6 * SECOND));
    running.push(due_in(3 * SECOND));
    running.settled().await;
    let calls = running.destination.calls();
    assert_eq!(calls[1].items, 3);
    // 2 s were left of the 3.
    let cut = calls[2].at - (begun + SECOND);
    assert!(
        cut >= 1600 * MILLI && cut < 1700 * MILLI,
        "it was cut after {cut:?}"
    );
}
