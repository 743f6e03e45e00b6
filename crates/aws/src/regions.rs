//! What can be told of a region's name without asking AWS: whether it has the form of one, and
//! whether this version knows it. Pure.
//!
//! AWS opens regions faster than this program is released: one that is not in the list is worth a
//! word and no more.

use reconciler_model::diagnostic::Diagnostic;

/// The regions of 2026, of all partitions that have an endpoint in the internet.
const KNOWN: [&str; 39] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

/// What a name of a region is.
#[derive(Debug, PartialEq, Eq)]
pub enum Judged {
    /// One that this version knows.
    Known,
    /// One that it does not know: there may be such a region by now.
    Unknown(Diagnostic),
    /// No name that a region could have.
    Malformed(Diagnostic),
}

/// Judges a name.
#[must_use]
pub fn judge(region: &str) -> Judged {
    if KNOWN.contains(&region) {
        return Judged::Known;
    }
    let nearest = nearest(region);
    if is_of_a_zone(region) {
        let name = region.trim_end_matches(|c: char| c.is_ascii_lowercase());
        return Judged::Malformed(
            Diagnostic::new(format!("`{region}` is an availability zone and no region"))
                .hint(format!("its region is `{name}`")),
        );
    }
    if has_the_form(region) {
        return Judged::Unknown(
            Diagnostic::new(format!("`{region}` is no AWS region that this version knows"))
                .hint(format!("if it is not a new one: did you mean `{nearest}`?")),
        );
    }
    Judged::Malformed(
        Diagnostic::new(format!("`{region}` is no name of an AWS region"))
            .hint(format!("did you mean `{nearest}`?")),
    )
}

/// `us-east-1`, `us-gov-west-1`: small letters between hyphens, and a number.
fn has_the_form(region: &str) -> bool {
    let parts: Vec<&str> = region.split('-').collect();
    let [words @ .., number] = parts.as_slice() else {
        return false;
    };
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    (2..=3).contains(&words.len())
        && words.iter().all(is_word)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

fn is_of_a_zone(region: &str) -> bool {
    region.strip_suffix(|c: char| c.is_ascii_lowercase()).is_some_and(has_the_form)
}

fn nearest(region: &str) -> &'static str {
    let asked = region.trim().to_ascii_lowercase().replace([' ', '_'], "-");
    let asked: String = asked.chars().take(64).collect();
    let by_distance = KNOWN.iter().min_by_key(|known| strsim::levenshtein(known, &asked));
    by_distance.copied().unwrap_or("us-east-1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(judged: Judged) -> String {
        match judged {
            Judged::Known => String::new(),
            Judged::Unknown(said) | Judged::Malformed(said) => said.hint.unwrap(),
        }
    }

    #[test]
    fn names_are_known_or_new_or_no_names() {
        for region in ["us-east-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1"] {
            assert_eq!(judge(region), Judged::Known, "{region}");
        }
        for (region, meant) in [
            ("us-est-1", "us-east-1"),
            ("eu-central-9", "eu-central-1"),
            ("ap-southeast-11", "ap-southeast-1"),
        ] {
            let said = judge(region);
            assert!(matches!(said, Judged::Unknown(_)), "{region}");
            assert!(hint(said).contains(meant), "{region}");
        }
        for (region, meant) in [
            ("us-east-1a", "`us-east-1`"),
            ("eu-west-2c", "`eu-west-2`"),
            ("US-EAST-1", "us-east-1"),
            ("us east 1", "us-east-1"),
            ("us_west_2", "us-west-2"),
            ("virginia", "`"),
            ("us-east", "us-east-"),
            ("useast1", "us-east-1"),
            ("", "`"),
            ("us-east-1 ", "us-east-1"),
            ("-east-1", "`"),
            ("us-east-1/x", "us-east-1"),
        ] {
            let said = judge(region);
            assert!(matches!(said, Judged::Malformed(_)), "{region}");
            assert!(hint(said).contains(meant), "{region}");
        }
    }
}
