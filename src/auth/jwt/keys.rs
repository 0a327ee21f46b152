//! Where the keys come from, and how they are kept up with.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::key_set::KeySet;
use crate::auth::config::JwtConfig;
use crate::auth::watched::{self, MAX_FILE};
use crate::net::fetch::Fetch;
use crate::net::tls::Register;

/// The keys as they were last read, and what reads them again.
#[derive(Debug)]
pub(super) struct Keys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What the configuration calls it: `receivers.apps.auth`.
    whose: String,
    source: Source,
    /// Kept when reading them again fails; `None` until it has succeeded once.
    current: RwLock<Option<Arc<KeySet>>>,
    /// Whoever reads them has it: one at a time.
    last: Mutex<Last>,
    interval: Duration,
    min_interval: Duration,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Url(String, Fetch),
}

/// The last time that they were read.
#[derive(Debug, Default)]
struct Last {
    tried: Option<Instant>,
    text: Vec<u8>,
    failed: Option<String>,
}

/// What came of reading them once more for the sake of a token.
pub(super) enum Renewal {
    /// There are others now.
    New(Arc<KeySet>),
    /// They are the same, or were read a moment ago.
    Same,
    /// They can not be had: nobody knows.
    Failed,
}

/// The longest that a server may take to answer with its keys.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that a request waits for keys that may be new.
const PATIENCE: Duration = Duration::from_secs(6);

/// How soon keys are asked for again while there are none at all.
const FIRST_PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

impl Keys {
    /// Reads a file now, and a file or a URL again and again, as long as the return value lives.
    pub(super) fn open(
        config: &JwtConfig,
        whose: &str,
        register: &Register,
    ) -> Result<Self, String> {
        let (source, last, current) = match (&config.jwks_file, &config.jwks_url) {
            (Some(path), _) => {
                let read = watched::read(path).and_then(|text| {
                    let set = KeySet::parse(text.as_bytes())?;
                    Ok((text.into_bytes(), set))
                });
                let (text, set) =
                    read.map_err(|what| format!("`{whose}.jwks_file` {}: {what}", path.display()))?;
                let last = Last {
                    tried: Some(Instant::now()),
                    text,
                    failed: None,
                };
                (Source::File(path.clone()), last, Some(Arc::new(set)))
            }
            (None, Some(url)) => {
                let limit = usize::try_from(MAX_FILE).unwrap_or(usize::MAX);
                let bounds = (FETCH_TIMEOUT, limit);
                let tls = config.tls.as_ref();
                let fetch = Fetch::new(url, tls, (whose, register), bounds)
                    .map_err(|what| format!("`{whose}.jwks_url`: {what}"))?;
                (Source::Url(url.clone(), fetch), Last::default(), None)
            }
            (None, None) => return Err(format!("{whose} needs `jwks_file` or `jwks_url`")),
        };
        let shared = Arc::new(Shared {
            whose: whose.to_owned(),
            source,
            current: RwLock::new(current),
            last: Mutex::new(last),
            interval: config.refresh_interval,
            min_interval: config.min_refresh_interval,
        });
        tokio::spawn(keep_up(Arc::downgrade(&shared)));
        Ok(Self(shared))
    }

    /// The keys; `None` until they have been read once.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.0.current()
    }

    /// Reads the keys now, if nobody has.
    pub(super) async fn look(&self) {
        let mut last = self.0.last.lock().await;
        if last.tried.is_none() {
            self.0.read(&mut last).await;
        }
    }

    /// Reads the keys once more, unless that was done a moment ago, since a token may be of one
    /// that is not among `known`.
    pub(super) async fn renew(&self, known: &Arc<KeySet>) -> Renewal {
        let (shared, seen) = (Arc::clone(&self.0), Arc::clone(known));
        // A client that goes away does not undo what others wait for.
        let renewed = tokio::spawn(async move { shared.renew(&seen).await });
        let failed = match timeout(PATIENCE, renewed).await {
            Ok(Ok(failed)) => failed,
            Ok(Err(_)) | Err(_) => true,
        };
        match self.0.current() {
            Some(current) if !Arc::ptr_eq(&current, known) => Renewal::New(current),
            _ if failed => Renewal::Failed,
            _ => Renewal::Same,
        }
    }
}

/// Reads them again and again, until nobody has them any more.
async fn keep_up(shared: Weak<Shared>) {
    let (mut pause, longest) = FIRST_PAUSES;
    loop {
        let wait = match shared.upgrade() {
            None => return,
            Some(shared) if shared.current().is_some() => shared.interval,
            Some(_) => {
                let wait = pause;
                pause = (pause * 2).min(longest);
                wait
            }
        };
        sleep(wait).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let mut last = shared.last.lock().await;
        shared.read(&mut last).await;
    }
}

impl Shared {
    fn current(&self) -> Option<Arc<KeySet>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    fn is_current(&self, known: &Arc<KeySet>) -> bool {
        self.current()
            .is_some_and(|current| Arc::ptr_eq(&current, known))
    }

    /// Reads them if these are the newest and were not read a moment ago; whether they could not
    /// be had the last time.
    async fn renew(&self, known: &Arc<KeySet>) -> bool {
        let mut last = self.last.lock().await;
        let recently = |tried: Instant| tried.elapsed() < self.min_interval;
        if self.is_current(known) && !last.tried.is_some_and(recently) {
            self.read(&mut last).await;
        }
        last.failed.is_some()
    }

    /// Reads them now. What goes wrong is said when it begins, and when it is over.
    async fn read(&self, last: &mut Last) {
        let read = self.source.read().await;
        // Counted from its end: a slow server is not asked more often for it.
        last.tried = Some(Instant::now());
        let read = read.and_then(|text| match text == last.text {
            true => Ok(None),
            false => KeySet::parse(&text).map(|set| Some((text, set))),
        });
        match read {
            Ok(changed) => {
                if last.failed.take().is_some() {
                    tracing::info!("{}: the keys can be read again", self.whose);
                }
                if let Some((text, set)) = changed {
                    tracing::info!("{}: there are {} keys now", self.whose, set.len());
                    last.text = text;
                    let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                    *current = Some(Arc::new(set));
                }
            }
            Err(what) => {
                if last.failed.as_ref() != Some(&what) {
                    self.complain(&what);
                }
                last.failed = Some(what);
            }
        }
    }

    fn complain(&self, what: &str) {
        let Self { whose, source, .. } = self;
        let from = match source {
            Source::File(path) => path.display().to_string(),
            // What stands behind the question mark may be secret.
            Source::Url(url, _) => url.split('?').next().unwrap_or_default().to_owned(),
        };
        match self.current().is_some() {
            true => tracing::error!(
                "{whose}: the keys of {from} can not be read again, those that there are stay in \
                 use: {what}"
            ),
            false => tracing::error!(
                "{whose}: there are no keys yet to verify tokens with, clients are told to come \
                 back: {from}: {what}"
            ),
        }
    }
}

impl Source {
    async fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || watched::read(&path)).await;
                let text = read.map_err(|error| error.to_string())??;
                Ok(text.into_bytes())
            }
            Self::Url(_, fetch) => {
                let mut headers = HeaderMap::new();
                let wanted = HeaderValue::from_static("application/jwk-set+json, application/json");
                headers.insert(header::ACCEPT, wanted);
                let answer = fetch
                    .get(headers)
                    .await
                    .map_err(|error| error.to_string())?;
                match answer.status {
                    StatusCode::OK => Ok(answer.body.to_vec()),
                    status => Err(format!("the answer is HTTP {status}")),
                }
            }
        }
    }
}
