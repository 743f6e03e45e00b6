//! One fetch of a remote into its mirror, given up when nothing arrives any more, and what its failures mean.
//!
//! libgit2 blocks, and its own time limits cannot be set without `unsafe`: the fetch runs on a thread of its own that is left
//! behind when it hangs, and ends with the process (see `fetcher`).

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use git2::{
    AutotagOption, Direction, ErrorClass, ErrorCode, FetchOptions, FetchPrune, ProxyOptions,
    Repository,
};

use crate::diagnostic::Diagnostic;
use crate::source::SourceError;
use crate::source::access::{Keys, Offered};

/// Branches and tags only, and always what the remote says, a forced push as well.
const REFSPECS: [&str; 2] = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];

/// What one fetch needs.
pub(super) struct Fetch {
    /// The mirror.
    pub(super) mirror: PathBuf,
    /// The URL, with whatever password it has.
    pub(super) url: String,
    /// The URL for people.
    pub(super) place: String,
    /// What is offered to the server.
    pub(super) keys: Keys,
    /// More bytes than this are not taken.
    pub(super) most_bytes: usize,
}

/// How far a fetch has come, for the one who waits.
struct Progress {
    start: Instant,
    last_millis: AtomicU64,
    given_up: AtomicBool,
    too_much: AtomicBool,
}

impl Progress {
    /// Notes that something arrived; false tells libgit2 to stop.
    fn arrived(&self) -> bool {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(now, Ordering::Relaxed);
        !self.given_up.load(Ordering::Relaxed)
    }

    fn silent_for(&self) -> Duration {
        let last = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last)
    }
}

impl Fetch {
    /// Fetches; an error when nothing arrives for `patience`.
    pub(super) fn run(self, patience: Duration) -> Result<(), SourceError> {
        let place = self.place.clone();
        let transient = |detail: String| SourceError::Transient {
            place: place.clone(),
            detail,
        };
        let progress = Arc::new(Progress {
            start: Instant::now(),
            last_millis: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            too_much: AtomicBool::new(false),
        });
        let (done, result) = mpsc::channel();
        let seen = Arc::clone(&progress);
        std::thread::Builder::new()
            .name("git-fetch".to_owned())
            .spawn(move || {
                let _ = done.send(self.work(&seen));
            })
            .map_err(|error| transient(format!("no thread for the fetch: {error}")))?;
        loop {
            let left = patience.saturating_sub(progress.silent_for());
            match result.recv_timeout(left) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) if progress.silent_for() < patience => {}
                Err(RecvTimeoutError::Timeout) => {
                    progress.given_up.store(true, Ordering::Relaxed);
                    return Err(transient(format!("no answer for {patience:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(transient("the fetch ended without a result".to_owned()));
                }
            }
        }
    }

    fn work(&self, progress: &Arc<Progress>) -> Result<(), SourceError> {
        let offered = Rc::default();
        self.transfer(progress, &offered).map_err(|error| {
            if progress.too_much.load(Ordering::Relaxed) {
                return SourceError::Person(
                    Diagnostic::new(format!(
                        "{} sends more than {} MiB; the fetch was ended, and nothing of it is kept",
                        self.place,
                        self.most_bytes >> 20
                    ))
                    .hint("find out who pushed what; large files belong into S3"),
                );
            }
            self.failed(&error, &offered.borrow())
        })
    }

    fn transfer(
        &self,
        progress: &Arc<Progress>,
        offered: &Rc<RefCell<Offered>>,
    ) -> Result<(), git2::Error> {
        let repository = Repository::open_bare(&self.mirror)?;
        let mut remote = repository.remote_anonymous(self.url.as_str())?;
        let callbacks = self.keys.callbacks(offered);
        let mut connection =
            remote.connect_auth(Direction::Fetch, Some(callbacks), Some(proxy()))?;
        progress.arrived();
        let head = connection.default_branch().ok();
        let mut callbacks = self.keys.callbacks(offered);
        let (text, objects) = (Arc::clone(progress), Arc::clone(progress));
        callbacks.sideband_progress(move |_| text.arrived());
        let most = self.most_bytes;
        callbacks.transfer_progress(move |so_far| {
            if so_far.received_bytes() > most {
                objects.too_much.store(true, Ordering::Relaxed);
            }
            objects.arrived() && !objects.too_much.load(Ordering::Relaxed)
        });
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(callbacks)
            .proxy_options(proxy())
            .prune(FetchPrune::On)
            .download_tags(AutotagOption::None);
        connection
            .remote()
            .fetch(&REFSPECS, Some(&mut options), None)?;
        if let Some(head) = head
            && let Ok(branch) = std::str::from_utf8(&head)
        {
            repository.set_head(branch)?;
        }
        Ok(())
    }

    fn failed(&self, error: &git2::Error, offered: &Offered) -> SourceError {
        let place = &self.place;
        // The URL, with its password, is part of some messages.
        let said = error.message().replace(&self.url, place);
        let is = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
        let local = !self.url.contains("://") || self.url.starts_with("file://");
        let told = if error.code() == ErrorCode::Auth
            || is(&[
                "status code: 401",
                "status code: 403",
                "uthentication",
                "authenticat",
            ]) {
            refused(place, offered)
        } else if error.code() == ErrorCode::Certificate
            || (error.class() == ErrorClass::Ssl && is(&["certificate"]))
        {
            self.not_trusted(&said)
        } else if is(&[
            "status code: 404",
            "epository not found",
            "does not appear to be a git repo",
            "failed to resolve path",
            "could not find repository",
        ]) || (local && error.code() == ErrorCode::NotFound)
        {
            Diagnostic::new(format!("{place} was not found"))
                .hint("check the URL; many servers say so as well to who may not read a private repository")
        } else if error.code() == ErrorCode::Owner {
            Diagnostic::new(format!(
                "{place} belongs to another user, so git does not trust it"
            ))
            .hint("if you do: git config --global --add safe.directory, and its path")
        } else if is(&["object format", "objectformat", "oid type"]) {
            Diagnostic::new(format!(
                "{place} names its objects by SHA-256, which is not supported"
            ))
            .hint("push it to a repository made with `git init --object-format=sha1`")
        } else if error.class() == ErrorClass::Invalid
            || is(&["unsupported URL protocol", "malformed", "invalid URL"])
        {
            Diagnostic::new(format!("{place} is not an URL of a git repository: {said}"))
                .hint("it starts with https://, ssh:// or file://, or looks like git@host:path")
        } else {
            return SourceError::Transient {
                place: place.clone(),
                detail: said,
            };
        };
        SourceError::Person(told)
    }

    fn not_trusted(&self, said: &str) -> Diagnostic {
        let place = &self.place;
        if self.url.starts_with("http") {
            return Diagnostic::new(format!("the certificate of {place} is not trusted: {said}"))
                .hint("add its authority to the system's, or name a file of authorities in SSL_CERT_FILE");
        }
        let (host, port) = ssh_host(place);
        let port = port.map_or_else(String::new, |port| format!("-p {port} "));
        Diagnostic::new(format!(
            "the host key of {host} is unknown, or is not the one in known_hosts"
        ))
        .hint(format!(
            "as the user that the reconciler runs as: ssh-keyscan {port}{host} >> ~/.ssh/known_hosts, and compare with what its owner publishes"
        ))
    }
}

/// The proxy that git would use: of its configuration, or `https_proxy` and `no_proxy` of the environment.
fn proxy() -> ProxyOptions<'static> {
    let mut proxy = ProxyOptions::new();
    proxy.auto();
    proxy
}

