//! Keeps a build's log within bounds, however much Packer writes, and without Packer ever waiting.
//!
//! Packer writes to the file itself, so the file cannot be replaced while it runs. What lies
//! between the head and the tail of a log that grows too long is punched out of it: the file keeps
//! its length and gives its blocks back. The lines there that say what the build made at AWS are
//! copied to a file beside it first. When the build is over, the log is written anew as head, those
//! lines, a word on what is left out, and tail. All in bounded memory. Where the file system cannot
//! punch, only the last part is done.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::atomic_file::{create, if_there};
use crate::packer::supervisor::files::with_end;
use reconciler_core::build::output::{LONGEST_LINE, Line, Made, Reading, line, next_line};

/// A line that would be cut between tail and middle goes to the tail, if it is no longer than this;
/// nor is it the end of a hole.
const LONGEST_CUT: u64 = 64 * 1024;

/// A line that says what was made says it here.
const TELLING: usize = 512;

/// File systems punch whole blocks.
const BLOCK: u64 = 4096;

/// What is kept of the lines between head and tail.
const MOST_KEPT: u64 = 256 * 1024;

/// A log that may grow too long.
#[derive(Debug)]
pub struct BoundedLog {
    path: PathBuf,
    /// The size of the head, and of the tail.
    part: u64,
    /// Where what has been punched out ends.
    from: u64,
}

impl BoundedLog {
    /// The log at this path, of which `limit` bytes are kept, more or less.
    #[must_use]
    pub fn new(path: &Path, limit: u64) -> Self {
        // Whole blocks: what is punched out can be found again.
        let part = (limit / 4 / BLOCK).max(1) * BLOCK;
        Self { path: path.to_owned(), part, from: part }
    }

    fn is_too_long(&self, size: u64) -> bool {
        size > self.from.saturating_add(2 * self.part)
    }

    /// Gives the middle of the log back to the disk, if it has grown too long. Cheap where it has
    /// not.
    pub fn trim(&mut self) -> io::Result<()> {
        let Some(size) = if_there(fs::metadata(&self.path))?.map(|found| found.len()) else {
            return Ok(());
        };
        if !self.is_too_long(size) {
            return Ok(());
        }
        let (from, upto) = (self.from, size - self.part);
        let upto = self.keep_telling_lines(from, upto)?;
        let log = File::options().write(true).open(&self.path)?;
        fallocate(&log, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, upto - from)?;
        self.from = upto;
        Ok(())
    }

    /// Writes the log anew as it is kept. For a build that is over; doing it twice is as doing it
    /// once.
    pub fn close(mut self) -> io::Result<()> {
        let Some(size) = if_there(fs::metadata(&self.path))?.map(|found| found.len()) else {
            return Ok(());
        };
        // A log that was trimmed is longer than three parts for ever; one that was closed is not,
        // or it is closed once more.
        let was_trimmed = self.kept().exists() && size > 3 * self.part;
        if size <= 3 * self.part + MOST_KEPT && !was_trimmed {
            return remove(&self.kept());
        }
        // Whoever trimmed before may be gone: what is a hole by now holds nothing to look at.
        self.from = self.from.max(data_after(&self.path, self.part)?);
        let upto = (size - self.part).max(self.from);
        let upto = self.keep_telling_lines(self.from, upto)?;
        let beside = with_end(&self.path, ".bounded");
        let mut out = BufWriter::new(create(&beside)?);
        let mut log = BufReader::new(File::open(&self.path)?);
        io::copy(&mut log.by_ref().take(self.part), &mut out)?;
        writeln!(out)?;
        let kept = self.kept();
        if let Ok(mut kept) = File::open(&kept) {
            io::copy(&mut kept, &mut out)?;
        }
        let left_out = (upto - self.part) / 1024 / 1024;
        writeln!(out, "reconciler: the log was too long: {left_out} MiB are left out here")?;
        log.seek(SeekFrom::Start(upto))?;
        io::copy(&mut log, &mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&beside, &self.path)?;
        remove(&kept)
    }

    fn kept(&self) -> PathBuf {
        kept(&self.path)
    }

    /// Copies the lines between two places that say what was made; where the last whole line ends.
    fn keep_telling_lines(&self, from: u64, upto: u64) -> io::Result<u64> {
        let mut log = BufReader::with_capacity(256 * 1024, File::open(&self.path)?);
        log.seek(SeekFrom::Start(from))?;
        let mut log = log.take(upto.saturating_sub(from));
        let mut kept = File::options().create(true).append(true).mode(0o600).open(self.kept())?;
        let mut room = MOST_KEPT.saturating_sub(kept.metadata()?.len());
        let (mut at, mut buffer) = (from, Vec::new());
        loop {
            let size = next_line(&mut log, &mut buffer)?;
            let whole = buffer.ends_with(b"\n") || size == LONGEST_LINE;
            if !whole {
                kept.sync_data()?;
                let cut = at > from && size < LONGEST_CUT;
                return Ok(if cut { at } else { upto });
            }
            at += size;
            if size <= room && is_telling(&buffer[..buffer.len().min(TELLING)]) {
                kept.write_all(&buffer)?;
                room -= size;
            }
        }
    }
}

