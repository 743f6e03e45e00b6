//! Whether what git names was signed by somebody who may: the commit that is to be applied, or the
//! annotated tag that is followed.
//!
//! One signature vouches for a tree and, by their ids, for the whole history before it; so the
//! head's is asked for and no other. Of a merge it is the merge commit's. `object` takes a
//! signature out of the object, `ssh` and `gpg` have it verified by the programs that git uses.
//! Nothing is remembered: the files that say who is allowed are read each time, so a key that is
//! taken out counts no more.

mod gpg;
pub mod object;
mod ssh;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use object::{Format, Signed};

use crate::config::SignaturePolicy;
use crate::git::named::{NamedRevision, Tag};

/// Who signed, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer(String);

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the signature of an object cannot be taken out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Which of them counts would be a guess.
    #[error("it carries two signatures")]
    TwoSignatures,
    /// `gpgsig-sha256` and what begins like it.
    #[error("it carries a signature for another object format")]
    OtherHeader,
    /// X.509, or nothing that is known.
    #[error("its signature is neither an SSH nor an OpenPGP one")]
    UnknownFormat,
}

/// Why a signature does not count.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is none.
    #[error("is not signed")]
    NotSigned,
    /// There is none that can be told.
    #[error("cannot be trusted: {0}")]
    Unreadable(#[from] Unreadable),
    /// The tag was signed under another name.
    #[error("is a tag that was signed under another name, `{0}`")]
    OtherName(String),
    /// Whoever may push decides which of two references the name means.
    #[error("cannot be trusted: its name is a branch's and a tag's at once")]
    TwoReferences,
    /// An unsigned tag gives a signed one another name.
    #[error("cannot be trusted: it is a tag of a tag")]
    TagOfTag,
    /// It does not fit the object.
    #[error(
        "has a signature that does not fit it ({said}): it was altered, or the signature was copied"
    )]
    Forged {
        /// What the program said.
        said: String,
    },
    /// It is genuine, but not of somebody who may.
    #[error("is signed by a key that is not allowed, {key} ({said})")]
    NotAllowed {
        /// The key.
        key: String,
        /// Where allowed keys stand.
        place: PathBuf,
        /// What the program said.
        said: String,
    },
    /// No keys of this kind are allowed.
    #[error("has {found}, and no `{key}` is configured")]
    FormatNotAllowed {
        /// What it has.
        found: &'static str,
        /// What would have to be there.
        key: &'static str,
    },
    /// The configuration names something that cannot be used.
    #[error("cannot be verified: {key} {} cannot be used: {said}", path.display())]
    Unusable {
        /// The key of the configuration.
        key: &'static str,
        /// What it names.
        path: PathBuf,
        /// Why.
        said: String,
    },
    /// The program that verifies is missing or did not end.
    #[error("cannot be verified: {name} cannot be run: {said}")]
    Program {
        /// Its name.
        name: &'static str,
        /// Why.
        said: String,
    },
}

impl Refusal {
    fn program(name: &'static str, error: &io::Error) -> Self {
        Self::Program { name, said: error.to_string() }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotSigned | Self::Unreadable(_) => {
                "sign it: git commit --amend --no-edit -S, and push; or push a signed commit on top"
                    .to_owned()
            }
            Self::TwoReferences => {
                "find out who pushed the second; remove it, or follow one by its full name: reference: refs/heads/…, or refs/tags/…"
                    .to_owned()
            }
            Self::TagOfTag => "tag the commit itself, and sign that tag".to_owned(),
            Self::OtherName(_) => "a tag was moved: make and sign one of this name".to_owned(),
            Self::Forged { .. } => {
                "find out who pushed it and how; push a signed commit to go on".to_owned()
            }
            Self::NotAllowed { place, .. } => format!(
                "if the signer may: add the key to {}; if not, find out who pushed it",
                place.display()
            ),
            Self::FormatNotAllowed { key, .. } => format!("set `{key}` of the repository"),
            Self::Unusable { key, .. } => format!("mend it, or change `{key}` of the repository"),
            Self::Program { name, .. } => {
                let package = if *name == "git" {
                    "git and gnupg"
                } else {
                    "openssh-client"
                };
                format!("install {package} on this host")
            }
        }
    }
}

/// Verifies what git names. The first signed object on the way from the reference to the commit has
/// to be good: a signed tag vouches for its commit, and where there is none the commit has to vouch
/// for itself.
pub fn verify(
    policy: &SignaturePolicy,
    git_dir: &Path,
    named: &NamedRevision,
) -> Result<Signer, Refusal> {
    if named.is_ambiguous {
        return Err(Refusal::TwoReferences);
    }
    // Seeded bug: a-tag-of-a-tag-is-believed
    if named.tags.len() > 1 {
        return Err(Refusal::TagOfTag);
    }
    for tag in &named.tags {
        if let Some(signed) = object::tag(&tag.raw)? {
            same_name(tag)?;
            return one(policy, git_dir, gpg::What::Tag, &tag.id, &signed);
        }
    }
    match object::commit(&named.commit)? {
        Some(signed) => one(policy, git_dir, gpg::What::Commit, named.revision.as_str(), &signed),
        None => Err(Refusal::NotSigned),
    }
}

/// A signed tag of one name says nothing about another: whoever may push could give an old one a
/// new name.
fn same_name(tag: &Tag) -> Result<(), Refusal> {
    let signed = object::tag_name(&tag.raw).unwrap_or_default();
    match &tag.reference {
        Some(name) if *name != signed => Err(Refusal::OtherName(signed)),
        _ => Ok(()),
    }
}

fn one(
    policy: &SignaturePolicy,
    git_dir: &Path,
    what: gpg::What,
    id: &str,
    signed: &Signed,
) -> Result<Signer, Refusal> {
    match signed.format {
        Format::Ssh => ssh::verify(policy, signed),
        Format::OpenPgp => gpg::verify(policy, git_dir, what, id),
    }
}
