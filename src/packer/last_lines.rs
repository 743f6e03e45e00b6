//! How the phase of a build ended that failed, as its log on this host tells.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use crate::atomic_file::if_there;
use crate::packer::outcome::phase_reader;
use crate::packer::supervisor::files;
use crate::packer::supervisor::files::Ended;
use reconciler_core::build::output::{Line, read_with_times};
use reconciler_core::build::phases::Unfinished;
use reconciler_core::secrets::redactor::Redactor;

/// The last lines of the phase that failed, without these secrets; none if the log is not here, or
/// nothing failed.
pub fn of_failed_phase(folder: &Path, secrets: &Redactor) -> io::Result<Vec<String>> {
    let Some(log) = if_there(File::open(folder.join(files::LOG)))? else {
        return Ok(Vec::new());
    };
    let mut phases = phase_reader(folder);
    read_with_times(&mut BufReader::new(log), |second, line| {
        // A line is taken apart and shortened afterwards: a part of a secret would not be known.
        // Seeded bug: the-last-lines-show-a-secret
        if let Line::Ui(kind, text) = line {
            phases.take(second, &Line::Ui(kind.clone(), secrets.text(text)));
        }
    })?;
    let unfinished = match files::read::<Ended>(folder, files::ENDED) {
        Some(ended) => Unfinished::Ended(ended.ended_at.as_second()),
        None => Unfinished::GoesOn,
    };
    Ok(phases.finish(unfinished).last_lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_build_that_is_not_clean_yet_show_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Redactor::new(&["long-secret".into()]);
        let lines = || of_failed_phase(folder.path(), &secrets).unwrap();
        assert!(lines().is_empty(), "there is no log");
        let log = "10,,ui,say,==> amazon-ebs.x: Provisioning with shell script: a.sh\n\
            11,,ui,error,==> amazon-ebs.x: E: long-secret is wrong\n\
            12,,ui,error,Build 'amazon-ebs.x' errored after 2 seconds: Script exited\n";
        std::fs::write(folder.path().join(files::LOG), log).unwrap();
        assert_eq!(lines(), ["E: <redacted> is wrong"]);
    }
}
