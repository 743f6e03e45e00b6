//! A build's signs of life in the inventory, given by its supervisor while Packer runs and once
//! more when it has ended.
//!
//! It connects when Packer runs already, with the build's own credentials. A build never fails, and
//! hardly ever waits, for it: without a way to the inventory it says so in the build's log and
//! keeps trying. Its answers tell whether the build is to end.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::packer::supervisor::files;
use crate::packer::supervisor::files::{HeartbeatJob, InventoryPlace};
use crate::sqlite::SqliteInventory;
use reconciler_aws::dynamodb::DynamoDbInventory;
use reconciler_aws::session::{Session, SessionSettings};
use reconciler_core::build::output;
use reconciler_core::build::output::{LONGEST_LINE, Reading, next_line};
use reconciler_model::build::BuildOutcome;
use reconciler_model::build_resources::ClaimedResources;
use reconciler_model::inventory::heartbeat::{Answer, BuildSignal, Heartbeat, new_version};
use reconciler_model::inventory::{Heartbeats, InventoryError};

/// How often the log is looked at: what it names is told at once, for it is all that is known where
/// the host is lost.
const LOOK: Duration = Duration::from_secs(1);

/// How long a Packer whose host comes back is given to say what it has made.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How many beats fit into the silence that counts as death.
const BEATS: u32 = 6;

/// How long one beat may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of a log is read at one look.
const MOST: u64 = 8 * 1024 * 1024;

/// For so long is tried to tell how a build went that could not be written down where it ran.
const LAST_TRIES: Duration = Duration::from_hours(1);

/// Beats until the outcome has been told, or until nobody will send one. `written` says whether the
/// end stands in the build's folder too: if not, the last sign of life is the only word of it, and
/// is tried again until it is heard.
pub(super) async fn beat(
    folder: PathBuf,
    job: HeartbeatJob,
    mut over: oneshot::Receiver<BuildOutcome>,
    written: oneshot::Receiver<bool>,
) {
    let mut log = GrowingLog::new(folder.join(files::LOG));
    let mut heart = Heart { folder, job, connection: None, silent: false };
    let pause = heart.pause();
    let mut look = tokio::time::interval(LOOK.min(pause));
    let mut due = Instant::now();
    let mut told = ClaimedResources::default();
    loop {
        let outcome = tokio::select! {
            biased;
            ended = &mut over => match ended {
                Ok(outcome) => Some(outcome),
                Err(_) => return,
            },
            _ = look.tick() => None,
        };
        let news = log.read();
        if outcome.is_none() && !news && Instant::now() < due {
            continue;
        }
        due = Instant::now() + pause;
        if let Some(outcome) = outcome {
            let outcome = Box::new(brief(outcome));
            return heart.give_last(BuildSignal::Over { outcome }, written).await;
        }
        let named = log.reading.made.traces.clone();
        let sources = log.reading.made.sources.clone();
        let sign = BuildSignal::Running { traces: named.clone(), sources };
        match heart.give(sign).await {
            Some(Answer::GoOn) => told = named,
            None => {}
            Some(Answer::Cancel) => {
                told = named;
                heart.end("a person has asked for the build to end", files::CANCEL);
            }
            Some(Answer::GivenUp) => {
                // A Packer that stood still with its host has not said yet what it made last.
                tokio::time::sleep(LAST_WORDS.min(pause)).await;
                log.read();
                let named = log.reading.made.traces.clone();
                heart.end(
                    "the build was given up by another host, for this one was silent too long",
                    end_of_given_up(&named, &told),
                );
                return;
            }
        }
    }
}

