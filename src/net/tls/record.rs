//! What is counted where TLS is used, for whoever tells it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::leaf::Leaf;

/// One use of TLS: a listener, or an exporter.
#[derive(Debug)]
pub struct Record {
    /// What in the configuration uses it, such as `receivers.apps.grpc`.
    pub component: String,
    leaf: Mutex<Option<Leaf>>,
    reloads: [AtomicU64; 2],
    failed_handshakes: [AtomicU64; HandshakeFailure::ALL.len()],
    is_server: bool,
}

/// Why a client could not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It took too long.
    Timeout,
    /// It does not speak TLS.
    NotTls,
    /// No version, cipher or application protocol is common to both.
    NothingInCommon,
    /// Its certificate is missing, expired, or of a CA that is not ours.
    ClientCertificate,
    /// It went away, or did not like our certificate.
    BrokenOff,
    /// Anything else.
    Other,
}

impl HandshakeFailure {
    /// Every reason; `as usize` is the index into it.
    pub const ALL: [Self; 6] = [
        Self::Timeout,
        Self::NotTls,
        Self::NothingInCommon,
        Self::ClientCertificate,
        Self::BrokenOff,
        Self::Other,
    ];

    /// The word for it in metric labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NotTls => "not_tls",
            Self::NothingInCommon => "nothing_in_common",
            Self::ClientCertificate => "client_certificate",
            Self::BrokenOff => "broken_off",
            Self::Other => "other",
        }
    }
}

impl Record {
    pub(super) fn new(component: &str, leaf: Option<Leaf>, is_server: bool) -> Self {
        Self {
            component: component.to_owned(),
            leaf: Mutex::new(leaf),
            reloads: Default::default(),
            failed_handshakes: Default::default(),
            is_server,
        }
    }

    /// The certificate that is shown to others; `None` where none is.
    pub fn leaf(&self) -> Option<Leaf> {
        let leaf = self.leaf.lock().unwrap_or_else(PoisonError::into_inner);
        leaf.clone()
    }

    /// How often changed files were read: with success, without.
    pub fn reloads(&self) -> [u64; 2] {
        self.reloads
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// How many clients could not be served, by `HandshakeFailure as usize`; `None` where there
    /// are no clients.
    pub fn failed_handshakes(&self) -> Option<[u64; HandshakeFailure::ALL.len()]> {
        let counts = &self.failed_handshakes;
        self.is_server
            .then(|| counts.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    pub(super) fn handshake_failed(&self, why: HandshakeFailure) {
        if let Some(count) = self.failed_handshakes.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn reloaded(&self, outcome: Result<Option<Leaf>, ()>) {
        let [succeeded, failed] = &self.reloads;
        match outcome {
            Ok(leaf) => {
                *self.leaf.lock().unwrap_or_else(PoisonError::into_inner) = leaf;
                succeeded.fetch_add(1, Ordering::Relaxed)
            }
            Err(()) => failed.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// Every use of TLS in this process.
#[derive(Clone, Debug, Default)]
pub struct Register(Arc<Mutex<Vec<Arc<Record>>>>);

impl Register {
    /// What is counted, in the order in which it was set up.
    pub fn records(&self) -> Vec<Arc<Record>> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.clone()
    }

    pub(super) fn add(&self, record: Arc<Record>) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.push(record);
    }
}
