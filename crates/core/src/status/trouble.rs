//! What a daemon tries again and again without success, beside the builds that its journal tells
//! of: a pass that cannot be made, a fetch, tags that cannot be put on, a build whose end cannot be
//! written down. Pure; time is an argument.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::sentences::age_words;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What is tried, in words.
    pub what: String,
    /// Why it does not work, in one line.
    pub cause: String,
    /// What can be done about it.
    pub hint: Option<String>,
    /// How often it was tried in a row.
    pub times: u32,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again; none: at the next pass.
    pub next_try: Option<Timestamp>,
}

/// All of them, for people; empty if there are none.
#[must_use]
pub fn text(troubles: &[Trouble], now: Timestamp) -> String {
    let mut out = String::new();
    let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
    for trouble in troubles {
        let _ = writeln!(out, "{red}{} does not work{red:#}: {}", trouble.what, trouble.cause);
        if let Some(hint) = &trouble.hint {
            let _ = writeln!(out, "  {hint}");
        }
        let tries = match trouble.times {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let since = age_words(now.duration_since(trouble.since));
        let next = match trouble.next_try {
            Some(at) if at > now => format!("in {}", age_words(at.duration_since(now))),
            Some(_) => "now".to_owned(),
            None => "at the next pass".to_owned(),
        };
        let _ = writeln!(out, "  tried {tries} since {since} ago; next try {next}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_work_is_said_with_its_cause_and_the_time_of_the_next_try() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut trouble = Trouble {
            what: "step a of wf".into(),
            cause: "No space left on device".into(),
            hint: Some("make room".into()),
            times: 3,
            since: at(0),
            next_try: Some(at(180)),
        };
        let said = anstream::adapter::strip_str(&text(&[trouble.clone()], at(60))).to_string();
        assert_eq!(
            said,
            "step a of wf does not work: No space left on device\n  make room\n  tried 3 times since 1m ago; next try in 2m\n"
        );
        (trouble.times, trouble.next_try) = (1, None);
        assert!(
            text(&[trouble], at(0)).contains("tried once since 0s ago; next try at the next pass")
        );
        assert_eq!(text(&[], at(0)), "");
    }
}
