//! What the daemon shows over HTTP, where the configuration asks for it: `server` (connections and
//! their limits), `guard` (who is answered at all), `routes` (what is answered).
//!
//! Nothing here decides: a request reads what the loop has published, asks AWS nothing, and takes
//! no lock that the loop waits for. If all of it hangs, passes and builds go on.

mod guard;
mod patient;
mod routes;
mod server;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::config::WebConfig;
use crate::controller::status_file::StatusFile;
use crate::metrics::{Metrics, Recorder};
use guard::Guard;
use reconciler_core::status::trouble::Trouble;
use routes::Routes;

/// How often it is tried again to listen: the port may be another program's for a while.
const AGAIN: Duration = Duration::from_secs(30);

/// What is shown, and to whom.
pub struct Surface {
    /// Where, and to which names.
    pub config: WebConfig,
    /// What is shown.
    pub metrics: Metrics,
    /// How often a pass is made when nothing wakes the loop.
    pub interval: Duration,
    /// Who counts answers.
    pub recorder: Recorder,
}

impl Surface {
    /// Begins to answer, in tasks of its own. Where it cannot listen the daemon goes on without it,
    /// says so in its log and on the board, and tries again.
    pub fn start(self, board: Arc<StatusFile>) {
        tokio::spawn(self.serve(board));
    }

    async fn serve(self, board: Arc<StatusFile>) {
        let listen = self.config.listen;
        let listener = listener(listen, &board).await;
        let address = listener.local_addr().unwrap_or(listen);
        info!("answers over HTTP at http://{address}: /metrics, /healthz, /readyz");
        let guard = Guard::new(address.ip(), &self.config.hosts);
        let routes = Routes::new(self.metrics, self.interval);
        let answers = Arc::new(server::Answers::new(guard, routes, self.recorder));
        server::run(listener, answers, server::Limits::default()).await;
    }
}

/// Waits until it can be listened at this address.
async fn listener(listen: SocketAddr, board: &StatusFile) -> TcpListener {
    const PART: &str = "web";
    let (mut times, mut since, mut told) = (0, None, None);
    loop {
        let error = match TcpListener::bind(listen).await {
            Ok(listener) => {
                if times > 0 {
                    board.show(PART, Vec::new());
                }
                return listener;
            }
            Err(error) => error,
        };
        let now = Timestamp::now();
        times += 1;
        let (cause, hint) = why_not(listen, &error);
        let what = format!("listening at {listen}");
        if told.as_ref() != Some(&cause) {
            warn!(hint, "{what} does not work: {cause}; builds go on without");
            told = Some(cause.clone());
        }
        let trouble = Trouble {
            what,
            cause,
            hint: Some(hint),
            times,
            since: *since.get_or_insert(now),
            next_try: now.checked_add(AGAIN).ok(),
        };
        board.show(PART, vec![trouble]);
        tokio::time::sleep(AGAIN).await;
    }
}

/// Why it cannot be listened at an address, and what to do.
fn why_not(listen: SocketAddr, error: &io::Error) -> (String, String) {
    let port = listen.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => (
            format!("another program has port {port}"),
            format!(
                "`ss -ltnp 'sport = :{port}'` shows which; end it, or set `web.listen` to another port and restart"
            ),
        ),
        io::ErrorKind::AddrNotAvailable => (
            format!("this host has no address {}", listen.ip()),
            "`ip address` shows which it has; set `web.listen` to one of them and restart"
                .to_owned(),
        ),
        io::ErrorKind::PermissionDenied => (
            format!("this user may not listen at port {port}"),
            "ports below 1024 are for root; set `web.listen` to another port and restart"
                .to_owned(),
        ),
        _ => (error.to_string(), "set `web.listen` to another address and restart".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_listen_is_told_what_to_do() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 9180));
        let (cause, hint) = why_not(listen, &io::ErrorKind::AddrInUse.into());
        assert_eq!(cause, "another program has port 9180");
        assert!(hint.contains("ss -ltnp 'sport = :9180'") && hint.contains("web.listen"), "{hint}");
    }
}
