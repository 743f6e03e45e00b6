//! What a build's log says was made, read before secrets are taken out of the log and kept beside
//! it: ids and regions, no secret.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic_file::write_durably;
use crate::packer::bounded;
use crate::packer::supervisor::files;
use reconciler_core::build::output;
use reconciler_model::build_resources::ClaimedResources;
use reconciler_model::ids::{AmiId, Region};

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    /// Images by region, in order, without repetitions.
    pub(super) artifacts: Vec<(Region, AmiId)>,
    /// What else was made at AWS.
    pub(super) traces: ClaimedResources,
    /// What the builds started from.
    #[serde(default)]
    pub(super) sources: Vec<AmiId>,
    /// What was made instead of images.
    #[serde(default)]
    pub(super) others: Vec<(Region, String)>,
    /// Whether Packer came to its last word.
    #[serde(default)]
    pub(super) finished: bool,
}

/// Keeps what the log of a build that is over says, unless that was done before.
pub(super) fn keep(folder: &Path) -> io::Result<()> {
    if read(folder).is_some() {
        return Ok(());
    }
    let path = folder.join(files::LOG);
    let log = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        log => log?,
    };
    // Of a log that could not be closed, on a full disk, the lines of its middle stand beside it.
    let reading = match File::open(bounded::kept(&path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            output::read(&mut BufReader::new(log))?
        }
        kept => output::read(&mut BufReader::new(kept?.chain(log)))?,
    };
    let said = Said {
        artifacts: reading.artifacts,
        traces: reading.traces,
        sources: reading.sources,
        others: reading.others,
        finished: reading.finished,
    };
    write_durably(&folder.join(files::SAID), &serde_json::to_vec(&said)?)
}

/// What was kept.
pub(super) fn read(folder: &Path) -> Option<Said> {
    files::read(folder, files::SAID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::format_stability::stays_readable;

    /// See `format_stability`: a literal is never changed, another one is added.
    #[test]
    fn what_an_earlier_version_kept_of_a_log_is_read() {
        let traces = r#"{
            "instances": ["i-1"], "key_pairs": ["packer_1"], "security_groups": ["packer_2"], "images": ["ami-2"], "snapshots": ["snap-1"]
        }"#;
        stays_readable::<Said>(
            // Before it was kept what a build started from, and whether Packer came to its end.
            &[&format!(r#"{{ "artifacts": [["us-east-1", "ami-1"]], "traces": {traces} }}"#)],
            &format!(
                r#"{{
                    "artifacts": [["us-east-1", "ami-1"]], "traces": {traces},
                    "sources": ["ami-0"], "others": [["us-east-1", "vol-1"]], "finished": true
                }}"#
            ),
        );
    }
}
