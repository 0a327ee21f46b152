//! The limiter against a destination of so many servers and one queue, on virtual time.

use std::collections::BinaryHeap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

const MILLI: Duration = Duration::from_millis(1);

/// A destination that works on so many attempts at once; the others queue.
struct Destination {
    servers: usize,
    /// Every attempt takes this, and
    each: Duration,
    /// this for every MiB of it.
    per_mib: Duration,
    /// The part of the time that is left to chance: exponentially distributed.
    chance: f64,
    /// With so many under way it refuses others at once; 0 refuses all.
    most: usize,
}

impl Destination {
    fn new(servers: usize) -> Self {
        Self {
            servers,
            each: 50 * MILLI,
            per_mib: Duration::ZERO,
            chance: 0.5,
            most: usize::MAX,
        }
    }

    /// The mean time that an attempt takes alone.
    fn alone(&self, bytes: usize) -> Duration {
        self.each + self.per_mib.mul_f64(bytes as f64 / f64::from(1 << 20))
    }
}

/// What waits, in bytes, and what comes to it.
#[derive(Clone, Copy)]
enum Load {
    /// More requests of this size than can be sent.
    Endless(usize),
    /// Of all sizes from 1 KiB to 4 MiB.
    Mixed,
    /// So many bytes a second, of which each attempt takes all that waits, up to 4 MiB.
    Merged(f64),
    /// Endless, but never more at once than this.
    AtMost(usize),
}

struct Simulation {
    limiter: Limiter,
    destination: Destination,
    load: Load,
    now: Instant,
    rng: SmallRng,
    /// When each server is free again.
    servers: Vec<Instant>,
    /// Ends of attempts, the first on top.
    flights: BinaryHeap<std::cmp::Reverse<Flight>>,
    waiting_bytes: f64,
    seen: Seen,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    ends: Instant,
    began: Instant,
    bytes: usize,
    failed: bool,
}

/// What was measured since it was last asked.
#[derive(Debug, Default)]
struct Seen {
    attempts: u64,
    bytes: u64,
    /// Limits, weighed by time.
    limit_seconds: f64,
    seconds: f64,
    latency: f64,
    alone: f64,
    failed: u64,
}

impl Seen {
    fn limit(&self) -> f64 {
        self.limit_seconds / self.seconds
    }

    fn slowness(&self) -> f64 {
        self.latency / self.alone
    }

    /// The share of time that the destination was busy.
    fn use_of(&self, servers: usize) -> f64 {
        self.alone / self.seconds / servers as f64
    }

    /// The limit is within a factor of two of what the destination can work on at once, it is
    /// kept busy, and attempts hardly wait there.
    fn assert_near(&self, servers: usize, what: &str) {
        let ideal = servers as f64;
        let (limit, slowness, busy) = (self.limit(), self.slowness(), self.use_of(servers));
        let told = format!("{what}: limit {limit:.1} of {ideal}, x{slowness:.2}, busy {busy:.2}");
        assert!(limit >= ideal / 2.0 && limit <= ideal * 2.0, "{told}");
        assert!(slowness < if servers == 1 { 1.8 } else { 1.6 }, "{told}");
        assert!(busy > 0.8, "{told}");
    }
}

impl Simulation {
    fn new(destination: Destination, load: Load, seed: u64) -> Self {
        let now = Instant::now();
        Self {
            limiter: Limiter::new(InFlight::ADAPTIVE),
            servers: vec![now; destination.servers],
            destination,
            load,
            now,
            rng: SmallRng::seed_from_u64(seed),
            flights: BinaryHeap::new(),
            waiting_bytes: 0.0,
            seen: Seen::default(),
        }
    }

