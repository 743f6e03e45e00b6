//! Whatever is wrong with a release, its signature or the place for it: a clear error, and the old
//! Packer as it was.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Host, OLD};
use crate::harness::keys::search_path;
use crate::harness::mounts::may_mount;
use crate::harness::releases::{Oddly, ReleaseSite, sums_file, zip, zip_file};

const VERSION: &str = "1.11.2";

fn host() -> Host {
    let host = Host::new();
    host.vendor.releases(VERSION);
    host
}

/// A host whose vendor has released this as a zip file, well signed.
fn host_with(bytes: &[u8]) -> Host {
    let host = Host::new();
    host.vendor.releases_zip(VERSION, bytes);
    host
}

#[test]
fn a_file_of_another_sum_is_not_unpacked() {
    let host = host();
    let other = zip(&[("packer", b"#!/bin/sh\necho 'Packer v1.11.2'\nrm -rf /precious\n")]);
    host.vendor.alter(&zip_file(VERSION), |bytes| *bytes = other);
    host.install(&[]).refuses(&[
        "is not the file that was signed: its SHA-256 is ",
        "somebody has altered it on its way",
    ]);
    host.is_as_it_was();
}

#[test]
fn a_list_that_was_altered_counts_for_nothing() {
    let host = host();
    let other = zip(&[("packer", b"#!/bin/sh\necho 'Packer v1.11.2'\nrm -rf /precious\n")]);
    let sum = reconciler_model::digest::Digest::of(&other);
    host.vendor.alter(&zip_file(VERSION), |bytes| *bytes = other);
    let list = format!("{sum}  {}\n", zip_file(VERSION));
    host.vendor.alter(&sums_file(VERSION), |bytes| *bytes = list.into_bytes());
    host.install(&[]).refuses(&["the signature of packer_1.11.2_SHA256SUMS does not fit it"]);
    host.is_as_it_was();
}

#[test]
fn a_signature_that_is_missing_or_none_is_refused() {
    let host = host();
    let signature = format!("{}.sig", sums_file(VERSION));
    for nonsense in [&b""[..], b"signed, the vendor"] {
        host.vendor.alter(&signature, |bytes| *bytes = nonsense.to_vec());
        host.install(&[]).refuses(&["does not fit it"]);
    }
    std::fs::remove_file(host.vendor.file(&signature)).unwrap();
    host.install(&[]).refuses(&["packer_1.11.2_SHA256SUMS.sig is not in ", "unless it is signed"]);
    host.is_as_it_was();
}

#[test]
fn a_signature_of_anybody_else_is_refused_and_one_of_several_keys_counts() {
    let host = host();
    host.vendor.make_key("eve");
    let list = std::fs::read_to_string(host.vendor.file(&sums_file(VERSION))).unwrap();
    host.vendor.signs_with("eve", VERSION, &list);
    host.install(&[]).refuses(&["is signed by a key that is not allowed", "packer.release_keys"]);
    host.is_as_it_was();
    let both = host.vendor.public(&["vendor", "eve"]);
    let from = host.vendor.folder().display().to_string();
    let call = host.call().env("RECONCILER_PACKER__RELEASE_KEYS", both);
    host.install_with(call, &["--from", &from]).shows(&["Packer 1.11.2"]);
}

#[test]
fn a_key_that_has_expired_signs_no_more() {
    let host = Host::new();
    let who = ["--passphrase", "", "--faked-system-time", "20200101T000000!"];
    let key = ["--quick-generate-key", "old@example.com", "ed25519", "sign", "1y"];
    host.vendor.keys.gpg("old", &[&who[..], &key[..]].concat());
    let list = format!("{}  {}\n", "0".repeat(64), zip_file(VERSION));
    let file = host.vendor.file(&sums_file(VERSION));
    std::fs::write(&file, list).unwrap();
    let name = file.display().to_string();
    let signature = format!("{name}.sig");
    let sign = ["--yes", "--detach-sign", "--output", &signature, &name];
    host.vendor.keys.gpg("old", &[&who[..], &sign[..]].concat());
    let from = host.vendor.folder().display().to_string();
    let call = host.call().env("RECONCILER_PACKER__RELEASE_KEYS", host.vendor.public(&["old"]));
    host.install_with(call, &["--from", &from]).refuses(&["not allowed", "the key has expired"]);
    host.is_as_it_was();
}

#[test]
fn the_vendors_own_key_is_trusted_where_no_other_is_named_and_nobody_elses() {
    let host = host();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/packer/install/hashicorp.asc");
    let shown = host
        .vendor
        .keys
        .gpg("look", &["--with-colons", "--show-keys", &shipped.display().to_string()]);
    let keys: Vec<_> = shown.lines().filter(|line| line.starts_with("pub:")).collect();
    assert_eq!(keys.len(), 1, "one key ships: {shown}");
    let first = shown.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap();
    assert_eq!(first, "C874011F0AB405110D02105534365D9472D7468F:");
    let from = host.vendor.folder().display().to_string();
    let call = crate::harness::cli::Cli::within(host.folder.path()).env("PATH", search_path());
    host.install_with(call, &["--from", &from]).refuses(&["a key that is not allowed"]);
    host.is_as_it_was();
}

