//! Releases of a program as a vendor makes them (real zip files, lists of sums, signatures of a real
//! key), in a folder and on an HTTP server that can misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use reconciler_model::digest::Digest;

use super::keys::Keys;

/// The file of a release for the machine that runs the tests.
pub(crate) fn zip_file(version: &str) -> String {
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => panic!("the tests know no release for {other}"),
    };
    format!("packer_{version}_linux_{processor}.zip")
}

/// The list of sums of a release.
pub(crate) fn sums_file(version: &str) -> String {
    format!("packer_{version}_SHA256SUMS")
}

/// A zip file of these entries, deflated.
pub(crate) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (name, content) in entries {
        let file = archive.new_file(name).compression_method(rawzip::CompressionMethod::DEFLATE);
        let (mut entry, config) = file.start().unwrap();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
        let mut writer = config.wrap(encoder);
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

/// Somebody who releases Packer, with a key and a folder of releases.
pub(crate) struct Vendor {
    pub(crate) keys: Keys,
    folder: tempfile::TempDir,
}

impl Vendor {
    pub(crate) fn new() -> Self {
        let vendor = Self { keys: Keys::new(), folder: tempfile::tempdir().unwrap() };
        vendor.make_key("vendor");
        vendor
    }

    /// The folder with the files of the releases.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Makes a signing key of this name.
    pub(crate) fn make_key(&self, name: &str) {
        let who = format!("{name}@example.com");
        self.keys.gpg(
            name,
            &["--passphrase", "", "--quick-generate-key", &who, "ed25519", "sign", "never"],
        );
    }

    /// A file of the public keys of these names.
    pub(crate) fn public(&self, names: &[&str]) -> PathBuf {
        let text: String =
            names.iter().map(|name| self.keys.gpg(name, &["--armor", "--export"])).collect();
        let file = self.keys.path().join(format!("{}.asc", names.join("-")));
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Releases a program that says that it is this version.
    pub(crate) fn releases(&self, version: &str) -> &Self {
        let says = format!("#!/bin/sh\necho 'Packer v{version}'\n");
        self.releases_zip(version, &zip(&[("LICENSE.txt", b"free"), ("packer", says.as_bytes())]))
    }

    /// Releases this as the zip file of a version.
    pub(crate) fn releases_zip(&self, version: &str, bytes: &[u8]) -> &Self {
        std::fs::write(self.file(&zip_file(version)), bytes).unwrap();
        let other = "0".repeat(64);
        let list = format!(
            "{other}  packer_{version}_solaris_amd64.zip\n{}  {}\n",
            Digest::of(bytes),
            zip_file(version)
        );
        self.signs(version, &list)
    }

    /// Signs this as the list of sums of a version.
    pub(crate) fn signs(&self, version: &str, list: &str) -> &Self {
        self.signs_with("vendor", version, list)
    }

    /// The same with a key of this name.
    pub(crate) fn signs_with(&self, key: &str, version: &str, list: &str) -> &Self {
        let file = self.file(&sums_file(version));
        std::fs::write(&file, list).unwrap();
        let name = file.display().to_string();
        self.keys.gpg(key, &["--yes", "--detach-sign", "--output", &format!("{name}.sig"), &name]);
        self
    }

    /// Changes a file of a release behind the vendor's back.
    pub(crate) fn alter(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.file(name)).unwrap();
        change(&mut bytes);
        std::fs::write(self.file(name), bytes).unwrap();
    }
}

/// How a site answers for one file.
#[derive(Clone)]
pub(crate) enum Oddly {
    /// With this status and nothing else.
    Status(&'static str),
    /// With half of the file, and the connection closed.
    Half,
    /// With half of the file, and then nothing more.
    Silence,
}

/// A site with the releases of a vendor, laid out as that of Packer's. Its thread ends with the
/// test's process.
pub(crate) struct ReleaseSite {
    port: u16,
    odd: Arc<Mutex<BTreeMap<String, Oddly>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ReleaseSite {
    pub(crate) fn of(vendor: &Vendor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (odd, asked) = (Arc::default(), Arc::default());
        let site = Self { port, odd: Arc::clone(&odd), asked: Arc::clone(&asked) };
        let folder = vendor.folder().to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One that went away in the middle is its own matter.
                let _ = answer(&stream, &folder, &odd, &asked);
            }
        });
        site
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on it answers like this for a file.
    pub(crate) fn answers(&self, file: &str, oddly: Oddly) -> &Self {
        self.odd.lock().unwrap().insert(file.to_owned(), oddly);
        self
    }

    /// What it was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: &TcpStream,
    folder: &Path,
    odd: &Mutex<BTreeMap<String, Oddly>>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(path.clone());
    let name = path.rsplit('/').next().unwrap_or_default();
    let body = body(folder, &path);
    let nothing = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n");
    let end = "Connection: close\r\n\r\n";
    let oddly = odd.lock().unwrap().get(name).cloned();
    let (head, body) = match (oddly, body) {
        (Some(Oddly::Status(status)), _) => (nothing(status), Vec::new()),
        (_, None) => (nothing("404 Not Found"), Vec::new()),
        (Some(Oddly::Silence), Some(body)) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
            stream.write_all(format!("{head}{end}").as_bytes())?;
            stream.write_all(&body[..body.len() / 2])?;
            // The site's thread: nobody is answered any more.
            loop {
                std::thread::park();
            }
        }
        (oddly, Some(body)) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
            let sent = if oddly.is_some() { body.len() / 2 } else { body.len() };
            (head, body[..sent].to_vec())
        }
    };
    stream.write_all(format!("{head}{end}").as_bytes())?;
    stream.write_all(&body)
}

/// What is at `/packer/VERSION/FILE`, and the list of versions.
fn body(folder: &Path, path: &str) -> Option<Vec<u8>> {
    let below = path.strip_prefix("/packer/")?;
    if below == "index.json" {
        let names = std::fs::read_dir(folder).unwrap().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let versions: serde_json::Map<_, _> = names
            .filter_map(|name| {
                let version = name.strip_prefix("packer_")?.strip_suffix("_SHA256SUMS")?;
                Some((version.to_owned(), serde_json::json!({ "builds": [] })))
            })
            .collect();
        let index = serde_json::json!({ "name": "packer", "versions": versions });
        return Some(index.to_string().into_bytes());
    }
    let (version, file) = below.split_once('/')?;
    file.starts_with(&format!("packer_{version}_"))
        .then(|| std::fs::read(folder.join(file)).ok())
        .flatten()
}
