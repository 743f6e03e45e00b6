//! The one client for everything that is asked of the network and is neither AWS nor git. It stands
//! on the TLS and on the certificates of the system that the SDK of AWS has as well, and takes the
//! proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`).

use std::error::Error;
use std::time::Duration;

/// Longer than a server that is there takes to answer.
const CONNECT: Duration = Duration::from_secs(15);

/// A server that says nothing for so long says nothing any more.
const SILENCE: Duration = Duration::from_secs(30);

/// Which addresses may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schemes {
    /// `https` only, whatever a server redirects to.
    Https,
    /// `http` too.
    Any,
}

/// A client.
pub(crate) fn client(schemes: Schemes) -> Result<reqwest::Client, reqwest::Error> {
    // The SDK chooses its own and sets none for the process; a second call finds the first one's.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("reconciler/", env!("CARGO_PKG_VERSION")))
        .https_only(schemes == Schemes::Https)
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .build()
}

/// What went wrong, down to its cause: the error itself names only what was asked.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
