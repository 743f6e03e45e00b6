//! Why Packer is not installed, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use reconciler_core::packer::keyring::NoKeys;
use reconciler_core::packer::release::ReleaseVersion;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::Digest;

/// Why Packer is not installed. Whatever it is, what was there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The vendor makes none for this system.
    #[error("there is no release of Packer for {system} on {processor}")]
    NoRelease {
        /// The system.
        system: &'static str,
        /// The processor.
        processor: &'static str,
    },
    /// The site or the folder has no list of sums of it.
    #[error("there is no Packer {version} in {place}")]
    NoSuchVersion {
        /// What was asked for.
        version: ReleaseVersion,
        /// Where.
        place: String,
        /// The newest that is there, if that could be told.
        newest: Option<ReleaseVersion>,
    },
    /// There is none at all.
    #[error("there is no release of Packer in {place}")]
    NothingThere {
        /// Where.
        place: String,
    },
    /// The list knows it, or should, and it is not there.
    #[error("{file} is not in {place}")]
    Missing {
        /// What.
        file: String,
        /// Where it should be.
        place: String,
    },
    /// The site cannot be asked.
    #[error("{address} cannot be read: {said}")]
    Unreachable {
        /// What was asked for.
        address: String,
        /// Why.
        said: String,
    },
    /// More than such a file has.
    #[error("{file} in {place} is larger than {most} bytes, which none is")]
    TooLarge {
        /// What.
        file: String,
        /// Where.
        place: String,
        /// The limit.
        most: u64,
    },
    /// A file of a folder cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The keys that are configured are none.
    #[error("`packer.release_keys` {} cannot be used: {said}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        said: String,
    },
    /// The keys that ship with the program are none.
    #[error("the keys that ship with this program cannot be used: {0}")]
    OwnKeys(#[from] NoKeys),
    /// The program that verifies cannot be run.
    #[error("the signature cannot be verified: gpgv cannot be run: {0}")]
    Verifier(io::Error),
    /// The signature fits another text, or none.
    #[error("the signature of {file} does not fit it ({said})")]
    Forged {
        /// The list of sums.
        file: String,
        /// What gpgv said.
        said: String,
    },
    /// It is of somebody else.
    #[error("{file} is signed by a key that is not allowed, {key} ({said})")]
    Signer {
        /// The list of sums.
        file: String,
        /// Whose.
        key: String,
        /// What is wrong with it.
        said: &'static str,
    },
    /// The signed list does not say one sum of the file.
    #[error("the signed list {list} names {file} {times}")]
    NotListed {
        /// The list.
        list: String,
        /// What was looked for.
        file: String,
        /// How often: not at all, or twice.
        times: &'static str,
    },
    /// The file is another than the one that was signed.
    #[error(
        "{file} is not the file that was signed: its SHA-256 is {found}, and the list says {listed}"
    )]
    WrongSum {
        /// The file.
        file: String,
        /// What it has.
        found: Digest,
        /// What it should have.
        listed: Digest,
    },
    /// The signed file holds no Packer.
    #[error("{file} cannot be unpacked: {said}")]
    Zip {
        /// The file.
        file: String,
        /// Why.
        said: String,
    },
    /// The unpacked program is not what it should be.
    #[error("the new Packer does not run here: {said}")]
    DoesNotRun {
        /// What became of it.
        said: String,
    },
    /// There is a folder where the program would be.
    #[error("{} is a folder", .0.display())]
    IsFolder(PathBuf),
    /// The program cannot be put there.
    #[error("{} cannot be written: {source}", folder.display())]
    Place {
        /// Where it was to be.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl InstallError {
    /// A fault of the place where the program is to be.
    pub(super) fn place(folder: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Place { folder: folder.to_owned(), source }
    }

    /// What to do.
    fn hint(&self) -> String {
        let hint = match self {
            Self::NoSuchVersion { newest: Some(newest), .. } => {
                return format!("the newest there is {newest}");
            }
            Self::IsFolder(path) => {
                let path = path.display();
                return format!(
                    "a folder of plugins perhaps: name another with --to, or move {path} away"
                );
            }
            Self::NoRelease { .. } => {
                "build it from its sources, and name the binary in `packer.binary`"
            }
            Self::NoSuchVersion { newest: None, .. } | Self::NothingThere { .. } => {
                "a release is packer_V_SHA256SUMS, packer_V_SHA256SUMS.sig and a zip file for each \
                 system; `packer.release_site` names another site, --from a folder"
            }
            Self::Missing { .. } => {
                "copy it from where the others came from; nothing is installed unless it is signed \
                 and whole"
            }
            Self::Unreachable { .. } => {
                "try again; HTTPS_PROXY names a proxy, `packer.release_site` another site, and \
                 --from DIR takes the files from a folder"
            }
            Self::TooLarge { .. } | Self::Zip { .. } => "take another version, or tell the vendor",
            Self::Unreadable { .. } => "let this user read it",
            Self::Keys { .. } => {
                "write a file of the public keys that may sign a release, as `gpg --armor --export` \
                 prints them; without `packer.release_keys` it is HashiCorp's"
            }
            Self::OwnKeys(_) => "name others in `packer.release_keys`",
            Self::Verifier(_) => {
                "install gpgv (Debian: apt-get install gpgv); nothing is installed unverified"
            }
            Self::Forged { .. } | Self::WrongSum { .. } => {
                "try again; if it stays so, somebody has altered it on its way: take it from \
                 elsewhere, and tell who runs that place"
            }
            Self::Signer { .. } => {
                "take another version; if that key may sign releases, name a file with it in \
                 `packer.release_keys`"
            }
            Self::NotListed { .. } => {
                "the vendor has not released it for this system; take another version"
            }
            Self::DoesNotRun { .. } => {
                "take another version, or another folder where that one's file system runs no \
                 programs; the Packer that was there is untouched"
            }
            Self::Place { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room there: Packer takes a few hundred MB while it is installed"
            }
            Self::Place { .. } => {
                "name a folder that this user may write with --to, or run it as its owner"
            }
        };
        hint.to_owned()
    }
}

impl From<InstallError> for Diagnostic {
    fn from(error: InstallError) -> Self {
        Self::new(error.to_string()).hint(error.hint())
    }
}
