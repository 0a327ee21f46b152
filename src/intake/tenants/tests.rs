use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, poll};
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::*;
use crate::intake::{Accepted, Admission, Door, Intake, Onward, Refused, Request};
use crate::otlp::Signal;
use crate::telemetry::metrics::{Exposition, Page, Refusal};

const BUDGET: u64 = 10_000;

/// A door for these tenants; what passes it is accepted at the cost that its body says.
struct Street {
    intake: Intake,
    door: Arc<Door>,
    registry: Registry,
}

impl Street {
    fn new(config: &TenantsConfig) -> Self {
        Self::with_places(config, 8)
    }

    fn with_places(config: &TenantsConfig, max_held: usize) -> Self {
        let settings = IntakeConfig {
            max_held,
            ..IntakeConfig::default()
        };
        let (budget, registry) = (Budget::new(BUDGET), Registry::default());
        let tenants = Tenants::new(config, &settings, &budget, &registry);
        let door = Arc::new(Door::new(&settings).with(Some(tenants), None));
        let gates = Signal::ALL.map(|_| Vec::new());
        let onward: Onward = Arc::new(|request| std::future::ready(read(request)).boxed());
        let intake = Intake::new(budget, Arc::clone(&door), gates, vec![], onward);
        Self {
            intake,
            door,
            registry,
        }
    }

    async fn admit(&self, tenant: &str, bytes: usize) -> Result<Admission, Refused> {
        let mut headers = HeaderMap::new();
        let name = HeaderValue::from_bytes(tenant.as_bytes()).unwrap();
        headers.insert("x-scope-orgid", name);
        let caller = self.intake.caller(&headers, None, None);
        self.intake.admit(Signal::Logs, bytes, caller).await
    }

    /// A request of so many items, from the door to its answer.
    async fn send(&self, tenant: &str, items: u64) -> Result<Accepted, Refused> {
        let admission = self.admit(tenant, 100).await?;
        self.submit(admission, items).await
    }

    async fn submit(&self, admission: Admission, items: u64) -> Result<Accepted, Refused> {
        let request = Request {
            signal: Signal::Logs,
            body: Bytes::copy_from_slice(&items.to_be_bytes()),
            encoding: None,
            format: crate::otlp::Format::Protobuf,
            limit: 0,
            reservation: admission.reservation,
            caller: admission.caller,
            charge: admission.charge,
        };
        self.intake.submit(request).await
    }

    /// The lines of the metrics page that begin so, without what they begin with.
    fn counted(&self, begin: &str) -> Vec<String> {
        let mut page = Page::default();
        self.registry.write(&mut page);
        let text = page.render(Exposition::Text);
        let lines = text.lines().filter_map(|line| line.strip_prefix(begin));
        lines
            .filter(|line| !line.ends_with(" 0"))
            .map(str::to_owned)
            .collect()
    }
}

fn read(request: Request) -> Result<Accepted, Refused> {
    let items = u64::from_be_bytes(request.body[..].try_into().unwrap());
    request.charge.unwrap().settle(items, 100);
    Ok(Accepted {
        items,
        bytes: 100,
        ..Accepted::default()
    })
}

fn items_per_second(rate: u64) -> LimitsConfig {
    LimitsConfig {
        items_per_second: Some(rate),
        burst: Duration::from_secs(1),
        ..LimitsConfig::default()
    }
}

fn each(limits: LimitsConfig) -> TenantsConfig {
    TenantsConfig {
        default: limits,
        ..TenantsConfig::default()
    }
}

