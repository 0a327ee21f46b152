//! A storage is opened and closed: the lock, the threads, the logs that it has.

use std::io;
use std::path::Component;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::thread::JoinHandle;

use super::Log;
use super::LogOptions;
use super::QUARANTINE;
use super::Recovery;
use super::Storage;
use super::StorageError;
use super::StorageOptions;
use super::engine::Engine;
use super::error::closed;
use super::lock::Held;
use super::log::lock as lock_mutex;
use super::recovery;
use super::sync;
use super::writer;

/// The threads of a storage, and its directory's lock. Dropping it closes the storage.
#[derive(Debug)]
pub(super) struct Threads {
    engine: Arc<Engine>,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    /// Ends with the lock, which is given up when the other thread has ended too.
    writer: JoinHandle<Held>,
    syncer: JoinHandle<()>,
}

impl Storage {
    /// Takes the directory for this process alone, creating it where there is none.
    ///
    /// # Errors
    /// It cannot be created or written to, or another process has it (named by its id).
    pub fn open(options: StorageOptions) -> Result<Self, StorageError> {
        let held = Held::take(&options.directory)?;
        let engine = Arc::new(Engine::new(options));
        let (for_writer, for_syncer) = (Arc::clone(&engine), Arc::clone(&engine));
        let open = Open {
            writer: spawn("storage-writer", move || writer::run(&for_writer, held))?,
            syncer: spawn("storage-sync", move || sync::run(&for_syncer))?,
        };
        Ok(Self(Arc::new(Threads {
            engine,
            open: Mutex::new(Some(open)),
        })))
    }

    /// Opens the log of this name (a relative path, such as `queue/backend/normal`), creating it
    /// where there is none. `progress` hears of bytes looked at, of all.
    ///
    /// # Errors
    /// The directory cannot be read or written to, a later otlpd wrote to it, or the log is open
    /// already.
    pub fn log(
        &self,
        name: &str,
        options: LogOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Log, Recovery), StorageError> {
        check_name(name)?;
        let open = lock_mutex(&self.0.open);
        if open.is_none() {
            return Err(closed());
        }
        let engine = &self.0.engine;
        let known = |engine: &Engine| lock_mutex(&engine.logs).get(name)?.upgrade();
        if known(engine).is_some() {
            return Err(StorageError(format!("the log {name} is open already")));
        }
        let (log, recovery) = recovery::open(engine, name, options, progress)?;
        lock_mutex(&engine.logs).insert(name.to_owned(), Arc::downgrade(&log));
        Ok((Log(log), recovery))
    }

    /// The directory that it has.
    pub fn directory(&self) -> &Path {
        &self.0.engine.directory
    }

    /// Writes and syncs all that is under way, and gives the directory up for another process.
    /// Logs that are still used fail from now on.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Threads {
    fn close(&self) {
        let Some(open) = lock_mutex(&self.open).take() else {
            return;
        };
        self.engine.close();
        let held = open.writer.join();
        if held.is_err() {
            tracing::error!("the thread that writes to the storage has ended in a panic");
        }
        self.engine.syncs.close();
        if open.syncer.join().is_err() {
            tracing::error!("the thread that syncs the storage has ended in a panic");
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.close();
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StorageError> {
    let spawned: io::Result<_> = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|e| StorageError(format!("cannot start the thread {name}: {e}")))
}

/// A name is a path below the storage directory, and nothing of ours.
fn check_name(name: &str) -> Result<(), StorageError> {
    let path = Path::new(name);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain || path.starts_with(QUARANTINE) || path.starts_with("lock") {
        return Err(StorageError(format!(
            "a log cannot be named \"{name}\": a relative path is asked for, not below {QUARANTINE}"
        )));
    }
    Ok(())
}
