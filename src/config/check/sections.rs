//! Checks of the sections that there is one of each.

use super::endpoint::{self, Place};
use super::{Site, tls};
use crate::admin::AdminConfig;
use crate::auth::AuthConfig;
use crate::batch::Priority;
use crate::config::Config;
use crate::config::problem::Findings;
use crate::config::tree::{Node, Origin};
use crate::delivery::config::QueueKind;
use crate::intake::tenants::{LimitsConfig, OTHER, TenantSource, TenantsConfig};
use crate::intake::{Acknowledge, MemoryBudget};
use crate::receivers::ReceiverConfig;
use crate::storage::Key;
use crate::units::ByteSize;

/// Below this no useful number of requests fits beside the connections' windows.
const LEAST_BUDGET: ByteSize = ByteSize::mib(4);

/// Checks what was read of `[intake]`, `[admin]` and `[shutdown]`, and the listeners together.
pub(in crate::config) fn sections(tree: &Node, config: &Config, findings: &mut Findings) {
    let mut site = Site {
        node: tree,
        findings,
    };
    if let Err(problem) = endpoint::listener(&config.admin.endpoint, 13133) {
        let sentence = format!("`endpoint` {problem}");
        site.problem(&["admin", "endpoint"], &[], sentence);
    }
    tls::server(config.admin.tls.as_ref(), &["admin", "tls"], &mut site);
    admin(&config.admin, &mut site);
    site.not_zero(
        config.shutdown.deadline.is_zero(),
        &["shutdown", "deadline"],
        "whatever waits would be dropped at once",
    );
    budget(config, &mut site);
    storage(config, &mut site);
    tenants(config, &mut site);
    priority(config, &mut site);
    collisions(tree, config, findings);
}

/// Whether other machines can reach the admin listener.
pub(in crate::config) fn is_reached_by_others(admin: &AdminConfig) -> bool {
    let place = endpoint::listener(&admin.endpoint, 13133);
    place.is_ok_and(|place| !place.is_local())
}

/// Whoever reaches the admin listener reads everything there.
fn admin(admin: &AdminConfig, site: &mut Site<'_>) {
    let is_open = admin.auth.is_none() && !admin.allow_unauthenticated;
    if admin.enabled && is_open && is_reached_by_others(admin) {
        site.problem(
            &["admin", "endpoint"],
            &[&["admin", "auth"], &["admin", "allow_unauthenticated"]],
            "other machines can reach this address, and would read /status and /metrics without \
             being asked who they are: say who may in [admin.auth], or \
             `allow_unauthenticated = true` on a network that you trust, or listen on \
             127.0.0.1:13133",
        );
    }
    if let Some(AuthConfig::Mtls(_)) = &admin.auth
        && admin
            .tls
            .as_ref()
            .is_none_or(|tls| tls.client_ca_file.is_none())
    {
        let sentence = "certificates are asked for in the TLS handshake: give [admin] `tls` with \
                        `client_ca_file`";
        site.problem(&["admin"], &[], sentence);
    }
}

/// With less than this not one letter of the usual size would be kept.
const LEAST_DEAD_LETTERS: ByteSize = ByteSize(64 << 10);

/// What is to be on disk needs a folder, and success can mean `stored` only where all is.
fn storage(config: &Config, site: &mut Site<'_>) {
    site.not_zero(
        config.storage.sync_interval.is_zero(),
        &["storage", "sync_interval"],
        "use `fsync = \"always\"` to sync each write before it is acknowledged",
    );
    let directory = &config.storage.directory;
    site.forbid(
        directory.as_ref().is_some_and(|d| d.as_os_str().is_empty()),
        &["storage", "directory"],
        "`directory` is empty: name a folder that only otlpd writes to",
    );
    let letters = config.storage.dead_letters_max_bytes;
    site.forbid(
        letters > ByteSize(0) && letters < LEAST_DEAD_LETTERS,
        &["storage", "dead_letters_max_bytes"],
        "`dead_letters_max_bytes` wants 64KiB or more, of which a letter takes as much as its \
         request; or \"0B\", which keeps none",
    );
    for (index, key) in config.storage.encryption_keys.iter().enumerate() {
        let mut before = config.storage.encryption_keys.iter().take(index);
        let is_twice = before.any(|other| other.id == key.id);
        let place = index.to_string();
        site.forbid(
            is_twice,
            &["storage", "encryption_keys", &place, "id"],
            "another key has the same `id`: a file says by its id which key it was written with, so \
             each key needs one of its own",
        );
        if let Err(problem) = Key::parse(&key.id, &key.key) {
            let index = index.to_string();
            let path = ["storage", "encryption_keys", &index, "key"];
            site.problem(&path, &[], problem.to_string());
        }
    }
    for (name, entry) in &config.exporters {
        let kind = entry.lane.queue.kind;
        if directory.is_none() && kind != QueueKind::Memory {
            let sentence = format!(
                "a queue of kind {:?} needs a folder: add [storage] with `directory`",
                kind.name()
            );
            site.problem(&["exporters", name, "queue", "kind"], &[], sentence);
        }
    }
    if config.intake.acknowledge == Some(Acknowledge::Stored)
        && let Some(name) = config.required_off_disk().next()
    {
        let sentence = format!(
            "`acknowledge = \"stored\"` promises that data is on disk, but the queue of \
             exporters.{name} is not: give it `queue = {{ kind = \"disk\" }}`, or make it \
             `required = false`"
        );
        site.problem(&["intake", "acknowledge"], &[], sentence);
    }
}

