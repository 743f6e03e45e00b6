//! A small HTTP server on 127.0.0.1 in front of `git http-backend`: enough to fetch from, with a
//! password, and to misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How the server answers.
#[derive(Clone)]
pub(crate) enum Answer {
    /// As git does, to those who send this `Authorization` header; to all if there is none.
    Git { root: PathBuf, authorization: Option<String> },
    /// With this status line, always.
    Status(&'static str),
    /// Never.
    Silence,
}

/// The server. Its thread ends with the test's process.
pub(crate) struct GitHttp {
    pub(crate) port: u16,
    logins: Arc<AtomicUsize>,
    held: Arc<Mutex<Vec<TcpStream>>>,
}

impl GitHttp {
    pub(crate) fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let logins = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&logins);
        let held: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let holds = Arc::clone(&held);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                match &answer {
                    Answer::Silence => holds.lock().unwrap().push(stream),
                    _ => drop(serve(stream, &answer, &counted)),
                }
            }
        });
        Self { port, logins, held }
    }

    /// How many requests carried a password.
    pub(crate) fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }

    /// How many of the connections that got no answer are still open at their other end.
    pub(crate) fn open_connections(&self) -> usize {
        let held = self.held.lock().unwrap();
        assert!(!held.is_empty(), "somebody has connected");
        let open = held.iter().filter(|stream| {
            stream.set_nonblocking(true).unwrap();
            let mut stream: &TcpStream = stream;
            let mut some = [0; 4096];
            loop {
                match stream.read(&mut some) {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
                }
            }
        });
        open.count()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> std::io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut request = Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            request.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = request.header("content-length").parse().unwrap_or(0);
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
        Ok(request)
    }

    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

fn serve(mut stream: TcpStream, answer: &Answer, logins: &AtomicUsize) -> std::io::Result<()> {
    let request = Request::read(&stream)?;
    if !request.header("authorization").is_empty() {
        logins.fetch_add(1, Ordering::SeqCst);
    }
    let end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    match answer {
        Answer::Git { authorization: Some(wanted), .. }
            if request.header("authorization") != wanted =>
        {
            write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\n{end}"
            )
        }
        Answer::Git { root, .. } => {
            let (head, body) = backend(root, &request);
            let length = body.len();
            let status =
                head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
            write!(
                stream,
                "HTTP/1.1 {status}\r\n{}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
                head.trim_end()
            )?;
            stream.write_all(&body)
        }
        Answer::Status(status) => write!(stream, "HTTP/1.1 {status}\r\n{end}"),
        Answer::Silence => Ok(()),
    }
}

fn backend(root: &std::path::Path, request: &Request) -> (String, Vec<u8>) {
    let mut child = Command::new("git")
        .args(["-c", "safe.directory=*", "http-backend"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", request.header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&request.body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let at = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
    let head = String::from_utf8_lossy(&output[..at]).into_owned();
    (head, output.get(at + 4..).unwrap_or_default().to_vec())
}