    fn run(&mut self, seconds: u64) -> Seen {
        self.seen = Seen::default();
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.fill();
            self.step();
        }
        std::mem::take(&mut self.seen)
    }

    /// Runs until the limit is this, and says how long it took.
    fn until_limit(&mut self, limit: usize) -> Duration {
        let begun = self.now;
        while self.limiter.limit() < limit {
            assert!(self.now < begun + Duration::from_secs(600), "it never is");
            self.fill();
            self.step();
        }
        self.now - begun
    }

    fn fill(&mut self) {
        while self.flights.len() < self.limiter.limit() {
            let Some(bytes) = self.take() else { return };
            self.fly(bytes);
        }
    }

    fn take(&mut self) -> Option<usize> {
        match self.load {
            Load::Endless(bytes) => Some(bytes),
            Load::Mixed => Some(1 << self.rng.random_range(10..22)),
            Load::AtMost(flights) => (self.flights.len() < flights).then_some(4096),
            Load::Merged(_) => {
                let bytes = self.waiting_bytes.min(f64::from(4 << 20));
                self.waiting_bytes -= bytes;
                (bytes >= 1024.0).then_some(bytes as usize)
            }
        }
    }

    fn working(&self) -> usize {
        self.flights
            .iter()
            .filter(|flight| !flight.0.failed)
            .count()
    }

    fn fly(&mut self, bytes: usize) {
        let alone = self.destination.alone(bytes);
        let chance = self.destination.chance;
        let drawn = -(1.0 - self.rng.random::<f64>()).ln();
        let took = alone.mul_f64(1.0 - chance + chance * drawn);
        let failed = self.working() >= self.destination.most;
        let ends = if failed {
            self.now + 5 * MILLI
        } else {
            let server = self.servers.iter_mut().min().unwrap();
            *server = (*server).max(self.now) + took;
            self.seen.alone += alone.as_secs_f64();
            *server
        };
        self.flights.push(std::cmp::Reverse(Flight {
            ends,
            began: self.now,
            bytes,
            failed,
        }));
    }

    /// To the end of the next attempt, or 1 ms on where none is under way.
    fn step(&mut self) {
        let in_flight = self.flights.len();
        let arrives = matches!(self.load, Load::Merged(_));
        let next = self.flights.peek().map(|flight| flight.0.ends);
        let tick = self.now + MILLI;
        match next.filter(|ends| !arrives || *ends <= tick) {
            None => self.pass(tick),
            Some(ends) => {
                self.pass(ends);
                let flight = self.flights.pop().unwrap().0;
                let latency = flight.ends - flight.began;
                if flight.failed {
                    self.seen.failed += 1;
                } else {
                    self.seen.attempts += 1;
                    self.seen.bytes += flight.bytes as u64;
                    self.seen.latency += latency.as_secs_f64();
                }
                let sample = Sample {
                    latency,
                    bytes: flight.bytes,
                    in_flight,
                    failed: flight.failed,
                };
                self.limiter.landed(self.now, sample);
            }
        }
    }

    fn pass(&mut self, to: Instant) {
        let seconds = (to - self.now).as_secs_f64();
        self.seen.seconds += seconds;
        self.seen.limit_seconds += seconds * self.limiter.limit() as f64;
        if let Load::Merged(bytes_a_second) = self.load {
            self.waiting_bytes += bytes_a_second * seconds;
        }
        self.now = to;
    }
}

const SERVERS: [usize; 3] = [1, 4, 32];
const SEEDS: std::ops::Range<u64> = 0..4;

fn simulation(servers: usize, load: Load, seed: u64) -> Simulation {
    Simulation::new(Destination::new(servers), load, seed)
}

/// One that has run for long enough to have found its limit.
fn settled(servers: usize, seed: u64) -> Simulation {
    let mut simulation = simulation(servers, Load::Endless(4096), seed);
    simulation.run(30);
    simulation
}

#[test]
fn it_finds_what_the_destination_can_work_on_at_once() {
    for servers in SERVERS {
        for seed in SEEDS {
            let mut simulation = settled(servers, seed);
            let seen = simulation.run(60);
            seen.assert_near(servers, &format!("seed {seed}"));
        }
    }
}