/// The lines of the middle of a log that is not closed yet.
pub(super) fn kept(log: &Path) -> PathBuf {
    with_end(log, ".kept")
}

fn remove(path: &Path) -> io::Result<()> {
    if_there(fs::remove_file(path)).map(drop)
}

/// Where a file holds anything at or behind this place.
fn data_after(path: &Path, at: u64) -> io::Result<u64> {
    let file = File::open(path)?;
    match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
        Ok(found) => Ok(found),
        // Nothing but a hole, or a file system that does not tell.
        Err(_) => Ok(at),
    }
}

/// Whether a line says what the build made or why it ended.
fn is_telling(bytes: &[u8]) -> bool {
    let said = line(bytes.trim_ascii_end());
    match &said {
        Line::Artifact(_) | Line::OtherArtifact(_) | Line::Failure(_) => true,
        Line::Ui(..) => {
            let mut reading = Reading::default();
            reading.take(said);
            reading.made != Made::default()
        }
        Line::Other | Line::Plain(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const LIMIT: u64 = 256 * 1024;

    fn noise(lines: usize) -> String {
        format!("1,,ui,message,{}\n", "x".repeat(100)).repeat(lines)
    }

    #[test]
    fn a_growing_log_keeps_its_head_its_tail_and_what_was_made_and_no_more_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packer.log");
        let mut log = File::options().create(true).append(true).open(&path).unwrap();
        let mut bounded = BoundedLog::new(&path, LIMIT);
        log.write_all(b"first line\n").unwrap();
        for round in 0..40 {
            log.write_all(noise(2000).as_bytes()).unwrap();
            if round == 20 {
                log.write_all(b"1,,ui,message,    x: Instance ID: i-0abc\n").unwrap();
            }
            bounded.trim().unwrap();
            assert!(path.metadata().unwrap().blocks() * 512 < 3 * LIMIT);
        }
        log.write_all(b"last line\n").unwrap();
        bounded.close().unwrap();
        let kept = fs::read_to_string(&path).unwrap();
        assert!((kept.len() as u64) < LIMIT, "{}", kept.len());
        assert!(kept.starts_with("first line\n") && kept.ends_with("\nlast line\n"));
        assert!(kept.contains("Instance ID: i-0abc") && kept.contains("MiB are left out here"));
        assert!(!kept.contains('\0'));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // Whoever comes later finds nothing to do.
        BoundedLog::new(&path, LIMIT).close().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), kept);
    }

    #[test]
    fn a_log_that_was_trimmed_once_is_written_anew_however_little_came_after_that() {
        let folder = tempfile::tempdir().unwrap();
        let part = LIMIT / 4;
        let logs = [("packer.log", "i-0abc"), ("packer.err", "i-0def")];
        for (name, made) in logs {
            let path = folder.path().join(name);
            let of_its_own = format!("1,,ui,message,    x: Instance ID: {made}\n");
            let begin = noise(3 * usize::try_from(part).unwrap() / 2 / 115) + &of_its_own;
            fs::write(&path, &begin).unwrap();
            let mut log = File::options().append(true).open(&path).unwrap();
            while path.metadata().unwrap().len() <= 3 * part {
                log.write_all(noise(10).as_bytes()).unwrap();
            }
            BoundedLog::new(&path, LIMIT).trim().unwrap();
            assert!(kept(&path).exists());
        }
        for (name, made) in logs {
            let path = folder.path().join(name);
            for _ in 0..2 {
                BoundedLog::new(&path, LIMIT).close().unwrap();
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains('\0'), "{name}");
                assert_eq!(text.matches("Instance ID").count(), 1, "{name}");
                assert!(text.contains(made));
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_log_that_nobody_trimmed_is_bounded_when_the_build_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packer.log");
        let artifact = "1,x,artifact,0,id,us-east-1:ami-01\n";
        let text = noise(10_000) + artifact + &noise(10_000);
        fs::write(&path, &text).unwrap();
        BoundedLog::new(&path, LIMIT).close().unwrap();
        let kept = fs::read_to_string(&path).unwrap();
        assert!(kept.contains(artifact) && kept.len() < text.len() / 4);
    }

    #[test]
    fn a_short_log_stays_as_it_is_and_none_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packer.log");
        BoundedLog::new(&path, LIMIT).trim().unwrap();
        BoundedLog::new(&path, LIMIT).close().unwrap();
        fs::write(&path, noise(1000)).unwrap();
        BoundedLog::new(&path, LIMIT).trim().unwrap();
        BoundedLog::new(&path, LIMIT).close().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), noise(1000));
    }
}
