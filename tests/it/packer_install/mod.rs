//! `packer install` and `packer doctor`: real zip files, signatures of real keys, gpgv itself, an
//! HTTP server; what is released is a script that says its version.

mod doctor;
mod refusals;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::cli::{Cli, CommandOutput};
use crate::harness::keys::search_path;
use crate::harness::releases::{ReleaseSite, Vendor, zip_file};

/// What was there before: nothing that Packer would be.
const OLD: &str = "#!/bin/sh\necho 'Packer v1.6.6'\n";

/// A host that trusts a vendor, with an old Packer.
struct Host {
    vendor: Vendor,
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { vendor: Vendor::new(), folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(host.bin()).unwrap();
        std::fs::write(host.packer(), OLD).unwrap();
        std::fs::set_permissions(host.packer(), std::fs::Permissions::from_mode(0o755)).unwrap();
        host
    }

    fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn packer(&self) -> PathBuf {
        self.bin().join("packer")
    }

    /// A call that trusts the vendor's key.
    fn call(&self) -> Cli {
        Cli::within(self.folder.path())
            .env("PATH", search_path())
            .env("RECONCILER_PACKER__RELEASE_KEYS", self.vendor.public(&["vendor"]))
    }

    /// `packer install` into the folder of programs.
    fn install_with(&self, call: Cli, more: &[&str]) -> CommandOutput {
        let bin = self.bin().display().to_string();
        call.run(&[&["packer", "install", "--to", &bin], more].concat())
    }

    /// From the vendor's folder.
    fn install(&self, more: &[&str]) -> CommandOutput {
        let from = self.vendor.folder().display().to_string();
        self.install_with(self.call(), &[&["--from", &from], more].concat())
    }

    /// From a site.
    fn install_from(&self, site: &ReleaseSite, more: &[&str]) -> CommandOutput {
        let call = self.call().env("RECONCILER_PACKER__RELEASE_SITE", site.address());
        self.install_with(call, more)
    }

    /// What the Packer says that is there.
    fn says(&self) -> String {
        let said = Command::new(self.packer()).arg("version").output().unwrap();
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    /// The old one is there, and nothing beside it.
    #[track_caller]
    fn is_as_it_was(&self) {
        assert_eq!(std::fs::read_to_string(self.packer()).unwrap(), OLD);
        let names = std::fs::read_dir(self.bin()).unwrap().flatten();
        let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["packer"], "nothing is left of the attempt");
    }
}

#[test]
fn the_newest_signed_release_of_a_site_takes_the_place_of_the_old_packer() {
    let host = Host::new();
    for version in ["1.9.5", "1.11.2", "1.12.0-beta1"] {
        host.vendor.releases(version);
    }
    let site = ReleaseSite::of(&host.vendor);
    let ran = host.install_from(&site, &[]);
    ran.shows(&["Packer 1.11.2 is at ", "(before: 1.6.6)", "SHA-256 ", "signed by "]);
    assert!(ran.out.contains(&format!(
        "{} of {}/packer/1.11.2",
        zip_file("1.11.2"),
        site.address()
    )));
    assert!(ran.err.contains("bin first on the PATH"), "builds would go on with another: {ran:#?}");
    assert_eq!(host.says(), "Packer v1.11.2");
    let mode = host.packer().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "everybody may run it");
    assert_eq!(host.bin().read_dir().unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn a_version_that_is_asked_for_is_installed_and_an_unfinished_one_too() {
    let host = Host::new();
    host.vendor.releases("1.11.2").releases("1.9.5").releases("1.12.0-beta1");
    let site = ReleaseSite::of(&host.vendor);
    for version in ["1.9.5", "v1.12.0-beta1"] {
        host.install_from(&site, &["--version", version]).shows(&["Packer 1."]);
        assert_eq!(host.says(), format!("Packer v{}", version.trim_start_matches('v')));
    }
    assert!(!site.asked().iter().any(|path| path.ends_with("index.json")), "{:?}", site.asked());
}

#[test]
fn a_host_without_network_installs_from_a_folder_by_the_same_checks() {
    let host = Host::new();
    host.vendor.releases("1.11.2").releases("1.9.5");
    let call = host.call().env("RECONCILER_PACKER__RELEASE_SITE", "http://127.0.0.1:9");
    let from = host.vendor.folder().display().to_string();
    host.install_with(call, &["--from", &from]).shows(&["Packer 1.11.2 is at ", &from]);
    assert_eq!(host.says(), "Packer v1.11.2");
    host.vendor.releases("1.13.0");
    host.vendor.alter(&zip_file("1.13.0"), |bytes| bytes[40] ^= 1);
    host.install(&[]).refuses(&["is not the file that was signed"]);
    assert_eq!(host.says(), "Packer v1.11.2");
}

#[test]
fn at_no_moment_is_there_no_packer() {
    use notify::Watcher as _;
    let host = Host::new();
    host.vendor.releases("1.11.2");
    let (tell, told) = std::sync::mpsc::channel();
    let mut watcher = notify::recommended_watcher(tell).unwrap();
    watcher.watch(&host.bin(), notify::RecursiveMode::NonRecursive).unwrap();
    host.install(&[]).shows(&["Packer 1.11.2"]);
    // Told in order: what comes after this file came after the installation.
    let last = host.bin().join("last");
    std::fs::write(&last, "").unwrap();
    let within = std::time::Duration::from_secs(10);
    let events = std::iter::from_fn(|| told.recv_timeout(within).unwrap().ok());
    let mut events = events.take_while(|event| !event.paths.contains(&last)).peekable();
    assert!(events.peek().is_some(), "the watcher sees what happens");
    for event in events.filter(|event| event.paths.contains(&host.packer())) {
        assert!(!event.kind.is_remove(), "{event:?}");
    }
}

#[test]
fn a_link_is_replaced_and_not_what_it_leads_to() {
    let host = Host::new();
    host.vendor.releases("1.11.2");
    let elsewhere = host.folder.path().join("packer-1.6.6");
    std::fs::rename(host.packer(), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, host.packer()).unwrap();
    host.install(&[]).shows(&["(before: 1.6.6)"]);
    assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), OLD);
    assert_eq!(host.says(), "Packer v1.11.2");
}

#[test]
fn without_to_the_configured_binary_is_replaced() {
    let host = Host::new();
    host.vendor.releases("1.11.2");
    let binary = host.folder.path().join("new/tools/packer-of-builds");
    let from = host.vendor.folder().display().to_string();
    let call = host.call().env("RECONCILER_PACKER__BINARY", &binary);
    let ran = call.run(&["packer", "install", "--from", &from]);
    ran.shows(&["packer-of-builds"]);
    assert_eq!(ran.err, "", "builds use it: there is nothing to say");
    assert!(binary.is_file(), "its folders are made");
}