#[test]
fn it_gets_there_in_seconds() {
    for servers in SERVERS {
        for seed in SEEDS {
            let mut simulation = simulation(servers, Load::Endless(4096), seed);
            // An attempt takes 50 ms alone.
            let took = simulation.until_limit(servers.div_ceil(2));
            assert!(took < Duration::from_secs(5), "{servers}: {took:?}");
        }
    }
}

#[test]
fn sizes_from_one_kib_to_four_mib_do_not_mislead_it() {
    for servers in SERVERS {
        for seed in SEEDS {
            let destination = Destination {
                per_mib: 100 * MILLI,
                ..Destination::new(servers)
            };
            let mut simulation = Simulation::new(destination, Load::Mixed, seed);
            simulation.run(60);
            let seen = simulation.run(60);
            seen.assert_near(servers, &format!("seed {seed}"));
        }
    }
}

#[test]
fn service_times_without_any_chance_in_them_are_no_trap() {
    for servers in SERVERS {
        let destination = Destination {
            chance: 0.0,
            ..Destination::new(servers)
        };
        let mut simulation = Simulation::new(destination, Load::Endless(4096), 0);
        simulation.run(30);
        let seen = simulation.run(60);
        assert!(seen.limit() <= 2.0 * servers as f64, "{seen:?}");
        assert!(seen.slowness() < 1.6, "{seen:?}");
        assert!(seen.use_of(servers) > 0.8, "{seen:?}");
    }
}

#[test]
fn after_an_outage_it_is_back_within_seconds() {
    for servers in SERVERS {
        for seed in SEEDS {
            let mut simulation = settled(servers, seed);
            simulation.destination.most = 0;
            simulation.run(10);
            assert_eq!(simulation.limiter.limit(), 1, "an outage is not hammered");
            simulation.destination.most = usize::MAX;
            let took = simulation.until_limit(servers.div_ceil(2));
            assert!(took < Duration::from_millis(1500), "{servers}: {took:?}");
            simulation.run(10);
            let seen = simulation.run(60);
            seen.assert_near(servers, &format!("seed {seed}"));
        }
    }
}

#[test]
fn a_destination_that_becomes_slower_or_quicker_by_itself_keeps_its_limit() {
    for servers in SERVERS {
        for seed in SEEDS {
            let mut simulation = settled(servers, seed);
            for millis in [200, 20, 500, 50] {
                simulation.destination.each = millis * MILLI;
                simulation.run(120);
                let seen = simulation.run(120);
                seen.assert_near(servers, &format!("seed {seed}, {millis} ms"));
            }
        }
    }
}

#[test]
fn it_follows_a_destination_that_shrinks_and_grows() {
    for seed in SEEDS {
        let mut simulation = settled(4, seed);
        for servers in [32, 2, 16] {
            simulation.destination.servers = servers;
            simulation.servers = vec![simulation.now; servers];
            simulation.run(60);
            let seen = simulation.run(60);
            seen.assert_near(servers, &format!("seed {seed}"));
        }
    }
}

#[test]
fn requests_that_grow_a_hundredfold_at_once_do_not_make_it_collapse() {
    for servers in SERVERS {
        for seed in SEEDS {
            let mut simulation = settled(servers, seed);
            simulation.load = Load::Endless(2 << 20);
            simulation.destination.per_mib = 200 * MILLI;
            // An attempt now takes 450 ms alone.
            let at_first = simulation.run(30);
            assert!(at_first.use_of(servers) > 0.6, "{at_first:?}");
            let seen = simulation.run(120);
            seen.assert_near(servers, &format!("seed {seed}"));
        }
    }
}

