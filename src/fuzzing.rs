//! What is fuzzed: everything that reads bytes of somebody else's making. Each body takes any bytes
//! and must come back, and says what must hold if it does.
//!
//! Two things call them: the targets of `fuzz/`, which search by coverage (`make fuzz`), and a test
//! here, which replays the kept corpus and a second of mutations of it at each run of the suite. None
//! needs the SDK of AWS, so that `fuzz/` need not compile it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::load::ProcessEnvironment;
use crate::config::validate::check;
use crate::config::yaml::parse;
use reconciler_core::build::output;
use reconciler_core::packer::keyring::keyring;
use reconciler_core::packer::release::{Listed, ReleaseVersion, listed};
use reconciler_core::workflow::settings::Settings;
use reconciler_core::workflow::step::Folder;
use reconciler_core::workflow::{jsonc, params, step};
use reconciler_hcl::{LocalExec, StepFiles, Template, Wanted};
use reconciler_model::components::Components;
use reconciler_model::digest::Digest;
use reconciler_model::ids::AmiId;
use reconciler_model::source::{EntryKind, Files, ObjectId, SourceFile};

/// A body by the name of its target and corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("machine_output", machine_output),
    ("parameters", parameters),
    ("configuration", configuration),
    ("record", record),
    ("git_objects", git_objects),
    ("fingerprint", fingerprint),
    ("hcl", hcl),
    ("release", release),
];

/// What Packer says with `-machine-readable`.
pub fn machine_output(bytes: &[u8]) {
    let mut log = bytes;
    let Ok(reading) = output::read(&mut log) else {
        return;
    };
    for (_, image) in &reading.made.artifacts {
        assert!(image.as_str().starts_with("ami-"), "{image}");
    }
    for key in &reading.made.traces.key_pairs {
        assert!(key.starts_with("packer_"), "{key}");
    }
    // A log that ends anywhere never names an image that the whole log does not.
    let mut part = &bytes[..bytes.len() / 2];
    if part.last() == Some(&b'\n')
        && let Ok(begun) = output::read(&mut part)
    {
        assert!(begun.made.artifacts.iter().all(|image| reading.made.artifacts.contains(image)));
    }
}

/// Both parameter files.
pub fn parameters(bytes: &[u8]) {
    if let Err(wrong) = jsonc::Document::parse("p.json", bytes) {
        let _ = (wrong.one_line(), wrong.render(false));
    }
    match params::read("workflow_param.json", bytes) {
        Ok((params, _)) => assert!(!params.workflow_id.as_str().is_empty()),
        Err(wrong) => drop(wrong.render(false)),
    }
    let file =
        SourceFile { kind: EntryKind::File, id: ObjectId([0; 20]), content: Arc::from(bytes) };
    let files = Files::from([("step_param.json".to_owned(), file)]);
    match step::read("ws/s01", &files, &Settings::default()) {
        Folder::Step(step) => assert!(!step.id.as_str().is_empty()),
        Folder::Broken(broken) => assert!(!broken.why.is_empty()),
        Folder::NoStep => {}
    }
}

/// The configuration file.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let around = ProcessEnvironment {
        env: BTreeMap::from([("HOME".to_owned(), "/home/x".to_owned())]),
        folder: PathBuf::from("/work"),
    };
    match parse("c.yaml", text).and_then(|raw| check(raw, &around)) {
        Ok(config) => {
            assert!(!config.repositories.is_empty());
            assert!(config.max_concurrent_builds > 0);
        }
        Err(wrong) => drop(wrong.render(false)),
    }
}

/// A record of the table.
pub fn record(bytes: &[u8]) {
    reconciler_items::fuzz::item(bytes);
}

/// Trees, commits and tags.
pub fn git_objects(bytes: &[u8]) {
    crate::git::fuzz::objects(bytes);
}

/// Two inputs have one fingerprint only if they are the same: the second takes the very bytes of
/// the first apart elsewhere.
pub fn fingerprint(bytes: &[u8]) {
    let [first, second, rest @ ..] = bytes else {
        return;
    };
    let (a, b) = (components(rest, *first), components(rest, *second));
    assert_eq!(a == b, a.fingerprint() == b.fingerprint(), "{a:?} {b:?}");
}

/// Names and contents cut out of the same bytes, where `cuts` says.
fn components(bytes: &[u8], cuts: u8) -> Components {
    let text = String::from_utf8_lossy(bytes);
    let text = text.as_ref();
    let width = usize::from(cuts % 7) + 1;
    let parts: Vec<String> =
        text.chars().collect::<Vec<_>>().chunks(width).map(|part| part.iter().collect()).collect();
    let mut maps: [BTreeMap<String, Digest>; 4] = Default::default();
    for (at, pair) in parts.chunks(2).enumerate() {
        let (name, content) = (pair[0].clone(), pair.get(1).cloned().unwrap_or_default());
        // What is short stands for itself, so that names and digests can be taken for one another.
        let mut digest = [0; 32];
        let length = content.len().min(32);
        digest[..length].copy_from_slice(&content.as_bytes()[..length]);
        maps[(at + usize::from(cuts >> 5)) % 4].insert(name, Digest::from_bytes(digest));
    }
    let [params, templates, files, secrets] = maps;
    Components {
        identity: Digest::of(b"identity"),
        params,
        templates,
        files,
        source_ami: AmiId::new(if cuts & 16 == 0 { "ami-1" } else { text }),
        secrets,
    }
}

/// Rendered HCL, as everything looks at it that looks at it before Packer does.
pub fn hcl(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let template = Template::new([("x.pkr.hcl".to_owned(), text.to_owned())].into());
    let _ = (template.inspect(&Wanted::default()), template.sensitive(), template.requirements());
    let _ = template.refuse_shown(&|text| text.contains("secret"));
    let denied = LocalExec::Denied { plugins: Vec::new() };
    let others = BTreeMap::from([("ws/s/t".to_owned(), bytes)]);
    let step = StepFiles { folder: "ws/s", template: &template, others: &others };
    if let Err(wrong) = denied.check(&step) {
        drop(wrong.render(false));
    }
}

/// The files of a release of Packer: keys, lists of sums, versions as a site names them.
pub fn release(bytes: &[u8]) {
    if let Ok(keys) = keyring(bytes) {
        assert!(!keys.is_empty());
    }
    let text = String::from_utf8_lossy(bytes);
    for word in text.split_whitespace() {
        if let Listed::Sum(sum) = listed(&text, word) {
            assert!(text.to_ascii_lowercase().contains(&sum.to_string()), "{sum} stands there");
        }
        if let Some(version) = ReleaseVersion::parse(word) {
            let name = version.sums_file();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            assert!(name.chars().all(is_plain) && !name.contains(".."), "{name}");
            assert_eq!(ReleaseVersion::parse(&version.to_string()), Some(version));
        }
    }
}

#[cfg(test)]
mod tests;
