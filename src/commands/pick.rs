//! Finds the build that a person means by the begin of its id.

use std::collections::BTreeSet;

use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::BuildId;

/// So many ids are listed.
const LISTED: usize = 10;

/// The one build of `known` whose id begins so. None and several are refused, with those that there
/// are: `known` is newest first, `what` says of what they are builds, as in `step web`.
pub(crate) fn pick(begin: &str, known: &[BuildId], what: &str) -> Result<BuildId, Diagnostic> {
    let mut seen = BTreeSet::new();
    let known: Vec<&BuildId> = known.iter().filter(|id| seen.insert(*id)).collect();
    let fits: Vec<&BuildId> =
        known.iter().copied().filter(|id| id.as_str().starts_with(begin)).collect();
    let exact = fits.iter().find(|id| id.as_str() == begin);
    match (fits.as_slice(), exact) {
        (_, Some(one)) => Ok((*one).clone()),
        ([one], None) if !begin.is_empty() => Ok((*one).clone()),
        ([], None) => Err(Diagnostic::new(format!("no build of {what} begins with `{begin}`"))
            .hint(match known.as_slice() {
                [] => format!("no build of {what} is known"),
                known => format!("there are, newest first: {}", list(known)),
            })),
        (several, None) => Err(Diagnostic::new(format!(
            "`{begin}` is the begin of {} builds of {what}",
            several.len()
        ))
        .hint(format!("write more of it: {}", list(several)))),
    }
}

fn list(ids: &[&BuildId]) -> String {
    let shown: Vec<_> = ids.iter().take(LISTED).map(|id| id.as_str()).collect();
    let more = match ids.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_picked_by_a_begin_that_only_it_has_and_nothing_is_guessed() {
        let known = ["0193-c", "0193-b", "0192-a", "0192-a", "0192"].map(BuildId::new);
        let of = |begin| pick(begin, &known, "step web").map(|id| id.to_string());
        assert_eq!(of("0193-c"), Ok("0193-c".to_owned()));
        assert_eq!(of("0192-"), Ok("0192-a".to_owned()));
        assert_eq!(of("0192"), Ok("0192".to_owned()), "whole ids go before begins");
        let several = of("0193").unwrap_err();
        assert_eq!(several.message, "`0193` is the begin of 2 builds of step web");
        assert_eq!(several.hint.as_deref(), Some("write more of it: 0193-c, 0193-b"));
        let none = of("zzz").unwrap_err();
        assert_eq!(none.message, "no build of step web begins with `zzz`");
        assert!(none.hint.unwrap().ends_with("0193-c, 0193-b, 0192-a, 0192"));
        assert!(of("").is_err(), "an empty begin names nothing");
        assert!(pick("1", &[], "step web").is_err());
    }
}
