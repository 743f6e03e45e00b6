//! Text for people with what differs from run to run replaced, so that a snapshot shows the product.

use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

use super::farm::BASE;

/// What differs from run to run, and what stands for it.
static CHANGING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        (r"(/[\w.-]+)*/repo-\w{6}\b", "[repository]"),
        (r"(/[\w.-]+)*/\.tmp\w{6}\b", "[folder]"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", "[build]"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?", "[time]"),
        (r"@[0-9a-f]{7}\b", "@[commit]"),
        (r"\b(at|is|commit) [0-9a-f]{7}\b", "$1 [commit]"),
        (r"\b[0-9a-f]{40}\b", "[commit]"),
        (r"\bpid \d+", "pid [number]"),
        (r"\buid \d+@[\w.-]+", "uid [number]@[host]"),
        (r"\((supervisor) \d+\)", "($1 [number])"),
        (r"(kill -CONT) \d+", "$1 [number]"),
        (r"(try \d+  on|commit \S+  on) [\w.-]+", "$1 [host]"),
        (r"\(on [\w.-]+\)", "(on [host])"),
        (r"(base/wf-1/\w+/)[0-9a-f]{8}\b", "$1[fingerprint]"),
        // Of builds that took less than a second it is not said.
        (r"\. Last time (this|these) took .*", "."),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
    ];
    rules.map(|(pattern, by)| (Regex::new(pattern).unwrap(), by)).into()
});

/// Durations and ages, which depend on the machine.
static DURATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b\d+(\.\d+)? ?(ms|s|min|m|h)( \d+ ?s)?\b").unwrap());

/// What stands between columns.
static COLUMNS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r" {2,}").unwrap());

/// Ids of images.
static IMAGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bami-[0-9a-f]{8,17}\b").unwrap());

/// The text with ids, times and places replaced. An image's id stays where a person could have made
/// it up: the base's, and one of few digits.
pub(crate) fn readable(text: &str) -> String {
    let text = IMAGE.replace_all(text, |found: &Captures<'_>| {
        let id = &found[0];
        let mut digits: Vec<_> = id.bytes().skip("ami-".len()).collect();
        digits.sort_unstable();
        digits.dedup();
        if id == BASE || digits.len() <= 3 { id.to_owned() } else { "ami-[id]".to_owned() }
    });
    let replaced = CHANGING.iter().fold(text.into_owned(), |text, (pattern, by)| {
        pattern.replace_all(&text, *by).into_owned()
    });
    replaced.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The same without durations, and without the widths of columns, which depend on them.
pub(crate) fn timeless(text: &str) -> String {
    let text = DURATION.replace_all(&readable(text), "[duration]").into_owned();
    let lines = text.lines().map(|line| {
        let words = line.trim_start();
        format!("{}{}", &line[..line.len() - words.len()], COLUMNS.replace_all(words, "  "))
    });
    lines.collect::<Vec<_>>().join(
        "
",
    )
}