#[test]
fn keys_that_are_none_are_told_with_the_key_of_the_configuration() {
    let host = host();
    let from = host.vendor.folder().display().to_string();
    let file = host.folder.path().join("keys");
    for (text, said) in [("ssh-ed25519 AAAA ada", "no block that begins with"), ("", "it is empty")]
    {
        std::fs::write(&file, text).unwrap();
        let call = host.call().env("RECONCILER_PACKER__RELEASE_KEYS", &file);
        let ran = host.install_with(call, &["--from", &from]);
        ran.refuses(&["`packer.release_keys`", said, "gpg --armor --export"]);
    }
    std::fs::remove_file(&file).unwrap();
    let call = host.call().env("RECONCILER_PACKER__RELEASE_KEYS", &file);
    host.install_with(call, &["--from", &from]).refuses(&["No such file"]);
    host.is_as_it_was();
}

#[test]
fn without_gpgv_nothing_is_installed() {
    let host = host();
    let from = host.vendor.folder().display().to_string();
    let call = host.call().env("PATH", host.bin());
    host.install_with(call, &["--from", &from])
        .refuses(&["gpgv cannot be run", "apt-get install gpgv"]);
    host.is_as_it_was();
}

#[test]
fn a_list_that_says_nothing_or_two_things_of_a_file_is_refused() {
    let host = host();
    let (one, other, file) = ("1".repeat(64), "2".repeat(64), zip_file(VERSION));
    host.vendor.signs(VERSION, &format!("{one}  packer_1.11.2_solaris_amd64.zip\n"));
    host.install(&[]).refuses(&["not at all", "not released it for this system"]);
    host.vendor.signs(VERSION, &format!("{one}  {file}\n{other}  {file}\n"));
    host.install(&[]).refuses(&["twice"]);
    host.is_as_it_was();
}

#[test]
fn a_signed_file_that_holds_no_packer_of_this_version_is_refused() {
    for (bytes, said) in [
        (b"not a zip file".to_vec(), "cannot be unpacked"),
        (zip(&[("terraform", b"x")]), "it holds no `packer`"),
        (zip(&[("bin/packer", b"x"), ("packer/x", b"x")]), "it holds no `packer`"),
        (zip(&[("packer", b"x"), ("packer", b"y")]), "two programs"),
        (zip(&[("packer", b"no program")]), "does not run here"),
        (zip(&[("packer", b"#!/bin/sh\necho 'Packer v1.9.5'\n")]), "it says that it is 1.9.5"),
        (zip(&[("packer", b"#!/bin/sh\nexit 1\n")]), "does not run here"),
    ] {
        let host = host_with(&bytes);
        host.install(&[]).refuses(&[said]);
        host.is_as_it_was();
    }
    let whole = zip(&[("packer", OLD.as_bytes())]);
    let at = whole.windows(6).position(|six| six == b"packer").unwrap() + 8;
    let mut damaged = whole;
    damaged[at] ^= 0xff;
    let host = host_with(&damaged);
    host.install(&[]).refuses(&["cannot be unpacked"]);
    host.is_as_it_was();
}

#[test]
fn a_version_that_is_not_there_is_told_with_the_newest_that_is() {
    let host = host();
    let site = ReleaseSite::of(&host.vendor);
    let asked = ["--version", "9.9.9"];
    host.install_from(&site, &asked)
        .refuses(&["there is no Packer 9.9.9 in http", "the newest there is 1.11.2"]);
    host.install(&asked).refuses(&["there is no Packer 9.9.9 in ", "the newest there is 1.11.2"]);
    site.answers(&sums_file("9.9.9"), Oddly::Status("403 Forbidden"));
    host.install_from(&site, &asked).refuses(&["there is no Packer 9.9.9"]);
    let ran = host.install(&["--version", "newest"]);
    assert_eq!(ran.code, 64, "{ran:#?}");
    assert!(ran.err.contains("three numbers, such as 1.11.2"), "{ran:#?}");
    let empty = tempfile::tempdir().unwrap();
    let from = empty.path().display().to_string();
    host.install_with(host.call(), &["--from", &from])
        .refuses(&["there is no release of Packer in"]);
    let gone = empty.path().join("gone").display().to_string();
    host.install_with(host.call(), &["--from", &gone]).refuses(&["cannot be read", "No such file"]);
    host.is_as_it_was();
}

