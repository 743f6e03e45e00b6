//! `require_signed_commits`: what counts as signed, and what happens to the rest.

use std::process::Command;

use super::Guarded;
use crate::harness::farm::Farm;
use crate::harness::repo::Repo;

const SIGNED: &[&str] =
    &["require_signed_commits: true", "allowed_signers: \"{keys}/allowed\"", "allow_rewrite: true"];

/// Ada may sign.
fn guarded() -> Guarded {
    let guarded = Guarded::new(SIGNED);
    let ada = guarded.keys.ssh("ada");
    guarded.keys.allow(&[format!("ada@example.com namespaces=\"git\" {ada}")]);
    guarded
}

/// Makes a commit object of these bytes and moves the branch to it.
fn plant(repo: &Repo, object: &[u8]) {
    let id = super::planted::object(repo, "commit", object);
    repo.git(&["update-ref", "refs/heads/main", &id]);
}

#[test]
fn a_commit_that_an_allowed_signer_signed_is_planned() {
    let guarded = guarded();
    guarded.keys.commit(&guarded.repo, "ada");
    guarded.plans();
}

#[test]
fn a_commit_without_a_signature_is_refused_though_the_one_before_was_signed() {
    let guarded = guarded();
    guarded.keys.commit(&guarded.repo, "ada");
    guarded.repo.commit("not signed");
    guarded.refuses(&["is not signed", "nothing of it is planned or built", "git commit --amend"]);
    let check = guarded.run(&["check"]);
    assert_eq!(check.code, 0, "a check is of the files: {check:#?}");
}

#[test]
fn a_signature_of_anybody_else_is_refused() {
    let guarded = guarded();
    guarded.keys.ssh("eve");
    guarded.keys.commit(&guarded.repo, "eve");
    guarded.refuses(&["signed by a key that is not allowed", "SHA256:", "allowed"]);
}

#[test]
fn a_signature_that_was_copied_onto_another_commit_is_refused() {
    let guarded = guarded();
    guarded.keys.commit(&guarded.repo, "ada");
    let raw = guarded.repo.git(&["cat-file", "commit", "HEAD"]) + "\n";
    plant(&guarded.repo, raw.replace("\n\nsigned", "\n\nforged").as_bytes());
    guarded.refuses(&["a signature that does not fit it"]);
    let twice = raw.replacen("gpgsig ", "gpgsig -----BEGIN SSH SIGNATURE-----\n x\ngpgsig ", 1);
    plant(&guarded.repo, twice.as_bytes());
    guarded.refuses(&["two signatures"]);
}

#[test]
fn a_signature_made_for_something_else_is_refused() {
    let guarded = guarded();
    guarded.keys.commit(&guarded.repo, "ada");
    let ada = std::fs::read_to_string(guarded.keys.path().join("ada.pub")).unwrap();
    guarded.keys.allow(&[format!("ada@example.com namespaces=\"file\" {}", ada.trim())]);
    guarded.refuses(&["not allowed"]);
}

#[test]
fn a_key_counts_only_while_it_is_valid_whatever_date_the_commit_bears() {
    let guarded = guarded();
    let old = guarded.keys.ssh("old");
    let young = guarded.keys.ssh("young");
    guarded.keys.allow(&[
        format!("old@example.com valid-before=\"20200101\" {old}"),
        format!("young@example.com valid-after=\"20900101\" {young}"),
    ]);
    guarded.repo.git(&["add", "--all"]);
    for (key, date) in [("old", "2019-06-01T00:00:00Z"), ("young", "2090-06-01T00:00:00Z")] {
        // The date is whatever the signer says.
        guarded.keys.commit_dated(&guarded.repo, key, date);
        let commit = guarded.repo.git(&["log", "-1", "--format=%cI"]);
        assert!(commit.starts_with(&date[..10]), "{commit}");
        guarded.refuses(&["not allowed"]);
    }
    let expired = guarded.plan();
    assert!(expired.err.contains("SHA256:"), "{}", expired.err);
}