fn retry_after(refused: Refused) -> Duration {
    match refused {
        Refused::Overloaded {
            retry_after,
            why: Refusal::RateLimited,
        } => retry_after,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_in_debt_is_held_until_it_is_paid_back_and_no_longer() {
    let street = Street::new(&each(items_per_second(10)));
    assert!(
        street.send("a", 50).await.is_ok(),
        "debt is found afterwards"
    );
    let begun = Instant::now();
    let mut held = Box::pin(street.send("a", 1));
    assert!(poll!(&mut held).is_pending());
    assert_eq!(street.door.held(), 1);
    assert_eq!(street.intake.budget.used(), 0, "held with empty hands");
    assert!(street.send("b", 1).await.is_ok(), "others do not wait");
    assert_eq!(Instant::now(), begun);
    assert!(held.await.is_ok());
    // 40 of the 50 items were more than it had.
    let waited = Instant::now() - begun;
    assert!(waited >= Duration::from_secs(4), "{waited:?}");
    assert!(waited <= Duration::from_millis(4010), "{waited:?}");
    assert_eq!(street.door.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_was_held_in_vain_hears_when_something_will_be_left() {
    let street = Street::new(&each(items_per_second(10)));
    street.send("a", 1010).await.unwrap();
    let begun = Instant::now();
    let retry_after = retry_after(street.send("a", 1).await.unwrap_err());
    // Timers are as fine as a millisecond.
    let held = (Instant::now() - begun).as_millis();
    assert!((9000..=9001).contains(&held), "{held}");
    assert!(retry_after >= Duration::from_secs(92), "{retry_after:?}");
    assert!(retry_after <= Duration::from_millis(92_010).mul_f64(1.25));
    tokio::time::advance(retry_after).await;
    let begun = Instant::now();
    assert!(street.send("a", 1).await.is_ok());
    assert_eq!(Instant::now(), begun, "it was told the truth");
    assert_eq!(
        street.counted("otlpd_tenant_refused_requests_total"),
        ["{tenant=\"other\",reason=\"rate_limited\"} 1"]
    );
}

#[tokio::test(start_paused = true)]
async fn those_who_are_held_come_in_one_by_one_in_the_order_of_arrival() {
    let street = Street::with_places(&each(items_per_second(10)), 16);
    street.send("a", 10).await.unwrap();
    let begun = Instant::now();
    let send = |_| async {
        street.send("a", 10).await.unwrap();
        Instant::now() - begun
    };
    let ends = futures_util::future::join_all((0..5).map(send)).await;
    for (index, end) in ends.iter().enumerate() {
        // The first needs but a moment to be let in, each other the second of the one before.
        let expected = Duration::from_secs(index as u64);
        let late = end.saturating_sub(expected);
        assert!(
            *end >= expected && late <= Duration::from_millis(50),
            "{ends:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_are_limited_as_items_are() {
    let limits = LimitsConfig {
        bytes_per_second: Some(crate::units::ByteSize(100)),
        burst: Duration::from_secs(2),
        ..LimitsConfig::default()
    };
    let street = Street::new(&each(limits));
    let begun = Instant::now();
    for _ in 0..10 {
        street.send("a", 1_000_000).await.unwrap();
    }
    // Each of them has 100 bytes; two were saved up.
    let took = Instant::now() - begun;
    assert!(took >= Duration::from_secs(7), "{took:?}");
    assert!(took <= Duration::from_millis(8100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_never_read_costs_nothing() {
    let street = Street::new(&each(items_per_second(10)));
    street.send("a", 9).await.unwrap();
    for _ in 0..100 {
        // The connection breaks off.
        drop(street.admit("a", 100).await.unwrap());
    }
    let begun = Instant::now();
    assert!(street.send("a", 1).await.is_ok());
    assert_eq!(Instant::now(), begun);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_takes_its_share_of_the_budget_and_leaves_the_rest_to_others() {
    let street = Street::new(&each(LimitsConfig::default()));
    let mut kept = Vec::new();
    for _ in 0..5 {
        kept.push(street.admit("a", 1000).await.unwrap());
    }
    let mut held = Box::pin(street.admit("a", 1000));
    assert!(
        poll!(&mut held).is_pending(),
        "half of the budget is its share"
    );
    for _ in 0..5 {
        let admitted = street.admit("b", 1000).now_or_never();
        kept.push(admitted.expect("b does not wait").unwrap());
    }
    drop(kept.remove(0));
    assert!(held.await.is_ok());
    let too_large = street.admit("a", 5001).await.unwrap_err();
    assert_eq!(too_large, Refused::TooLarge { limit: 5000 });
}

#[tokio::test(start_paused = true)]
async fn a_request_that_turns_out_larger_is_paid_by_its_tenant() {
    let street = Street::new(&each(LimitsConfig::default()));
    let mut first = street.admit("a", 1000).await.unwrap();
    street
        .intake
        .grow(&mut first, 1000, (4000, 4000))
        .await
        .unwrap();
    let mut second = street.admit("a", 1000).await.unwrap();
    let grown = street.intake.grow(&mut second, 1000, (2000, 2000)).await;
    assert!(
        matches!(grown, Err(Refused::Overloaded { .. })),
        "{grown:?}"
    );
    let mut other = street.admit("b", 1000).await.unwrap();
    assert_eq!(
        street.intake.grow(&mut other, 1000, (2000, 2000)).await,
        Ok(())
    );
    drop((first, second, other));
    assert_eq!(street.intake.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_takes_its_share_of_the_places_and_leaves_the_rest_to_others() {
    let street = Street::with_places(&each(items_per_second(10)), 8);
    street.send("a", 10_000).await.unwrap();
    street.send("b", 30).await.unwrap();
    let mut of_a: Vec<_> = (0..4).map(|_| Box::pin(street.send("a", 1))).collect();
    for held in &mut of_a {
        assert!(poll!(held).is_pending());
    }
    let refused = street.send("a", 1).now_or_never().expect("at once");
    assert!(retry_after(refused.unwrap_err()) >= Duration::from_secs(999));
    let of_b = street.send("b", 1).await;
    assert!(of_b.is_ok(), "{of_b:?}");
}

#[tokio::test(start_paused = true)]
async fn closing_the_door_refuses_who_waits_for_its_turn() {
    let street = Street::new(&each(items_per_second(10)));
    street.send("a", 1000).await.unwrap();
    let mut held = Box::pin(street.send("a", 1));
    assert!(poll!(&mut held).is_pending());
    street.door.close();
    assert!(matches!(held.await, Err(Refused::Draining { .. })));
}

#[tokio::test(start_paused = true)]
async fn limits_of_ones_own_stand_in_place_of_the_default() {
    let limits = [("gold".to_owned(), LimitsConfig::default())];
    let config = TenantsConfig {
        limits: limits.into(),
        ..each(items_per_second(1))
    };
    let street = Street::new(&config);
    let begun = Instant::now();
    for _ in 0..5 {
        street.send("gold", 1000).await.unwrap();
    }
    assert_eq!(Instant::now(), begun);
    street.send("lead", 3).await.unwrap();
    street.send("lead", 4).await.unwrap();
    assert!(Instant::now() - begun >= Duration::from_secs(2));
    assert_eq!(
        street.counted("otlpd_tenant_accepted_items_total"),
        [
            "{tenant=\"other\",signal=\"logs\"} 7",
            "{tenant=\"gold\",signal=\"logs\"} 5000"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn tenants_beyond_the_most_share_one_bucket_and_keep_their_names() {
    let config = TenantsConfig {
        max_tenants: 2,
        ..each(items_per_second(10))
    };
    let street = Street::new(&config);
    for tenant in ["a", "b", "c"] {
        street.send(tenant, 1000).await.unwrap();
    }
    let mut held = Box::pin(street.send("d", 1));
    assert!(poll!(&mut held).is_pending(), "the debt of c is that of d");
    drop(held);
    assert_eq!(
        street.counted("otlpd_tenant_untracked_requests_total "),
        ["2"]
    );
    let admission = street.admit("e", 1).now_or_never();
    assert!(admission.is_none());
    // When a and b owe nothing more, they are forgotten, and others have buckets of their own.
    tokio::time::advance(Duration::from_secs(200)).await;
    street.send("d", 1000).await.unwrap();
    let admission = street.admit("e", 1).now_or_never().unwrap().unwrap();
    let named = admission.caller.tenant.as_ref().unwrap();
    assert_eq!(&*named.name, "e");
    assert_eq!(
        street.counted("otlpd_tenant_untracked_requests_total "),
        ["3"]
    );
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_name_have_one_and_names_that_are_none_share_another() {
    let street = Street::new(&each(LimitsConfig::default()));
    let long = "x".repeat(129);
    for (said, name) in [("", "anonymous"), (&*long, OTHER), ("caf\u{e9}", OTHER)] {
        let admission = street.admit(said, 1).await.unwrap();
        assert_eq!(&*admission.caller.tenant.unwrap().name, name);
    }
    let caller = street.intake.caller(&HeaderMap::new(), None, None);
    assert_eq!(&*caller.tenant.unwrap().name, "anonymous");
    assert_eq!(
        street.counted("otlpd_tenant_untracked_requests_total "),
        ["2"]
    );
}

#[tokio::test(start_paused = true)]
async fn credentials_name_the_tenant_where_they_are_to_whatever_a_header_says() {
    let street = Street::new(&TenantsConfig {
        from: TenantSource::Identity,
        ..each(LimitsConfig::default())
    });
    let mut headers = HeaderMap::new();
    headers.insert("x-scope-orgid", HeaderValue::from_static("somebody else"));
    let named = |name: &str| Identity { name: name.into() };
    for (identity, tenant) in [
        (Some(named("shop")), "shop"),
        (Some(named("")), "anonymous"),
        (None, "anonymous"),
        (Some(named(&"x".repeat(129))), OTHER),
    ] {
        let caller = street.intake.caller(&headers, identity.as_ref(), None);
        assert_eq!(&*caller.tenant.unwrap().name, tenant);
    }
}
