//! Who is answered at all: a request that names this server as somebody else is refused before
//! anything of it is looked at.
//!
//! A page of the internet may have its own name resolve to 127.0.0.1 and then ask, in a browser on
//! this host, what it likes (DNS rebinding): to the browser that is the page's own server. The name
//! that it asks for gives it away. Pure.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, Uri, header};

/// The names of this server.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    listens_at: IpAddr,
    hosts: Vec<String>,
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The status.
    pub(super) status: StatusCode,
    /// For people; nothing of it is what was asked.
    pub(super) why: &'static str,
}

const NO_HOST: Refused = Refused {
    status: StatusCode::BAD_REQUEST,
    why: "a request has to name this server in exactly one Host header\n",
};

const OTHER_HOST: Refused = Refused {
    status: StatusCode::MISDIRECTED_REQUEST,
    why: "this server is not known by that name: ask for localhost, or add the name to `web.hosts` in the configuration\n",
};

impl Guard {
    /// Answers to this host's names for itself, to the address that it listens at, and to these.
    pub(super) fn new(listens_at: IpAddr, hosts: &[String]) -> Self {
        Self { listens_at, hosts: hosts.to_vec() }
    }

    /// Whether a request may be answered. Both names of it count: the one in its first line, which
    /// comes first where it stands there, and the one in its header.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let mut named = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (named.next(), named.next()) else {
            return Err(NO_HOST);
        };
        let host = host.to_str().map_err(|_| NO_HOST)?;
        let in_line = uri.authority().map(axum::http::uri::Authority::as_str);
        // Seeded bug: any-host-is-answered
        if [Some(host), in_line].into_iter().flatten().all(|name| self.is_own(name)) {
            Ok(())
        } else {
            Err(OTHER_HOST)
        }
    }

    /// Whether a name, perhaps with a port, is one of this server. A port may be another one's:
    /// that of a tunnel, say.
    fn is_own(&self, name: &str) -> bool {
        let Some(name) = without_port(name) else {
            return false;
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if let Ok(address) = address {
            let is_own = address.is_loopback() || address == self.listens_at;
            if is_own && !address.is_unspecified() {
                return true;
            }
        }
        name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}

/// A name without its port; none: it is no name.
fn without_port(name: &str) -> Option<&str> {
    let (host, port) = match name.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            (&name[..end], &name[end..])
        }
        None => name.split_at(name.find(':').unwrap_or(name.len())),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok() && !port.starts_with('+');
    let is_well_formed = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    (is_well_formed && !host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(listens_at: &str, uri: &str, hosts: &[&str]) -> u16 {
        let guard = Guard::new(listens_at.parse().unwrap(), &["ami.example.com".to_owned()]);
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        guard.check(&uri.parse().unwrap(), &headers).map_or_else(|no| no.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_its_own_names_are_answered() {
        let own = [
            "localhost",
            "LOCALHOST:9180",
            "127.0.0.1:9180",
            "127.9.8.7",
            "[::1]:9180",
            "[::1]",
            "localhost:1",
            "ami.example.com",
            "AMI.example.com:443",
        ];
        for host in own {
            assert_eq!(status("127.0.0.1", "/metrics", &[host]), 200, "{host}");
        }
        let others = [
            "evil.test",
            "evil.test:9180",
            "localhost.evil.test",
            "127.0.0.1.evil.test",
            "notami.example.com",
            "ami.example.com.evil.test",
            "evil.test@localhost",
            "localhost@evil.test",
            "localhost:x",
            "localhost:",
            "10.0.0.1",
            "0.0.0.0:9180",
            "[::]:9180",
            "[::1",
            "2130706433",
            "",
        ];
        for host in others {
            assert_eq!(status("127.0.0.1", "/metrics", &[host]), 421, "{host}");
        }
    }

    #[test]
    fn the_address_that_it_listens_at_is_its_own() {
        assert_eq!(status("10.0.0.7", "/metrics", &["10.0.0.7:9180"]), 200);
        assert_eq!(status("0.0.0.0", "/metrics", &["0.0.0.0:9180"]), 421);
    }

    #[test]
    fn a_request_that_names_two_servers_or_none_is_refused() {
        assert_eq!(status("127.0.0.1", "/metrics", &[]), 400);
        assert_eq!(status("127.0.0.1", "/metrics", &["localhost", "localhost"]), 400);
        assert_eq!(status("127.0.0.1", "http://evil.test/metrics", &["localhost"]), 421);
        assert_eq!(status("127.0.0.1", "http://localhost/metrics", &["evil.test"]), 421);
        assert_eq!(status("127.0.0.1", "http://localhost/metrics", &["localhost"]), 200);
    }
}
