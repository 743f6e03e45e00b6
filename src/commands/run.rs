//! `reconciler run`: the daemon. Wakes by reference changes, timers, finished builds and SIGHUP; SIGTERM and Ctrl-C end it in order.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use reconciler::config::Config;
use reconciler::inventory::journal::Progress;
use reconciler::reconcile::driver::{Driver, Event, Observer, Orders, Site, Wake};
use reconciler::source::SourceError;
use reconciler::source::trusted::Purpose;
use reconciler::source::watch::RefWatch;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::CommandError;
use super::open::{config, sites};
use super::stop::on_signals;
use crate::cli::Which;
use crate::telemetry;

/// Writes what happens to the log, and the last of it to systemd's status line.
struct Logger;

impl Observer for Logger {
    fn notice(&self, event: &Event<'_>) {
        match event {
            Event::Planned(plan) => {
                let summary = reconciler::plan::text::summary(plan);
                info!(workflow = %plan.workflow_id, revision = %plan.revision, "{summary}");
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&format!(
                    "{}: {summary}",
                    plan.workflow_id
                ))]);
            }
            Event::Started(attempt) => {
                info!(step = %attempt.step_id, build = %attempt.build_id, revision = %attempt.intent.revision, image = %attempt.intent.ami_name, "build started");
            }
            Event::Ended(attempt) => match &attempt.progress {
                Progress::Failed(failure) => {
                    warn!(step = %attempt.step_id, build = %attempt.build_id, class = ?failure.class, cause = %failure.cause, "build failed");
                }
                _ => {
                    info!(step = %attempt.step_id, build = %attempt.build_id, image = ?attempt.ami_id.as_ref().map(ToString::to_string), "image recorded");
                }
            },
            Event::TakenOver(attempt) => {
                info!(step = %attempt.step_id, image = %attempt.intent.ami_name, "image of an earlier build taken over");
            }
            Event::Updated(step) => info!(step = %step.id, "tags and record updated, no build"),
            Event::Rewritten { site, old, new } => {
                warn!(repository = site, old = %old, new = %new, "history was rewritten");
            }
            Event::Superseded(step) => {
                info!(step = %step, "build cancelled: git says something else by now");
            }
            Event::CancelRequested { step, by } => {
                info!(step = %step, by, "build cancelled on request");
            }
            Event::Standby(holder) => {
                info!(holder, "standing by: another reconciler holds the lease");
            }
            Event::Stopped(place, error) => {
                let diagnostic = error.diagnostic();
                error!(
                    place,
                    hint = diagnostic.hint.as_deref().unwrap_or_default(),
                    "{}",
                    diagnostic.one_line()
                );
            }
        }
    }
}

pub(crate) async fn run(named: Option<&Path>) -> Result<ExitCode, CommandError> {
    let config = Arc::new(config(named)?);
    telemetry::start(config.log_format);
    let sites = sites(&config, &Which::default(), Purpose::Act)?;
    info!(
        repositories = sites.len(),
        version = env!("CARGO_PKG_VERSION"),
        "started"
    );
    let (wake, mut wakes) = mpsc::channel(16);
    on_signals(wake.clone())?;
    if !fetch(&sites, &mut wakes).await? {
        return Ok(ExitCode::SUCCESS);
    }
    watch(&config, &sites, &wake);
    watchdog();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut driver = Driver::new(config, sites, Orders::default(), Arc::new(Logger));
    driver.run(wakes).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    info!(
        building = driver.is_building(),
        "ended; running builds go on under their supervisors"
    );
    Ok(ExitCode::SUCCESS)
}

/// Fetches what is followed. False if the daemon was told to end meanwhile: an answer that does not come holds nobody up.
async fn fetch(sites: &[Site], wakes: &mut mpsc::Receiver<Wake>) -> Result<bool, CommandError> {
    for site in sites {
        let source = Arc::clone(&site.source);
        let mut fetching = tokio::task::spawn_blocking(move || source.fetch());
        let fetched = loop {
            tokio::select! {
                fetched = &mut fetching => break fetched.map_err(std::io::Error::other)?,
                wake = wakes.recv() => if !matches!(wake, Some(Wake::Look)) {
                    return Ok(false);
                },
            }
        };
        match fetched {
            // After a start of the host the network may be late; it is fetched again on its interval.
            Err(error @ SourceError::Transient { .. }) => {
                warn!(repository = site.source.place(), "{error}");
            }
            other => other?,
        }
    }
    Ok(true)
}

/// Tells systemd that the process lives, twice in each interval that the unit asks for.
fn watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    tokio::spawn(async move {
        loop {
            tokio::time::sleep((interval / 2).max(Duration::from_millis(100))).await;
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    });
}

/// Wakes the loop when references move: a local repository is watched, and polled as well; a remote one is fetched on its interval.
fn watch(config: &Config, sites: &[Site], wake: &mpsc::Sender<Wake>) {
    for (site, repository) in sites.iter().zip(&config.repositories) {
        let (source, wake, poll) = (
            Arc::clone(&site.source),
            wake.clone(),
            repository.poll_interval,
        );
        match source.watched().map(Path::to_owned) {
            Some(folder) => tokio::spawn(async move {
                let mut refs = RefWatch::start(&folder);
                loop {
                    refs.changed(poll).await;
                    if wake.send(Wake::Look).await.is_err() {
                        return;
                    }
                }
            }),
            None => tokio::spawn(async move {
                loop {
                    tokio::time::sleep(poll).await;
                    let fetching = Arc::clone(&source);
                    let fetched = tokio::task::spawn_blocking(move || fetching.fetch()).await;
                    if let Ok(Err(error)) = fetched {
                        warn!(repository = source.place(), "{error}");
                    }
                    if wake.send(Wake::Look).await.is_err() {
                        return;
                    }
                }
            }),
        };
    }
}
