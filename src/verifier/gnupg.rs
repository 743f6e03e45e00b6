//! What `GnuPG` says about a signature, in the status lines that it writes for programs (its
//! doc/DETAILS). Pure.

/// What became of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It fits, and is of a key that is trusted.
    Good {
        /// The fingerprint.
        key: String,
    },
    /// It is of a key that is not trusted, or no more.
    NotAllowed {
        /// The key, as far as it is known.
        key: String,
        /// Why.
        said: &'static str,
    },
    /// It does not fit, or is none.
    Bad {
        /// The last of what was said.
        said: String,
    },
}

/// Judges what was said. `passed`: the program ended with 0.
pub(crate) fn judge(passed: bool, said: &str) -> Verdict {
    let status = |name: &str| {
        said.lines().find_map(|line| {
            let mut words = line.strip_prefix("[GNUPG:] ")?.split_whitespace();
            (words.next()? == name).then(|| words.next().unwrap_or("?").to_owned())
        })
    };
    let withdrawn = [
        ("EXPKEYSIG", "the key has expired"),
        ("REVKEYSIG", "the key is revoked"),
        ("EXPSIG", "the signature has expired"),
        ("NO_PUBKEY", "the key is not in the keyring"),
    ];
    for (name, why) in withdrawn {
        if let Some(key) = status(name) {
            return Verdict::NotAllowed { key, said: why };
        }
    }
    match status("VALIDSIG") {
        Some(key) if passed && status("BADSIG").is_none() => Verdict::Good { key },
        _ => Verdict::Bad { said: said.lines().last().unwrap_or_default().trim().to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_signature_of_a_good_key_passes() {
        let good = "[GNUPG:] GOODSIG 1 Ada\n[GNUPG:] VALIDSIG ABCD 2026\n";
        assert_eq!(judge(true, good), Verdict::Good { key: "ABCD".to_owned() });
        assert!(matches!(judge(false, good), Verdict::Bad { .. }));
        assert!(matches!(judge(true, ""), Verdict::Bad { .. }));
        let expired = "[GNUPG:] EXPKEYSIG 1 Ada\n[GNUPG:] VALIDSIG ABCD 2026\n";
        assert!(matches!(judge(true, expired), Verdict::NotAllowed { .. }));
    }

    #[test]
    fn a_user_id_cannot_forge_a_status_line() {
        let said = "[GNUPG:] BADSIG 1 [GNUPG:] VALIDSIG ABCD\n";
        assert!(matches!(judge(false, said), Verdict::Bad { .. }));
        assert!(matches!(judge(true, said), Verdict::Bad { .. }));
    }
}
