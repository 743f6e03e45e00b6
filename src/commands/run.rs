//! `reconciler run`: the daemon. Wakes by reference changes, timers, finished builds and SIGHUP; SIGTERM and Ctrl-C end it in order.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reconciler::config::Config;
use reconciler::inventory::journal::Progress;
use reconciler::reconcile::board::Board;
use reconciler::reconcile::driver::{Driver, Event, Observer, Orders, Site, Wake};
use reconciler::reconcile::error::PassError;
use reconciler::source::trusted::Purpose;
use reconciler::source::watch::RefWatch;
use reconciler::source::{GitSource, SourceError};
use reconciler::status::trouble::Trouble;
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
    let followed: Vec<_> = sites.iter().map(|site| Arc::clone(&site.source)).collect();
    let mut driver = Driver::new(
        Arc::clone(&config),
        sites,
        Orders::default(),
        Arc::new(Logger),
    );
    watch(&config, followed, &wake, &driver.board());
    watchdog();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
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
fn watch(
    config: &Config,
    sources: Vec<Arc<dyn GitSource>>,
    wake: &mpsc::Sender<Wake>,
    board: &Arc<Board>,
) {
    for (source, repository) in sources.into_iter().zip(&config.repositories) {
        let (wake, poll) = (wake.clone(), repository.poll_interval);
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
            None => tokio::spawn(fetch_now_and_then(source, poll, wake, Arc::clone(board))),
        };
    }
}

/// Goes on at the commit that was fetched last while the remote cannot be reached; `status` says so.
async fn fetch_now_and_then(
    source: Arc<dyn GitSource>,
    poll: Duration,
    wake: mpsc::Sender<Wake>,
    board: Arc<Board>,
) {
    let part = format!("fetching {}", source.place());
    let mut failing: Option<(Timestamp, u32)> = None;
    loop {
        tokio::time::sleep(poll).await;
        let fetching = Arc::clone(&source);
        let fetched = tokio::task::spawn_blocking(move || fetching.fetch()).await;
        match fetched {
            Ok(Err(error)) => {
                warn!(repository = source.place(), "{error}");
                let now = Timestamp::now();
                let (since, times) = failing.map_or((now, 1), |(since, times)| (since, times + 1));
                failing = Some((since, times));
                let said = PassError::from(error).diagnostic();
                board.show(
                    &part,
                    vec![Trouble {
                        what: part.clone(),
                        cause: said.one_line(),
                        hint: said.hint,
                        times,
                        since,
                        next_try: now.checked_add(poll).ok(),
                    }],
                );
            }
            Ok(Ok(())) => {
                failing = None;
                board.show(&part, Vec::new());
            }
            Err(_) => {}
        }
        if wake.send(Wake::Look).await.is_err() {
            return;
        }
    }
}