#[test]
fn a_revoked_key_counts_no_more_from_the_next_look_on() {
    let guarded = guarded();
    guarded.keys.commit(&guarded.repo, "ada");
    guarded.plans();
    let revoked = guarded.keys.path().join("revoked");
    std::fs::copy(guarded.keys.path().join("ada.pub"), &revoked).unwrap();
    let asks = [SIGNED, &["revoked_keys: \"{keys}/revoked\""]].concat();
    guarded.ask(&asks).refuses(&["not allowed"]);
    std::fs::write(&revoked, "").unwrap();
    guarded.plans();
}

#[test]
fn a_certificate_of_an_allowed_authority_counts_for_its_principal() {
    let guarded = guarded();
    let authority = guarded.keys.ssh("authority");
    guarded.keys.ssh("bob");
    let signed = Command::new("ssh-keygen")
        .env("PATH", crate::harness::keys::search_path())
        .args(["-q", "-s", "authority", "-I", "bob", "-n", "bob@example.com", "bob.pub"])
        .current_dir(guarded.keys.path())
        .status()
        .unwrap();
    assert!(signed.success());
    std::fs::rename(guarded.keys.path().join("bob-cert.pub"), guarded.keys.path().join("cert.pub"))
        .unwrap();
    std::fs::copy(guarded.keys.path().join("bob"), guarded.keys.path().join("cert")).unwrap();
    guarded.keys.allow(&[format!("*@example.com cert-authority {authority}")]);
    guarded.keys.commit(&guarded.repo, "cert.pub");
    guarded.plans();
    guarded.keys.allow(&[format!("*@example.org cert-authority {authority}")]);
    guarded.refuses(&["not allowed"]);
}