#[test]
fn a_download_that_breaks_off_or_fails_leaves_the_old_packer() {
    let host = host();
    let signature = format!("{}.sig", sums_file(VERSION));
    for (file, oddly, said) in [
        (zip_file(VERSION), Oddly::Half, "cannot be read"),
        (zip_file(VERSION), Oddly::Status("500 Internal Server Error"), "the site answers 500"),
        (zip_file(VERSION), Oddly::Status("404 Not Found"), "is not in http"),
        (sums_file(VERSION), Oddly::Half, "cannot be read"),
        (signature, Oddly::Status("404 Not Found"), "is not in http"),
        ("index.json".to_owned(), Oddly::Half, "cannot be read"),
        ("index.json".to_owned(), Oddly::Status("503 Unavailable"), "the site answers 503"),
        ("index.json".to_owned(), Oddly::Status("200 OK"), "it is no list of releases"),
    ] {
        let site = ReleaseSite::of(&host.vendor);
        site.answers(&file, oddly);
        host.install_from(&site, &[]).refuses(&[&file, said]);
        host.is_as_it_was();
    }
    let call = host.call().env("RECONCILER_PACKER__RELEASE_SITE", "http://127.0.0.1:9");
    host.install_with(call, &[]).refuses(&["cannot be read", "refused", "--from DIR"]);
    host.is_as_it_was();
}

#[test]
fn whoever_breaks_it_off_has_the_old_packer_and_nothing_else() {
    let host = host();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let site = ReleaseSite::of(&host.vendor);
        site.answers(&zip_file(VERSION), Oddly::Silence);
        let bin = host.bin().display().to_string();
        let call = host.call().env("RECONCILER_PACKER__RELEASE_SITE", site.address());
        let mut running = call.start(&["packer", "install", "--to", &bin]);
        let end = Instant::now() + Duration::from_secs(30);
        while !site.asked().iter().any(|path| path.ends_with(&zip_file(VERSION))) {
            assert!(Instant::now() < end, "it asks for the file: {:?}", site.asked());
            std::thread::sleep(Duration::from_millis(20));
        }
        running.signal(signal);
        let status = running.end(Duration::from_secs(30)).unwrap();
        assert_eq!(status.code(), Some(code));
        host.is_as_it_was();
    }
}

#[test]
fn a_place_that_cannot_be_written_is_told_before_anything_is_asked_of_the_network() {
    let host = host();
    let site = ReleaseSite::of(&host.vendor);
    let call = || host.call().env("RECONCILER_PACKER__RELEASE_SITE", site.address());
    // Not even root writes there.
    call()
        .run(&["packer", "install", "--to", "/proc/1/packers"])
        .refuses(&["/proc/1/packers cannot be written", "--to"]);
    let file = host.packer().display().to_string();
    call().run(&["packer", "install", "--to", &file]).refuses(&["cannot be written"]);
    let plugins = host.folder.path().join("config");
    std::fs::create_dir_all(plugins.join("packer/plugins")).unwrap();
    let folder = plugins.display().to_string();
    call()
        .run(&["packer", "install", "--to", &folder])
        .refuses(&["is a folder", "plugins perhaps"]);
    assert!(plugins.join("packer/plugins").is_dir());
    assert_eq!(site.asked(), [] as [String; 0]);
    host.is_as_it_was();
}

#[test]
fn folders_that_were_made_for_a_packer_that_does_not_come_go_again() {
    let host = host();
    host.vendor.alter(&zip_file(VERSION), |bytes| bytes[40] ^= 1);
    let from = host.vendor.folder().display().to_string();
    let to = host.folder.path().join("a/b");
    let to = to.to_str().unwrap();
    host.call().run(&["packer", "install", "--from", &from, "--to", to]).refuses(&["not the file"]);
    assert!(!host.folder.path().join("a").exists());
}

#[test]
fn a_full_disk_leaves_the_old_packer() {
    let host = Host::new();
    let disk = host.folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    if !may_mount(&disk) {
        println!("skipped: this machine allows no mount namespace");
        return;
    }
    // Which cannot be compressed, so that already the download is too large.
    let mut seed = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33).to_le_bytes()[0]
    })
    .take(4 * 1024 * 1024)
    .collect();
    let zeros = vec![0; 4 * 1024 * 1024];
    for content in [noise, zeros] {
        host.vendor.releases_zip(VERSION, &zip(&[("packer", &content)]));
        let script = format!(
            "mount -t tmpfs -o size=1m disk '{0}' && printf old > '{0}/packer' && \
             {{ '{1}' packer install --from '{2}' --to '{0}'; code=$?; }}; \
             test \"$(cat '{0}/packer')\" = old && test \"$(ls -A '{0}')\" = packer && exit $code",
            disk.display(),
            env!("CARGO_BIN_EXE_reconciler"),
            host.vendor.folder().display(),
        );
        let ran = Command::new("unshare")
            .args(["-rm", "sh", "-c", &script])
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", host.folder.path())
            .env("RECONCILER_PACKER__RELEASE_KEYS", host.vendor.public(&["vendor"]))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{said}");
        assert!(said.contains("No space left on device") && said.contains("make room"), "{said}");
    }
}
