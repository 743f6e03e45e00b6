//! Phases beside those of the last good build, and in words. Pure.

use jiff::SignedDuration;
use reconciler_model::build_phases::{BuildPhase, PhaseEnd, PhaseKind};

use crate::plan::sentences::{age_words, duration_words};

/// A difference that is smaller, in seconds, is not worth a word.
const LEAST_DIFFERENCE: u64 = 5;

/// Puts beside each phase how long it took in the last good build. What a provisioner is called
/// tells it before its place does, for one may have come before it meanwhile.
#[must_use]
pub fn compared(phases: Vec<BuildPhase>, last: &[BuildPhase]) -> Vec<BuildPhase> {
    let is_one = |all: &[BuildPhase]| all.iter().all(|phase| phase.source.is_none());
    let of_one = is_one(&phases) || is_one(last);
    let alike = |one: &BuildPhase, other: &BuildPhase| {
        (one.phase, &one.name) == (other.phase, &other.name)
            && (of_one || one.source == other.source)
    };
    let found = |at: usize| {
        let phase = &phases[at];
        let mut fitting = last.iter().filter(|other| alike(phase, other));
        let before = phases[..at].iter().filter(|other| alike(phase, other)).count();
        let same_place = fitting.clone().find(|other| other.place == phase.place);
        // Seeded bug: a-phase-is-compared-with-another
        same_place.or_else(|| fitting.nth(before)).map(|other| other.seconds)
    };
    let seconds: Vec<_> = (0..phases.len()).map(found).collect();
    let with = |(mut phase, seconds): (BuildPhase, Option<u64>)| {
        phase.last_seconds = seconds;
        phase
    };
    phases.into_iter().zip(seconds).map(with).collect()
}

/// The phase in which a build failed.
#[must_use]
pub fn failed_phase(phases: &[BuildPhase]) -> Option<&BuildPhase> {
    phases.iter().find(|phase| phase.end == PhaseEnd::Failed)
}

/// What a phase is called.
#[must_use]
pub fn name(phase: &BuildPhase) -> String {
    let named = |what: &str| {
        let place = phase.place.map_or(String::new(), |place| format!(" {place}"));
        format!("{what}{place} {}", phase.name).trim().to_owned()
    };
    match phase.phase {
        PhaseKind::Instance => "instance up".to_owned(),
        PhaseKind::Connection if phase.name.is_empty() => "connection".to_owned(),
        PhaseKind::Connection => phase.name.clone(),
        PhaseKind::Provisioner => named(""),
        PhaseKind::Image => "image".to_owned(),
        PhaseKind::Copy => "copy".to_owned(),
        PhaseKind::CleanUp => "clean-up".to_owned(),
        PhaseKind::PostProcessor => named("post-processor"),
    }
}

/// How long it took, and how much longer or shorter that is than in the last good build.
#[must_use]
pub fn took(phase: &BuildPhase) -> String {
    let seconds = SignedDuration::from_secs(i64::try_from(phase.seconds).unwrap_or(i64::MAX));
    let took = match phase.seconds {
        60..3600 => format!("{}m{:02}s", phase.seconds / 60, phase.seconds % 60),
        _ => duration_words(seconds),
    };
    let difference = difference(phase).map_or(String::new(), |words| format!(" ({words})"));
    format!("{took}{difference}")
}

/// `+9m`; none if it is small, or there is nothing to compare with.
fn difference(phase: &BuildPhase) -> Option<String> {
    let last = phase.last_seconds?;
    let by = phase.seconds.abs_diff(last);
    let is_more = phase.seconds > last;
    // One that did not come to its end says nothing by being shorter.
    let is_told = by >= LEAST_DIFFERENCE
        && by.saturating_mul(10) >= last
        && (is_more || phase.end == PhaseEnd::Passed);
    let words = age_words(SignedDuration::from_secs(i64::try_from(by).unwrap_or(i64::MAX)));
    is_told.then(|| format!("{}{words}", if is_more { '+' } else { '\u{2212}' }))
}

