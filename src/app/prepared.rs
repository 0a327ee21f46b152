//! What is between a configuration and a running process: everything is there, nothing is taken.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::{Allowances, App, build_pipelines, feeds, parts};
use crate::auth::Authenticator;
use crate::component::Exporter;
use crate::config::Config;
use crate::net::inherited::Sockets;
use crate::net::listen::Listener;
use crate::net::tls::{Alpn, Server};
use crate::receivers::ReceiverConfig;
use crate::receivers::file::FileReceiver;
use crate::receivers::otlp::OtlpConfig;
use crate::receivers::otlp::listen::{Ground, Listeners};
use crate::telemetry::health::{Ready, State};

/// Everything that can fail is done, but nothing is taken: no connection, nothing on disk.
pub struct Prepared {
    app: App,
    admin: Option<(Listener, Option<Arc<Authenticator>>)>,
    receivers: Vec<(String, OtlpConfig, Listeners)>,
    files: Vec<(String, FileReceiver)>,
    exporters: BTreeMap<String, Arc<dyn Exporter>>,
    /// What ran before in this process, and still has something to deliver.
    past: Option<App>,
}

impl Prepared {
    /// It goes on where `past` ended, which ran in this process before: with its accounts, its
    /// counts, and its budget, out of which is paid what it has still to deliver.
    pub async fn after(
        past: App,
        config: &Config,
        allowances: &Allowances,
    ) -> Result<Self, (App, String)> {
        let app = App::new(config, allowances, Some(&past));
        let prepared = match past.sockets() {
            Ok(sockets) => Self::build(app, config, Sockets::kept(sockets)).await,
            Err(error) => Err(no_descriptor(&error)),
        };
        match prepared {
            Ok(mut prepared) => {
                prepared.past = Some(past);
                Ok(prepared)
            }
            Err(problem) => Err((past, problem)),
        }
    }

    pub(super) async fn build(
        app: App,
        config: &Config,
        mut sockets: Sockets,
    ) -> Result<Self, String> {
        let mut prepared = Self {
            app,
            admin: None,
            receivers: Vec::new(),
            files: Vec::new(),
            exporters: BTreeMap::new(),
            past: None,
        };
        prepared.listen(config, &mut sockets).await?;
        sockets.warn_of_the_rest();
        for (name, entry) in &config.exporters {
            let component = format!("exporters.{name}");
            let whose = (component.as_str(), &prepared.app.tls);
            let exporter = entry.kind.build(&prepared.app.workers, whose);
            let exporter = exporter.map_err(|problem| format!("{component}: {problem}"))?;
            prepared.exporters.insert(name.clone(), exporter);
        }
        Ok(prepared)
    }

    async fn listen(&mut self, config: &Config, sockets: &mut Sockets) -> Result<(), String> {
        if config.admin.enabled {
            let admin = &config.admin;
            let tls = admin.tls.as_ref();
            let tls = tls.map(|tls| Server::open(tls, Alpn::Http1, "admin", &self.app.tls));
            let tls = tls.transpose()?;
            let listener = Listener::open(&admin.endpoint, "admin.endpoint", None, sockets).await;
            let listener = listener.map_err(|error| error.to_string())?;
            let listener = listener.with_tls(tls);
            let auth = match &admin.auth {
                Some(auth) => Some(Authenticator::open(auth, "admin", &self.app.tls).await?),
                None => None,
            };
            let kept = listener.duplicate();
            let kept = kept.map_err(|error| no_descriptor(&error))?;
            self.app.sockets.push(kept);
            self.admin = Some((listener, auth));
        }
        for (name, receiver) in &config.receivers {
            let otlp = match receiver {
                ReceiverConfig::Otlp(otlp) => otlp,
                ReceiverConfig::File(file) => {
                    let file = FileReceiver::new(name, file, &self.app.registry);
                    self.files.push((name.clone(), file));
                    continue;
                }
            };
            let mut ground = Ground {
                registry: &self.app.registry,
                tls: &self.app.tls,
                sockets,
            };
            let listeners = Listeners::open(name, otlp, &mut ground).await?;
            let kept = listeners.duplicate();
            let kept = kept.map_err(|error| no_descriptor(&error))?;
            self.app.sockets.extend(kept);
            self.receivers.push((name.clone(), otlp.clone(), listeners));
        }
        Ok(())
    }

    /// Starts everything: what is on disk is opened here and not before, and then connections
    /// are accepted.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn start(self, config: &Config, allowances: &Allowances) -> Result<App, String> {
        let Self {
            mut app,
            admin,
            receivers,
            files,
            exporters,
            past,
        } = self;
        let faults = parts::faults(config);
        let shown = faults.values().cloned().collect();
        app.start_admin(admin, config, allowances, shown);
        let lanes = match app.open_lanes(config, exporters).await {
            Ok(lanes) => lanes,
            Err(problem) => {
                if let Some(past) = past {
                    // What it holds is to be delivered all the same.
                    past.stop(std::future::pending()).await;
                }
                return Err(problem);
            }
        };
        let pipelines = build_pipelines(config, &lanes, &faults);
        for (name, otlp, listeners) in receivers {
            let intake = app.intake(config, otlp.rules(), feeds(&name, config, &pipelines));
            let ready = Ready {
                health: Arc::clone(&app.health),
                lanes: Arc::clone(&app.lanes),
            };
            let serve = listeners.serve(intake, ready, app.receiving.drain());
            app.background.push(tokio::spawn(serve));
        }
        for (name, file) in files {
            let feeds = feeds(&name, config, &pipelines);
            let intake = app.intake(config, file.rules(), feeds);
            let storage = config.storage.directory.clone();
            let read = file.run(
                intake,
                storage,
                app.positions.clone(),
                app.receiving.drain(),
            );
            app.background.push(tokio::spawn(read));
        }
        if let Some(past) = past {
            app.senders
                .spawn(past.deliver_the_rest(app.delivering.drain()));
        }
        app.health.set(State::Running);
        Ok(app)
    }
}

fn no_descriptor(error: &io::Error) -> String {
    format!("no file descriptor is free for the sockets: {error}; raise the limit of open files")
}