fn budget(config: &Config, site: &mut Site<'_>) {
    let MemoryBudget::Fixed(budget) = config.intake.memory_budget else {
        return;
    };
    let path = &["intake", "memory_budget"];
    if budget < LEAST_BUDGET {
        let sentence = format!("`memory_budget` wants {LEAST_BUDGET} or more, or \"auto\"");
        return site.problem(path, &[], sentence);
    }
    request_limits(budget, config, site);
    greedy_lanes(budget, config, site);
}

/// What takes no part in the acknowledgement must not be able to hold everybody up.
fn greedy_lanes(budget: ByteSize, config: &Config, site: &mut Site<'_>) {
    for (name, exporter) in &config.exporters {
        let lane = &exporter.lane;
        let origin = site.node.place(&["exporters", name]);
        if let Some(origin) = origin
            && !lane.required
            && lane.queue.kind == QueueKind::Memory
            && lane.queue.max_bytes() >= budget
        {
            site.findings.warning(
                origin,
                format!(
                    "exporters.{name} is not required, but its `queue.max_bytes` is as large as \
                     `intake.memory_budget`: when its destination hangs, it can spend the whole \
                     budget, and clients are refused"
                ),
            );
        }
    }
}

fn request_limits(budget: ByteSize, config: &Config, site: &mut Site<'_>) {
    for (name, receiver) in &config.receivers {
        let otlp = match receiver {
            ReceiverConfig::Otlp(otlp) => otlp,
            ReceiverConfig::File(file) => {
                if file.max_log_size > budget {
                    over_budget(budget, &["receivers", name, "max_log_size"], site);
                }
                continue;
            }
        };
        let grpc = otlp.grpc.as_ref().map(|grpc| grpc.max_recv_msg_size);
        let http = otlp.http.as_ref().map(|http| http.max_request_body_size);
        for (listener, key, limit) in [
            ("grpc", "max_recv_msg_size", grpc),
            ("http", "max_request_body_size", http),
        ] {
            let limit_path = ["receivers", name.as_str(), listener, key];
            if limit.is_some_and(|limit| limit > budget) {
                over_budget(budget, &limit_path, site);
            }
        }
    }
}

/// A limit that was asked for and can not be had is a mistake; the default one is only larger
/// than a small budget, which then is the limit.
fn over_budget(budget: ByteSize, limit_path: &[&str], site: &mut Site<'_>) {
    let path = &["intake", "memory_budget"][..];
    let name = limit_path.join(".");
    if site.node.states(limit_path) {
        let sentence = format!(
            "a request of this size could never be taken in: `intake.memory_budget`{} is \
             smaller; lower the one or raise the other",
            site.shown(path, &budget)
        );
        site.problem(limit_path, &[path], sentence);
    } else if let (Some(place), Some(_)) = (site.node.place(path), site.node.place(limit_path)) {
        site.findings.warning(
            place,
            format!(
                "requests above `memory_budget` are refused although {name} would allow them by \
                 default"
            ),
        );
    }
}

