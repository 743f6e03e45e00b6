//! Durations as people write them: `30s`, `5m`, `1h 30m`, `90d`. One grammar for the configuration,
//! the parameters and the command line. Pure.

use std::time::Duration;

/// The longest that is believed: ten years. With it no point in time lies outside of the calendar.
pub const LONGEST: Duration = Duration::from_hours(3650 * 24);

/// What to write, for messages.
pub const HOW: &str = "whole numbers with their units, the largest first: w (weeks), d (days), h, m, s; for instance 30s, 5m, 1h 30m, 90d";

/// The same grammar for a JSON schema, less the zero that nobody means.
pub const PATTERN: &str = "^(?=.*[1-9])(?:[0-9]+ *(?:w|weeks?) *)?(?:[0-9]+ *(?:d|days?) *)?(?:[0-9]+ *(?:h|hrs?|hours?) *)?\
                           (?:[0-9]+ *(?:m|mins?|minutes?) *)?(?:[0-9]+ *(?:s|secs?|seconds?) *)?$";

/// Units from the largest to the smallest: how they are written, and their seconds.
const UNITS: [(&[&str], u64); 5] = [
    (&["w", "week", "weeks"], 7 * 24 * 3600),
    (&["d", "day", "days"], 24 * 3600),
    (&["h", "hr", "hrs", "hour", "hours"], 3600),
    (&["m", "min", "mins", "minute", "minutes"], 60),
    (&["s", "sec", "secs", "second", "seconds"], 1),
];

/// Reads a duration; none if the text is not one. What is longer than a number can say is the
/// longest that one can.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut units, mut seconds) = (text, UNITS.as_slice(), 0_u64);
    if !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    while !rest.is_empty() {
        let (number, behind) = split(rest, |c| c.is_ascii_digit());
        let (unit, behind) = split(behind.trim_start_matches(' '), |c| c.is_ascii_alphabetic());
        let at = units.iter().position(|(names, _)| names.contains(&unit))?;
        // Of a text of digits nothing but its length can be wrong.
        let number = match number {
            "" => return None,
            digits => digits.parse().unwrap_or(u64::MAX),
        };
        seconds = seconds.saturating_add(units[at].1.saturating_mul(number));
        (units, rest) = (&units[at + 1..], behind.trim_start_matches(' '));
    }
    Some(Duration::from_secs(seconds))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// A duration as it is written here, without what is zero: `1h 30m`.
#[must_use]
pub fn text(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut parts = Vec::new();
    for (names, seconds) in UNITS {
        if rest >= seconds {
            parts.push(format!("{}{}", rest / seconds, names[0]));
            rest %= seconds;
        }
    }
    if parts.is_empty() {
        return "0s".to_owned();
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_with_units_from_the_largest_to_the_smallest() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("90d", 90 * 86400),
            ("2w", 14 * 86400),
            ("1 week 2 days", 9 * 86400),
            ("10 minutes", 600),
            ("5 min 1 sec", 301),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "", " ", "30", "soon", "5x", "1.5h", "-5m", "+5m", "30m 1h", "1h 1h", "5 m m", "PT5M",
            "1mo", "1y", "500ms", "5m ago", "5M", " 5m", "h", "5m3", "01:30:00", "inf", "٣s",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
        let endless = parse("99999999999999999999w").unwrap();
        assert!(endless > LONGEST, "{endless:?}");
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text_of in ["1s", "5m", "1h 30m", "1w 6d 23h 59m 59s", "0s"] {
            assert_eq!(text(parse(text_of).unwrap()), text_of);
        }
    }
}
