//! What the numbers say.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::json;

use crate::harness::farm::{Farm, QUICK};
use crate::web::{AT_A_FREE_PORT, Answer, ask, has, port_of, tool, wait_for_series};

/// The text in the older form that promtool reads: there a counter is called as its samples are,
/// and a text has no units and no end.
fn as_promtool_reads(text: &str) -> String {
    let mut counters: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(name) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter"))
        {
            counters.push(name.to_owned());
        }
    }
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("# UNIT") && *line != "# EOF") {
        let mut parts: Vec<_> = line.splitn(4, ' ').map(str::to_owned).collect();
        if parts[0] == "#" && counters.contains(&parts[2]) {
            parts[2].push_str("_total");
        }
        lines.push(parts.join(" "));
    }
    lines.join("\n") + "\n"
}

#[track_caller]
fn lint(answer: &Answer) {
    let mut promtool = tool("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool for the tests is there: run `make tools`");
    let text = as_promtool_reads(&answer.body);
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{text}");
}

#[test]
fn the_numbers_tell_what_a_daemon_does() {
    let farm = Farm::of_three_steps();
    farm.configure(&format!("{QUICK}{AT_A_FREE_PORT}"));
    farm.repo.commit("three steps");
    let _daemon = farm.daemon();
    let port = port_of(&farm, "daemon");
    let place = r#"repository="repo",folder="packer_workspaces""#;
    let state = |step: &str, state: &str| {
        format!(r#"reconciler_step_state{{{place},step="{step}",state="{state}"}} 1.0"#)
    };
    wait_for_series(&farm, port, "three steps are in sync", |lines| {
        ["a", "b", "c"].into_iter().all(|step| has(lines, &state(step, "in-sync")))
    });
    let ended =
        format!(r#"reconciler_builds_ended_total{{{place},outcome="recorded",class="none"}} 3"#);
    wait_for_series(&farm, port, "three builds are counted", |lines| {
        has(lines, &ended)
            && has(lines, &format!("reconciler_builds_started_total{{{place}}} 3"))
            && has(lines, &format!("reconciler_lease_held{{{place}}} 1.0"))
            && has(lines, &format!("reconciler_rollout_steps_left{{{place}}} 0.0"))
    });
    let answer = ask(port, "/metrics");
    let lines: Vec<_> = answer.body.lines().map(str::to_owned).collect();
    let zero =
        format!(r#"reconciler_builds_ended_total{{{place},outcome="failed",class="step"}} 0"#);
    assert!(has(&lines, &zero), "what has not happened is there as 0:\n{}", answer.body);
    let asked = lines.iter().any(|line| {
        line.starts_with(r#"reconciler_aws_calls_total{service="EC2",operation="DescribeImages",outcome="answered"}"#)
    });
    assert!(asked, "{}", answer.body);
    lint(&answer);
    let commit = farm.repo.git(&["rev-parse", "HEAD"]);
    for churning in [&commit.trim()[..7], "ami-", "wf-1"] {
        assert!(!answer.body.contains(churning), "{churning} in a series:\n{}", answer.body);
    }
}

/// A second workflow with one step.
fn other_workflow(farm: &Farm) {
    let here = farm.repo.path().join("packer_workspaces/a");
    farm.workflow_in("workflow", &json!({ "workflow_id": "wf-2" }));
    for file in ["install.sh", "templates/.pkr.hcl", "templates/.pkrvars.hcl"] {
        let text = std::fs::read(here.join(file)).unwrap();
        farm.repo.write(&format!("workflow/z/{file}"), text);
    }
    let params = json!({ "step_id": "z", "previous_step_id": null });
    farm.repo.write("workflow/z/step_param.json", params.to_string());
}

#[test]
fn what_leaves_git_takes_its_series_along() {
    let farm = Farm::of_three_steps();
    farm.configure(&format!("{QUICK}{AT_A_FREE_PORT}"));
    other_workflow(&farm);
    farm.repo.commit("two workflows");
    let _daemon = farm.daemon();
    let port = port_of(&farm, "daemon");
    let names = |lines: &[String], label: &str| lines.iter().any(|line| line.contains(label));
    let recorded = r#"reconciler_builds_ended_total{repository="repo",folder="workflow",outcome="recorded",class="none"} 1"#;
    wait_for_series(&farm, port, "all is built", |lines| {
        let in_sync = |step| {
            lines.iter().any(|line| line.contains(&format!(r#"step="{step}",state="in-sync""#)))
        };
        ["a", "b", "c", "z"].into_iter().all(in_sync) && has(lines, recorded)
    });
    farm.repo.remove("packer_workspaces/c");
    farm.repo.commit("without c");
    wait_for_series(&farm, port, "the step's series are gone", |lines| {
        !names(lines, r#"step="c""#) && names(lines, r#"step="b""#)
    });
    farm.repo.remove("workflow");
    farm.repo.commit("without the other workflow");
    wait_for_series(&farm, port, "the workflow's series are gone", |lines| {
        !names(lines, r#"folder="workflow""#) && names(lines, r#"folder="packer_workspaces""#)
    });
}

#[test]
fn a_workflow_whose_parameters_cannot_be_read_is_failing_until_they_can() {
    let farm = Farm::of_one_step(&format!("{QUICK}{AT_A_FREE_PORT}"));
    let _daemon = farm.daemon();
    let port = port_of(&farm, "daemon");
    let place = r#"repository="repo",folder="packer_workspaces""#;
    let failing = |value: &str| format!("reconciler_workflow_failing{{{place}}} {value}");
    wait_for_series(&farm, port, "all is well", |lines| has(lines, &failing("0.0")));
    let file = "packer_workspaces/workflow_param.json";
    let good = std::fs::read(farm.repo.path().join(file)).unwrap();
    farm.repo.write(file, "{");
    farm.repo.commit("what nobody can read");
    wait_for_series(&farm, port, "it is failing", |lines| {
        has(lines, &failing("1.0")) && has(lines, "reconciler_troubles 1.0")
    });
    farm.repo.write(file, good);
    farm.repo.commit("as before");
    wait_for_series(&farm, port, "all is well again", |lines| has(lines, &failing("0.0")));
}

#[test]
fn who_stands_by_says_so_and_nothing_of_the_steps() {
    let farm = Farm::of_three_steps();
    farm.configure(&format!("{QUICK}{AT_A_FREE_PORT}metrics:\n  max_steps: 2\n"));
    farm.repo.commit("three steps");
    let _one = farm.daemon_on("one");
    farm.wait_until("three images are recorded", Farm::is_in_sync);
    let _two = farm.daemon_on("two");
    let (one, two) = (port_of(&farm, "one"), port_of(&farm, "two"));
    let held = r#"reconciler_lease_held{repository="repo",folder="packer_workspaces"} "#;
    wait_for_series(&farm, one, "one acts", |lines| has(lines, &format!("{held}1.0")));
    wait_for_series(&farm, two, "two stands by", |lines| has(lines, &format!("{held}0.0")));
    let standing_by = ask(two, "/metrics").body;
    assert!(!standing_by.contains("reconciler_steps{"), "{standing_by}");
    assert_eq!(ask(two, "/readyz").status, 200, "it does what it is there for");
    let above_the_limit = ask(one, "/metrics").body;
    assert!(!above_the_limit.contains("step="), "{above_the_limit}");
    assert!(above_the_limit.contains("\nreconciler_series_dropped 6.0\n"), "{above_the_limit}");
}
