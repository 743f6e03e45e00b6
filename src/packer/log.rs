//! A build's log as people read it, while it grows and afterwards.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::atomic_file::if_there;
use reconciler_core::build::output::{LONGEST_LINE, Line, line, next_line, second};
use reconciler_core::secrets::redactor::Redactor;

/// One line of a kept log as text; none if it says nothing to people.
#[must_use]
pub fn text(bytes: &[u8]) -> Option<String> {
    match line(bytes) {
        Line::Ui(_, said) => Some(said),
        Line::Plain(text) => Some(text),
        Line::Artifact(images) => {
            let images: Vec<_> =
                images.iter().map(|(region, id)| format!("{region}:{id}")).collect();
            Some(format!("artifact: {}", images.join(", ")))
        }
        // Packer says it for people as well.
        Line::OtherArtifact(_) | Line::Failure(_) | Line::Other => None,
    }
}

/// When a line was said: Packer's machine-readable output begins with seconds since 1970.
fn time(line: &[u8]) -> Option<Timestamp> {
    // The moment is somewhere in that second.
    let second = Timestamp::from_second(second(line)?).ok()?;
    second.checked_add(SignedDuration::from_millis(999)).ok()
}

/// What a last line without a line feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLine {
    /// Not to be shown yet: more may come.
    Grows,
    /// A line like the others: nothing more comes.
    IsWhole,
}

/// Reads a log piece by piece.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    secrets: Redactor,
    inode: u64,
    offset: u64,
    lines: u64,
    since: Option<Timestamp>,
    /// Whether the last line that tells its time was said since then.
    is_within: bool,
}

impl Follower {
    /// From the beginning of a log, without these secrets.
    #[must_use]
    pub fn new(path: &Path, secrets: Redactor) -> Self {
        Self {
            path: path.to_owned(),
            secrets,
            inode: 0,
            offset: 0,
            lines: 0,
            since: None,
            is_within: true,
        }
    }

    /// Only what was said since then. A line that tells no time was said when the one before it
    /// was.
    #[must_use]
    pub fn since(mut self, time: Option<Timestamp>) -> Self {
        self.since = time;
        self.is_within = time.is_none();
        self
    }

    /// Whether what comes next, if it tells no time, is shown.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.is_within
    }

    /// Hands each line that has come since the last call to `show`, as text. A log that is not
    /// there yet has none.
    pub fn read<E: From<io::Error>>(
        &mut self,
        last: LastLine,
        mut show: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(log) = if_there(File::open(&self.path))? else {
            return Ok(());
        };
        let mut reader = self.reader(log)?;
        let mut line = Vec::new();
        loop {
            let read = next_line(&mut reader, &mut line)?;
            let whole = line.last() == Some(&b'\n');
            let begun = !whole && read < LONGEST_LINE;
            if read == 0 || (begun && last == LastLine::Grows) {
                return Ok(());
            }
            if !whole && !begun {
                // Not through the middle of a secret.
                line.truncate(self.secrets.cut(&line).max(1));
                reader.seek(SeekFrom::Start(self.offset + line.len() as u64))?;
            }
            self.offset += line.len() as u64;
            self.lines += u64::from(whole);
            if let (Some(since), Some(said)) = (self.since, time(&line)) {
                self.is_within = said >= since;
            }
            if self.is_within
                && let Some(text) = text(&line)
            {
                show(&self.secrets.text(&text))?;
            }
        }
    }

    /// The log where reading stopped. At the end of a build another file with the same lines, less
    /// its secrets, takes its place.
    fn reader(&mut self, mut file: File) -> io::Result<BufReader<File>> {
        let inode = file.metadata()?.ino();
        if inode == self.inode {
            file.seek(SeekFrom::Start(self.offset))?;
            return Ok(BufReader::new(file));
        }
        self.inode = inode;
        self.offset = 0;
        let mut reader = BufReader::new(file);
        for _ in 0..self.lines {
            self.offset += reader.skip_until(b'\n')? as u64;
        }
        Ok(reader)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_said_since_a_time_is_shown_with_the_lines_that_tell_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packer.log");
        fs::write(
            &path,
            "reconciler: begin\n10,,ui,say,a\n10,,version,x\nof a\n20,,ui,say,b\nof b\n30,,ui,say,c\n",
        )
        .unwrap();
        let shown = |since: Option<&str>| {
            let since = since.map(|time| time.parse().unwrap());
            let mut follower = Follower::new(&path, Redactor::default()).since(since);
            let mut lines = Vec::new();
            let read = follower.read(LastLine::IsWhole, |line| {
                lines.push(line.to_owned());
                Ok::<_, io::Error>(())
            });
            read.unwrap();
            (lines.join(" "), follower.is_within())
        };
        let all = "reconciler: begin a of a b of b c".to_owned();
        assert_eq!(shown(None), (all, true));
        let late = ("b of b c".to_owned(), true);
        assert_eq!(shown(Some("1970-01-01T00:00:11Z")), late);
        assert_eq!(shown(Some("1970-01-01T00:00:20.5Z")), late);
        assert_eq!(shown(Some("1970-01-01T00:00:31Z")), (String::new(), false));
    }

    #[test]
    fn a_log_is_followed_by_whole_lines_though_another_file_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packer.log");
        let mut follower = Follower::new(&path, Redactor::new(&["long-secret".into()]));
        let mut next = || {
            let mut lines = Vec::new();
            follower
                .read(LastLine::Grows, |line| {
                    lines.push(line.to_owned());
                    Ok::<_, io::Error>(())
                })
                .unwrap();
            lines
        };
        assert!(next().is_empty());
        fs::write(&path, "1,,ui,say,a long-secret\n1,,version,x\n1,,ui,say,b\n1,,ui,sa").unwrap();
        assert_eq!(next(), ["a <redacted>", "b"]);
        assert!(next().is_empty());
        let other = folder.path().join("other");
        fs::write(&other, "1,,ui,say,a <redacted>\n1,,version,x\n1,,ui,say,b\n1,,ui,say,c\n")
            .unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(next(), ["c"]);
    }

    #[test]
    fn text_is_what_packer_says_to_people() {
        let shown = |line: &str| text(line.as_bytes());
        assert_eq!(shown("1,,ui,say,a%!(PACKER_COMMA) b").as_deref(), Some("a, b"));
        assert_eq!(shown("1,x,artifact-count,1"), None);
        assert_eq!(
            shown("1,x,artifact,0,id,us-east-1:ami-1").as_deref(),
            Some("artifact: us-east-1:ami-1")
        );
    }
}
