//! Patterns of image names as EC2's filters take them: `*` any text, `?` one character, `\` before
//! either takes it literally. Pure.

/// Whether the whole of `name` matches; upper and lower case differ.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern = parse(pattern);
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut from) = (0, 0);
    // Where to go on if what follows the last `*` does not fit: that star takes one character more.
    let mut retry: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(Part::Any) => {
                retry = Some((at + 1, from));
                at += 1;
            }
            Some(part) if part.fits(name[from]) => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((after_star, taken)) = retry else {
                    return false;
                };
                (at, from) = (after_star, taken + 1);
                retry = Some((after_star, taken + 1));
            }
        }
    }
    pattern[at..].iter().all(|part| matches!(part, Part::Any))
}

/// The pattern that matches this text and nothing else.
#[must_use]
pub fn literal(name: &str) -> String {
    name.replace('\\', "\\\\").replace('*', "\\*").replace('?', "\\?")
}

enum Part {
    Any,
    One,
    Literal(char),
}

impl Part {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(own) => *own == c,
        }
    }
}

fn parse(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Literal(chars.next().unwrap_or('\\')),
            other => Part::Literal(other),
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_ec2s_filters_do() {
        let focal = "ubuntu/images/hvm-ssd/ubuntu-focal-20.04-amd64-server-*";
        assert!(matches(focal, "ubuntu/images/hvm-ssd/ubuntu-focal-20.04-amd64-server-20240613"));
        assert!(!matches(focal, "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20240613"));
        for (pattern, name, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("A*", "abc", false),
            ("[a]{b}", "[a]{b}", true),
            ("*-*", "--", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_literal_matches_itself_only() {
        let name = r"a*b?c\d";
        assert!(matches(&literal(name), name));
        assert!(!matches(&literal(name), r"axb?c\d"));
    }
}
