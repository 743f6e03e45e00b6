//! How a remote repository lets us in: a token, a key file or the ssh agent, offered once each.
//!
//! libgit2 asks again and again when a server says no (15 times for a wrong token), so what was
//! offered is remembered and a second question about the same is answered with an error. A token
//! never reaches a message.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use git2::{CertificateCheckStatus, Cred, CredentialType, ErrorClass, ErrorCode, RemoteCallbacks};

use serde::{Deserialize, Serialize};

use crate::git::fetcher::this_program;
use reconciler_model::diagnostic::Diagnostic;

/// The user name that servers expect beside a token when the URL names none.
const TOKEN_USER: &str = "x-access-token";

/// So many bytes are taken of a remote in one fetch. A mirror holds branches and tags only; one
/// that is larger holds what git is not for.
pub const MOST_FETCHED_BYTES: usize = 4 << 30;

/// What a remote repository is reached with.
#[derive(Clone, Debug)]
pub struct Access {
    /// Private key for ssh; none: the agent.
    pub ssh_key: Option<PathBuf>,
    /// Environment variable that holds an https token.
    pub token_env: Option<String>,
    /// A fetch during which nothing arrives for so long is given up.
    pub timeout: Duration,
    /// A fetch that brings more bytes than this is ended: whoever may push could fill the disk.
    pub most_bytes: usize,
    /// The program that runs the fetch: this one, but for tests.
    pub program: PathBuf,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            ssh_key: None,
            token_env: None,
            timeout: Duration::from_mins(1),
            most_bytes: MOST_FETCHED_BYTES,
            program: this_program(),
        }
    }
}

/// Access that was looked up: the token is here, the key file is there.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Keys {
    ssh_key: Option<PathBuf>,
    token: Option<Token>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Token {
    variable: String,
    value: String,
}

/// What was shown to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Offered {
    /// Nothing was asked for, or nothing was there to offer.
    #[default]
    Nothing,
    /// The token of this environment variable.
    Token(String),
    /// This key file.
    Key(PathBuf),
    /// The keys of the agent.
    Agent,
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("an unknown visitor"),
            Self::Token(variable) => write!(f, "the token of ${variable}"),
            Self::Key(path) => write!(f, "the key {}", path.display()),
            Self::Agent => f.write_str("the keys of the ssh agent"),
        }
    }
}

impl Keys {
    /// Looks up what the configuration names.
    pub(super) fn find(access: &Access, url: &str) -> Result<Self, Diagnostic> {
        if let Some(key) = access.ssh_key.as_ref().filter(|key| !key.is_file()) {
            return Err(Diagnostic::new(format!("the ssh key {} does not exist", key.display()))
                .hint("`ssh_key` names the file of a private key"));
        }
        let token = access.token_env.as_deref().map(|name| token(name, url));
        Ok(Self { ssh_key: access.ssh_key.clone(), token: token.transpose()? })
    }

    /// The callbacks of one connection; what is offered is noted in `offered`.
    pub(super) fn callbacks(&self, offered: &Rc<RefCell<Offered>>) -> RemoteCallbacks<'static> {
        let mut callbacks = RemoteCallbacks::new();
        let (keys, noted, mut last) = (self.clone(), Rc::clone(offered), Offered::Nothing);
        callbacks.credentials(move |_, user, allowed| {
            if allowed.contains(CredentialType::USERNAME) {
                return Cred::username(user.unwrap_or("git"));
            }
            let next = keys.choose(allowed);
            if next == Offered::Nothing || next == last {
                return Err(denied());
            }
            noted.replace(next.clone());
            last = next;
            keys.credential(&last, user)
        });
        // libgit2's own judgement stands: the system's authorities for https, `known_hosts` for
        // ssh.
        callbacks.certificate_check(|_, _| Ok(CertificateCheckStatus::CertificatePassthrough));
        callbacks
    }

    fn choose(&self, allowed: CredentialType) -> Offered {
        match (&self.ssh_key, &self.token) {
            (Some(key), _) if allowed.contains(CredentialType::SSH_KEY) => {
                Offered::Key(key.clone())
            }
            (None, _) if allowed.contains(CredentialType::SSH_KEY) => Offered::Agent,
            (_, Some(token)) if allowed.contains(CredentialType::USER_PASS_PLAINTEXT) => {
                Offered::Token(token.variable.clone())
            }
            _ => Offered::Nothing,
        }
    }

    fn credential(&self, offered: &Offered, user: Option<&str>) -> Result<Cred, git2::Error> {
        match (offered, &self.token) {
            (Offered::Key(key), _) => Cred::ssh_key(user.unwrap_or("git"), None, key, None),
            (Offered::Agent, _) => Cred::ssh_key_from_agent(user.unwrap_or("git")),
            (Offered::Token(_), Some(token)) => {
                Cred::userpass_plaintext(user.unwrap_or(TOKEN_USER), &token.value)
            }
            _ => Err(denied()),
        }
    }
}

fn denied() -> git2::Error {
    git2::Error::new(ErrorCode::Auth, ErrorClass::Callback, "not accepted")
}

fn token(name: &str, url: &str) -> Result<Token, Diagnostic> {
    let value = std::env::var(name).unwrap_or_default().trim().to_owned();
    if value.is_empty() {
        return Err(Diagnostic::new(format!("the environment variable {name} is not set"))
            .hint("`token_env` names the variable that holds the token of the repository"));
    }
    if url.starts_with("http://") && !is_this_host(url) {
        return Err(Diagnostic::new(format!(
            "the token of ${name} would be sent without encryption"
        ))
        .hint("use an https:// URL"));
    }
    Ok(Token { variable: name.to_owned(), value })
}

fn is_this_host(url: &str) -> bool {
    let rest = url.trim_start_matches("http://");
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|name| host == *name || host.starts_with(&format!("{name}:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_in_the_clear_to_this_host_only() {
        assert!(is_this_host("http://127.0.0.1:8080/a.git"));
        assert!(is_this_host("http://me@localhost/a.git"));
        assert!(!is_this_host("http://localhost.example.com/a.git"));
        assert!(!is_this_host("http://example.com/localhost"));
    }
}
