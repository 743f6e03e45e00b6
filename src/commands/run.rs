//! `reconciler run`: the daemon. Wakes by reference changes, timers, finished builds and SIGHUP;
//! SIGTERM and Ctrl-C end it in order.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reconciler::config::Config;
use reconciler::controller::connect::RealConnector;
use reconciler::controller::error::PassError;
use reconciler::controller::main_loop::{
    Controller, Fetching, FollowedRepository, Observers, RunOptions, Wake,
};
use reconciler::controller::status_file::StatusFile;
use reconciler::git::GitSource;
use reconciler::git::trusted::Purpose;
use reconciler::git::watch::RefWatch;
use reconciler::metrics::{self, Metrics};
use reconciler::web::Surface;
use reconciler_aws::calls::SharedCallCounter;
use reconciler_core::plan::outcome::{Remaining, remaining};
use reconciler_core::status::trouble::Trouble;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::source::SourceError;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::apply::exit_code;
use super::log::Logger;
use super::open::{config_to_act, repositories};
use super::stop::{Asked, on_signals};
use super::{CommandError, print};
use crate::cli::{Loudness, RunArgs, Which};
use crate::telemetry;

pub(crate) async fn run(
    named: Option<&Path>,
    args: &RunArgs,
    loudness: Loudness,
) -> Result<ExitCode, CommandError> {
    let config = match config_to_act(named) {
        Ok(config) => Arc::new(config),
        Err(error) => return Ok(misconfigured(&error)),
    };
    if let Err(wrong) = telemetry::start(config.log_format, loudness) {
        return Ok(misconfigured(&wrong.into()));
    }
    let repositories = match repositories(&config, &Which::default(), Purpose::Follow) {
        Err(error) if !config.names_repositories => {
            return Ok(misconfigured(&no_repository(&error)?.into()));
        }
        repositories => repositories?,
    };
    info!(repositories = repositories.len(), version = env!("CARGO_PKG_VERSION"), "started");
    let (wake, mut wakes) = mpsc::channel(16);
    let asked = on_signals(wake.clone())?;
    let sources: Vec<_> = repositories
        .iter()
        .map(|repository| (repository.name.clone(), Arc::clone(&repository.source)))
        .collect();
    let mut driver = controller(&config, repositories, args);
    let Some(unfetched) = fetch(&sources, &mut wakes).await? else {
        return Ok(ended(args, &asked));
    };
    // What could not be fetched is as old as a fetch that nobody has noted.
    for (_, source) in sources.iter().filter(|(name, _)| !unfetched.contains_key(name)) {
        driver.fetching().fetched(&source.place(), Timestamp::now());
    }
    let hears = Hears {
        status_file: driver.status_file(),
        fetching: driver.fetching(),
        unfetched: Arc::new(unfetched),
    };
    watch(&config, sources.into_iter().map(|(_, source)| source), &wake, &hears);
    watchdog();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let report = driver.run(wakes).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    info!(building = driver.is_building(), "ended; running builds go on under their supervisors");
    if !args.once || asked.code().is_some() {
        return Ok(ended(args, &asked));
    }
    let left = report.plans.iter().map(|plan| remaining(plan, None)).max();
    let is_wrong = report.errors > 0 || driver.is_building();
    Ok(exit_code(left.unwrap_or(Remaining::Nothing), is_wrong))
}

/// The loop, and what shows it over HTTP where the configuration asks for that: nothing of it is
/// made elsewhere.
fn controller(
    config: &Arc<Config>,
    repositories: Vec<FollowedRepository>,
    args: &RunArgs,
) -> Controller {
    let options = RunOptions { once: args.once, ..RunOptions::default() };
    let of = |connector: RealConnector, observer| {
        Controller::new(Arc::new(connector), Arc::clone(config), repositories, options, observer)
    };
    let Some(web) = config.web.clone().filter(|_| !args.once) else {
        return of(RealConnector::default(), Arc::new(Logger));
    };
    let (recorder, uncounted) = metrics::recorder();
    let counter = SharedCallCounter(Arc::new(recorder.clone()));
    let observers = Observers(vec![Arc::new(Logger), Arc::new(recorder.clone())]);
    let driver = of(RealConnector::default().counted_by(counter), Arc::new(observers));
    let settings = metrics::Settings {
        max_steps: config.metrics.max_steps,
        interval: config.interval,
        state_dir: config.state_dir.clone(),
        started_at: Timestamp::now(),
    };
    let surface = Surface {
        config: web,
        metrics: Metrics::start(settings, uncounted, driver.views()),
        interval: config.interval,
        recorder,
    };
    surface.start(driver.status_file());
    driver
}

/// A daemon that is told to end has done what it was told; a command that was to end by itself has
/// not.
fn ended(args: &RunArgs, asked: &Asked) -> ExitCode {
    match asked.code() {
        Some(code) if args.once => ExitCode::from(code),
        _ => ExitCode::SUCCESS,
    }
}

/// As in `sysexits.h`. The unit does not start such a daemon again: it would come to the same.
const MISCONFIGURED: u8 = 78;

fn misconfigured(error: &CommandError) -> ExitCode {
    print::failure(error);
    ExitCode::from(MISCONFIGURED)
}

