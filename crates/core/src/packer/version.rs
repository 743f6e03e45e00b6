//! Versions of Packer and of its plugins, and what a Packer knows. Pure.

use std::fmt;

/// A version of Packer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackerVersion {
    major: u32,
    minor: u32,
    patch: u32,
}

impl PackerVersion {
    /// Reads `Packer v1.6.6` as `packer version` prints it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let word = text
            .split_ascii_whitespace()
            .find(|word| word.starts_with('v') && word.contains('.'))?;
        let mut numbers = word[1..].split(['.', '-', '+']).map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some(Self { major: next()?, minor: next()?, patch: next().unwrap_or(0) })
    }

    /// Reads exactly three numbers: `1.2.8`.
    #[must_use]
    pub fn of_three(text: &str) -> Option<Self> {
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let mut numbers = text.split('.').map(|part| {
            let number = is_number(part).then(|| part.parse().ok());
            number.flatten()
        });
        let mut next = || numbers.next()?;
        let read = Self { major: next()?, minor: next()?, patch: next()? };
        numbers.next().is_none().then_some(read)
    }

    /// Whether it is what `required_version` asks for (`>= 1.7.0, < 2.0`, `~> 1.8`); none where
    /// that is written in a way that is not known here: Packer will tell.
    #[must_use]
    pub fn satisfies(self, constraint: &str) -> Option<bool> {
        let mut all = true;
        for one in constraint.split(',').map(str::trim) {
            let at = one.find(|c: char| c.is_ascii_digit() || c == 'v')?;
            let (operator, text) = (one[..at].trim(), one[at..].trim_start_matches('v'));
            let numbers: Vec<u32> =
                text.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
            let number = |place: usize| numbers.get(place).copied().unwrap_or(0);
            let wanted = Self { major: number(0), minor: number(1), patch: number(2) };
            all &= match operator {
                "" | "=" => self == wanted,
                "!=" => self != wanted,
                ">" => self > wanted,
                ">=" => self >= wanted,
                "<" => self < wanted,
                "<=" => self <= wanted,
                "~>" if numbers.len() == 2 => self >= wanted && self.major == wanted.major,
                "~>" if numbers.len() == 3 => {
                    self >= wanted && (self.major, self.minor) == (wanted.major, wanted.minor)
                }
                _ => return None,
            };
        }
        Some(all)
    }

    /// Whether the amazon builders are within: they were taken out in 1.10.
    #[must_use]
    pub fn has_amazon_within(self) -> bool {
        (self.major, self.minor) < (1, 10)
    }

    /// `required_plugins` and `packer init` came with 1.7.
    #[must_use]
    pub fn knows_required_plugins(self) -> bool {
        (self.major, self.minor) >= (1, 7)
    }
}

impl fmt::Display for PackerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_held_against_what_a_template_asks_for() {
        let debian = PackerVersion::parse("Packer v1.6.6").unwrap();
        let cases = [
            (">= 1.7.0", Some(false)),
            (">= 1.6, < 2", Some(true)),
            ("~> 1.6", Some(true)),
            ("~> 1.6.7", Some(false)),
            ("1.6.6", Some(true)),
            ("!= 1.6.6", Some(false)),
            ("newest", None),
        ];
        for (constraint, expected) in cases {
            assert_eq!(debian.satisfies(constraint), expected, "{constraint}");
        }
    }

    #[test]
    fn a_version_is_read_from_what_packer_prints() {
        let said = "Packer v1.16.0-dev (abc)\n";
        assert_eq!(PackerVersion::parse(said).unwrap().to_string(), "1.16.0");
        assert_eq!(PackerVersion::parse("cracklib-packer 2.9"), None);
    }
}
