//! Where the time of a bake went, and what is another since it last worked, with scripts that really
//! run.

use reconciler_core::build::phase_comparison::failed_phase;
use reconciler_model::build_phases::{BuildPhase, PhaseKind};

use crate::harness::farm::Farm;
use crate::harness::readable::timeless;
use crate::harness::sshd::Sshd;

/// A step `a` whose template runs commands and a script on the instance.
fn provisioned(sshd: &Sshd) -> Farm {
    let farm = Farm::new();
    farm.step("a", None).provision_at(sshd);
    let provisioners = "  sources = [\"source.amazon-ebs.x\"]\n  provisioner \"shell\" {\n    inline = [\"echo ready\"]\n  }\n  provisioner \"shell\" {\n    script = \"install.sh\"\n  }\n";
    farm.template("a", |text| {
        text.replace("  communicator  = \"none\"\n", "  communicator  = \"ssh\"\n")
            .replace("  sources = [\"source.amazon-ebs.x\"]\n", provisioners)
    });
    farm.repo.commit("two provisioners");
    farm
}

fn names(phases: &[BuildPhase]) -> Vec<(PhaseKind, Option<u32>, &str)> {
    phases.iter().map(|one| (one.phase, one.place, one.name.as_str())).collect()
}

#[test]
fn a_failed_build_is_told_beside_the_last_good_one_here_and_on_another_host() {
    let sshd = Sshd::start();
    let farm = provisioned(&sshd);
    farm.applies();
    let good = &farm.history(&[])[0];
    let until_the_script = [
        (PhaseKind::Instance, None, ""),
        (PhaseKind::Connection, None, "SSH"),
        (PhaseKind::Provisioner, Some(1), "inline shell"),
        (PhaseKind::Provisioner, Some(2), "install.sh"),
    ];
    assert_eq!(names(&good.phases)[..4], until_the_script);
    let rest = [(PhaseKind::Image, None, ""), (PhaseKind::CleanUp, None, "")];
    assert_eq!(names(&good.phases)[4..], rest);

    farm.script("a", "echo 1\necho about to fail\nsleep 6\necho E: no such package >&2\nexit 7\n");
    farm.repo.commit("use another mirror");
    farm.repo.write("README.md", "of no step");
    farm.repo.commit("a word for readers");
    let ran = farm.applies_in_vain();
    assert!(
        ran.out.contains("  time: instance up ") && ran.out.contains("2 install.sh "),
        "{ran:#?}"
    );
    let bad = farm.history(&[]).remove(0);
    let failed = failed_phase(&bad.phases).unwrap();
    assert_eq!((failed.place, failed.name.as_str()), (Some(2), "install.sh"));
    assert!(failed.seconds >= 5 && failed.last_seconds.is_some(), "{failed:?}");
    assert_eq!(bad.last_good.as_ref().map(|one| &one.build_id), Some(&good.build_id));
    let reason = farm.status()["a"].reason.clone();
    assert!(reason.contains("; in install.sh (provisioner 2), after "), "{reason}");

    assert!(reason.contains("; since it last worked: file changed: install.sh; "), "{reason}");

    let begin = bad.build_id.as_str();
    let told = farm.run(&["history", "--build", begin]);
    insta::assert_snapshot!(timeless(&told.out), @r"
    wf-1

      a  failed  -  [duration] ago, took [duration]
        build [build]  commit [commit]  try 1  on [host]
        image base/wf-1/a/[fingerprint] from ami-0123456789abcdef0
        [time] UTC  decided
        [time] UTC  Packer started (supervisor [number])
        [time] UTC  failed (step): Script exited with non-zero exit status: 7: E: no such package
        [time] UTC  cleaned up: nothing was left
        time, beside that of build [build], recorded [time] UTC:
          instance up  [duration]
          SSH  [duration]
          1 inline shell  [duration]
          2 install.sh  [duration] (+[duration]), failed
          clean-up  [duration]
        changed since build [build] (commit [commit]) was recorded [time] UTC:
          file changed: install.sh (+4 −0)
          commit [commit]  [time] UTC  use another mirror, Ada
          | --- a/install.sh
          | +++ b/install.sh
          | @@ -1 +1,5 @@
          |  echo 1
          | +echo about to fail
          | +sleep 6
          | +echo E: no such package >&2
          | +exit 7
        last lines of 2 install.sh:
          | 1
          | about to fail
          | E: no such package
        log: [folder]/state/builds/[build]/packer.log (on [host])
    ");
    let told = farm.history(&["--build", begin]).remove(0);
    let changed = told.changed.unwrap();
    assert_eq!(changed.reasons.unwrap()[0]["path"], "install.sh");
    assert_eq!(changed.commits.len(), 1, "the other touched nothing of the step");
    assert_eq!(told.last_lines.unwrap(), ["1", "about to fail", "E: no such package"]);

    // A host that has neither the log nor the folder of the build knows it from the journal.
    let elsewhere = farm.state_of_host("two").display().to_string();
    let told =
        farm.run_with(&[("RECONCILER_STATE_DIR", &elsewhere)], &["history", "--build", begin]);
    assert!(
        told.out.contains("2 install.sh  ") && told.out.contains(": E: no such package\n"),
        "{told:#?}"
    );
    assert!(told.out.contains("commit") && !told.out.contains("last lines of"), "{told:#?}");
}

#[test]
fn a_build_that_fails_with_the_inputs_that_worked_is_told_so() {
    let sshd = Sshd::start();
    let farm = provisioned(&sshd);
    let folder = tempfile::tempdir().unwrap();
    let switch = folder.path().join("gone");
    farm.script("a", &format!("test ! -e {}\n", switch.display()));
    farm.repo.commit("a script that hangs on the world");
    farm.applies();
    std::fs::write(&switch, "").unwrap();
    let ran = farm.run(&["apply", "--rebuild", "a"]);
    assert_eq!(ran.code, 1, "its image stands, and it was not built again: {ran:#?}");
    let bad = farm.history(&["--failed"]).remove(0);
    assert_eq!(bad.failure.as_ref().unwrap().changed, "nothing");
    let told = farm.run(&["history", "--build", bad.build_id.as_str()]);
    assert!(told.out.contains("      nothing: its inputs are the same\n"), "{told:#?}");
}
