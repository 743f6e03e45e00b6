//! `OpenPGP` signatures, verified by `git verify-commit` and `git verify-tag` against a keyring
//! that holds the allowed keys and no other.
//!
//! The child reads no configuration but the repository's own, of which everything that could start
//! a program is overruled; it fetches nothing and follows no replacement of objects.

use std::path::Path;

use crate::config::SignaturePolicy;
use crate::git::signature::child::{Desk, program};
use crate::git::signature::{Refusal, Signer};

/// What the repository's configuration could set, overruled.
const SETTINGS: [&str; 9] = [
    // Which program checks; a repository could name its own.
    "gpg.program=gpg",
    "gpg.openpgp.program=gpg",
    "gpg.format=openpgp",
    // The keyring says who is trusted, not the web of trust.
    "gpg.minTrustLevel=undefined",
    // Programs that git may start while it opens a repository.
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    // libgit2 has judged the owner already, by the configuration of whoever runs this.
    "safe.directory=*",
    // No object is read that a fetch would have to bring.
    "protocol.allow=never",
];

/// What is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A commit.
    Commit,
    /// An annotated tag.
    Tag,
}

/// Verifies the signature of an object by its id.
pub(super) fn verify(
    policy: &SignaturePolicy,
    git_dir: &Path,
    what: What,
    id: &str,
) -> Result<Signer, Refusal> {
    let Some(home) = &policy.gpg_home else {
        return Err(Refusal::FormatNotAllowed { found: "an OpenPGP signature", key: "gpg_home" });
    };
    if !home.is_dir() {
        return Err(Refusal::Unusable {
            key: "gpg_home",
            path: home.clone(),
            said: "there is no such folder".to_owned(),
        });
    }
    let io = |error| Refusal::program("git", &error);
    let desk = Desk::new().map_err(io)?;
    let mut command = program("git");
    command
        .env("GIT_DIR", git_dir)
        .env("GNUPGHOME", home)
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.arg(match what {
        What::Commit => "verify-commit",
        What::Tag => "verify-tag",
    });
    let ran = desk.run(command.args(["--raw", id]), None).map_err(io)?;
    judge(ran.status.success(), &ran.err, home)
}

/// What gpg's status lines say (doc/DETAILS of `GnuPG`).
fn judge(passed: bool, said: &str, home: &Path) -> Result<Signer, Refusal> {
    let status = |name: &str| {
        said.lines().find_map(|line| {
            let mut words = line.strip_prefix("[GNUPG:] ")?.split_whitespace();
            (words.next()? == name).then(|| words.next().unwrap_or("?").to_owned())
        })
    };
    let valid = status("VALIDSIG");
    let withdrawn = [
        ("EXPKEYSIG", "the key has expired"),
        ("REVKEYSIG", "the key is revoked"),
        ("EXPSIG", "the signature has expired"),
        ("NO_PUBKEY", "the key is not in the keyring"),
    ];
    for (name, why) in withdrawn {
        if let Some(key) = status(name) {
            return Err(Refusal::NotAllowed { key, place: home.to_owned(), said: why.to_owned() });
        }
    }
    match valid {
        Some(key) if passed && status("BADSIG").is_none() => Ok(Signer(key)),
        _ => {
            Err(Refusal::Forged { said: said.lines().last().unwrap_or_default().trim().to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(passed: bool, said: &str) -> Result<Signer, Refusal> {
        judge(passed, said, Path::new("/keys"))
    }

    #[test]
    fn only_a_valid_signature_of_a_good_key_passes() {
        let good = "[GNUPG:] GOODSIG 1 Ada\n[GNUPG:] VALIDSIG ABCD 2026\n";
        assert_eq!(told(true, good).unwrap().to_string(), "ABCD");
        assert!(told(false, good).is_err());
        assert!(told(true, "").is_err());
        let expired = "[GNUPG:] EXPKEYSIG 1 Ada\n[GNUPG:] VALIDSIG ABCD 2026\n";
        assert!(matches!(told(true, expired), Err(Refusal::NotAllowed { .. })));
    }

    #[test]
    fn a_user_id_cannot_forge_a_status_line() {
        let said = "[GNUPG:] BADSIG 1 [GNUPG:] VALIDSIG ABCD\n";
        assert!(matches!(told(false, said), Err(Refusal::Forged { .. })));
        assert!(matches!(told(true, said), Err(Refusal::Forged { .. })));
    }
}
