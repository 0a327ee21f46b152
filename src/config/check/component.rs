//! Checks within one receiver or exporter.

use std::collections::BTreeMap;
use std::time::Duration;

use super::endpoint::{self, Form};
use super::{Site, cors, files, shared, tls};
use crate::config::problem::Findings;
use crate::config::tree::Node;
use crate::delivery::config::{
    BatchConfig, InFlight, LaneConfig, QueueConfig, QueueKind, WhenFull,
};
use crate::exporters::ExporterConfig;
use crate::receivers::ReceiverConfig;
use crate::receivers::otlp::{KeepaliveConfig, OtlpConfig};
use crate::units::{self, ByteSize};

/// Checks a receiver by itself.
pub(in crate::config) fn receiver(config: &ReceiverConfig, node: &Node, findings: &mut Findings) {
    let mut site = Site { node, findings };
    match config {
        ReceiverConfig::Otlp(config) => otlp(config, &mut site),
        ReceiverConfig::File(config) => files::reads(config, &mut site),
    }
}

fn otlp(config: &OtlpConfig, site: &mut Site<'_>) {
    if config.grpc.is_none() && config.http.is_none() {
        site.problem(
            &[],
            &[&["grpc"], &["http"]],
            "this receiver listens nowhere: give it `grpc = { endpoint = \"127.0.0.1:4317\" }`, \
             `http = { endpoint = \"127.0.0.1:4318\" }`, or both",
        );
    }
    if let Some(grpc) = &config.grpc {
        let limit = &["grpc", "max_recv_msg_size"];
        let streams = &["grpc", "max_concurrent_streams"];
        listen(&grpc.endpoint, 4317, "grpc", site);
        socket_mode(grpc.socket_mode.is_some(), &grpc.endpoint, "grpc", site);
        tls::server(grpc.tls.as_ref(), &["grpc", "tls"], site);
        keepalive(&grpc.keepalive, "grpc", site);
        site.not_zero(grpc.max_recv_msg_size.0 == 0, limit, REQUEST_LIMIT);
        site.not_zero(
            grpc.max_concurrent_streams == 0,
            streams,
            "no request could be made",
        );
    }
    if let Some(http) = &config.http {
        let limit = &["http", "max_request_body_size"];
        listen(&http.endpoint, 4318, "http", site);
        socket_mode(http.socket_mode.is_some(), &http.endpoint, "http", site);
        tls::server(http.tls.as_ref(), &["http", "tls"], site);
        keepalive(&http.keepalive, "http", site);
        site.not_zero(http.max_request_body_size.0 == 0, limit, REQUEST_LIMIT);
        for (timeout, key) in [
            (http.read_header_timeout, "read_header_timeout"),
            (http.read_timeout, "read_timeout"),
        ] {
            site.not_zero(timeout.is_zero(), &["http", key], "no client is that fast");
        }
        if let Some(config) = &http.cors {
            cors::check(config, site);
        }
    }
    if let (Some(grpc), Some(http)) = (&config.grpc, &config.http)
        && config.shares_a_port()
    {
        shared::check(grpc, http, site);
    }
}

fn keepalive(config: &KeepaliveConfig, table: &str, site: &mut Site<'_>) {
    site.not_zero(
        config.timeout.is_zero(),
        &[table, "keepalive", "timeout"],
        "every client that is asked would be gone",
    );
}

fn socket_mode(is_said: bool, to: &str, table: &str, site: &mut Site<'_>) {
    if is_said
        && !to.starts_with("unix:")
        && let Some(place) = site.node.place(&[table, "socket_mode"])
    {
        site.findings.warning(
            place,
            "`socket_mode` is for unix sockets: this endpoint is a port, which everybody may \
             connect to who reaches it",
        );
    }
}

const REQUEST_LIMIT: &str = "every request would be refused";

fn listen(text: &str, port: u16, table: &str, site: &mut Site<'_>) {
    if let Err(problem) = endpoint::listener(text, port) {
        site.problem(&[table, "endpoint"], &[], format!("`endpoint` {problem}"));
    }
}

