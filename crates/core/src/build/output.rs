//! What Packer says with `-machine-readable`: `unix_ts,target,type,arg,arg…`, one line each
//! (docs/packer.md).
//!
//! Pure, and made for whatever bytes come: a log may be cut off, not UTF-8, or gigabytes long, so
//! it is read line by line.

use std::io::{BufRead, Read as _};

use serde::{Deserialize, Serialize};

use reconciler_model::build_resources::ClaimedResources;
use reconciler_model::ids::{AmiId, Region};

/// A line longer than this is read in parts: nothing that counts is longer.
pub const LONGEST_LINE: u64 = 1024 * 1024;

/// How many error lines are kept.
const MOST_ERRORS: usize = 100;

/// How many of the last lines of a provisioner's standard error are kept, and of a complaint that
/// does not follow the form.
const MOST_LAST_WORDS: usize = 12;
const MOST_PLAIN: usize = 40;

/// What a log says was made at AWS: ids and regions, no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Images by region, in order, without repetitions.
    pub artifacts: Vec<(Region, AmiId)>,
    /// What else was made.
    pub traces: ClaimedResources,
    /// The images that the builds started from, as Packer found them: before anything of a template
    /// ran, so that nothing can forge them.
    pub sources: Vec<AmiId>,
    /// What was made instead of images: volumes (`vol-…`) and snapshots (`snap-…`) by region.
    pub others: Vec<(Region, String)>,
    /// Whether Packer came to its last word: all builds were over then, and what it made had been
    /// told or was to be told next. One that was killed does not say it (docs/packer.md).
    pub finished: bool,
}

/// What a log says, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What was made.
    pub made: Made,
    /// `ui,error` lines (which also carry what provisioners write to standard error), the newest
    /// hundred.
    pub errors: Vec<String>,
    /// What ended the build of a source, in Packer's own words: nothing that a provisioner writes
    /// gets here.
    pub failures: Vec<String>,
    /// The last lines that the newest provisioner wrote to standard error.
    pub last_words: Vec<String>,
    /// The sources that have said what they start from.
    found: Vec<String>,
    /// Whether the newest error is text that does not follow the form, and may go on.
    goes_on: usize,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Text for people: what kind (`say`, `message`, `error`) and what.
    Ui(String, String),
    /// What ended the build of a source.
    Failure(String),
    /// Images of one artifact.
    Artifact(Vec<(Region, AmiId)>),
    /// Volumes and snapshots of one artifact.
    OtherArtifact(Vec<(Region, String)>),
    /// Anything else that follows the form.
    Other,
    /// Text that does not follow the form (`validate` and `init` write such).
    Plain(String),
}

/// When a line that follows the form was said, in seconds since 1970: Packer writes that first.
#[must_use]
pub fn second(bytes: &[u8]) -> Option<i64> {
    let end = bytes.iter().position(|byte| *byte == b',')?;
    let digits = &bytes[..end];
    let are_digits = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| are_digits)?.parse().ok()
}

/// Reads one line, with its line feed or without it.
#[must_use]
pub fn line(bytes: &[u8]) -> Line {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
    let text = String::from_utf8_lossy(&bytes[..end.map_or(0, |last| last + 1)]);
    let mut fields = text.splitn(4, ',');
    let (Some(time), Some(_target), Some(kind), Some(rest)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Line::Plain(text.into_owned());
    };
    if time.is_empty() || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return Line::Plain(text.into_owned());
    }
    match kind {
        "ui" => {
            let (kind, said) = rest.split_once(',').unwrap_or(("say", rest));
            Line::Ui(kind.to_owned(), unescape(said))
        }
        "error" => Line::Failure(unescape(rest)),
        "artifact" => artifact(rest),
        _ => Line::Other,
    }
}

