//! `OpenPGP` signatures, verified by `git verify-commit` and `git verify-tag` against a keyring
//! that holds the allowed keys and no other.
//!
//! The child reads no configuration but the repository's own, of which everything that could start
//! a program is overruled; it fetches nothing and follows no replacement of objects.

use std::path::Path;

use crate::config::SignaturePolicy;
use crate::git::signature::{Refusal, Signer};
use crate::verifier::gnupg::{Verdict, judge};
use crate::verifier::{Desk, program};

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
    match judge(ran.status.success(), &ran.err) {
        Verdict::Good { key } => Ok(Signer(key)),
        Verdict::NotAllowed { key, said } => {
            Err(Refusal::NotAllowed { key, place: home.clone(), said: said.to_owned() })
        }
        Verdict::Bad { said } => Err(Refusal::Forged { said }),
    }
}
