//! Who is answered.

use std::net::TcpListener;

use crate::harness::farm::{Farm, QUICK};
use crate::web::{AT_A_FREE_PORT, ask, ask_with, port_of};

#[test]
fn a_request_by_another_name_is_refused_before_anything_of_it_is_looked_at() {
    let farm = Farm::of_one_step(&format!("{AT_A_FREE_PORT}  hosts: [ami.example.com]\n"));
    let _daemon = farm.daemon();
    let port = port_of(&farm, "daemon");
    let status = |line: &str, host: &str| ask_with(port, &[line, host]).status;
    for host in ["localhost", "127.0.0.1", "[::1]", "ami.example.com", "LocalHost:9999"] {
        assert_eq!(status("GET /healthz HTTP/1.1", &format!("Host: {host}")), 200, "{host}");
    }
    for path in ["/metrics", "/healthz", "/readyz", "/", "/nothing"] {
        let line = format!("GET {path} HTTP/1.1");
        let answer = ask_with(port, &[&line, "Host: evil.test"]);
        assert_eq!(answer.status, 421, "{path}");
        assert!(!answer.body.contains("reconciler_"), "{answer:?}");
        assert!(answer.body.contains("web.hosts"), "it says what to do: {answer:?}");
    }
    assert_eq!(status("GET http://evil.test/metrics HTTP/1.1", "Host: localhost"), 421);
    assert_eq!(status("GET /metrics HTTP/1.1", "Hots: localhost"), 400, "no name");
    assert_eq!(status("POST /metrics HTTP/1.1", "Host: localhost"), 405);
    assert_eq!(status("GET /nothing HTTP/1.1", "Host: localhost"), 404);
    let elsewhere =
        ask_with(port, &["GET /metrics HTTP/1.1", "Host: localhost", "Origin: http://evil.test"]);
    assert!(!elsewhere.head.to_lowercase().contains("access-control"), "{}", elsewhere.head);
    assert!(elsewhere.head.contains("application/openmetrics-text"), "{}", elsewhere.head);
}

#[test]
fn a_port_that_another_program_has_is_told_and_builds_go_on() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let farm = Farm::of_one_step(&format!("{QUICK}web:\n  listen: 127.0.0.1:{port}\n"));
    let _daemon = farm.daemon();
    farm.wait_until_said("daemon", &format!("another program has port {port}"));
    farm.wait_for_state("a", "in-sync");
    let said = farm.run(&["status"]).out;
    assert!(said.contains(&format!("listening at 127.0.0.1:{port} does not work")), "{said}");
    assert!(said.contains("set `web.listen` to another port"), "{said}");
}

#[test]
fn a_daemon_that_is_not_asked_for_it_listens_nowhere() {
    let farm = Farm::of_one_step(QUICK);
    let daemon = farm.daemon();
    farm.wait_for_state("a", "in-sync");
    assert_eq!(listening(daemon.id()), 0);
    let farm = Farm::of_one_step(AT_A_FREE_PORT);
    let daemon = farm.daemon();
    port_of(&farm, "daemon");
    assert_eq!(listening(daemon.id()), 1, "it can be told");
}

/// At how many ports a process listens.
fn listening(process: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let own: Vec<_> = files.filter_map(|file| std::fs::read_link(file.path()).ok()).collect();
    let tables = ["tcp", "tcp6"].map(|table| {
        std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default()
    });
    let lines = tables.iter().flat_map(|table| table.lines());
    let is_own = |line: &&str| {
        let parts: Vec<_> = line.split_whitespace().collect();
        // 0A is the state of one that listens.
        parts.get(3) == Some(&"0A")
            && own.iter().any(|file| file.to_str() == Some(&format!("socket:[{}]", parts[9])))
    };
    lines.filter(is_own).count()
}

#[test]
fn a_daemon_whose_first_fetch_hangs_answers_and_is_not_ready() {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hangs.local_addr().unwrap().port();
    let farm = Farm::of_one_step(AT_A_FREE_PORT);
    farm.follow_url(&format!("http://127.0.0.1:{port}/a.git"), &[]);
    let mut daemon = farm.daemon();
    let port = port_of(&farm, "daemon");
    assert_eq!(ask(port, "/healthz").status, 200);
    let answer = ask(port, "/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "no pass over the repositories has ended yet\n");
    daemon.stops();
}

#[test]
fn a_daemon_is_ready_once_a_pass_has_reached_the_inventory() {
    let farm = Farm::of_one_step(&format!("{QUICK}{AT_A_FREE_PORT}"));
    farm.faults(&serde_json::json!([
        { "operation": "*", "kind": "denied", "times": 100_000 }
    ]));
    let _daemon = farm.daemon();
    let port = port_of(&farm, "daemon");
    farm.wait_until("the inventory is missed", |_| {
        let answer = ask(port, "/readyz");
        answer.status == 503 && answer.body.contains("the inventory of packer_workspaces in repo")
    });
    assert_eq!(ask(port, "/healthz").status, 200);
    farm.no_faults();
    farm.wait_until("it is ready", |_| ask(port, "/readyz").status == 200);
}