/// A service is started in no repository's folder: what is missing is the key.
fn no_repository(error: &CommandError) -> Result<Diagnostic, CommandError> {
    let here = std::env::current_dir()?;
    let why = match error {
        CommandError::Pass(error) => error.diagnostic().one_line(),
        CommandError::Io(error) => error.to_string(),
    };
    Ok(Diagnostic::new(format!(
        "the configuration names no repository to follow, and the current folder, {}, cannot be followed: {why}",
        here.display()
    ))
    .hint(
        "write into the configuration (/etc/reconciler/reconciler.yaml for the service), and start again:\nrepositories:\n  - path: /srv/git/images.git  # or url: https://host/owner/images.git",
    ))
}

/// Repositories that could not be fetched at the start, by name: since when, and why.
type Unfetched = BTreeMap<String, (Timestamp, String)>;

/// Fetches what is followed. None if the daemon was told to end meanwhile: an answer that does not
/// come holds nobody up.
async fn fetch(
    sources: &[(String, Arc<dyn GitSource>)],
    wakes: &mut mpsc::Receiver<Wake>,
) -> Result<Option<Unfetched>, CommandError> {
    let mut unfetched = Unfetched::new();
    for (name, source) in sources {
        let fetched_one = Arc::clone(source);
        let mut fetching = tokio::task::spawn_blocking(move || fetched_one.fetch());
        let fetched = loop {
            tokio::select! {
                fetched = &mut fetching => break fetched.map_err(std::io::Error::other)?,
                wake = wakes.recv() => if !matches!(wake, Some(Wake::Look)) {
                    return Ok(None);
                },
            }
        };
        match fetched {
            // After a start of the host the network may be late; it is fetched again on its
            // interval.
            Err(error @ (SourceError::Transient { .. } | SourceError::Host { .. })) => {
                let cause = PassError::from(error).diagnostic();
                warn!(
                    repository = name,
                    hint = cause.hint.as_deref(),
                    "fetching {} does not work: {}",
                    source.place(),
                    cause.one_line()
                );
                unfetched.insert(name.clone(), (Timestamp::now(), cause.message));
            }
            other => other?,
        }
    }
    Ok(Some(unfetched))
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

/// Who hears whether repositories can be fetched: people, and the loop.
#[derive(Clone)]
struct Hears {
    status_file: Arc<StatusFile>,
    fetching: Arc<Fetching>,
    unfetched: Arc<Unfetched>,
}

/// Wakes the loop when references move: a local repository is watched, and polled as well; a remote
/// one is fetched on its interval.
fn watch(
    config: &Config,
    sources: impl Iterator<Item = Arc<dyn GitSource>>,
    wake: &mpsc::Sender<Wake>,
    hears: &Hears,
) {
    for (source, repository) in sources.zip(&config.repositories) {
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
            None => tokio::spawn(fetch_now_and_then(
                source,
                repository.name.clone(),
                poll,
                wake,
                hears.clone(),
            )),
        };
    }
}

/// Goes on at the commit that was fetched last while the remote cannot be reached; `status` says
/// so.
async fn fetch_now_and_then(
    source: Arc<dyn GitSource>,
    repository: String,
    poll: Duration,
    wake: mpsc::Sender<Wake>,
    hears: Hears,
) {
    let part = format!("fetching {}", source.place());
    let at_start = hears.unfetched.get(&repository);
    let mut failing: Option<(Timestamp, u32)> = at_start.map(|(since, _)| (*since, 1));
    let mut told: Option<String> = at_start.map(|(_, cause)| cause.clone());
    loop {
        tokio::time::sleep(poll).await;
        let fetching = Arc::clone(&source);
        let fetched = tokio::task::spawn_blocking(move || fetching.fetch()).await;
        match fetched {
            Ok(Err(error)) => {
                let now = Timestamp::now();
                let (since, times) = failing.map_or((now, 1), |(since, times)| (since, times + 1));
                failing = Some((since, times));
                let error = PassError::from(error);
                hears.fetching.note(&source.place(), error.host_cause());
                let said = error.diagnostic();
                let next_try = now.checked_add(poll).ok();
                // Once for each cause: the board counts the tries.
                if told.as_ref() != Some(&said.message) {
                    told = Some(said.message.clone());
                    warn!(
                        repository,
                        hint = said.hint.as_deref(),
                        next_try = next_try.map(tracing::field::display),
                        "{part} does not work: {}",
                        said.one_line()
                    );
                }
                hears.status_file.show(
                    &part,
                    vec![Trouble {
                        what: part.clone(),
                        cause: said.one_line(),
                        hint: said.hint,
                        times,
                        since,
                        next_try,
                    }],
                );
            }
            Ok(Ok(())) => {
                told = None;
                hears.fetching.note(&source.place(), None);
                hears.fetching.fetched(&source.place(), Timestamp::now());
                if let Some((since, times)) = failing.take() {
                    info!(repository, times, %since, "{part} works again");
                }
                hears.status_file.show(&part, Vec::new());
            }
            Err(_) => {}
        }
        if wake.send(Wake::Look).await.is_err() {
            return;
        }
    }
}