/// The fewer may be under way, the more each takes along, and the longer it takes.
#[test]
fn it_does_not_take_the_batches_that_it_causes_for_slowness() {
    for servers in SERVERS {
        for share in [0.1, 0.5, 0.85] {
            let destination = Destination {
                each: 5 * MILLI,
                per_mib: 20 * MILLI,
                ..Destination::new(servers)
            };
            let largest = destination.alone(4 << 20).as_secs_f64();
            let most = f64::from(4 << 20) * servers as f64 / largest;
            let mut simulation = Simulation::new(destination, Load::Merged(share * most), 0);
            simulation.run(30);
            let seen = simulation.run(120);
            let taken = seen.bytes as f64 / seen.seconds / most;
            assert!(taken > share * 0.95, "{servers}: {taken} of {share}");
            assert!(seen.limit() >= servers as f64 / 2.0, "{seen:?}");
            assert!(seen.slowness() < 1.8, "{seen:?}");
        }
    }
}

#[test]
fn a_destination_that_refuses_what_is_above_its_own_limit_is_kept_just_below_it() {
    for seed in SEEDS {
        let destination = Destination {
            most: 8,
            ..Destination::new(32)
        };
        let mut simulation = Simulation::new(destination, Load::Endless(4096), seed);
        simulation.run(30);
        let seen = simulation.run(60);
        assert!(seen.limit() >= 4.0 && seen.limit() <= 9.0, "{seen:?}");
        let failed = seen.failed as f64 / seen.attempts as f64;
        // It must try, now and then, to learn that there is still no more.
        assert!(failed < 0.2, "{failed}: {seen:?}");
    }
}

#[test]
fn a_limit_that_is_not_reached_does_not_grow() {
    let mut simulation = simulation(32, Load::AtMost(3), 0);
    simulation.run(60);
    assert!(simulation.limiter.limit() <= 4);
}

#[test]
fn quiet_times_do_not_cost_the_limit() {
    let mut simulation = settled(32, 0);
    simulation.load = Load::AtMost(2);
    simulation.run(600);
    assert!(simulation.limiter.limit() >= 16);
}

#[test]
fn what_changes_in_quiet_times_is_known_when_the_load_comes() {
    for seed in SEEDS {
        let mut simulation = settled(32, seed);
        simulation.load = Load::AtMost(2);
        simulation.destination.each = 150 * MILLI;
        simulation.run(60);
        let before = simulation.limiter.limit();
        simulation.load = Load::Endless(4096);
        simulation.run(1);
        assert!(simulation.limiter.limit() * 2 > before, "{before}");
    }
}

#[test]
fn the_first_connections_may_take_long() {
    for servers in SERVERS {
        let mut simulation = simulation(servers, Load::Endless(4096), 1);
        simulation.destination.each = 500 * MILLI;
        while simulation.seen.attempts < 4 {
            simulation.fill();
            simulation.step();
        }
        simulation.destination.each = 50 * MILLI;
        simulation.run(30);
        let seen = simulation.run(60);
        seen.assert_near(servers, "after slow first ones");
    }
}

#[test]
fn a_fixed_limit_stays_as_it_is() {
    let mut simulation = simulation(2, Load::Endless(4096), 0);
    simulation.limiter = Limiter::new(InFlight::fixed(8));
    let seen = simulation.run(10);
    assert!((seen.limit() - 8.0).abs() < 1e-6, "{seen:?}");
}

#[test]
fn whatever_lands_the_limit_stays_within_its_bounds() {
    let mut rng = SmallRng::seed_from_u64(1);
    let bounds = InFlight { min: 2, max: 20 };
    let mut limiter = Limiter::new(bounds);
    let mut now = Instant::now();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100_000 {
        now += Duration::from_nanos(rng.random_range(0..2_000_000_000));
        limiter.landed(
            now,
            Sample {
                latency: Duration::from_nanos(rng.random::<u64>() >> rng.random_range(1..64)),
                bytes: rng.random::<u64>() as usize >> rng.random_range(0..64),
                in_flight: rng.random_range(0..40),
                failed: rng.random_range(0..100) < 4,
            },
        );
        seen.insert(limiter.limit());
    }
    assert!(
        seen.iter().all(|limit| (2..=20).contains(limit)),
        "{seen:?}"
    );
    assert!(seen.len() > 5, "it moves: {seen:?}");
}
