//! Secrets that a build gets and prints are found in nothing that is kept or shown.

use reconciler_model::digest::Digest;
use rustix::process::Signal;

use super::planted::{
    Watch, assert_clean, assert_clean_below, everything_at_aws, farm, plant, secret,
};
use crate::harness::cli::CommandOutput;
use crate::harness::farm::Farm;
use crate::web::{AT_A_FREE_PORT, ask, port_of};

#[track_caller]
fn clean(ran: CommandOutput) -> CommandOutput {
    assert_clean("standard output", &ran.out);
    assert_clean("standard error", &ran.err);
    ran
}

/// What `sha256sum` prints for a value and a line feed.
fn sum(place: &str) -> String {
    Digest::of(format!("{}\n", secret(place)).as_bytes()).to_string()
}

#[test]
fn nothing_that_is_kept_or_shown_holds_a_secret() {
    let farm = farm("good", "true");
    plant(&farm, "bad", "exit 7");
    farm.repo.commit("two steps");
    for arguments in [&["plan"][..], &["plan", "--output", "json"], &["check"], &["render", "good"]]
    {
        let ran = clean(farm.run(arguments));
        assert_eq!(ran.code, 0, "{ran:#?}");
    }
    let watch = Watch::start();
    clean(farm.run(&["apply"]));
    watch.assert_clean();
    assert_eq!(farm.state_of("good"), "in-sync");
    assert_eq!(farm.state_of("bad"), "quarantined");
    for step in ["good", "bad"] {
        let logs = clean(farm.run(&["logs", step]));
        for word in ["it begins", "it ends", "<redacted>", &sum("variable"), &sum("file")] {
            assert!(logs.out.contains(word), "{word} in {}", logs.out);
        }
    }
    assert_clean_below(&farm.state());
    assert_clean("AWS", everything_at_aws(&farm));

    // A rotated secret and a changed parameter.
    let key = farm.state().with_file_name("tls.key");
    std::fs::write(key, format!("{}\nmore", secret("file"))).unwrap();
    for arguments in [
        &["plan"][..],
        &["plan", "--output", "json"],
        &["diff", "good"],
        &["diff", "good", "--output", "json"],
        &["status"],
        &["status", "--output", "json"],
    ] {
        clean(farm.run(arguments));
    }
    let diff = farm.run(&["diff", "good"]);
    assert!(diff.out.contains("secret changed: tls"), "{diff:#?}");
    let shown = farm.run(&["render", "good", "--show-secrets"]);
    assert!(shown.out.contains(secret("parameter")), "{shown:#?}");
}

#[test]
fn a_message_that_quotes_a_line_shows_no_secret_of_it() {
    let farm = farm("good", "true");
    let write = |name: &str, text: String| {
        farm.repo.write(&format!("packer_workspaces/{name}"), text);
        farm.repo.commit("broken");
        let ran = clean(farm.run(&["check"]));
        assert_eq!(ran.code, 1, "{name}: {ran:#?}");
        clean(farm.run(&["plan"]));
        clean(farm.run(&["plan", "--output", "json"]));
        clean(farm.run(&["apply"]));
    };
    let values = "good/templates/.pkrvars.hcl";
    write(values, "admin = \"{{ params.admin_password }}\nliteral = \"x\"\n".into());
    write(values, format!("literal = \"{}\n", secret("literal")));
    write(values, "a = \"{{ params.admin_password.nothing }}\"\n".into());
    write(
        "good/step_param.json",
        format!("{{ \"step_id\": 7, \"db_password\": \"{}\" }}", secret("parameter")),
    );
    write(
        "good/step_param.json",
        format!(
            "{{ \"step_id\": \"good\", \"x_password\": \"{}\" \"y\": 1 }}",
            secret("parameter")
        ),
    );
}

#[test]
fn a_running_builds_log_shows_none_and_a_killed_supervisor_leaves_none() {
    let mut farm = farm("good", "sleep 4");
    farm.env("RECONCILER_LOG", "trace");
    farm.repo.commit("a step");
    let mut daemon = farm.daemon();
    farm.wait_until("the provisioner has printed all", |farm| {
        farm.run(&["logs", "good"]).out.contains("it ends")
    });
    let logs = clean(farm.run(&["logs", "good"]));
    assert!(logs.out.contains("<redacted>"), "{logs:#?}");
    clean(farm.run(&["status"]));
    kill_supervisor(&farm);
    // By somebody who has none of the build's environment, while Packer goes on.
    let logs = clean(farm.run_with(&[("APP_TOKEN", "")], &["logs", "good"]));
    assert!(logs.out.contains("<redacted>"), "{logs:#?}");
    farm.wait_until("the build is over", |farm| {
        let state = farm.state_of("good");
        state != "building" && state != "build"
    });
    daemon.stops();
    assert_clean("the daemon's log", farm.log("daemon"));
    assert_clean_below(&farm.state());
    assert_clean("AWS", everything_at_aws(&farm));
    let logs = clean(farm.run(&["logs", "good"]));
    assert!(logs.out.contains("it ends"), "{logs:#?}");
}

#[test]
fn what_is_answered_over_http_holds_no_secret() {
    let farm = farm("good", "true");
    plant(&farm, "bad", "exit 7");
    farm.reconfigure(|text| format!("{text}{AT_A_FREE_PORT}"));
    farm.repo.commit("two steps");
    let _daemon = farm.daemon();
    let port = port_of(&farm, "daemon");
    farm.wait_for_state("good", "in-sync");
    farm.wait_for_state("bad", "quarantined");
    for path in ["/metrics", "/readyz", "/healthz", "/nothing"] {
        let answer = ask(port, path);
        assert_clean(path, &answer.head);
        assert_clean(path, &answer.body);
    }
    farm.wait_until("both steps are shown", |_| {
        let shown = ask(port, "/metrics").body;
        assert_clean("/metrics", &shown);
        shown.contains("step=\"good\"") && shown.contains("state=\"quarantined\"} 1.0")
    });
}

#[test]
fn a_daemon_with_rotated_values_takes_the_old_ones_out_of_the_log_of_an_orphaned_build() {
    let mut farm = farm("good", "sleep 4");
    farm.repo.commit("a step");
    let mut daemon = farm.daemon();
    farm.wait_until("the provisioner has printed all", |farm| {
        farm.run(&["logs", "good"]).out.contains("it ends")
    });
    daemon.kill();
    kill_supervisor(&farm);
    // One that does not count: another build would begin at once, and hold secrets while it runs.
    farm.env("APP_TOKEN", "another-Token-of-today");
    let mut daemon = farm.daemon();
    farm.wait_for_stage("good", "recorded");
    daemon.stops();
    assert_clean("the daemon's log", farm.log("daemon"));
    assert_clean_below(&farm.state());
    let logs = clean(farm.run(&["logs", "good"]));
    assert!(logs.out.contains("it ends"), "{logs:#?}");
}

fn kill_supervisor(farm: &Farm) {
    let process = farm.supervisor();
    assert!(process.is_alive());
    process.signal(Signal::KILL);
}