fn tenants(config: &Config, site: &mut Site<'_>) {
    let Some(tenants) = &config.tenants else {
        return;
    };
    header(&tenants.header, &["tenants", "header"], site);
    site.forbid(
        !(tenants.max_share > 0.0 && tenants.max_share <= 1.0),
        &["tenants", "max_share"],
        "`max_share` wants a number above 0 and up to 1: the part of the memory budget that one \
         tenant may take",
    );
    limits(&tenants.default, &["tenants", "default"], site);
    identities(config, site);
    for (name, config) in &tenants.limits {
        limits(config, &["tenants", "limits", name], site);
        site.forbid(
            name == OTHER,
            &["tenants", "limits", name],
            "`other` is what metrics call all tenants without limits of their own: none can have \
             the name",
        );
    }
}

/// Where nobody is asked who it is, nobody has a name.
fn identities(config: &Config, site: &mut Site<'_>) {
    let by_identity = |tenants: &TenantsConfig| tenants.from == TenantSource::Identity;
    if !config.tenants.as_ref().is_some_and(by_identity) {
        return;
    }
    for (name, receiver) in &config.receivers {
        let ReceiverConfig::Otlp(otlp) = receiver else {
            continue;
        };
        if let (None, Some(place)) = (&otlp.auth, site.node.place(&["tenants", "from"])) {
            let sentence = format!(
                "receivers.{name} has no `auth`: all that comes in there is of the tenant \
                 `anonymous`"
            );
            site.findings.warning(place, sentence);
        }
    }
}

fn limits(config: &LimitsConfig, path: &[&str], site: &mut Site<'_>) {
    let none = "this tenant's requests would never be let in";
    let items = config.items_per_second == Some(0);
    let bytes = config.bytes_per_second == Some(ByteSize(0));
    for (is_zero, key) in [(items, "items_per_second"), (bytes, "bytes_per_second")] {
        site.not_zero(is_zero, &[path, &[key]].concat(), none);
    }
}

fn priority(config: &Config, site: &mut Site<'_>) {
    let Some(priority) = &config.priority else {
        return;
    };
    header(&priority.header, &["priority", "header"], site);
    for class in Priority::ALL {
        site.not_zero(
            priority.weights.of(class) == 0,
            &["priority", "weights", class.name()],
            "what is of this class would wait for ever while there is anything else",
        );
    }
}

fn header(name: &str, path: &[&str], site: &mut Site<'_>) {
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        let sentence = "`header` wants the name of a header, such as \"x-scope-orgid\"";
        site.problem(path, &[], sentence);
    }
}

struct Listener {
    name: String,
    place: Place,
    origin: Origin,
}

impl Listener {
    /// The receiver that it belongs to, if it is one's.
    fn receiver(&self) -> Option<&str> {
        let (receiver, _) = self.name.rsplit_once('.')?;
        Some(receiver)
    }
}

/// Two listeners on one address: the later one in the file is reported.
fn collisions(tree: &Node, config: &Config, findings: &mut Findings) {
    let mut listeners = listeners(tree, config);
    listeners.sort_by(|a, b| a.origin.cmp(&b.origin));
    for (index, listener) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(index);
        if let Some(first) = earlier
            .into_iter()
            .find(|l| l.place.collides(&listener.place))
        {
            let mut sentence = format!(
                "{} would listen where {} does: give one of them another port",
                listener.name, first.name
            );
            if listener.receiver().is_some() && listener.receiver() == first.receiver() {
                sentence += ", or both the same `endpoint`, letter by letter, to have both on one \
                             port";
            }
            findings.problem(listener.origin.clone(), sentence);
        }
    }
}

fn listeners(tree: &Node, config: &Config) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let mut add = |path: &[&str], endpoint: &str| {
        if let (Some(origin), Ok(place)) = (tree.place(path), endpoint::listener(endpoint, 0)) {
            listeners.push(Listener {
                name: path
                    .split_last()
                    .map_or(String::new(), |(_, name)| name.join(".")),
                place,
                origin,
            });
        }
    };
    if config.admin.enabled {
        add(&["admin", "endpoint"], &config.admin.endpoint);
    }
    for (name, receiver) in &config.receivers {
        let ReceiverConfig::Otlp(otlp) = receiver else {
            continue;
        };
        if let Some(grpc) = &otlp.grpc {
            add(&["receivers", name, "grpc", "endpoint"], &grpc.endpoint);
        }
        if let Some(http) = &otlp.http
            && !otlp.shares_a_port()
        {
            add(&["receivers", name, "http", "endpoint"], &http.endpoint);
        }
    }
    listeners
}