fn refused(place: &str, offered: &Offered) -> Diagnostic {
    match offered {
        Offered::Nothing => Diagnostic::new(format!("{place} asks for a login and none is configured"))
            .hint("name the environment variable of a token in `token_env`, or use an ssh URL"),
        Offered::Token(variable) => Diagnostic::new(format!("{place} refused {offered}"))
            .hint(format!("put a token that may read the repository into {variable}; it may be expired")),
        Offered::Key(_) => Diagnostic::new(format!("{place} refused {offered}"))
            .hint("register its public half at the server; a key with a passphrase must be in the ssh agent"),
        Offered::Agent => Diagnostic::new(format!("{place} refused {offered}"))
            .hint("add a key with ssh-add (SSH_AUTH_SOCK must be set), or name a file in `ssh_key`"),
    }
}

/// Host and port of `ssh://user@host:port/path` or `user@host:path`.
fn ssh_host(url: &str) -> (&str, Option<&str>) {
    let (rest, has_port) = match url.split_once("://") {
        Some((_, rest)) => (rest, true),
        None => (url, false),
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    match host.split_once(':') {
        Some((host, port)) => (host, Some(port).filter(|_| has_port)),
        None => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::access::Access;

    fn told(
        url: &str,
        code: ErrorCode,
        class: ErrorClass,
        said: &str,
        offered: &Offered,
    ) -> String {
        let fetch = Fetch {
            mirror: PathBuf::new(),
            url: url.to_owned(),
            place: url.to_owned(),
            keys: Keys::find(&Access::default(), url).unwrap(),
            most_bytes: usize::MAX,
        };
        match fetch.failed(&git2::Error::new(code, class, said), offered) {
            SourceError::Person(told) => {
                format!("{told}; {}", told.hint.as_deref().unwrap_or_default())
            }
            SourceError::Transient { detail, .. } => format!("transient: {detail}"),
        }
    }

    #[test]
    fn an_unknown_ssh_host_and_an_untrusted_certificate_are_told_apart() {
        let said = "invalid or unknown remote ssh hostkey";
        let ssh = told(
            "git@host:a",
            ErrorCode::Certificate,
            ErrorClass::Ssh,
            said,
            &Offered::Nothing,
        );
        assert!(ssh.contains("host key of host is unknown"), "{ssh}");
        assert!(
            ssh.contains("ssh-keyscan host >> ~/.ssh/known_hosts"),
            "{ssh}"
        );
        let said = "the SSL certificate is invalid";
        let tls = told(
            "https://host/a",
            ErrorCode::GenericError,
            ErrorClass::Ssl,
            said,
            &Offered::Nothing,
        );
        assert!(
            tls.contains("certificate of https://host/a is not trusted"),
            "{tls}"
        );
    }

    #[test]
    fn a_refused_key_and_a_refused_agent_say_what_to_do() {
        let refused = |offered| {
            told(
                "git@host:a",
                ErrorCode::Auth,
                ErrorClass::Ssh,
                "no",
                &offered,
            )
        };
        let key = refused(Offered::Key("/k".into()));
        assert!(
            key.contains("refused the key /k; register its public half"),
            "{key}"
        );
        let agent = refused(Offered::Agent);
        assert!(agent.contains("ssh-add"), "{agent}");
    }

    #[test]
    fn the_network_may_work_later() {
        let said = "failed to resolve address for host: Name or service not known";
        let text = told(
            "https://host/a",
            ErrorCode::GenericError,
            ErrorClass::Net,
            said,
            &Offered::Nothing,
        );
        assert_eq!(text, format!("transient: {said}"));
    }

    #[test]
    fn the_host_of_an_ssh_url_is_found() {
        assert_eq!(ssh_host("ssh://git@host:2222/a"), ("host", Some("2222")));
        for url in ["git@host:a/b", "ssh://host/a@b"] {
            assert_eq!(ssh_host(url), ("host", None));
        }
    }
}
