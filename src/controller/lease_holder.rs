//! Who holds a lease, as the text that stands in it: `host/pid/start-mark`. Enough for another
//! process of the same standpoint to tell that the holder is gone; everybody else waits until the
//! lease has run out.
//!
//! Earlier versions wrote `host/pid/start`, which does not say from where that process could be
//! seen: such a holder is never taken for gone. They take what this version writes for words, and
//! wait as well.

use std::sync::OnceLock;

use crate::controller::process_identity::{Standpoint, host_name};
use crate::packer::process::ProcessId;
use reconciler_core::plan::sight::Process as Seen;
use reconciler_model::ids::HostMark;

/// This process, as the holder of a lease.
#[must_use]
pub fn holder_name() -> String {
    // What can be told once stays so for as long as this process lives.
    static OWN: OnceLock<String> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return own.clone();
    }
    let (name, pid) = (host_name(), std::process::id());
    match (ProcessId::own(), Standpoint::own()) {
        (Some(own), Some(stands)) => {
            OWN.get_or_init(|| format!("{name}/{pid}/{}-{}", own.start, stands.mark())).clone()
        }
        (own, _) => format!("{name}/{pid}/{}", own.map_or(0, |own| own.start)),
    }
}

/// Whether a holder has ended and cannot come back, as far as this process can see.
#[must_use]
pub fn is_gone(holder: &str) -> bool {
    let seen_from = Standpoint::own().map(|stands| stands.mark());
    process(holder, seen_from.as_ref()).is_some_and(ProcessId::is_gone)
}

/// What can be seen of a holder from here.
#[must_use]
pub fn seen(holder: &str) -> Seen {
    let seen_from = Standpoint::own().map(|stands| stands.mark());
    process(holder, seen_from.as_ref()).map_or(Seen::Unknown, ProcessId::seen)
}

/// The process of a holder, if it can be seen from the standpoint of this mark.
fn process(holder: &str, seen_from: Option<&HostMark>) -> Option<ProcessId> {
    let mut parts = holder.rsplitn(3, '/');
    let (start, pid, _host) = (parts.next()?, parts.next()?, parts.next()?);
    let (start, mark) = start.split_once('-')?;
    let process = ProcessId { pid: pid.parse().ok()?, start: start.parse().ok()? };
    (mark == seen_from?.as_str()).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_mark() -> HostMark {
        Standpoint::own().unwrap().mark()
    }

    #[test]
    fn a_holder_that_has_ended_is_gone_and_one_that_runs_is_not() {
        assert!(!is_gone(&holder_name()));
        assert_eq!(seen(&holder_name()), Seen::Runs);
        let ended = format!("{}/{}/1-{}", host_name(), std::process::id(), own_mark());
        assert!(is_gone(&ended));
        assert_eq!(seen(&ended), Seen::Ended);
        assert_eq!(seen("elsewhere/1/1-0123456789abcdef"), Seen::Unknown);
    }

    #[test]
    fn a_holder_of_the_same_name_elsewhere_is_not_known_to_be_gone() {
        let here = HostMark::new("0123456789abcdef");
        let there = HostMark::new("fedcba9876543210");
        let holder = "localhost/4194000/1-0123456789abcdef";
        let process = ProcessId { pid: 4_194_000, start: 1 };
        assert_eq!(super::process(holder, Some(&here)), Some(process));
        assert_eq!(super::process(holder, Some(&there)), None);
        assert_eq!(super::process(holder, None), None);
    }

    #[test]
    fn what_an_earlier_version_wrote_and_words_say_nothing() {
        let mark = own_mark();
        for holder in [
            format!("{}/{}/1", host_name(), std::process::id()),
            "another-host/4194000/1".to_owned(),
            "words".to_owned(),
            "a/b/c-d".to_owned(),
            format!("host/1/x-{mark}"),
            format!("host//1-{mark}"),
        ] {
            assert_eq!(process(&holder, Some(&mark)), None, "{holder}");
            assert!(!is_gone(&holder), "{holder}");
        }
    }
}