/// Checks the keys of an exporter's own type.
pub(in crate::config) fn exporter(config: &ExporterConfig, node: &Node, findings: &mut Findings) {
    let mut site = Site { node, findings };
    match config {
        ExporterConfig::OtlpGrpc(config) => {
            send(&config.endpoint, Form::Grpc, &mut site);
            tls::client(config.tls.as_ref(), &config.endpoint, &mut site);
            headers(&config.headers, &mut site);
        }
        ExporterConfig::OtlpHttp(config) => {
            send(&config.endpoint, Form::Http, &mut site);
            tls::client(config.tls.as_ref(), &config.endpoint, &mut site);
            headers(&config.headers, &mut site);
        }
        ExporterConfig::File(config) => files::writes(config, &mut site),
        ExporterConfig::Debug(_) | ExporterConfig::Discard(_) => {}
    }
}

fn send(text: &str, form: Form, site: &mut Site<'_>) {
    if let Err(problem) = endpoint::destination(text, form) {
        site.problem(&["endpoint"], &[], format!("`endpoint` {problem}"));
    }
}

/// No sentence holds a value, which may be secret.
fn headers(headers: &BTreeMap<String, String>, site: &mut Site<'_>) {
    for (name, value) in headers {
        let path = ["headers", name.as_str()];
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let sentence = format!("{name:?} can not be the name of a header");
            site.problem(&path, &[], sentence);
        }
        if http::HeaderValue::from_str(value).is_err() {
            let sentence = format!(
                "the value of the header {name:?} has a character that no header may have, such \
                 as a line break"
            );
            site.problem(&path, &[], sentence);
        }
    }
}

/// Checks the keys of an exporter's lane.
pub(in crate::config) fn lane(config: &LaneConfig, node: &Node, findings: &mut Findings) {
    let mut site = Site { node, findings };
    let timeout = config.timeout.is_zero();
    site.not_zero(timeout, &["timeout"], "every attempt would fail at once");
    in_flight(config.max_in_flight, &mut site);
    sizes(&config.queue, &config.batch, &mut site);
    acknowledged(config, &mut site);
    retry(config, &mut site);
    breaker(config, &mut site);
}

fn in_flight(limit: InFlight, site: &mut Site<'_>) {
    let (min, max) = (&["max_in_flight", "min"], &["max_in_flight", "max"]);
    let nothing = "nothing would ever be sent";
    if !site.node.states(min) && !site.node.states(max) {
        site.not_zero(limit.max == 0, &["max_in_flight"], nothing);
        return;
    }
    site.not_zero(limit.min == 0, min, nothing);
    site.not_zero(limit.max == 0, max, nothing);
    if limit.min > limit.max && limit.max > 0 {
        let sentence = format!(
            "`max_in_flight.min`{} is above `max_in_flight.max`{}: it is the least that the limit \
             comes down to, and where it begins",
            site.shown(min, &limit.min),
            site.shown(max, &limit.max)
        );
        // Points at the one that is written, where only one is.
        let path = if site.node.states(min) { min } else { max };
        site.problem(path, &[min, max], sentence);
    }
}

fn sizes(queue: &QueueConfig, batch: &BatchConfig, site: &mut Site<'_>) {
    let (queue_path, batch_path) = (&["queue", "max_bytes"], &["batch", "max_bytes"]);
    let max_bytes = queue.max_bytes();
    let (queue_zero, batch_zero) = (max_bytes.0 == 0, batch.max_bytes.0 == 0);
    site.not_zero(queue_zero, queue_path, "nothing would ever fit");
    site.not_zero(batch_zero, batch_path, "nothing would ever be sent");
    if max_bytes < batch.max_bytes && !queue_zero {
        // Points at the one that is written, where only one is.
        let path = match site.node.states(queue_path) {
            true => queue_path,
            false => batch_path,
        };
        let sentence = format!(
            "`queue.max_bytes`{} is smaller than `batch.max_bytes`{}, so that no full batch \
             would ever fit: raise the one or lower the other",
            site.shown(queue_path, &max_bytes),
            site.shown(batch_path, &batch.max_bytes)
        );
        site.problem(path, &[queue_path, batch_path], sentence);
    } else if queue.kind != QueueKind::Memory && max_bytes < LEAST_ON_DISK {
        let sentence = format!(
            "a queue on disk wants {LEAST_ON_DISK} or more: it is kept in files of 4 MiB, and \
             space is given back a file at a time"
        );
        site.problem(queue_path, &[], sentence);
    }
}

