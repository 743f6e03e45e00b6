//! Where the daemon answers over HTTP, and what it measures.

use std::net::{Ipv4Addr, SocketAddr};

use crate::config::patterns::{HOST, LISTEN};
use crate::config::raw::{RawMetrics, RawWeb};
use crate::config::refusal::Refusal;
use crate::config::validate::MOST_STEPS;
use crate::config::values::{count, items, text};
use crate::config::{MetricsConfig, WebConfig};

/// The port where nothing is said: no other exporter of Prometheus is known to have it by default
/// that would stand on a build host.
const PORT: u16 = 9180;

/// More series than these make a Prometheus slow, and nobody looks at them one by one.
const STEPS: usize = 2000;

/// From what is typed to what is meant.
pub(super) fn check(raw: RawWeb) -> Result<WebConfig, Refusal> {
    let key = "web.listen";
    let hint = "write an address of this host and a port: 127.0.0.1:9180, or [::1]:9180";
    let listen = match text(key, raw.listen, LISTEN, "no address with a port", hint)? {
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
        Some(typed) => typed.parse().map_err(|_| {
            let said = format!("`{key}` has an address or a port that there is not: {typed:?}");
            Refusal::new(key, said).hint("parts of an address are 0 to 255, ports 0 to 65535")
        })?,
    };
    let hint = "write names as clients do, without https:// and port: ami.example.com";
    items("web.hosts", raw.hosts.as_deref(), HOST, "what is no name of a host", hint)?;
    Ok(WebConfig { listen, hosts: raw.hosts.unwrap_or_default() })
}

/// From what is typed to what is meant.
pub(super) fn metrics(raw: &RawMetrics) -> Result<MetricsConfig, Refusal> {
    let hint = "of more steps none has series of its own; the sums of their workflow always stay";
    let max_steps = count("metrics.max_steps", raw.max_steps, STEPS, MOST_STEPS, hint)?;
    Ok(MetricsConfig { max_steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(listen: Option<&str>, hosts: &[&str]) -> Result<WebConfig, String> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let raw = RawWeb { listen: listen.map(str::to_owned), hosts: Some(hosts) };
        check(raw).map_err(|refusal| refusal.said.one_line())
    }

    #[test]
    fn an_empty_section_switches_on_loopback() {
        let config = check(RawWeb::default()).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:9180");
        assert!(config.hosts.is_empty());
        assert_eq!(metrics(&RawMetrics::default()).unwrap().max_steps, 2000);
    }

    #[test]
    fn an_address_that_there_is_not_is_refused() {
        assert_eq!(checked(Some("[::1]:0"), &["a.example"]).unwrap().listen.port(), 0);
        for wrong in ["127.0.0.1:99999", "300.0.0.1:80", "[:::]:1"] {
            let said = checked(Some(wrong), &[]).unwrap_err();
            assert!(said.contains("that there is not"), "{said}");
        }
        let said = checked(None, &["https://a.example"]).unwrap_err();
        assert!(said.contains("no name of a host"), "{said}");
    }
}