#[test]
fn of_a_merge_the_merge_commit_has_to_be_signed() {
    let guarded = guarded();
    let (repo, keys) = (&guarded.repo, &guarded.keys);
    keys.commit(repo, "ada");
    repo.git(&["checkout", "-q", "-b", "side"]);
    repo.commit("not signed");
    repo.git(&["checkout", "-q", "main"]);
    repo.git(&["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    guarded.refuses(&["is not signed"]);
    repo.git(&["reset", "-q", "--hard", "HEAD^"]);
    keys.git(repo, "ada", &["merge", "-q", "--no-ff", "-S", "-m", "merge", "side"]);
    guarded.plans();
}

#[test]
fn a_signed_tag_vouches_for_its_commit_under_its_own_name_only() {
    let guarded = guarded();
    let (repo, keys) = (&guarded.repo, &guarded.keys);
    repo.commit("not signed");
    keys.git(repo, "ada", &["tag", "-s", "-m", "first", "v1"]);
    let following = |name: &'static str| [SIGNED, &[name]].concat();
    guarded.ask(&following("reference: v1")).plans();
    repo.git(&["update-ref", "refs/tags/v2", "refs/tags/v1"]);
    guarded.ask(&following("reference: v2")).refuses(&["signed under another name, `v1`"]);
    repo.git(&["tag", "-a", "-m", "not signed", "v3"]);
    guarded.ask(&following("reference: v3")).refuses(&["is not signed"]);
    keys.ssh("eve");
    keys.commit(repo, "ada");
    keys.git(repo, "eve", &["tag", "-s", "-m", "by eve", "v4"]);
    guarded.ask(&following("reference: v4")).refuses(&["not allowed"]);
}

#[test]
fn who_may_push_only_gives_no_signed_tag_another_name() {
    let guarded = guarded();
    let (repo, keys) = (&guarded.repo, &guarded.keys);
    repo.commit("not signed");
    keys.git(repo, "ada", &["tag", "-s", "-m", "old", "v1"]);
    let following = |name: &'static str| [SIGNED, &[name]].concat();
    // An unsigned tag around a signed one.
    repo.git(&["tag", "-a", "-m", "pushed", "v2", "v1"]);
    guarded
        .ask(&following("reference: v2"))
        .refuses(&["it is a tag of a tag", "tag the commit itself"]);
    // A branch of a tag's name, at another signed commit.
    guarded.ask(&following("reference: v1")).plans();
    keys.commit(repo, "ada");
    repo.git(&["branch", "v1"]);
    guarded.refuses(&["a branch's and a tag's at once", "refs/tags/"]);
    guarded.ask(&following("reference: refs/tags/v1")).plans();
    // A branch that is called what a tag is called in full.
    repo.write("more", "1").commit("not signed either");
    repo.git(&["update-ref", "refs/heads/refs/tags/v1", "HEAD"]);
    guarded.plans();
}

#[test]
fn what_says_who_may_sign_must_be_there_and_nobody_elses_to_write() {
    use std::os::unix::fs::PermissionsExt as _;
    let guarded = guarded();
    guarded.keys.commit(&guarded.repo, "ada");
    let allowed = guarded.keys.path().join("allowed");
    std::fs::set_permissions(&allowed, std::fs::Permissions::from_mode(0o666)).unwrap();
    guarded.refuses(&["allowed_signers", "every user of this host may write it"]);
    std::fs::remove_file(&allowed).unwrap();
    guarded.refuses(&["allowed_signers", "cannot be used", "No such file"]);
    guarded.ask(&["require_signed_commits: true"]);
    guarded.plan().refuses(&["nobody is named who may sign"]);
}

#[test]
fn an_openpgp_signature_counts_by_the_keyring_that_is_named() {
    let guarded = guarded();
    let (repo, keys) = (&guarded.repo, &guarded.keys);
    let make = |home: &str, expires: &str| {
        let who = format!("{home}@example.com");
        keys.gpg(home, &["--passphrase", "", "--quick-gen-key", &who, "ed25519", "sign", expires]);
        keys.gpg(home, &["--armor", "--export"])
    };
    let grace = make("grace", "never");
    make("mallory", "never");
    std::fs::write(keys.path().join("grace.asc"), grace).unwrap();
    let file = keys.path().join("grace.asc").display().to_string();
    keys.gpg("ring", &["--import", &file]);
    keys.gpg_commit(repo, "grace");
    guarded.refuses(&["an OpenPGP signature", "gpg_home"]);
    guarded.ask(&["require_signed_commits: true", "gpg_home: \"{keys}/ring\""]).plans();
    // A repository cannot name a program that says yes.
    repo.git(&["config", "gpg.program", "/bin/true"]);
    keys.gpg_commit(repo, "mallory");
    guarded.refuses(&["not allowed", "not in the keyring"]);
    let raw = repo.git(&["cat-file", "commit", "HEAD^"]) + "\n";
    plant(repo, raw.replace("\n\nsigned", "\n\nforged").as_bytes());
    guarded.refuses(&["does not fit"]);
}

#[test]
fn one_repository_that_is_refused_hides_no_other() {
    let guarded = guarded();
    guarded.repo.commit("not signed");
    let other = Guarded::new(&[]);
    other.repo.commit("sound");
    let text = std::fs::read_to_string(guarded.configuration()).unwrap();
    let second = format!("{text}  - path: {}\n    name: other\n", other.repo.path().display());
    std::fs::write(guarded.configuration(), second).unwrap();
    for command in ["plan", "status"] {
        let ran = guarded.run(&[command, "--offline"]);
        ran.refuses(&["is not signed"]);
        assert!(ran.out.contains("wf-1"), "{ran:#?}");
    }
}

#[test]
fn nothing_of_an_unsigned_commit_is_built_nor_what_was_planned_before() {
    let farm = Farm::new();
    farm.step("a", None);
    let keys = super::Keys::new();
    let ada = keys.ssh("ada");
    keys.allow(&[format!("ada@example.com {ada}")]);
    let allowed = format!("allowed_signers: {}/allowed", keys.path().display());
    farm.follow_with(&["require_signed_commits: true", &allowed]);
    farm.repo.commit("not signed");
    // Its profile and its keys are not even connected with.
    farm.run(&["logs", "a"]).refuses(&["is not signed"]);
    let refused = farm.run(&["apply"]);
    refused.refuses(&["is not signed"]);
    assert_eq!((farm.made_images(), farm.calls("ec2.RunInstances")), (0, 0));
    keys.commit(&farm.repo, "ada");
    let built = farm.run(&["apply"]);
    assert_eq!(built.code, 0, "{built:#?}");
    assert_eq!(farm.made_images(), 1);
}