/// How Packer is to be ended whose build was given up. Once its image exists, another host may have
/// recorded it, and a Packer that is asked to end takes its image away: it is killed, if all that
/// it would clean up was told to who does that now. The image itself need not have been told if it
/// is the only one, for it is looked for by its name. Else Packer is asked to end: a recorded image
/// that is gone is noticed and built again, an instance that nobody knows runs for ever.
fn end_of_given_up(named: &ClaimedResources, told: &ClaimedResources) -> &'static str {
    let is_found_by_name = named.told_images.len() == 1 && told.told_images.is_empty();
    let told_images = if is_found_by_name { &named.told_images } else { &told.told_images };
    let told = ClaimedResources { told_images: told_images.clone(), ..told.clone() };
    if !named.told_images.is_empty() && *named == told { files::KILL } else { files::CANCEL }
}

struct Heart {
    folder: PathBuf,
    job: HeartbeatJob,
    connection: Option<Box<dyn Heartbeats>>,
    silent: bool,
}

impl Heart {
    fn pause(&self) -> Duration {
        Duration::from_secs(self.job.silence_seconds.max(1)) / BEATS
    }

    async fn give(&mut self, sign: BuildSignal) -> Option<Answer> {
        let given = tokio::time::timeout(PATIENCE.max(self.pause()), self.try_to_give(sign)).await;
        let given = given.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        match given {
            Ok(answer) => {
                if self.silent {
                    self.silent = false;
                    note(&self.folder, "reconciler: signs of life reach the inventory again");
                }
                Some(answer)
            }
            Err(why) => {
                if !self.silent {
                    self.silent = true;
                    note(
                        &self.folder,
                        &format!(
                            "reconciler: warning: no sign of life of this build reaches the inventory: {why}; the build goes on"
                        ),
                    );
                }
                None
            }
        }
    }

    /// Tells how it went: once, if it can be read in the build's folder, else until it is heard.
    async fn give_last(&mut self, sign: BuildSignal, written: oneshot::Receiver<bool>) {
        if self.give(sign.clone()).await.is_some() || written.await == Ok(true) {
            return;
        }
        let since = Instant::now();
        while since.elapsed() < LAST_TRIES {
            tokio::time::sleep(self.pause().min(Duration::from_secs(15))).await;
            // Whatever kept it from being heard may be in the connection.
            self.connection = None;
            if self.give(sign.clone()).await.is_some() {
                return;
            }
        }
    }

    async fn try_to_give(&mut self, sign: BuildSignal) -> Result<Answer, String> {
        let connection = match &self.connection {
            Some(connection) => connection,
            None => self.connection.insert(connect(&self.job).await?),
        };
        let beat = Heartbeat {
            workflow_id: self.job.workflow_id.clone(),
            step_id: self.job.step_id.clone(),
            build_id: self.job.build_id.clone(),
            host: self.job.host.clone(),
            version: new_version(),
            silence_seconds: self.job.silence_seconds,
            at: Timestamp::now(),
            sign,
        };
        match connection.beat(&beat).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                if matches!(error, InventoryError::Replaced { .. }) {
                    // What stands there now is opened at the next beat.
                    self.connection = None;
                }
                Err(error.to_string())
            }
        }
    }

    /// Asks the supervisor to end Packer, in the way that everybody does.
    fn end(&self, why: &str, how: &str) {
        note(&self.folder, &format!("reconciler: {why}"));
        // Tried again at the next beat.
        let _ = files::append(&self.folder.join(how));
    }
}

async fn connect(job: &HeartbeatJob) -> Result<Box<dyn Heartbeats>, String> {
    match &job.inventory {
        InventoryPlace::Sqlite { path } => {
            let path = path.clone();
            // Where it is gone nobody would look into a new one.
            let opened =
                tokio::task::spawn_blocking(move || SqliteInventory::open_existing(path)).await;
            let inventory =
                opened.map_err(|died| died.to_string())?.map_err(|error| error.to_string())?;
            Ok(Box::new(inventory))
        }
        InventoryPlace::DynamoDb { table, region } => {
            // Region, endpoint and credentials are in the environment of the build; keys that do
            // not end may be replaced where they were read, and the build outlives them.
            let settings = SessionSettings {
                // Seeded bug: a-supervisor-keeps-its-keys
                profile: job.profile.clone(),
                or_environment: true,
                region: std::env::var("AWS_REGION").ok(),
                ..SessionSettings::default()
            };
            let session = Session::open(&settings).await.map_err(|wrong| wrong.one_line())?;
            let client = session.dynamodb(region.as_deref());
            Ok(Box::new(DynamoDbInventory::new(client, table.clone(), false)))
        }
    }
}

