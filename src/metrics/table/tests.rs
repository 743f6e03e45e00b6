//! The table is held against what is written from it: documentation, alert rules, dashboard.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The table of docs/metrics.md.
fn documentation() -> String {
    let mut text = String::from(
        "| name | type | labels | series | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for metric in ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram { .. } => "histogram",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let series = match metric.limit {
            Limit::Fixed => "a fixed number",
            Limit::Repository => "for each repository",
            Limit::Workflow => "for each workflow",
            Limit::Step => "for each step, up to `metrics.max_steps`",
            Limit::Operation => "for each operation that was called",
        };
        let line = [&format!("`{}`", metric.name), kind, &labels.join(", "), series, metric.help];
        text.push_str(&format!("| {} |\n", line.join(" | ")));
    }
    text
}

#[test]
fn the_table_in_the_documentation_is_up_to_date() {
    const FILE: &str = "docs/metrics.md";
    let (begin, end) = ("<!-- from src/metrics/table.rs: `make generate` -->\n", "<!-- end -->\n");
    let text = read(FILE);
    let (before, rest) = text.split_once(begin).expect("the mark where the table begins");
    let (_, after) = rest.split_once(end).expect("the mark where the table ends");
    let generated = format!("{before}{begin}{}{end}{after}", documentation());
    crate::config::schema::assert_is_up_to_date(FILE, &generated);
}

#[test]
fn names_and_labels_are_as_prometheus_wants_them() {
    let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), ALL.len(), "each name once");
    for metric in ALL {
        let name = metric.name;
        assert!(name.starts_with("reconciler_") || name.starts_with("process_"), "{name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let unit = match metric.unit {
            Some(Unit::Seconds) => "_seconds",
            Some(Unit::Bytes) => "_bytes",
            None => "",
        };
        assert!(name.trim_end_matches("_total").ends_with(unit), "{name}");
        assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}");
        // What grows without end as builds are made.
        let churning = ["commit", "revision", "build", "image", "workflow_id", "reason", "host"];
        assert!(metric.labels.iter().all(|label| !churning.contains(label)), "{name}");
        let names_steps = metric.labels.contains(&"step");
        assert_eq!(names_steps, metric.limit == Limit::Step, "{name}");
    }
}

/// The expressions of the alert rules, and of the dashboard.
fn expressions() -> Vec<String> {
    let rules: serde_json::Value =
        serde_yaml::from_str(&read("deploy/prometheus/reconciler.rules.yml")).unwrap();
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/prometheus/reconciler.dashboard.json")).unwrap();
    let mut found = Vec::new();
    for value in [rules, dashboard] {
        collect(&value, &mut found);
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, member) in members {
                match member {
                    serde_json::Value::String(text) if key == "expr" => found.push(text.clone()),
                    member => collect(member, found),
                }
            }
        }
        serde_json::Value::Array(members) => {
            for member in members {
                collect(member, found);
            }
        }
        _ => {}
    }
}

fn metric_of(word: &str) -> Option<&'static Metric> {
    ALL.iter().copied().find(|metric| {
        let of_histogram = ["_bucket", "_sum", "_count"].into_iter().any(|suffix| {
            matches!(metric.kind, Kind::Histogram { .. })
                && word.strip_suffix(suffix) == Some(metric.name)
        });
        let is_histogram = matches!(metric.kind, Kind::Histogram { .. });
        of_histogram || (word == metric.name && !is_histogram)
    })
}

#[test]
fn rules_and_dashboard_name_only_metrics_and_labels_of_the_table() {
    let metric = regex_lite::Regex::new(r"\b((?:reconciler|process)_[a-z_]+)(\{[^}]*\})?").unwrap();
    let label = regex_lite::Regex::new(r"([a-z_]+)\s*(?:=~|!~|!=|=)").unwrap();
    let grouped = regex_lite::Regex::new(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)").unwrap();
    // Prometheus adds the two itself.
    let known: BTreeSet<_> = ALL
        .iter()
        .flat_map(|metric| metric.labels.iter().copied())
        .chain(["instance", "job", "le"])
        .collect();
    for expression in expressions() {
        for found in metric.captures_iter(&expression) {
            let name = &found[1];
            let of = metric_of(name).unwrap_or_else(|| panic!("{name} in {expression}"));
            let selected = found.get(2).map_or("", |selector| selector.as_str());
            for found in label.captures_iter(selected) {
                let named = &found[1];
                let is_own = of.labels.contains(&named) || ["instance", "job"].contains(&named);
                assert!(is_own, "{name} has no label {named}: {expression}");
            }
        }
        for found in grouped.captures_iter(&expression) {
            for named in found[1].split(',').map(str::trim).filter(|name| !name.is_empty()) {
                assert!(known.contains(named), "there is no label {named}: {expression}");
            }
        }
    }
}
