//! Installs Packer from its vendor's release: the list of sums by the vendor's signature, the file
//! for this system by the list, the program in one step in the place of the old one.
//!
//! Until that step nothing that was there is touched. Which file is right and what a list says is
//! decided in [`reconciler_core::packer::release`]; whether a signature is good, by `gpgv`.

mod error;
mod place;
mod signature;
mod source;
mod unpack;

use std::path::{Path, PathBuf};

pub use error::InstallError;
use place::Place;
use source::Source;

use crate::packer::version;
use reconciler_core::packer::release::{Listed, Platform, ReleaseVersion, listed};
use reconciler_core::packer::version::PackerVersion;
use reconciler_model::digest::Digest;

/// Where a release is taken from.
#[derive(Clone, Debug)]
pub enum From {
    /// A site, by its address.
    Site(String),
    /// A folder that holds the files of the release.
    Folder(PathBuf),
}

/// What is to be installed.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which version; none: the newest there is.
    pub version: Option<ReleaseVersion>,
    /// Where it is taken from.
    pub from: From,
    /// The file that the program is to be.
    pub target: PathBuf,
    /// A file with the keys that may sign it; none: the vendor's, which ship with this program.
    pub keys: Option<PathBuf>,
}

/// What was installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Which version.
    pub version: ReleaseVersion,
    /// Which one was there before, if one was that could be asked.
    pub before: Option<PackerVersion>,
    /// The file that it was in, and where that was.
    pub file: String,
    /// The folder or the address of the file.
    pub place: String,
    /// The SHA-256 of the file.
    pub sum: Digest,
    /// The fingerprint of the key that signed it.
    pub key: String,
}

/// The system and the processor of this host.
pub fn platform() -> Result<Platform, InstallError> {
    let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
    Platform::of(system, processor).ok_or(InstallError::NoRelease { system, processor })
}

/// Installs Packer.
pub async fn install(order: &Order) -> Result<Installed, InstallError> {
    let platform = platform()?;
    let keys = signature::keys(order.keys.as_deref())?;
    let place = Place::prepare(&order.target)?;
    let source = match &order.from {
        From::Site(base) => Source::site(base)?,
        From::Folder(folder) => Source::Folder(folder.clone()),
    };
    let version = match &order.version {
        Some(version) => version.clone(),
        None => source.newest().await?,
    };
    let signed = SignedList::read(&source, &version, &keys).await?;
    let file = version.zip_file(platform);
    let sum = signed.sum_of(&file)?;
    let zip = place.beside("release.zip");
    let found = source.save(&version, &file, &zip).await?;
    let found = found.ok_or_else(|| missing(&source, &version, &file))?;
    // Seeded bug: the-sum-of-packer-is-not-checked
    if found != sum {
        return Err(InstallError::WrongSum { file, found, listed: sum });
    }
    let new = place.beside("packer");
    place.make_runnable(&unpack::unpack(&zip, &file, &new)?)?;
    tried(&new, version.number()).await?;
    let before = version::say(&order.target).await.ok();
    place.take(&new)?;
    let place = source.place(Some(&version));
    Ok(Installed { version, before, file, place, sum, key: signed.key })
}

/// A list of sums whose signature is good.
struct SignedList {
    name: String,
    text: String,
    key: String,
}

impl SignedList {
    async fn read(
        source: &Source,
        version: &ReleaseVersion,
        keys: &[u8],
    ) -> Result<Self, InstallError> {
        let (name, signature) = (version.sums_file(), version.signature_file());
        let Some(list) = source.read(Some(version), &name).await? else {
            return Err(InstallError::NoSuchVersion {
                version: version.clone(),
                place: source.place(None),
                newest: source.newest().await.ok(),
            });
        };
        let signed = source.read(Some(version), &signature).await?;
        let signed = signed.ok_or_else(|| missing(source, version, &signature))?;
        // Seeded bug: the-signature-of-packer-is-not-checked
        let key = signature::verify(keys, &name, &list, &signed)?;
        Ok(Self { name, text: String::from_utf8_lossy(&list).into_owned(), key })
    }

    fn sum_of(&self, file: &str) -> Result<Digest, InstallError> {
        let wrong = |times| InstallError::NotListed {
            list: self.name.clone(),
            file: file.to_owned(),
            times,
        };
        match listed(&self.text, file) {
            Listed::Sum(sum) => Ok(sum),
            Listed::Missing => Err(wrong("not at all")),
            Listed::Twice => Err(wrong("twice")),
        }
    }
}

fn missing(source: &Source, version: &ReleaseVersion, file: &str) -> InstallError {
    InstallError::Missing { file: file.to_owned(), place: source.place(Some(version)) }
}

/// Runs the new program before it takes the place of one that runs.
async fn tried(program: &Path, wanted: PackerVersion) -> Result<(), InstallError> {
    let said = version::say(program).await;
    let said = said.map_err(|error| InstallError::DoesNotRun { said: error.to_string() })?;
    if said != wanted {
        let said = format!("it says that it is {said}, and is to be {wanted}");
        return Err(InstallError::DoesNotRun { said });
    }
    Ok(())
}
