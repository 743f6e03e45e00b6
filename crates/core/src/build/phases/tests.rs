//! The logs are those of real builds against the emulated EC2, without what says nothing here.

use reconciler_hcl::Template;

use super::*;
use crate::build::output::read_with_times;
use crate::build::phase_comparison::line;

/// Runs whatever provisioners are asked for, one script in a pair of them.
const EACH_KIND: &str = r#"
  provisioner "shell" { inline = ["echo inline one", "sleep 1"] }
  provisioner "shell" { script = "setup.sh" }
  provisioner "shell" { scripts = ["two.sh", "setup.sh"] }
  provisioner "file" {
    source      = "two.sh"
    destination = "/two.sh"
  }
  provisioner "shell-local" { inline = ["echo local"] }
  provisioner "shell-local" { script = "two.sh" }
  provisioner "shell-local" { command = "echo command" }
  provisioner "breakpoint" { disable = true }
  provisioner "shell" {
    inline       = ["echo after"]
    pause_before = "1s"
  }
"#;
const TWO_SCRIPTS: &str = r#"
  provisioner "shell" { script = "setup.sh" }
  provisioner "shell" { script = "fail.sh" }
  provisioner "shell" { inline = ["echo never"] }
"#;
const RETRIED: &str = r#"
  provisioner "shell" {
    inline      = ["exit 3"]
    max_retries = 2
  }
  provisioner "shell" { script = "two.sh" }
"#;
const ONE_SCRIPT: &str = r#"
  provisioner "shell" { script = "two.sh" }
"#;
const OF_TWO_SOURCES: &str = r#"
  provisioner "shell" { inline = ["echo both"] }
  provisioner "shell" {
    only   = ["amazon-ebs.y"]
    script = "fail.sh"
  }
  provisioner "shell" { script = "setup.sh" }
"#;

fn planned(build: &str) -> Option<Vec<PlannedProvisioner>> {
    let text = format!(
        "build {{\n  sources = [\"source.amazon-ebs.x\", \"source.amazon-ebs.y\"]\n{build}\n}}\n"
    );
    Template::new([("x.pkr.hcl".to_owned(), text)].into()).provisioners(str::to_owned)
}

fn read(log: &str, provisioners: Option<Vec<PlannedProvisioner>>, end: Unfinished) -> Phases {
    let mut phases = PhaseReader::new(provisioners);
    read_with_times(&mut log.as_bytes(), |second, line| phases.take(second, line)).unwrap();
    phases.finish(end)
}

/// The phases of the logs of both Packers, which are the same but for a second here and there.
fn both(old: &str, new: &str, build: &str) -> String {
    let told = [old, new].map(|log| line(&read(log, planned(build), Unfinished::GoesOn).phases));
    told.join("\n")
}

macro_rules! recorded {
    ($name:literal) => {
        (
            include_str!(concat!("recorded/", $name, "-1.6.6.log")),
            include_str!(concat!("recorded/", $name, "-1.16.0.log")),
        )
    };
}

