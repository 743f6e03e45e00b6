//! A real Prometheus looks at a real daemon, with the rules and the dashboard of
//! `deploy/prometheus/`.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use regex_lite::Regex;
use serde_json::{Value, json};

use crate::harness::farm::{Farm, QUICK};
use crate::harness::running::Running;
use crate::web::{AT_A_FREE_PORT, deployed, port_of, tool};

#[test]
fn the_alert_rules_pass_their_own_tests() {
    for arguments in
        [["check", "rules", "reconciler.rules.yml"], ["test", "rules", "reconciler.rules.test.yml"]]
    {
        let output = tool("promtool")
            .args(arguments)
            .current_dir(deployed(""))
            .output()
            .expect("promtool for the tests is there: run `make tools`");
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
    let tests = std::fs::read_to_string(deployed("reconciler.rules.test.yml")).unwrap();
    for alert in alerts() {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no test");
    }
}

fn alerts() -> Vec<String> {
    let rules = std::fs::read_to_string(deployed("reconciler.rules.yml")).unwrap();
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// The queries of the dashboard, for all hosts and repositories.
fn queries() -> Vec<String> {
    let text = std::fs::read_to_string(deployed("reconciler.dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    expressions.map(|one| one.replace("$instance", ".*").replace("$repository", ".*")).collect()
}

/// A Prometheus that looks at a daemon each second.
struct Prometheus {
    port: u16,
    _process: Running,
    folder: tempfile::TempDir,
}

impl Prometheus {
    fn of(daemon: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let configuration = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [deployed("reconciler.rules.yml")],
            "scrape_configs": [{
                "job_name": "reconciler",
                "static_configs": [{ "targets": [format!("127.0.0.1:{daemon}")] }],
            }],
        });
        let file = folder.path().join("prometheus.yml");
        // What is JSON is YAML.
        std::fs::write(&file, configuration.to_string()).unwrap();
        let log = std::fs::File::create(folder.path().join("prometheus.log")).unwrap();
        let process = tool("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Prometheus for the tests is there: run `make tools`");
        Self { port, _process: Running(process), folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("prometheus.log")).unwrap_or_default()
    }

    /// What it answers; none while it does not yet.
    fn try_ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        // Of the older version no answer comes in pieces.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
    }

    /// What a query comes to; none while there is nothing.
    fn query(&self, expression: &str) -> Option<Vec<Value>> {
        let encoded =
            expression.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02x}"));
        let answer = self.try_ask(&format!("/api/v1/query?query={encoded}"))?;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let result = answer["data"]["result"].as_array().cloned()?;
        (!result.is_empty()).then_some(result)
    }
}

/// The names of the metrics that rules and dashboard use.
fn named() -> BTreeSet<String> {
    let metric = Regex::new(r"\b(?:reconciler|process)_[a-z_]+").unwrap();
    let rules = std::fs::read_to_string(deployed("reconciler.rules.yml")).unwrap();
    let expressions = rules.lines().filter(|line| {
        let line = line.trim();
        !["summary", "action", "#", "- name", "- alert"].iter().any(|begin| line.starts_with(begin))
    });
    let mut all: Vec<_> = expressions.map(str::to_owned).collect();
    all.extend(queries());
    let names = all.iter().flat_map(|text| metric.find_iter(text).map(|found| found.as_str()));
    names.map(str::to_owned).collect()
}

#[test]
fn a_real_prometheus_finds_a_series_for_all_that_rules_and_dashboard_name() {
    let farm = Farm::of_three_steps();
    farm.configure(&format!("{QUICK}{AT_A_FREE_PORT}"));
    farm.template("c", |text| {
        let slow = "build {\n  provisioner \"shell-local\" {\n    inline = [\"sleep 5\"]\n  }\n";
        text.replace("build {\n", slow)
    });
    farm.repo.commit("three steps, one of them slow");
    let mut daemon = farm.daemon();
    let prometheus = Prometheus::of(port_of(&farm, "daemon"));
    let up = r#"up{job="reconciler"} == 1"#;
    farm.wait_until("it is up", |_| prometheus.query(up).is_some());
    farm.wait_until("three images are recorded", Farm::is_in_sync);
    // The second build of a step has one before to be held against.
    farm.script("c", "echo 2\n");
    farm.repo.commit("another script");
    farm.wait_until("the change is built", |farm| farm.made_images() == 4 && farm.is_in_sync());
    let names = named();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        // At any time of the test: some are there only while something runs.
        let query = format!("count(last_over_time({name}[10m]))");
        farm.wait_until(&format!("there is a series of {name}"), |_| {
            prometheus.query(&query).is_some()
        });
    }
    for query in queries() {
        prometheus.query(&query);
    }
    let targets = prometheus.try_ask("/api/v1/targets").unwrap();
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!(target["health"], "up", "{targets}");
    assert_eq!(target["lastError"], "", "{targets}");
    let rules = prometheus.try_ask("/api/v1/rules").unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let said = prometheus.log();
    assert!(!said.contains("level=warn") && !said.contains("level=error"), "{said}");
    daemon.stops();
}
