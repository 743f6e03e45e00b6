//! The processes of a running Packer, watched: whether one of them ended before its time. What
//! Packer says after that is no word about the step.
//!
//! Packer is a tree: the process that was started (a wrapper), `packer build` below it, and below
//! that a process for each plugin. Packer ends its plugins itself, but only after its last word. So
//! a plugin that has ended before the log tells what became of the build was killed, or crashed. A
//! process's end is seen when it happens, by a descriptor of the process (`pidfd_open(2)`), and at
//! that moment the log's length is noted; what counts is what was written behind it. Packer's words
//! pass through a pipe, and it fails within a millisecond where it has nothing to clean up, so an
//! end may be seen too early or too late by some lines: then its words have to do
//! (`failure_patterns`).

use std::fs::{self, File};
use std::io::{self, BufReader, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::packer::process::{ProcessId, raw};
use reconciler_core::build::output;
use reconciler_core::build::output::{Line, next_line};

/// How often is looked for new processes.
const LOOK: Duration = Duration::from_millis(100);

/// A plugin that has ended.
#[derive(Clone, Debug)]
struct End {
    what: String,
    at: Instant,
    /// How long the log was then.
    log: u64,
}

/// Watches one run of Packer from a thread of its own, until it is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    log: PathBuf,
    ends: Arc<Mutex<Vec<End>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches the tree below this process, the one that was started, which writes to this log.
    #[must_use]
    pub(super) fn start(wrapper: ProcessId, log: &Path) -> Self {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Watch {
            wrapper,
            log: log.to_owned(),
            ends: Arc::clone(&ends),
            stop: Arc::clone(&stop),
            plugins: Vec::new(),
        };
        Self {
            log: log.to_owned(),
            ends,
            stop,
            thread: Some(std::thread::spawn(move || watch.run())),
        }
    }

    fn ends(&self) -> Vec<End> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long ago the first plugin ended; none if all of them run.
    #[must_use]
    pub(super) fn partly_gone_for(&self) -> Option<Duration> {
        self.ends().first().map(|end| end.at.elapsed())
    }

    /// Asked once Packer has ended: what ended before its time, in words.
    #[must_use]
    pub(super) fn lost(&self) -> Option<String> {
        let end = self.ends().into_iter().next()?;
        // What cannot be read tells nothing.
        let told_later = tells_of_an_end(&self.log, end.log).unwrap_or(false);
        told_later.then(|| lost(&end.what))
    }
}

/// What a build has lost that lost this process.
#[must_use]
pub(super) fn lost(what: &str) -> String {
    format!("a process of Packer's ended before its time ({what}): killed, or crashed")
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, nothing was seen.
            let _ = thread.join();
        }
    }
}

struct Watch {
    wrapper: ProcessId,
    log: PathBuf,
    ends: Arc<Mutex<Vec<End>>>,
    stop: Arc<AtomicBool>,
    plugins: Vec<(ProcessId, String, Option<OwnedFd>)>,
}

impl Watch {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) && self.wrapper.is_alive() {
            for (process, what) in plugins(self.wrapper) {
                if !self.plugins.iter().any(|(known, ..)| *known == process) {
                    let descriptor =
                        raw(process.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                    self.plugins.push((process, what, descriptor));
                }
            }
            self.wait();
            self.note_ends();
        }
    }

    /// Until one ends, or it is time to look again.
    fn wait(&self) {
        let descriptors = self.plugins.iter();
        let mut polled: Vec<_> = descriptors
            .filter_map(|(_, _, descriptor)| descriptor.as_ref())
            .map(|descriptor| PollFd::new(descriptor, PollFlags::IN))
            .collect();
        let limit = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
        if polled.is_empty() || poll(&mut polled, Some(&limit)).is_err() {
            std::thread::sleep(LOOK);
        }
    }

    fn note_ends(&mut self) {
        let log = || fs::metadata(&self.log).map_or(0, |log| log.len());
        let gone: Vec<End> = self
            .plugins
            .iter()
            .filter(|(process, ..)| !process.is_alive())
            .map(|(process, what, _)| End {
                what: format!("{what}, process {}", process.pid),
                at: Instant::now(),
                log: log(),
            })
            .collect();
        if !gone.is_empty() {
            self.plugins.retain(|(process, ..)| process.is_alive());
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.extend(gone);
        }
    }
}

