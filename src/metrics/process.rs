//! What this process takes of its host, and the room on the disk that its files are on.

use std::fs;
use std::path::Path;

use crate::metrics::samples::Samples;
use crate::metrics::table;

/// What can be seen; what cannot is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ProcessFacts {
    resident_bytes: Option<f64>,
    open_files: Option<f64>,
    free_bytes: Option<f64>,
    size_bytes: Option<f64>,
}

impl ProcessFacts {
    /// Looks.
    pub(super) fn of_this_process(state_dir: &Path) -> Self {
        let disk = rustix::fs::statvfs(state_dir).ok();
        let disk = disk.as_ref();
        Self {
            resident_bytes: resident_bytes(),
            open_files: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|files| number(files.count() as u64)),
            free_bytes: disk.map(|disk| number(disk.f_bavail.saturating_mul(disk.f_frsize))),
            size_bytes: disk.map(|disk| number(disk.f_blocks.saturating_mul(disk.f_frsize))),
        }
    }

    /// Adds what was seen.
    pub(super) fn add(&self, samples: &mut Samples) {
        let all = [
            (table::RESIDENT_MEMORY, self.resident_bytes),
            (table::OPEN_FILES, self.open_files),
            (table::STATE_FREE, self.free_bytes),
            (table::STATE_SIZE, self.size_bytes),
        ];
        for (metric, value) in all {
            if let Some(value) = value {
                samples.gauge(metric, &[], value);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

fn resident_bytes() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(number(pages.saturating_mul(rustix::param::page_size() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_takes_is_seen() {
        let facts = ProcessFacts::of_this_process(Path::new("/"));
        assert!(facts.resident_bytes.unwrap() > 1e6, "{facts:?}");
        assert!(facts.open_files.unwrap() >= 3.0, "{facts:?}");
        assert!(facts.free_bytes.unwrap() <= facts.size_bytes.unwrap(), "{facts:?}");
    }

    #[test]
    fn what_cannot_be_seen_is_left_out() {
        let mut samples = Samples::default();
        ProcessFacts::of_this_process(Path::new("/there/is/no/such")).add(&mut samples);
        assert!(samples.of(table::STATE_FREE).is_empty());
        assert_eq!(samples.of(table::OPEN_FILES).len(), 1);
    }
}
