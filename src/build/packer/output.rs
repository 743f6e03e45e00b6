//! What Packer says with `-machine-readable`: `unix_ts,target,type,arg,arg…`, one line each (packer.md).
//!
//! Pure, and made for whatever bytes come: a log may be cut off, not UTF-8, or gigabytes long, so it is read line by line.

use std::io::{BufRead, Read as _};

use crate::catalog::Leftovers;
use crate::ids::{AmiId, Region};

/// A line longer than this is cut: nothing that counts is longer.
const LONGEST_LINE: u64 = 1024 * 1024;

/// How many error lines are kept.
const MOST_ERRORS: usize = 100;

/// What a log says, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Images by region, in order, without repetitions.
    pub artifacts: Vec<(Region, AmiId)>,
    /// `ui,error` lines (which also carry what provisioners write to standard error), the newest hundred.
    pub errors: Vec<String>,
    /// What ended the build of a source, in Packer's own words: nothing that a provisioner writes gets here.
    pub failures: Vec<String>,
    /// What was made at AWS.
    pub traces: Leftovers,
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
    /// Anything else that follows the form.
    Other,
    /// Text that does not follow the form (`validate` and `init` write such).
    Plain(String),
}

/// Reads one line, without its line feed.
#[must_use]
pub fn line(bytes: &[u8]) -> Line {
    let text = String::from_utf8_lossy(bytes);
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
        "artifact" => artifact(rest).map_or(Line::Other, Line::Artifact),
        _ => Line::Other,
    }
}

/// Reads a whole log.
pub fn read(log: &mut impl BufRead) -> std::io::Result<Reading> {
    let mut reading = Reading::default();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let read = log
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut buffer)?;
        if read == 0 {
            return Ok(reading);
        }
        while buffer
            .last()
            .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
        {
            buffer.pop();
        }
        reading.take(line(&buffer));
    }
}

impl Reading {
    /// Takes in one more line.
    pub fn take(&mut self, line: Line) {
        match line {
            Line::Artifact(images) => {
                for image in images {
                    if !self.artifacts.contains(&image) {
                        self.artifacts.push(image);
                    }
                }
            }
            Line::Ui(kind, said) => {
                said.lines().for_each(|one| self.trace(one));
                if kind == "error" {
                    self.error(said);
                }
            }
            Line::Failure(said) if self.failures.len() < MOST_ERRORS => self.failures.push(said),
            Line::Plain(text) if text.trim_start().starts_with("Error") => self.error(text),
            Line::Failure(_) | Line::Plain(_) | Line::Other => {}
        }
    }

    fn error(&mut self, said: String) {
        if self.errors.len() == MOST_ERRORS {
            self.errors.remove(0);
        }
        self.errors.push(said);
    }

    /// `==> source: Creating temporary keypair: packer_…` and the like (packer.md, "Signals and processes").
    fn trace(&mut self, said: &str) {
        let marks: [(&str, &str, &mut Vec<String>); 3] = [
            (
                "Creating temporary keypair: ",
                "packer_",
                &mut self.traces.key_pairs,
            ),
            (
                "Creating temporary security group for this instance: ",
                "packer_",
                &mut self.traces.security_groups,
            ),
            ("Instance ID: ", "i-", &mut self.traces.instances),
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
        // `    source: AMI: ami-…`: the image, or with `encrypt_boot` the one that it is copied from.
        let image = said
            .split_once(": AMI: ")
            .map(|(_, rest)| AmiId::new(word(rest)))
            .filter(|id| id.as_str().strip_prefix("ami-").is_some_and(is_an_id));
        if let Some(id) = image
            && !self.traces.told_images.contains(&id)
        {
            self.traces.told_images.push(id);
        }
    }
}

/// What AWS and Packer make ids of. A provisioner can print such a line too, and its words are not to be kept.
fn is_an_id(rest: &str) -> bool {
    !rest.is_empty()
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}

/// `0,id,us-east-1:ami-1%!(PACKER_COMMA)us-west-2:ami-2`
fn artifact(rest: &str) -> Option<Vec<(Region, AmiId)>> {
    let mut fields = rest.splitn(3, ',');
    let (_, kind, ids) = (fields.next()?, fields.next()?, fields.next()?);
    if kind != "id" {
        return None;
    }
    let images: Option<Vec<_>> = unescape(ids)
        .split(',')
        .map(|one| {
            let (region, id) = one.trim().split_once(':')?;
            let sound = id
                .strip_prefix("ami-")
                .is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()));
            sound.then(|| (Region::new(region), AmiId::new(id)))
        })
        .collect();
    images.filter(|images| !images.is_empty())
}

fn unescape(text: &str) -> String {
    text.replace("%!(PACKER_COMMA)", ",")
        .replace("\\n", "\n")
        .replace("\\r", "\r")
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
        let images = reading(log).artifacts;
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
        assert!(reading(log).artifacts.is_empty());
    }

    #[test]
    fn what_was_made_can_be_read_though_packer_died() {
        let log = "1,,ui,say,==> amazon-ebs.x: Creating temporary keypair: packer_0011\n\
            1,,ui,say,==> amazon-ebs.x: Creating temporary security group for this instance: packer_0022\n\
            1,,ui,message,    amazon-ebs.x: Instance ID: i-0abc\n1,,ui,message,    amazon-ebs.x: AMI: ami-0abc\n\
            1,,ui,say,==> amazon-ebs.x: Waiting for AMI: ami-nonsense\n1,,ui,error,Build 'x' errored: Script exited with non-zero exit status: 7";
        let reading = reading(log);
        assert_eq!(reading.traces.key_pairs, ["packer_0011"]);
        assert_eq!(reading.traces.security_groups, ["packer_0022"]);
        assert_eq!(reading.traces.instances, ["i-0abc"]);
        assert_eq!(reading.traces.told_images, [AmiId::new("ami-0abc")]);
        assert_eq!(reading.errors.len(), 1);
    }

    #[test]
    fn what_ended_a_build_is_told_from_what_a_provisioner_wrote_to_standard_error() {
        let log = "1,,ui,error,==> amazon-ebs.x: connection refused\n\
            1,amazon-ebs.x,error,Script exited with non-zero exit status: 7\n1,,error-count,1\n";
        let reading = reading(log);
        assert_eq!(
            reading.failures,
            ["Script exited with non-zero exit status: 7"]
        );
        assert_eq!(reading.errors, ["==> amazon-ebs.x: connection refused"]);
    }

    #[test]
    fn bytes_that_are_not_utf8_hide_nothing_else() {
        let log = b"1,,ui,message,    x: \xff\xfe\n1,x,artifact,0,id,us-east-1:ami-01\n";
        assert_eq!(read(&mut log.as_slice()).unwrap().artifacts.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read(&mut bytes.as_slice()).unwrap();
        }
    }
}
