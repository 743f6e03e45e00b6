//! The real Python library, on a table that the emulator or AWS has.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::emulator::python;

/// Runs one of `tests/python/*.py` on a table, by endpoint, region and name.
pub(crate) fn run(script: &str, table: [&str; 3], more: &[&str], input: &str) -> String {
    run_script(&format!("tests/python/{script}"), &[&table, more].concat(), input)
}

/// Runs a script of this project; what it prints.
pub(crate) fn run_script(script: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(python());
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned() + script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    }
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The images of one of the three queries of `read_catalog.py`, in their order.
pub(crate) fn images<'v>(catalog: &'v Value, query: &str) -> Vec<&'v str> {
    let found = catalog[query].as_array().unwrap().iter();
    found.map(|image| image["ami_id"].as_str().unwrap()).collect()
}