/// The plugins of a Packer, which are children of the child of the process that was started, and
/// what they are.
fn plugins(wrapper: ProcessId) -> Vec<(ProcessId, String)> {
    let inner = children(wrapper.pid).into_iter();
    inner.flat_map(children).filter_map(|pid| Some((ProcessId::of(pid)?, plugin(pid)?))).collect()
}

/// What a process of Packer's is, if it is one that runs for as long as the build:
/// `packer plugin NAME` in 1.6, `packer execute NAME` and `packer-plugin-NAME start KIND NAME`
/// today, flags among them. Those that are only asked what they can do end at once.
fn plugin(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    match words.get(1)?.as_ref() {
        "plugin" | "execute" => {
            let mut names = words[2..].iter();
            let name = names.find(|word| !word.is_empty() && !word.starts_with('-'));
            name.map(ToString::to_string)
        }
        "start" => {
            let program = Path::new(words.first()?.as_ref()).file_name()?;
            Some(program.to_string_lossy().into_owned())
        }
        _ => None,
    }
}

/// The children of a process, whichever of its threads started them.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let pids = list.split_ascii_whitespace().map(str::parse);
            pids.filter_map(Result::ok).collect::<Vec<u32>>()
        })
        .collect()
}

/// Whether a log says behind this place what became of a build: words of Packer itself, which bear
/// no target.
fn tells_of_an_end(log: &Path, from: u64) -> io::Result<bool> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while next_line(&mut reader, &mut line)? > 0 {
        match output::line(line.trim_ascii_end()) {
            Line::Failure(_) => return Ok(true),
            Line::Ui(kind, said) if kind == "error" && !said.starts_with("==> ") => {
                return Ok(true);
            }
            _ => {}
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "1,,ui,error,Build 'x' errored after 1 second: unexpected EOF\n";

    #[test]
    fn what_is_said_after_a_plugins_end_tells_that_it_ended_before_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("packer.log");
        let said = "1,,ui,error,==> x: of a script\n";
        fs::write(&log, format!("{said}{FAILED}{said}")).unwrap();
        let at = |place: usize| tells_of_an_end(&log, place as u64).unwrap();
        assert!(at(0) && at(said.len()));
        assert!(!at(said.len() + FAILED.len()), "it ended after the last word, as it should");
        assert!(!at(100_000));
    }

    /// A process with a child that has a child, as Packer's are; the innermost is called as a
    /// plugin is. Packer cleans up before it speaks.
    #[test]
    fn a_plugin_that_ends_while_packer_is_at_work_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let said = FAILED.trim_end().replace('\'', "'\\''");
        fs::write(path("start"), "echo $$ > pid.new; mv pid.new pid; read line\n").unwrap();
        let inner = format!("sh start; sleep 0.7; echo '{said}' >> packer.log; read line\n");
        fs::write(path("inner"), inner).unwrap();
        fs::write(path("packer.log"), "1,,ui,say,==> x: at work\n").unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sh inner; true"])
            .current_dir(folder.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let watcher = Watcher::start(ProcessId::of(child.id()).unwrap(), &path("packer.log"));
        let wait = |what: &dyn Fn() -> bool| {
            for _ in 0..500 {
                if what() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            panic!("it does not come");
        };
        wait(&|| path("pid").exists());
        // So long that it is known.
        std::thread::sleep(3 * LOOK);
        assert!(watcher.partly_gone_for().is_none() && watcher.lost().is_none());
        let pid = fs::read_to_string(path("pid")).unwrap();
        let plugin = ProcessId::of(pid.trim().parse().unwrap()).unwrap();
        plugin.signal(rustix::process::Signal::KILL);
        wait(&|| watcher.partly_gone_for().is_some());
        wait(&|| watcher.lost().is_some());
        let lost = watcher.lost().unwrap();
        assert!(lost.contains(&format!("(sh, process {})", plugin.pid)), "{lost}");
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
