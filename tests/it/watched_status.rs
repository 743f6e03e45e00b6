//! `status --watch`: drawn in place on a terminal, which is given back as it was; printed again
//! elsewhere.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::harness::cli::Cli;
use crate::harness::emulator::python;
use crate::harness::repo::Repo;

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

fn repo() -> Repo {
    Repo::from_folder("packer_workspaces")
}

/// Runs a command on a terminal of its own, presses Ctrl-C after the second frame, and prints all
/// that was drawn.
const ON_A_TERMINAL: &str = r"
import os, pty, select, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen, pressed, end = b'', False, time.time() + 60
while time.time() < end and select.select([terminal], [], [], 60)[0]:
    try:
        part = os.read(terminal, 65536)
    except OSError:
        break
    if not part:
        break
    seen += part
    if not pressed and seen.count(b'Ctrl-C ends.') > 1:
        pressed = True
        os.write(terminal, b'\x03')
sys.stdout.buffer.write(seen)
sys.stdout.flush()
if time.time() >= end:
    os.kill(pid, 9)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

fn on_a_terminal(no_color: bool) -> String {
    let repo = repo();
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(python());
    command
        .args(["-c", ON_A_TERMINAL, env!("CARGO_BIN_EXE_reconciler")])
        .args(["status", "--watch", "--offline"])
        .current_dir(repo.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.path())
        .env("TERM", "xterm");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let output = command.output().unwrap();
    let drawn = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    drawn
}

#[test]
fn a_watched_status_is_drawn_in_place_and_the_terminal_is_given_back() {
    let drawn = on_a_terminal(false);
    assert!(drawn.starts_with(ENTER), "{drawn:?}");
    let (frames, after) = drawn.split_once(LEAVE).expect("the terminal is given back");
    assert!(frames.matches("\u{1b}[H").count() >= 2, "{frames:?}");
    assert!(frames.contains("\u{1b}[33m"), "in colour: {frames:?}");
    assert!(frames.contains("\u{1b}[?25l") && frames.ends_with("\u{1b}[?25h"), "{frames:?}");
    // What was seen last stays for whoever scrolls back.
    assert!(after.contains("built_core") && after.contains("5 to build"), "{after:?}");
}

#[test]
fn a_watched_status_without_colours_is_drawn_in_place_as_well() {
    let drawn = on_a_terminal(true);
    assert!(drawn.starts_with(ENTER) && drawn.contains(LEAVE), "{drawn:?}");
    assert!(!drawn.contains("\u{1b}[33m"), "{drawn:?}");
}

#[test]
fn a_watched_status_is_printed_again_elsewhere_when_something_changes_and_only_then() {
    let repo = repo();
    let mut command = Cli::within(repo.path()).into_command();
    let mut child =
        command.args(["status", "--watch", "--offline"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut report = || {
        let mut text = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            text.push_str(&line);
            text.push('\n');
            if line.contains(" build") && line.starts_with(char::is_numeric) {
                break;
            }
        }
        text
    };
    let first = report();
    assert!(first.contains("5 to build") && !first.contains('\u{1b}'), "{first:?}");
    repo.remove("packer_workspaces/s05-built-core").remove("packer_workspaces/reconciler.json");
    let commit = repo.commit("one step less");
    let second = report();
    assert!(second.contains(commit.short()), "{second:?}");
    assert!(second.contains("4 to build"), "{second:?}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(report(), "", "nothing else was printed");
}
