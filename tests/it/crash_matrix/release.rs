//! A release build has no failpoints, whatever its environment says.

use std::path::Path;
use std::process::Command;

use reconciler::failpoint::VARIABLE;

/// Compiles the file with the failpoints as a build of that kind does; whether a program with it
/// survives an order to abort.
fn survives(folder: &Path, debug_assertions: &str) -> bool {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/failpoint/points.rs");
    let main = folder.join("main.rs");
    let text = format!(
        "#[path = {source:?}]\nmod points;\nfn main() {{ points::reach(\"here\").unwrap(); println!(\"{{}}\", points::VARIABLE.len()); }}\n"
    );
    std::fs::write(&main, text).unwrap();
    let program = folder.join(format!("assertions-{debug_assertions}"));
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "-C"])
        .arg(format!("debug-assertions={debug_assertions}"))
        .arg("-o")
        .args([&program, &main])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{compiled:?}");
    let ran = Command::new(&program).env(VARIABLE, "here=abort").output().unwrap();
    ran.status.success()
}

#[test]
fn a_release_build_has_no_failpoints() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!survives(folder.path(), "on"));
    assert!(survives(folder.path(), "off"));
}