/// So much of an outcome as judging it takes: an item of a table holds no log.
fn brief(mut outcome: BuildOutcome) -> BuildOutcome {
    for said in [&mut outcome.failures, &mut outcome.errors] {
        let old = said.len().saturating_sub(20);
        said.drain(..old);
        for one in said {
            *one = one.chars().take(1000).collect();
        }
    }
    outcome.artifacts.truncate(20);
    outcome.others.truncate(20);
    outcome.sources.truncate(20);
    outcome
}

/// Says something in the build's log.
pub(super) fn note(folder: &Path, text: &str) {
    // Not worth failing a build for: a full disk.
    let _ = files::append(&folder.join(files::LOG))
        .and_then(|mut log| log.write_all(format!("{text}\n").as_bytes()));
}

/// A log that is being written.
struct GrowingLog {
    path: PathBuf,
    /// Kept open: what is written can be read here though the folder is gone.
    file: Option<File>,
    offset: u64,
    reading: Reading,
}

impl GrowingLog {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None, offset: 0, reading: Reading::default() }
    }

    /// Reads on. Returns whether the log names more than before.
    fn read(&mut self) -> bool {
        let before = (self.reading.made.traces.clone(), self.reading.made.sources.len());
        // What cannot be read now is read at the next look.
        let _ = self.read_on();
        (&before.0, before.1) != (&self.reading.made.traces, self.reading.made.sources.len())
    }

    fn read_on(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::new(file.take(MOST));
        let mut line = Vec::new();
        loop {
            let read = next_line(&mut reader, &mut line)?;
            let whole = line.last() == Some(&b'\n');
            if read == 0 || (!whole && read < LONGEST_LINE) {
                return Ok(());
            }
            self.offset += read;
            self.reading.take(output::line(&line));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use reconciler_model::build::{Exit, PackerStage};
    use reconciler_model::ids::{AmiId, BuildId, StepId, WorkflowId};

    const KEY: &str = "packer_6743a2b1-3b0a-8d9c-5b5e-0a1b2c3d4e5f";

    fn outcome() -> BuildOutcome {
        BuildOutcome {
            stage: PackerStage::Build,
            exit: Exit::Code(1),
            artifacts: vec![],
            failures: vec![],
            errors: (0..50).map(|n| format!("{n} {}", "x".repeat(5000))).collect(),
            traces: ClaimedResources::default(),
            sources: vec![],
            others: vec![],
            finished: true,
            last_words: vec![],
            lost: None,
            phases: vec![],
            duration: Duration::from_secs(3),
            log: "packer.log".into(),
        }
    }

    fn heartbeat(path: PathBuf) -> HeartbeatJob {
        HeartbeatJob {
            inventory: InventoryPlace::Sqlite { path },
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::generate(),
            host: "builder-1".to_owned(),
            silence_seconds: 1,
            profile: None,
        }
    }

    fn keyed(log: &Path) {
        fs::write(
            log,
            format!("1,,ui,say,==> x: Creating temporary keypair: {KEY}\n1,,ui,say,cut of"),
        )
        .unwrap();
    }

    #[test]
    fn a_packer_whose_image_another_may_have_recorded_is_killed_if_others_know_what_it_leaves() {
        let with = |key: bool, image: bool| ClaimedResources {
            key_pairs: key.then(|| KEY.to_owned()).into_iter().collect(),
            told_images: image.then(|| AmiId::new("ami-1")).into_iter().collect(),
            ..ClaimedResources::default()
        };
        let with_two_images = || ClaimedResources {
            told_images: vec![AmiId::new("ami-1"), AmiId::new("ami-2")],
            ..with(true, true)
        };
        let table = [
            (with(false, false), with(false, false), files::CANCEL),
            (with(true, false), with(true, false), files::CANCEL),
            (with(true, true), with(true, true), files::KILL),
            (with(true, true), with(true, false), files::KILL),
            (with(true, true), with(false, false), files::CANCEL),
            (with(true, true), with(false, true), files::CANCEL),
            // Another one than that of the build's name would be known to nobody.
            (with_two_images(), with(true, false), files::CANCEL),
            (with_two_images(), with(true, true), files::CANCEL),
            (with_two_images(), with_two_images(), files::KILL),
        ];
        for (named, told, expected) in table {
            assert_eq!(end_of_given_up(&named, &told), expected, "{named:?} {told:?}");
        }
    }

    #[tokio::test]
    async fn it_tells_what_the_log_names_and_at_the_end_how_it_went() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("inventory.sqlite");
        let inventory = SqliteInventory::open(&place).unwrap();
        let job = heartbeat(place);
        let last = || inventory.last_beat(&job.workflow_id, &job.build_id);
        let (end, over) = oneshot::channel();
        keyed(&folder.path().join(files::LOG));
        let (_written, is_written) = oneshot::channel();
        let beating = tokio::spawn(beat(folder.path().to_owned(), job.clone(), over, is_written));
        let first = loop {
            if let Some(beat) = last().await.unwrap() {
                break beat;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(first.sign.traces().key_pairs, [KEY]);
        while last().await.unwrap().unwrap().version == first.version {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        end.send(outcome()).unwrap();
        beating.await.unwrap();
        let BuildSignal::Over { outcome: told } = last().await.unwrap().unwrap().sign else {
            panic!("it tells the end");
        };
        assert_eq!(told.exit, Exit::Code(1));
        assert_eq!(told.errors.len(), 20);
        assert!(told.errors[19].starts_with("49 ") && told.errors[19].len() == 1000);
    }

    #[tokio::test]
    async fn without_a_way_to_the_inventory_it_says_so_once_and_ends_with_the_build() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(files::LOG);
        let job = heartbeat(folder.path().join("packer.log/inventory.sqlite"));
        fs::write(&log, "").unwrap();
        let (end, over) = oneshot::channel();
        let (written, is_written) = oneshot::channel();
        let beating = tokio::spawn(beat(folder.path().to_owned(), job, over, is_written));
        while fs::read_to_string(&log).unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        end.send(outcome()).unwrap();
        written.send(true).unwrap();
        beating.await.unwrap();
        let said = fs::read_to_string(&log).unwrap();
        assert_eq!(said.matches("no sign of life").count(), 1, "{said}");
    }

    #[tokio::test]
    async fn an_end_that_could_not_be_written_down_is_told_until_it_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("later/inventory.sqlite");
        fs::write(folder.path().join("later"), "in its way").unwrap();
        let job = heartbeat(place.clone());
        let (end, over) = oneshot::channel();
        let (written, is_written) = oneshot::channel();
        let gone = folder.path().join("gone");
        let beating = tokio::spawn(beat(gone, job.clone(), over, is_written));
        end.send(outcome()).unwrap();
        written.send(false).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!beating.is_finished());
        fs::remove_file(folder.path().join("later")).unwrap();
        fs::create_dir(folder.path().join("later")).unwrap();
        let inventory = SqliteInventory::open(&place).unwrap();
        beating.await.unwrap();
        let last = inventory.last_beat(&job.workflow_id, &job.build_id).await;
        assert!(matches!(last.unwrap().unwrap().sign, BuildSignal::Over { .. }));
    }
}
