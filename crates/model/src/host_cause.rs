//! What on this very host keeps something from working: files, the disk, memory. Pure.
//!
//! Another host would not have it, so another host should have the work. It is told by the words of
//! the system, of `SQLite` and libgit2, which reach us as texts; all of them are C's and the same
//! in every language of the user.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A cause that is this host's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostCause {
    /// The process, or the host, has as many files open as it may.
    Files,
    /// The disk is full, read-only or broken.
    Disk,
    /// There is no memory, or no process may be started.
    Memory,
}

/// What the system says (errno: EMFILE and ENFILE; ENOSPC, EDQUOT, EROFS, EIO; ENOMEM), and what
/// `SQLite` makes of the same.
const WORDS: [(&str, HostCause); 10] = [
    ("Too many open files", HostCause::Files),
    ("No space left on device", HostCause::Disk),
    ("Disk quota exceeded", HostCause::Disk),
    ("Read-only file system", HostCause::Disk),
    ("Input/output error", HostCause::Disk),
    ("database or disk is full", HostCause::Disk),
    ("disk I/O error", HostCause::Disk),
    ("Cannot allocate memory", HostCause::Memory),
    ("out of memory", HostCause::Memory),
    (FORK, HostCause::Memory),
];

/// EAGAIN, as Rust shows it: no process or thread may be started.
const FORK: &str = "Resource temporarily unavailable (os error 11)";

impl HostCause {
    /// The cause that an error's text tells of.
    #[must_use]
    pub fn of(said: &str) -> Option<Self> {
        let mut words = WORDS.iter();
        words.find(|(words, _)| said.contains(words)).map(|(_, cause)| *cause)
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Files => "raise LimitNOFILE of the unit, or `ulimit -n`",
            Self::Disk => {
                "make room on the disk of the state directory, and look whether it is sound (dmesg)"
            }
            Self::Memory => {
                "find out what takes the memory of this host, or raise MemoryMax and TasksMax of the unit"
            }
        }
    }
}

impl fmt::Display for HostCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "no more files can be opened",
            Self::Disk => "the disk cannot be written",
            Self::Memory => "there is no memory left",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_this_host_is_told_from_what_the_network_does() {
        let of_system = |number| std::io::Error::from_raw_os_error(number).to_string();
        let numbers =
            [24, 23, 28, 122, 30, 5, 12, 11].map(|number| HostCause::of(&of_system(number)));
        let (files, disk, memory) = (HostCause::Files, HostCause::Disk, HostCause::Memory);
        let expected = [files, files, disk, disk, disk, disk, memory, memory];
        assert_eq!(numbers, expected.map(Some));
        for elsewhere in [
            of_system(111),
            of_system(110),
            of_system(13),
            of_system(2),
            "EC2 did not answer: RequestLimitExceeded: slow down".to_owned(),
            "failed to resolve address: Temporary failure in name resolution".to_owned(),
            "InternalServerError: try again".to_owned(),
        ] {
            assert_eq!(HostCause::of(&elsewhere), None, "{elsewhere}");
        }
    }
}
