//! What is told when a remote cannot be fetched: who has to act, and how. It decides by libgit2's
//! codes and classes, and by words where no code exists.

use git2::{ErrorClass, ErrorCode};

use crate::git::access::Offered;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::host_cause::HostCause;
use reconciler_model::source::SourceError;

/// What a person is told when a remote did not do what was asked. `url` may have a password in it,
/// `place` has none; `is_reached` says whether it was spoken to before.
pub(super) fn told(
    url: &str,
    place: &str,
    error: &git2::Error,
    offered: &Offered,
    is_reached: bool,
) -> SourceError {
    // The URL, with its password, is part of some messages.
    let said = error.message().replace(url, place);
    let is = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    let local = !url.contains("://") || url.starts_with("file://");
    let told = if error.code() == ErrorCode::Auth
        || is(&["status code: 401", "status code: 403", "uthentication", "authenticat"])
    {
        refused(place, offered)
    } else if error.code() == ErrorCode::Certificate
        || (error.class() == ErrorClass::Ssl && is(&["certificate"]))
    {
        not_trusted(url, place, &said)
    } else if is(&[
        "status code: 404",
        "epository not found",
        "does not appear to be a git repo",
        "failed to resolve path",
        "could not find repository",
    ]) || (local && !is_reached && error.code() == ErrorCode::NotFound)
    {
        Diagnostic::new(format!("{place} was not found")).hint(
            "check the URL; many servers say so as well to who may not read a private repository",
        )
    } else if error.code() == ErrorCode::Owner {
        Diagnostic::new(format!("{place} belongs to another user, so git does not trust it"))
            .hint("if you do: git config --global --add safe.directory, and its path")
    } else if is(&["object format", "objectformat", "oid type"]) {
        Diagnostic::new(format!("{place} names its objects by SHA-256, which is not supported"))
            .hint("push it to a repository made with `git init --object-format=sha1`")
    } else if error.class() == ErrorClass::Invalid
        || is(&["unsupported URL protocol", "malformed", "invalid URL"])
    {
        Diagnostic::new(format!("{place} is not an URL of a git repository: {said}"))
            .hint("it starts with https://, ssh:// or file://, or looks like git@host:path")
    } else {
        return later(place, error.class(), said);
    };
    SourceError::Person(told)
}

/// No socket and no file can be had, say, or the network may work later.
fn later(place: &str, class: ErrorClass, detail: String) -> SourceError {
    let place = place.to_owned();
    match HostCause::of(&detail) {
        Some(cause) if matches!(class, ErrorClass::Os | ErrorClass::Net) => {
            SourceError::Host { place, cause, detail }
        }
        _ => SourceError::Transient { place, detail },
    }
}

fn not_trusted(url: &str, place: &str, said: &str) -> Diagnostic {
    if url.starts_with("http") {
        return Diagnostic::new(format!("the certificate of {place} is not trusted: {said}")).hint(
            "add its authority to the system's, or name a file of authorities in SSL_CERT_FILE",
        );
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

    fn told(
        url: &str,
        code: ErrorCode,
        class: ErrorClass,
        said: &str,
        offered: &Offered,
    ) -> String {
        let error = git2::Error::new(code, class, said);
        match super::told(url, url, &error, offered, false) {
            SourceError::Person(told) => {
                format!("{told}; {}", told.hint.as_deref().unwrap_or_default())
            }
            SourceError::Transient { detail, .. } => format!("transient: {detail}"),
            SourceError::Host { cause, .. } => format!("host: {cause}"),
            SourceError::Damaged(told) => format!("damaged: {told}"),
        }
    }

    #[test]
    fn an_unknown_ssh_host_and_an_untrusted_certificate_are_told_apart() {
        let said = "invalid or unknown remote ssh hostkey";
        let ssh =
            told("git@host:a", ErrorCode::Certificate, ErrorClass::Ssh, said, &Offered::Nothing);
        assert!(ssh.contains("host key of host is unknown"), "{ssh}");
        assert!(ssh.contains("ssh-keyscan host >> ~/.ssh/known_hosts"), "{ssh}");
        let said = "the SSL certificate is invalid";
        let tls = told(
            "https://host/a",
            ErrorCode::GenericError,
            ErrorClass::Ssl,
            said,
            &Offered::Nothing,
        );
        assert!(tls.contains("certificate of https://host/a is not trusted"), "{tls}");
    }

    #[test]
    fn a_refused_key_and_a_refused_agent_say_what_to_do() {
        let refused =
            |offered| told("git@host:a", ErrorCode::Auth, ErrorClass::Ssh, "no", &offered);
        let key = refused(Offered::Key("/k".into()));
        assert!(key.contains("refused the key /k; register its public half"), "{key}");
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
        let none = "failed to create socket: Too many open files";
        let (code, nothing) = (ErrorCode::GenericError, Offered::Nothing);
        let text = told("https://host/a", code, ErrorClass::Net, none, &nothing);
        assert_eq!(text, "host: no more files can be opened");
    }

    #[test]
    fn the_host_of_an_ssh_url_is_found() {
        assert_eq!(ssh_host("ssh://git@host:2222/a"), ("host", Some("2222")));
        for url in ["git@host:a/b", "ssh://host/a@b"] {
            assert_eq!(ssh_host(url), ("host", None));
        }
    }
}
