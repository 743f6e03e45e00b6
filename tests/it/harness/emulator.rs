//! The emulated AWS of the tests, `tests/aws/emulator.py`, as a child process that ends with the
//! test binary.
//!
//! It says its port in one line of JSON, and ends by itself when its standard input closes: nothing
//! is left behind even if the test binary is killed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// A running emulator.
pub(crate) struct Emulator {
    child: Child,
    port: u16,
}

impl Emulator {
    /// One for all tests of the binary that can share one, started by the first of them.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Emulator> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of the caller's own, for tests that inject faults or count calls.
    pub(crate) fn start() -> Self {
        let mut child = Command::new(python())
            .arg(root().join("tests/aws/emulator.py"))
            .args(["--port", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect(
                "Python for the tests is there: run `make test`, or set RECONCILER_TEST_PYTHON",
            );
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        // A pipe that nobody reads would stop it.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let said: Value = serde_json::from_str(&line)
            .unwrap_or_else(|wrong| panic!("the emulator said {line:?}: {wrong}"));
        let port = said["port"].as_u64().expect("the emulator says its port");
        Self { child, port: u16::try_from(port).unwrap() }
    }

    /// Takes calls from here on and answers none, as an AWS that hangs.
    pub(crate) fn freeze(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }

    /// Its port on this host.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What the SDK takes as its endpoint.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks one of the emulator's own `/_control/…` pages.
    pub(crate) fn control_get(&self, path: &str) -> Value {
        self.control("GET", path, "")
    }

    /// Tells the emulator something.
    pub(crate) fn control_post(&self, path: &str, body: &Value) -> Value {
        self.control("POST", path, &body.to_string())
    }

    fn control(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split_whitespace().nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "{method} {path}: {answer}");
        let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
            unchunked(body)
        } else {
            body.to_owned()
        };
        if body.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&body).unwrap_or_else(|wrong| panic!("{path}: {body:?}: {wrong}"))
    }
}

/// The body without the sizes of its chunks: Python's server sends them even where they were not
/// asked for.
fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        body.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    body
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python of the tests, with moto and the Python library.
pub(crate) fn python() -> PathBuf {
    std::env::var_os("RECONCILER_TEST_PYTHON")
        .map_or_else(|| root().join(".tools/venv/bin/python"), PathBuf::from)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