/// A queue on disk of fewer files than this would be full of what is settled.
const LEAST_ON_DISK: ByteSize = ByteSize::mib(64);

fn acknowledged(config: &LaneConfig, site: &mut Site<'_>) {
    let word = match config.queue.when_full {
        Some(WhenFull::Wait) => "wait",
        Some(WhenFull::Refuse) => "refuse",
        Some(WhenFull::DropOldest | WhenFull::DropNewest) | None => return,
    };
    if !config.required {
        site.problem(
            &["queue", "when_full"],
            &[&["required"]],
            format!(
                "`when_full = {word:?}` holds clients up, and so takes part in the \
                 acknowledgement, which `required = false` rules out: choose \"drop_oldest\" or \
                 \"drop_newest\", or make it required"
            ),
        );
    }
}

fn retry(config: &LaneConfig, site: &mut Site<'_>) {
    let retry = &config.retry_on_failure;
    let initial = &["retry_on_failure", "initial_interval"];
    let max = &["retry_on_failure", "max_interval"];
    site.not_zero(
        retry.initial_interval.is_zero(),
        initial,
        "retries would follow each other without a pause",
    );
    let intervals = (retry.initial_interval, retry.max_interval);
    not_shorter(intervals, initial, max, site);
    site.forbid(
        !(retry.multiplier >= 1.0 && retry.multiplier.is_finite()),
        &["retry_on_failure", "multiplier"],
        "`multiplier` wants a number of 1 or more: each interval is the one before times this",
    );
    site.forbid(
        !(retry.budget >= 0.0 && retry.budget.is_finite()),
        &["retry_on_failure", "budget"],
        "`budget` wants a share such as 0.2: retries are at most so many times the successes, \
         beside `budget_floor`; 0 sets no bound",
    );
    site.not_zero(
        retry.budget > 0.0 && retry.budget_floor == 0,
        &["retry_on_failure", "budget_floor"],
        "once every attempt has failed, nothing would be tried again",
    );
}

fn breaker(config: &LaneConfig, site: &mut Site<'_>) {
    let breaker = &config.breaker;
    let open = &["breaker", "open_time"];
    site.not_zero(
        breaker.failures > 0 && breaker.open_time.is_zero(),
        open,
        "an open breaker would close at once; `failures = 0` switches it off",
    );
    site.forbid(
        !(0.0..=1.0).contains(&breaker.failure_rate),
        &["breaker", "failure_rate"],
        "`failure_rate` wants a share from 0 to 1: at 0.5 the breaker opens when half of the \
         attempts in `window` failed; 0: whatever the share",
    );
    let by_rate = breaker.failure_rate > 0.0;
    site.not_zero(
        by_rate && breaker.window.is_zero(),
        &["breaker", "window"],
        "there would be no attempts to take the share of",
    );
    site.not_zero(
        by_rate && breaker.min_requests == 0,
        &["breaker", "min_requests"],
        "one failure is a share of all, so that the first would open it; 1 says the same",
    );
    let times = (breaker.open_time, breaker.max_open_time);
    not_shorter(times, open, &["breaker", "max_open_time"], site);
}

/// What grows from one duration to another can not start above its end.
fn not_shorter(
    (first, last): (Duration, Duration),
    first_path: &[&str],
    last_path: &[&str],
    site: &mut Site<'_>,
) {
    if last >= first {
        return;
    }
    let key = |path: &[&str]| path.last().copied().unwrap_or_default().to_owned();
    let sentence = format!(
        "`{}`{} is shorter than `{}`{}",
        key(last_path),
        site.shown(last_path, &units::readable(last)),
        key(first_path),
        site.shown(first_path, &units::readable(first))
    );
    // Points at the one that is written, where only one is.
    let path = match site.node.states(last_path) {
        true => last_path,
        false => first_path,
    };
    site.problem(path, &[first_path, last_path], sentence);
}
