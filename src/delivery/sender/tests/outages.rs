//! Outages: what the breaker lets through, and when what failed is tried again.

use super::*;

/// One request at a time, and a breaker that opens after three failures, for ten seconds.
fn fragile() -> LaneConfig {
    LaneConfig {
        max_in_flight: InFlight::fixed(1),
        breaker: BreakerConfig {
            failures: 3,
            open_time: 10 * SECOND,
            max_open_time: 10 * SECOND,
            ..BreakerConfig::default()
        },
        ..one_by_one(config())
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_lets_one_probe_through_at_a_time() {
    let running = start(fragile(), &[Answer::Retry(None); 5], Answer::Take);
    for _ in 0..6 {
        running.push(batch(1, 100));
    }
    running.settled().await;
    let calls = running.destination.calls();
    // Three open it, two probes fail, the third closes it, and then all others go.
    assert_eq!(calls.len(), 5 + 6);
    assert!(calls[2].at < calls[0].at + SECOND);
    for probe in 3..6 {
        // Jitter takes up to a quarter off.
        let waited = calls[probe].at - calls[probe - 1].at;
        assert!(waited >= 7 * SECOND && waited <= 10 * SECOND, "{waited:?}");
    }
    assert!(calls[10].at < calls[5].at + SECOND);
}

/// An outage must not last longer for having been long: with a small queue it is the same few
/// that are tried, and their pauses grow.
#[tokio::test(start_paused = true)]
async fn pauses_end_with_the_outage_and_no_probe_waits_for_them() {
    let config = LaneConfig {
        retry_on_failure: RetryConfig {
            initial_interval: 10_000 * SECOND,
            max_interval: 10_000 * SECOND,
            ..RetryConfig::default()
        },
        ..fragile()
    };
    let running = start(config, &[Answer::Retry(None); 5], Answer::Take);
    for _ in 0..3 {
        running.push(batch(1, 100));
    }
    running.settled().await;
    let calls = running.destination.calls();
    assert_eq!(calls.len(), 5 + 3);
    for probe in 3..6 {
        assert!(calls[probe].at <= calls[probe - 1].at + 10 * SECOND);
    }
    assert!(calls[7].at < calls[5].at + SECOND);
}
