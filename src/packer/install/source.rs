//! Where the files of a release are: on a site as the vendor lays it out, or in a folder. Nothing
//! of what is read here is believed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::http::{self, Schemes};
use crate::packer::install::error::InstallError;
use reconciler_core::packer::release::{ReleaseVersion, newest, version_of_sums};
use reconciler_model::digest::Digest;

/// No list of sums or of versions has more.
const MOST_OF_A_LIST: u64 = 16 * 1024 * 1024;

/// No program has more.
pub(super) const MOST_OF_A_PROGRAM: u64 = 1024 * 1024 * 1024;

/// Where files are.
pub(super) enum Source {
    /// A site: `BASE/packer/VERSION/FILE`.
    Site { client: reqwest::Client, base: String },
    /// A folder with the files of a release or of several.
    Folder(PathBuf),
}

/// The part of a site's list of releases that is read.
#[derive(Deserialize)]
struct Index {
    versions: serde_json::Map<String, serde_json::Value>,
}

impl Source {
    /// A site, which is asked when something is read.
    pub(super) fn site(base: &str) -> Result<Self, InstallError> {
        let base = base.trim_end_matches('/').to_owned();
        let schemes = if base.starts_with("https:") { Schemes::Https } else { Schemes::Any };
        let client = http::client(schemes).map_err(|error| unreachable(&base, &error))?;
        Ok(Self::Site { client, base })
    }

    /// Where the files of a version are, for people.
    pub(super) fn place(&self, version: Option<&ReleaseVersion>) -> String {
        match (self, version) {
            (Self::Site { base, .. }, None) => format!("{base}/packer"),
            (Self::Site { base, .. }, Some(version)) => format!("{base}/packer/{version}"),
            (Self::Folder(folder), _) => folder.display().to_string(),
        }
    }

    /// The newest finished version that is there.
    pub(super) async fn newest(&self) -> Result<ReleaseVersion, InstallError> {
        let found = match self {
            Self::Site { .. } => {
                let list = self.read(None, "index.json").await?;
                let index = list.as_deref().map(serde_json::from_slice::<Index>).transpose();
                let index = index.map_err(|error| InstallError::Unreachable {
                    address: format!("{}/index.json", self.place(None)),
                    said: format!("it is no list of releases: {error}"),
                })?;
                index.and_then(|index| newest(index.versions.keys().map(String::as_str)))
            }
            Self::Folder(folder) => {
                let unreadable = |source| InstallError::Unreadable { path: folder.clone(), source };
                let entries = folder.read_dir().map_err(unreadable)?;
                let names = entries.flatten().map(|entry| entry.file_name());
                let names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
                newest(names.iter().filter_map(|name| version_of_sums(name)))
            }
        };
        found.ok_or_else(|| InstallError::NothingThere { place: self.place(None) })
    }

    /// A short file; none if it is not there.
    pub(super) async fn read(
        &self,
        version: Option<&ReleaseVersion>,
        file: &str,
    ) -> Result<Option<Vec<u8>>, InstallError> {
        let mut bytes = Vec::new();
        let there = self.each_part(version, file, MOST_OF_A_LIST, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        });
        Ok(there.await?.then_some(bytes))
    }

    /// Writes a file to a place, and says its SHA-256; none if it is not there.
    pub(super) async fn save(
        &self,
        version: &ReleaseVersion,
        file: &str,
        into: &Path,
    ) -> Result<Option<Digest>, InstallError> {
        let folder = into.parent().unwrap_or(into);
        let fault = InstallError::place(folder);
        let mut copy = File::create_new(into).map_err(&fault)?;
        let mut sum = Sha256::new();
        let there = self.each_part(Some(version), file, MOST_OF_A_PROGRAM, |part| {
            sum.update(part);
            copy.write_all(part).map_err(&fault)
        });
        let there = there.await?;
        Ok(there.then(|| Digest::from_bytes(sum.finalize().into())))
    }

    /// Hands on a file part by part, and says whether it is there.
    async fn each_part(
        &self,
        version: Option<&ReleaseVersion>,
        file: &str,
        most: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), InstallError>,
    ) -> Result<bool, InstallError> {
        let mut left = most;
        let mut counted = |part: &[u8]| {
            left = left.checked_sub(part.len() as u64).ok_or_else(|| InstallError::TooLarge {
                file: file.to_owned(),
                place: self.place(version),
                most,
            })?;
            take(part)
        };
        match self {
            Self::Site { client, .. } => {
                let address = format!("{}/{file}", self.place(version));
                let failed = |error: reqwest::Error| unreachable(&address, &error);
                let mut answer = client.get(&address).send().await.map_err(failed)?;
                match answer.status() {
                    // What a bucket without a list of its files says instead of 404.
                    StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => return Ok(false),
                    status if status.is_success() => {}
                    status => {
                        let said = format!("the site answers {status}");
                        return Err(InstallError::Unreachable { address, said });
                    }
                }
                while let Some(part) = answer.chunk().await.map_err(failed)? {
                    counted(&part)?;
                }
            }
            Self::Folder(folder) => {
                let path = folder.join(file);
                let unreadable = |source| InstallError::Unreadable { path: path.clone(), source };
                let mut original = match File::open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                    opened => opened.map_err(unreadable)?,
                };
                let mut part = vec![0; 64 * 1024];
                loop {
                    let length = original.read(&mut part).map_err(unreadable)?;
                    if length == 0 {
                        break;
                    }
                    counted(&part[..length])?;
                }
            }
        }
        Ok(true)
    }
}

fn unreachable(address: &str, error: &reqwest::Error) -> InstallError {
    InstallError::Unreachable { address: address.to_owned(), said: http::cause(error) }
}