/// Puts the next line of a log in the place of `line`, with its line feed, or the next part of a
/// line that is too long. How many bytes that are: none at the end.
pub fn next_line(log: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<u64> {
    line.clear();
    log.by_ref().take(LONGEST_LINE).read_until(b'\n', line).map(|read| read as u64)
}

/// Reads a whole log.
pub fn read(log: &mut impl BufRead) -> std::io::Result<Reading> {
    read_with_times(log, |_, _| ())
}

/// Reads a whole log, and shows each line that tells when it was said with that second.
pub fn read_with_times(
    log: &mut impl BufRead,
    mut show: impl FnMut(i64, &Line),
) -> std::io::Result<Reading> {
    let mut reading = Reading::default();
    let mut buffer = Vec::new();
    while next_line(log, &mut buffer)? > 0 {
        let line = line(&buffer);
        if let Some(second) = second(&buffer) {
            show(second, &line);
        }
        reading.take(line);
    }
    Ok(reading)
}

impl Reading {
    /// Takes in one more line.
    pub fn take(&mut self, line: Line) {
        let goes_on = std::mem::take(&mut self.goes_on);
        match line {
            Line::Artifact(images) => add(&mut self.made.artifacts, images),
            Line::OtherArtifact(others) => add(&mut self.made.others, others),
            Line::Ui(kind, said) => {
                said.lines().for_each(|one| self.trace(one));
                if kind == "error" {
                    self.last_word(&said);
                    self.error(said);
                } else if is_last_word(&said) {
                    self.made.finished = true;
                } else if begins_provisioner(&said) {
                    self.last_words.clear();
                }
            }
            Line::Failure(said) if self.failures.len() < MOST_ERRORS => self.failures.push(said),
            Line::Plain(text) if text.trim_start().starts_with("Error") => {
                self.error(text);
                self.goes_on = MOST_PLAIN;
            }
            Line::Plain(text) if goes_on > 0 && !text.starts_with("reconciler: ") => {
                if let Some(error) = self.errors.last_mut() {
                    error.push('\n');
                    error.push_str(&text);
                }
                self.goes_on = goes_on - 1;
            }
            Line::Failure(_) | Line::Plain(_) | Line::Other => {}
        }
    }

    fn error(&mut self, said: String) {
        if self.errors.len() == MOST_ERRORS {
            self.errors.remove(0);
        }
        self.errors.push(said);
    }

    /// `==> source: text` as an error is what a provisioner wrote to standard error, or what a
    /// builder complains of.
    fn last_word(&mut self, said: &str) {
        let targeted = said.strip_prefix("==> ").and_then(|rest| {
            let (target, text) = rest.split_once(": ")?;
            (!target.contains(' ')).then_some(text)
        });
        let Some(text) = targeted.map(str::trim_end).filter(|text| !text.is_empty()) else {
            return;
        };
        if self.last_words.len() == MOST_LAST_WORDS {
            self.last_words.remove(0);
        }
        self.last_words.push(text.chars().take(300).collect());
    }

    /// `==> source: Creating temporary keypair: packer_…` and the like (docs/packer.md, "Signals
    /// and processes").
    fn trace(&mut self, said: &str) {
        let marks: [(&str, &str, &mut Vec<String>); 3] = [
            ("Creating temporary keypair: ", "packer_", &mut self.made.traces.key_pairs),
            (
                "Creating temporary security group for this instance: ",
                "packer_",
                &mut self.made.traces.security_groups,
            ),
            ("Instance ID: ", "i-", &mut self.made.traces.instances),
        ];
        for (mark, prefix, list) in marks {
            let found = said
                .split_once(mark)
                .map(|(_, rest)| word(rest))
                .filter(|id| id.strip_prefix(prefix).is_some_and(is_an_id));
            if let Some(id) = found
                && !list.contains(&id)
            {
                list.push(id);
            }
        }
        if let Some((source, id)) = found_source(said)
            && !self.found.contains(&source)
        {
            self.found.push(source);
            if !self.made.sources.contains(&id) {
                self.made.sources.push(id);
            }
        }
        // `    source: AMI: ami-…`: the image, or with `encrypt_boot` the one that it is copied
        // from.
        let image = said
            .split_once(": AMI: ")
            .map(|(_, rest)| AmiId::new(word(rest)))
            .filter(|id| id.as_str().strip_prefix("ami-").is_some_and(is_an_id));
        if let Some(id) = image
            && !self.made.traces.told_images.contains(&id)
        {
            self.made.traces.told_images.push(id);
        }
    }
}

/// What AWS and Packer make ids of. A provisioner can print such a line too, and its words are not
/// to be kept.
fn is_an_id(rest: &str) -> bool {
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// Packer's last word, with or without artifacts: it bears no target, as all that a provisioner
/// writes does.
fn is_last_word(said: &str) -> bool {
    said.trim_start_matches('\n').starts_with("==> Builds finished")
}

/// Whether a provisioner begins, whose complaints are not those of the one before.
fn begins_provisioner(said: &str) -> bool {
    let text = said.strip_prefix("==> ").and_then(|rest| rest.split_once(": "));
    text.is_some_and(|(_, text)| {
        ["Provisioning with ", "Running local shell script"]
            .iter()
            .any(|words| text.starts_with(words))
    })
}

/// `    source: Found Image ID: ami-…`: which source starts from which image.
fn found_source(said: &str) -> Option<(String, AmiId)> {
    let (before, rest) = said.split_once(": Found Image ID: ")?;
    let source = before.trim_start_matches("==> ").trim_start();
    let id = word(rest);
    let sound = !source.is_empty()
        && !source.contains(' ')
        && id.strip_prefix("ami-").is_some_and(is_an_id);
    sound.then(|| (source.to_owned(), AmiId::new(id)))
}

fn add<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        // Seeded bug: artifact-counted-twice
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

/// `0,id,us-east-1:ami-1%!(PACKER_COMMA)us-west-2:ami-2`; of the builder `amazon-ebsvolume`,
/// volumes and snapshots.
fn artifact(rest: &str) -> Line {
    let mut fields = rest.splitn(3, ',');
    let (Some(_), Some("id"), Some(ids)) = (fields.next(), fields.next(), fields.next()) else {
        return Line::Other;
    };
    let ids = unescape(ids);
    let parts = || ids.split(',').map(|one| one.trim().split_once(':')).collect::<Option<Vec<_>>>();
    let are = |prefixes: &[&str]| {
        let one = |id: &str| {
            let hex = prefixes.iter().find_map(|prefix| id.strip_prefix(prefix));
            hex.is_some_and(|hex| {
                !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
        };
        parts().filter(|parts| parts.iter().all(|(_, id)| one(id)))
    };
    if let Some(images) = are(&["ami-"]) {
        let images = images.into_iter();
        return Line::Artifact(
            images.map(|(region, id)| (Region::new(region), AmiId::new(id))).collect(),
        );
    }
    are(&["vol-", "snap-"]).map_or(Line::Other, |others| {
        Line::OtherArtifact(
            others.into_iter().map(|(region, id)| (Region::new(region), id.to_owned())).collect(),
        )
    })
}

fn unescape(text: &str) -> String {
    text.replace("%!(PACKER_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(log: &str) -> Reading {
        read(&mut log.as_bytes()).unwrap()
    }

    #[test]
    fn a_success_names_its_images_once_by_region() {
        let log = "1,amazon-ebs.x,artifact-count,1\n1,amazon-ebs.x,artifact,0,builder-id,mitchellh.amazonebs\n\
            1,amazon-ebs.x,artifact,0,id,us-east-1:ami-01ab%!(PACKER_COMMA)us-west-2:ami-02\n\
            1,amazon-ebs.x,artifact,1,id,us-east-1:ami-01ab\n";
        let images = reading(log).made.artifacts;
        assert_eq!(
            images,
            [
                (Region::new("us-east-1"), AmiId::new("ami-01ab")),
                (Region::new("us-west-2"), AmiId::new("ami-02"))
            ]
        );
    }

    #[test]
    fn what_a_provisioner_prints_cannot_forge_an_artifact() {
        let log = "1,,ui,message,    x: 1%!(PACKER_COMMA)x%!(PACKER_COMMA)artifact%!(PACKER_COMMA)0%!(PACKER_COMMA)id%!(PACKER_COMMA)us-east-1:ami-666\n1,,artifact,0,id,us-east-1:not-an-image\n";
        assert!(reading(log).made.artifacts.is_empty());
    }

    #[test]
    fn what_was_made_can_be_read_though_packer_died() {
        let log = "1,,ui,say,==> amazon-ebs.x: Creating temporary keypair: packer_0011\n\
            1,,ui,say,==> amazon-ebs.x: Creating temporary security group for this instance: packer_0022\n\
            1,,ui,message,    amazon-ebs.x: Instance ID: i-0abc\n1,,ui,message,    amazon-ebs.x: AMI: ami-0abc\n\
            1,,ui,say,==> amazon-ebs.x: Waiting for AMI: ami-nonsense\n1,,ui,error,Build 'x' errored: Script exited with non-zero exit status: 7";
        let reading = reading(log);
        assert_eq!(reading.made.traces.key_pairs, ["packer_0011"]);
        assert_eq!(reading.made.traces.security_groups, ["packer_0022"]);
        assert_eq!(reading.made.traces.instances, ["i-0abc"]);
        assert_eq!(reading.made.traces.told_images, [AmiId::new("ami-0abc")]);
        assert_eq!(reading.errors.len(), 1);
    }

    #[test]
    fn what_ended_a_build_is_told_from_what_a_provisioner_wrote_to_standard_error() {
        let log = "1,,ui,error,==> amazon-ebs.x: connection refused\n\
            1,amazon-ebs.x,error,Script exited with non-zero exit status: 7\n1,,error-count,1\n";
        let reading = reading(log);
        assert_eq!(reading.failures, ["Script exited with non-zero exit status: 7"]);
        assert_eq!(reading.errors, ["==> amazon-ebs.x: connection refused"]);
    }

    #[test]
    fn an_orderly_end_is_told_from_a_killed_one_by_packers_last_word() {
        let none = "1,,ui,say,\\n==> Builds finished but no artifacts were created.\n";
        let some = "1,,ui,say,\\n==> Builds finished. The artifacts of successful builds are:\n";
        for (log, finished) in [
            (none, true),
            (some, true),
            ("1,,ui,say,\\n==> Wait completed after 2 microseconds\n", false),
            // A provisioner's words always bear its target.
            ("1,,ui,say,==> amazon-ebs.x: ==> Builds finished\n", false),
            ("1,,ui,message,    amazon-ebs.x: \\n==> Builds finished\n", false),
            ("==> Builds finished\n", false),
        ] {
            assert_eq!(reading(log).made.finished, finished, "{log}");
        }
    }

    #[test]
    fn what_was_made_instead_of_an_image_is_known() {
        let log = "1,amazon-ebsvolume.x,artifact,0,builder-id,mitchellh.amazon.ebsvolume\n\
            1,amazon-ebsvolume.x,artifact,0,id,us-east-1:snap-01%!(PACKER_COMMA)us-east-1:vol-0d41\n\
            1,null.x,artifact,0,id,Null\n1,x,artifact,1,id,\n";
        let reading = reading(log);
        let region = || Region::new("us-east-1");
        assert_eq!(
            reading.made.others,
            [(region(), "snap-01".to_owned()), (region(), "vol-0d41".to_owned())]
        );
        assert!(reading.made.artifacts.is_empty());
    }

    #[test]
    fn the_source_of_a_build_is_what_packer_found_first_and_not_what_a_script_prints() {
        let log = "1,,ui,message,    amazon-ebs.x: Found Image ID: ami-01\n\
            1,,ui,message,    amazon-ebs.x: Found Image ID: ami-02\n\
            1,,ui,message,    amazon-ebs.x (shell-local): Found Image ID: ami-03\n\
            1,,ui,message,    amazon-ebs.x: it: Found Image ID: ami-04\n\
            1,,ui,say,==> amazon-ebs.y: Found Image ID: ami-05\n";
        assert_eq!(reading(log).made.sources, [AmiId::new("ami-01"), AmiId::new("ami-05")]);
    }

    #[test]
    fn the_last_words_are_those_of_the_newest_provisioner() {
        let log = "1,,ui,say,==> amazon-ebs.x: Provisioning with shell script: a.sh\n\
            1,,ui,error,==> amazon-ebs.x: of the first\n\
            1,,ui,say,==> amazon-ebs.x: Provisioning with shell script: b.sh\n\
            1,,ui,message,    amazon-ebs.x: out\n1,,ui,error,==> amazon-ebs.x: E: no such package\n\
            1,,ui,error,Build 'amazon-ebs.x' errored after 3 seconds: Script exited with non-zero exit status: 7\n";
        assert_eq!(reading(log).last_words, ["E: no such package"]);
    }

    #[test]
    fn a_complaint_that_does_not_follow_the_form_is_kept_whole() {
        let log = "Error: Unset variable\n\nA used variable must be set.\nreconciler: packer build .\nnothing\n";
        assert_eq!(reading(log).errors, ["Error: Unset variable\n\nA used variable must be set."]);
    }

    #[test]
    fn bytes_that_are_not_utf8_hide_nothing_else() {
        let log = b"1,,ui,message,    x: \xff\xfe\n1,x,artifact,0,id,us-east-1:ami-01\n";
        assert_eq!(read(&mut log.as_slice()).unwrap().made.artifacts.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read(&mut bytes.as_slice()).unwrap();
        }
    }
}