/// All of them in one line, source by source, the one that failed marked.
#[must_use]
pub fn line(phases: &[BuildPhase]) -> String {
    let one = |phase: &BuildPhase| {
        let mark = if phase.end == PhaseEnd::Failed { " failed" } else { "" };
        format!("{} {}{mark}", name(phase), took(phase))
    };
    let of_source = |phases: &[BuildPhase]| {
        let told = phases.iter().map(one).collect::<Vec<_>>().join(", ");
        match phases.first().and_then(|phase| phase.source.as_ref()) {
            Some(source) => format!("{source}: {told}"),
            None => told,
        }
    };
    let sources = phases.chunk_by(|one, other| one.source == other.source);
    sources.map(of_source).collect::<Vec<_>>().join("; ")
}

/// In which phase a build failed, and after how long.
#[must_use]
pub fn failed_in(phases: &[BuildPhase]) -> Option<String> {
    let phase = failed_phase(phases)?;
    let during = match phase.phase {
        PhaseKind::Instance => "while its instance came up".to_owned(),
        PhaseKind::Connection => format!("while it waited for {}", name(phase)),
        PhaseKind::Provisioner => match phase.place {
            Some(place) => format!("in {} (provisioner {place})", phase.name),
            None => format!("in {}", phase.name),
        },
        PhaseKind::Image => "while its image was made".to_owned(),
        PhaseKind::Copy => "while its image was copied".to_owned(),
        PhaseKind::CleanUp => "while it was cleaned up".to_owned(),
        PhaseKind::PostProcessor => format!("in {}", name(phase)),
    };
    Some(format!("{during}, after {}", took(phase)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn phase(
        kind: PhaseKind,
        place: Option<u32>,
        name: &str,
        seconds: u64,
    ) -> BuildPhase {
        BuildPhase {
            phase: kind,
            source: None,
            place,
            name: name.to_owned(),
            seconds,
            tries: 1,
            end: PhaseEnd::Passed,
            last_seconds: None,
        }
    }

    fn script(place: u32, name: &str, seconds: u64) -> BuildPhase {
        phase(PhaseKind::Provisioner, Some(place), name, seconds)
    }

    #[test]
    fn a_phase_is_compared_with_the_one_of_its_name_though_its_place_is_another() {
        let last = [
            phase(PhaseKind::Instance, None, "", 40),
            script(1, "inline shell", 2),
            script(2, "setup.sh", 302),
            script(3, "inline shell", 30),
            script(4, "setup.sh", 1),
        ];
        let now = vec![
            phase(PhaseKind::Instance, None, "", 41),
            script(1, "inline shell", 3),
            script(2, "new.sh", 3),
            script(3, "setup.sh", 842),
            script(4, "inline shell", 1),
            script(5, "setup.sh", 9),
        ];
        let told = compared(now, &last);
        let last: Vec<_> = told.iter().map(|one| one.last_seconds).collect();
        assert_eq!(last, [Some(40), Some(2), None, Some(302), Some(30), Some(1)]);
        insta::assert_snapshot!(line(&told), @"instance up 41s, 1 inline shell 3s, 2 new.sh 3s, 3 setup.sh 14m02s (+9m), 4 inline shell 1s (−29s), 5 setup.sh 9s (+8s)");
    }

    #[test]
    fn a_phase_of_one_of_several_sources_is_compared_with_that_of_the_same() {
        let of = |source: &str, seconds| BuildPhase {
            source: Some(source.to_owned()),
            ..script(1, "a.sh", seconds)
        };
        let told = compared(vec![of("x.a", 9), of("x.b", 9)], &[of("x.b", 1)]);
        assert_eq!(told[0].last_seconds, None);
        assert_eq!(told[1].last_seconds, Some(1));
        let told = compared(vec![of("x.a", 9), of("x.b", 9)], &[script(1, "a.sh", 2)]);
        assert_eq!(told[0].last_seconds, Some(2));
    }

    #[test]
    fn a_phase_that_was_cut_short_is_not_said_to_be_faster() {
        let mut cut = script(1, "a.sh", 2);
        cut.last_seconds = Some(60);
        assert_eq!(took(&cut), "2s (\u{2212}58s)");
        cut.end = PhaseEnd::Failed;
        assert_eq!(took(&cut), "2s");
        assert_eq!(failed_in(&[cut.clone()]).unwrap(), "in a.sh (provisioner 1), after 2s");
        cut.seconds = 842;
        assert_eq!(line(&[cut]), "1 a.sh 14m02s (+13m) failed");
        assert_eq!(failed_in(&[script(1, "a.sh", 2)]), None);
    }
}
