//! What is built from files, and built anew when they change.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::config::Named;
use super::files::{Contents, Fault, Fingerprint};
use super::leaf::Leaf;
use super::record::{Record, Register};

/// What can be built from files.
pub(super) trait Material: Clone + Send + Sync + 'static {
    /// What is used.
    type Ready: Send + Sync + 'static;
    /// Whether it is what clients connect to.
    const IS_SERVER: bool;

    fn files(&self) -> Named<'_>;
    /// How often they are looked at; 0 is never.
    fn reload_interval(&self) -> Duration;
    /// The thing itself, and the certificate that it shows.
    fn build(&self, contents: &Contents) -> Result<(Self::Ready, Option<Leaf>), Fault>;

    /// Builds it from what the files hold now, to see whether that can be done: what is to be said
    /// of a certificate that will not last for long.
    fn check(&self) -> Result<Option<String>, Fault> {
        let (_, leaf) = self.build(&Contents::read(self.files()))?;
        Ok(leaf.and_then(|leaf| leaf.warning(SystemTime::now())))
    }
}

/// What was built last from files that were good.
#[derive(Debug)]
pub(super) struct Live<M: Material> {
    current: RwLock<Arc<M::Ready>>,
    pub(super) record: Arc<Record>,
}

/// Two files are not replaced in one moment: where they do not fit together, they are read again
/// after this time before anything is said.
const SETTLE: Duration = Duration::from_secs(1);

/// Files are not looked at more often than this.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// How often it is said that a certificate is about to expire.
const WARN_EVERY: Duration = Duration::from_secs(24 * 3600);

impl<M: Material> Live<M> {
    /// Reads the files, and watches them from now on, as long as the return value lives.
    pub(super) fn open(
        material: M,
        component: &str,
        register: &Register,
    ) -> Result<Arc<Self>, Fault> {
        let contents = Contents::read(material.files());
        let (ready, leaf) = material.build(&contents)?;
        let record = Arc::new(Record::new(component, leaf, M::IS_SERVER));
        register.add(Arc::clone(&record));
        let live = Arc::new(Self {
            current: RwLock::new(Arc::new(ready)),
            record,
        });
        let interval = material.reload_interval();
        if !interval.is_zero() && !material.files().is_empty() {
            let interval = interval.max(LEAST_INTERVAL);
            let watch = Watch {
                material,
                seen: contents.fingerprint(),
                warned: Instant::now(),
            };
            let weak = Arc::downgrade(&live);
            tokio::spawn(async move {
                let mut watch = watch;
                loop {
                    sleep(interval).await;
                    let Some(live) = weak.upgrade() else { return };
                    watch.look(&live).await;
                }
            });
        }
        Ok(live)
    }

    pub(super) fn current(&self) -> Arc<M::Ready> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }
}

/// What is known of the files.
struct Watch<M> {
    material: M,
    /// The contents that were last built from, or last complained about.
    seen: Fingerprint,
    /// When it was last said how long the certificate is valid.
    warned: Instant,
}

impl<M: Material> Watch<M> {
    async fn look(&mut self, live: &Live<M>) {
        match self.changed().await {
            None => {}
            Some((seen, Ok(built))) => self.take(live, seen, built),
            Some((seen, Err(_in_between))) => {
                sleep(SETTLE).await;
                match self.changed().await {
                    Some((later, Ok(built))) => self.take(live, later, built),
                    Some((later, Err(fault))) if later == seen => self.complain(live, seen, &fault),
                    // Still being replaced, or replaced back.
                    Some(_) | None => {}
                }
            }
        }
        if self.warned.elapsed() >= WARN_EVERY {
            self.warn(live);
        }
    }

    /// What the files hold now and what that comes to, if it is not what they held before.
    async fn changed(&self) -> Option<(Fingerprint, Built<M>)> {
        let (material, seen) = (self.material.clone(), self.seen.clone());
        let look = move || {
            let contents = Contents::read(material.files());
            let found = contents.fingerprint();
            (found != seen).then(|| (found, material.build(&contents)))
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    fn take(&mut self, live: &Live<M>, seen: Fingerprint, built: (M::Ready, Option<Leaf>)) {
        let (ready, leaf) = built;
        self.seen = seen;
        let component = &live.record.component;
        match &leaf {
            Some(Leaf {
                serial,
                subject,
                not_after,
            }) => {
                let until = httpdate::fmt_http_date(*not_after);
                tracing::info!(
                    "{component}: TLS files have changed; new connections use the certificate of \
                     {subject}, serial {serial}, valid until {until}"
                );
            }
            None => tracing::info!("{component}: TLS files have changed; new connections use them"),
        }
        *live.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ready);
        live.record.reloaded(Ok(leaf));
        self.warn(live);
    }

    fn complain(&mut self, live: &Live<M>, seen: Fingerprint, fault: &Fault) {
        self.seen = seen;
        tracing::error!(
            "{}: TLS files have changed and can not be used, what was read before stays in use: \
             {fault}",
            live.record.component
        );
        live.record.reloaded(Err(()));
    }

    fn warn(&mut self, live: &Live<M>) {
        self.warned = Instant::now();
        let leaf = live.record.leaf();
        if let Some(warning) = leaf.and_then(|leaf| leaf.warning(SystemTime::now())) {
            tracing::warn!("{}: {warning}", live.record.component);
        }
    }
}

type Built<M> = Result<(<M as Material>::Ready, Option<Leaf>), Fault>;
