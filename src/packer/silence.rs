//! What Packer does in silence: calls that it repeats for minutes without a word, told by its last
//! word and how long ago that was.
//!
//! Measured under both Packers (docs/packer.md). Nothing of the log is quoted, so nothing secret
//! can be.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use reconciler_core::build::output::{Line, line, second};
use reconciler_core::plan::sentences::duration_words;

/// So much of a log's end is looked at.
const TAIL: u64 = 64 * 1024;

/// What it does, by its last word; what takes less than so many seconds is nothing to speak of.
const SILENCES: [(&str, u64, &str); 4] = [
    (
        ": Creating temporary keypair: ",
        10,
        "it asks EC2 again and again for its key pair, for the answer to its first call was lost; after some three minutes it gives up, and is built again",
    ),
    (
        ": Creating temporary security group for this instance: ",
        10,
        "it asks EC2 again and again for its security group",
    ),
    (
        ": Launching a source AWS instance",
        30,
        "it asks EC2 again and again for an instance: there is no capacity, or no answer",
    ),
    (
        ": Creating Spot Fleet",
        30,
        "it asks EC2 again and again for a spot instance: there is no capacity, or no answer",
    ),
];

/// What Packer does in silence, as far as its log on this host tells; none if it speaks, or there
/// is no log here.
#[must_use]
pub fn of_log(log: &Path, now: Timestamp) -> Option<String> {
    let tail = tail(log).ok()?;
    let newest =
        tail.split(|byte| *byte == b'\n').rfind(|bytes| matches!(line(bytes), Line::Ui(..)))?;
    let Line::Ui(_, said) = line(newest) else {
        return None;
    };
    let since = now.duration_since(Timestamp::from_second(second(newest)?).ok()?);
    words(&said, since.try_into().ok()?)
}

fn words(said: &str, since: Duration) -> Option<String> {
    let (_, _, what) = SILENCES
        .iter()
        .find(|(mark, least, _)| said.contains(mark) && since.as_secs() >= *least)?;
    let since = since.try_into().map(duration_words).ok()?;
    Some(format!("Packer has been silent for {since}: {what}"))
}

fn tail(log: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_answer_is_known_by_packers_silence_after_its_question() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("packer.log");
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(of_log(&log, at(0)), None);
        let asking = "100,,ui,say,==> amazon-ebs.x: Creating temporary keypair: packer_0011\nreconciler: a word of ours\n";
        std::fs::write(&log, format!("1,,ui,say,==> x: before\n{asking}")).unwrap();
        assert_eq!(of_log(&log, at(105)), None, "not yet");
        let said = of_log(&log, at(225)).unwrap();
        assert!(said.contains("silent for 2m05s") && said.contains("key pair"), "{said}");
        std::fs::write(&log, format!("{asking}101,,ui,say,==> x: on it goes\n")).unwrap();
        assert_eq!(of_log(&log, at(225)), None);
    }
}
