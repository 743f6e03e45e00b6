//! What the daemon shows over HTTP: who is answered, what the numbers say, and that nobody waits
//! for those who ask.

mod access;
mod numbers;
mod prometheus;
mod unread;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::farm::Farm;

/// Lines of a configuration: a port that is free.
pub(crate) const AT_A_FREE_PORT: &str = "web:\n  listen: 127.0.0.1:0\n";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The port that a daemon says that it answers at; `log` is where it says so.
pub(crate) fn port_of(farm: &Farm, log: &str) -> u16 {
    let words = "answers over HTTP at http://127.0.0.1:";
    farm.wait_until_said(log, words);
    let said = farm.log(log);
    let (_, rest) = said.rsplit_once(words).unwrap();
    rest.split(':').next().unwrap().parse().unwrap()
}

/// Asks with these lines, whatever they are.
pub(crate) fn ask_with(port: u16, lines: &[&str]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = lines.join("\r\n") + "\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Asks for a path by the name that every server of this host has.
pub(crate) fn ask(port: u16, path: &str) -> Answer {
    ask_with(port, &[&format!("GET {path} HTTP/1.1"), "Host: localhost"])
}

/// Waits until the lines of a scrape are so; they may be a second old.
#[track_caller]
fn wait_for_series(farm: &Farm, port: u16, what: &str, test: impl Fn(&[String]) -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    let mut lines = Vec::new();
    while Instant::now() < end {
        let body = ask(port, "/metrics").body;
        lines = body.lines().map(str::to_owned).collect();
        if test(&lines) {
            return;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    panic!("not within a minute: {what}\n{}\n{}", lines.join("\n"), farm.log("daemon"));
}

/// Whether a scrape has this series with this value.
fn has(lines: &[String], series: &str) -> bool {
    lines.iter().any(|line| line == series)
}

/// A program that `make tools` has set up, or that the machine has.
fn tool(name: &str) -> Command {
    let unpacked = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/bin").join(name);
    Command::new(if unpacked.exists() { unpacked } else { PathBuf::from(name) })
}

/// The file of `deploy/prometheus/`.
fn deployed(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus").join(file)
}