#[test]
fn each_provisioner_is_told_by_its_place_and_its_script() {
    let (old, new) = recorded!("each-kind");
    insta::assert_snapshot!(both(old, new, EACH_KIND), @r"
    instance up 0s, SSH 0s, 1 inline shell 2s, 2 setup.sh 3s, 3 two.sh 1s, 3 setup.sh 2s, 4 file 0s, 5 inline shell-local 0s, 6 two.sh 0s, 7 inline shell-local 0s, 8 breakpoint 0s, 9 inline shell 2s, image 0s, clean-up 0s, post-processor 1 manifest 0s, post-processor 2 shell-local 0s, post-processor 3 manifest 0s
    instance up 0s, SSH 0s, 1 inline shell 2s, 2 setup.sh 3s, 3 two.sh 0s, 3 setup.sh 3s, 4 file 0s, 5 inline shell-local 0s, 6 two.sh 0s, 7 inline shell-local 0s, 8 breakpoint 0s, 9 inline shell 2s, image 0s, clean-up 0s, post-processor 1 manifest 0s, post-processor 2 shell-local 0s, post-processor 3 manifest 0s
    ");
}

#[test]
fn a_script_that_fails_is_the_phase_that_failed_and_its_last_lines_are_kept() {
    let (old, new) = recorded!("script-fails");
    insta::assert_snapshot!(both(old, new, TWO_SCRIPTS), @r"
    instance up 0s, SSH 0s, 1 setup.sh 2s, 2 fail.sh 1s failed, clean-up 0s
    instance up 0s, SSH 0s, 1 setup.sh 1s, 2 fail.sh 2s failed, clean-up 0s
    ");
    for log in [old, new] {
        let told = read(log, planned(TWO_SCRIPTS), Unfinished::GoesOn);
        assert_eq!(told.last_lines, ["about to fail", "E: no such package"]);
    }
}

#[test]
fn a_provisioner_that_is_tried_again_stays_one_phase() {
    let (old, new) = recorded!("retry");
    insta::assert_snapshot!(both(old, new, RETRIED), @r"
    instance up 1s, SSH 0s, 1 inline shell 1s, 2 two.sh 1s, image 0s, clean-up 0s
    instance up 0s, SSH 0s, 1 inline shell 2s, 2 two.sh 1s, image 0s, clean-up 0s
    ");
    for log in [old, new] {
        let told = read(log, planned(RETRIED), Unfinished::GoesOn).phases;
        assert_eq!(told.iter().map(|one| one.tries).collect::<Vec<_>>(), [1, 1, 2, 1, 1, 1]);
    }
}

#[test]
fn sources_that_are_built_at_once_have_phases_of_their_own() {
    let (old, new) = recorded!("two-sources");
    insta::assert_snapshot!(both(old, new, OF_TWO_SOURCES), @r"
    amazon-ebs.y: instance up 0s, SSH 1s, 1 inline shell 1s, 2 fail.sh 2s failed, clean-up 0s; amazon-ebs.x: instance up 0s, SSH 1s, 1 inline shell 1s, 3 setup.sh 2s, image 0s, clean-up 0s
    amazon-ebs.y: instance up 0s, SSH 0s, 1 inline shell 1s, 2 fail.sh 2s failed, clean-up 0s; amazon-ebs.x: instance up 0s, SSH 0s, 1 inline shell 1s, 3 setup.sh 2s, image 0s, clean-up 0s
    ");
}

#[test]
fn copies_and_post_processors_are_phases() {
    let (old, new) = recorded!("copy");
    insta::assert_snapshot!(both(old, new, ONE_SCRIPT), @r"
    instance up 0s, SSH 0s, 1 two.sh 2s, image 0s, copy 0s, clean-up 0s
    instance up 0s, SSH 0s, 1 two.sh 1s, image 0s, copy 0s, clean-up 0s
    ");
    let (old, new) = recorded!("post-processor-fails");
    insta::assert_snapshot!(both(old, new, ONE_SCRIPT), @r"
    instance up 0s, SSH 0s, 1 two.sh 2s, image 0s, clean-up 0s, post-processor 1 shell-local 0s failed
    instance up 0s, SSH 0s, 1 two.sh 1s, image 0s, clean-up 0s, post-processor 1 shell-local 0s failed
    ");
}

#[test]
fn what_comes_after_a_failure_has_not_failed() {
    let (old, new) = recorded!("no-ssh");
    insta::assert_snapshot!(both(old, new, ONE_SCRIPT), @r"
    instance up 0s, SSH 3s failed, clean-up 0s
    instance up 0s, SSH 3s failed, clean-up 0s
    ");
    let told = read(new, planned(ONE_SCRIPT), Unfinished::GoesOn);
    assert_eq!(told.last_lines.last().unwrap(), "Timeout waiting for SSH.");
}

#[test]
fn a_build_that_was_killed_failed_where_its_log_ends() {
    let (old, new) = recorded!("each-kind");
    for log in [old, new] {
        let cut: String = log.lines().take(14).flat_map(|line| [line, "\n"]).collect();
        let begun: i64 = cut[..10].parse().unwrap();
        let told = read(&cut, planned(EACH_KIND), Unfinished::Ended(begun + 100));
        let last = told.phases.last().unwrap();
        assert_eq!((last.name.as_str(), last.end), ("setup.sh", PhaseEnd::Failed));
        let all: u64 = told.phases.iter().map(|one| one.seconds).sum();
        assert_eq!(all, 100, "until it was killed");
        let runs = read(&cut, planned(EACH_KIND), Unfinished::GoesOn);
        assert!(runs.phases.iter().all(|one| one.end == PhaseEnd::Passed));
    }
}

#[test]
fn where_the_template_is_not_known_provisioners_are_counted() {
    let (_, new) = recorded!("each-kind");
    insta::assert_snapshot!(line(&read(new, None, Unfinished::GoesOn).phases), @"instance up 0s, SSH 0s, 1 inline shell 2s, 2 setup.sh 3s, 3 two.sh 0s, 4 setup.sh 3s, 5 file 0s, 6 inline shell-local 0s, 7 two.sh 0s, 8 inline shell-local 0s, 9 breakpoint 0s, 10 inline shell 2s, image 0s, clean-up 0s, post-processor 1 manifest 0s, post-processor 2 shell-local 0s, post-processor 3 manifest 0s");
}

/// Today's Packer writes what a script prints as it writes its own words.
#[test]
fn what_a_script_prints_moves_nothing() {
    let log = |printed: &str| {
        format!(
            "10,,ui,say,==> amazon-ebs.x: Launching a source AWS instance...\n\
            20,,ui,say,==> amazon-ebs.x: Using SSH communicator to connect: 127.0.0.1\n\
            30,,ui,say,==> amazon-ebs.x: Provisioning with shell script: setup.sh\n\
            40,,ui,say,==> amazon-ebs.x: {printed}\n\
            60,,ui,say,==> amazon-ebs.x: Provisioning with shell script: fail.sh\n\
            70,,ui,say,==> amazon-ebs.x: Provisioning with shell script: /b/tmp/packer-shell1\n\
            80,,ui,say,==> amazon-ebs.x: Stopping the source instance...\n\
            90,,ui,say,Build 'amazon-ebs.x' finished after 80 seconds.\n"
        )
    };
    for printed in [
        "Stopping the source instance...",
        "Provisioning with shell script: evil.sh",
        "Provisioning with shell script: setup.sh",
        "Uploading a => b",
        "Running local shell script: fail.sh",
        "Using SSH communicator to connect: 10.0.0.1",
        "Copying AMI to another region",
        "Running post-processor:  (type manifest)",
        "==> amazon-ebs.inner: Creating AMI x from instance i-1",
        "Build 'amazon-ebs.x' finished after 1 second.",
        "Pausing before the next provisioner...",
    ] {
        let told = line(&read(&log(printed), planned(TWO_SCRIPTS), Unfinished::GoesOn).phases);
        assert_eq!(
            told,
            "instance up 10s, SSH 10s, 1 setup.sh 30s, 2 fail.sh 10s, 3 inline shell 10s, image 10s",
            "{printed}"
        );
    }
}

#[test]
fn a_provisioner_of_which_packer_says_nothing_is_told_with_the_one_before() {
    let build = r#"
      provisioner "shell" { script = "a.sh" }
      provisioner "of-a-plugin" {}
      provisioner "shell" { script = "b.sh" }
      provisioner "ansible" {}
      provisioner "of-a-plugin" {}
    "#;
    let log = "10,,ui,say,==> amazon-ebs.x: Provisioning with shell script: a.sh\n\
        20,,ui,say,==> amazon-ebs.x: Provisioning with shell script: b.sh\n\
        30,,ui,say,==> amazon-ebs.x: Provisioning with Ansible...\n\
        40,,ui,say,==> amazon-ebs.x: Stopping the source instance...\n";
    let told = read(log, planned(build), Unfinished::GoesOn).phases;
    insta::assert_snapshot!(line(&told), @"instance up 0s, 1 a.sh, of-a-plugin 10s, 3 b.sh 10s, 4 ansible, of-a-plugin 10s, image 0s");
}

#[test]
fn a_log_of_many_provisioners_is_kept_in_few_phases() {
    let line = |n: i64| {
        format!("{n},,ui,say,==> amazon-ebs.x: Provisioning with shell script: {n}{:0>99}.sh\n", 0)
    };
    let log: String = (0..200).map(line).collect();
    let told = read(&log, None, Unfinished::Ended(200)).phases;
    assert_eq!(told.len(), MOST_PHASES);
    assert_eq!(told.iter().map(|one| one.seconds).sum::<u64>(), 200);
    assert!(told.iter().all(|one| one.name.chars().count() <= LONGEST_NAME + 9));
    let bytes = serde_json::to_vec(&told).unwrap().len();
    assert!(bytes < 10_000, "{bytes}");
}

proptest::proptest! {
    #[test]
    fn no_lines_make_it_panic_and_no_second_is_lost(
        lines in proptest::collection::vec((0_u32..1000, 0_usize..22, 0_usize..3), 0..80),
    ) {
        const WORDS: [&str; 22] = [
            "Launching a source AWS instance...", "Using SSH communicator to connect: x",
            "Provisioning with shell script: setup.sh", "Provisioning with shell script: fail.sh",
            "Provisioning with shell script: /b/packer-shell1", "Running local shell script: a",
            "Uploading a => b", "Pausing 1s before the next provisioner...",
            "Provisioner failed with \"x\", retrying with 1 trie(s) left",
            "Provisioning step had errors: Running the cleanup provisioner, if present...",
            "Stopping the source instance...", "Creating AMI x from instance i-1", "Copying AMI",
            "Terminating the source AWS instance...", "Deleting temporary keypair...",
            "Running post-processor:  (type manifest)", "Provisioning with Ansible...", "", ":",
            "Running post-processor: a (type b)", "Breakpoint provisioner disabled", "E: x",
        ];
        let sources = ["amazon-ebs.x", "amazon-ebs.y", "null.z"];
        for provisioners in [None, planned(TWO_SCRIPTS), planned(RETRIED)] {
            let mut reader = PhaseReader::new(provisioners);
            for (second, words, source) in &lines {
                let said = format!("==> {}: {}", sources[*source], WORDS[*words]);
                reader.take(i64::from(*second), &Line::Ui("say".to_owned(), said));
            }
            let told = reader.finish(Unfinished::Ended(2000));
            for source in sources {
                let is_its = |one: &&BuildPhase| one.source.as_deref().is_none_or(|of| of == source);
                let first = lines.iter().find(|line| sources[line.2] == source);
                if let Some((begun, ..)) = first {
                    let all: u64 = told.phases.iter().filter(is_its).map(|one| one.seconds).sum();
                    // Time that runs backwards is counted once.
                    proptest::prop_assert!(all <= 2000 - u64::from(*begun));
                }
            }
            proptest::prop_assert!(told.phases.len() <= MOST_PHASES);
        }
    }
}
