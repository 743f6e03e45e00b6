//! What a build's log says was made, read before secrets are taken out of the log and kept beside
//! it: ids and regions, no secret.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

use crate::atomic_file::{if_there, write_durably};
use crate::packer::bounded;
use crate::packer::supervisor::files;
use reconciler_core::build::output;
use reconciler_core::build::output::Made;

/// Keeps what the log of a build that is over says, unless that was done before.
pub(super) fn keep(folder: &Path) -> io::Result<()> {
    let path = folder.join(files::LOG);
    if read(folder).is_some() {
        return Ok(());
    }
    let Some(log) = if_there(File::open(&path))? else {
        return Ok(());
    };
    // Of a log that could not be closed, on a full disk, the lines of its middle stand beside it.
    let reading = match if_there(File::open(bounded::kept(&path)))? {
        Some(kept) => output::read(&mut BufReader::new(kept.chain(log)))?,
        None => output::read(&mut BufReader::new(log))?,
    };
    write_durably(&folder.join(files::SAID), &serde_json::to_vec(&reading.made)?)
}

/// What was kept.
pub(super) fn read(folder: &Path) -> Option<Made> {
    files::read(folder, files::SAID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::format_stability::stays_readable;

    /// See `format_stability`.
    #[test]
    fn what_is_kept_of_a_log_is_read() {
        stays_readable::<Made>(
            &[],
            r#"{
                "artifacts": [["us-east-1", "ami-1"]],
                "traces": {
                    "instances": ["i-1"], "key_pairs": ["packer_1"], "security_groups": ["packer_2"], "images": ["ami-2"],
                    "snapshots": ["snap-1"]
                },
                "sources": ["ami-0"], "others": [["us-east-1", "vol-1"]], "finished": true
            }"#,
        );
    }
}
