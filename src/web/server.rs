//! Connections and their limits. Whoever is slow to ask or to read, or asks for too much at once,
//! is let go; nobody but those who ask waits for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::metrics::{Recorder, Requested};
use crate::web::guard::Guard;
use crate::web::patient::{Patience, Patient};
use crate::web::routes::{Routes, counted_route, text};

/// How much clients may ask of this server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many connections there are at once; one more waits until one of them is over.
    pub(super) connections: usize,
    /// How long the head of a request may take; a connection on which nothing is asked for so long
    /// is closed as well.
    pub(super) head: Duration,
    /// How long a client may take over what it is sent.
    pub(super) patience: Patience,
}

impl Default for Limits {
    /// A few scrapers and people, and many more that hang, none of them for long.
    fn default() -> Self {
        let (head, unread) = (Duration::from_secs(15), Duration::from_secs(15));
        let patience = Patience { unread, answer: Duration::from_mins(1) };
        Self { connections: 128, head, patience }
    }
}

/// The most bytes of a request's head.
const LARGEST_HEAD: usize = 16 * 1024;

/// How long it is waited after a connection could not be taken: where no file can be opened any
/// more, the next one cannot either.
const PAUSE: Duration = Duration::from_secs(1);

/// What answers requests.
pub(super) struct Answers {
    guard: Guard,
    router: TowerToHyperService<axum::Router>,
    recorder: Recorder,
}

impl Answers {
    /// These routes behind this guard.
    pub(super) fn new(guard: Guard, routes: Routes, recorder: Recorder) -> Self {
        Self { guard, router: TowerToHyperService::new(routes.into_router()), recorder }
    }

    async fn answer(&self, request: axum::http::Request<Incoming>) -> Response {
        // Before anything else of it is looked at.
        let checked = self.guard.check(request.uri(), request.headers());
        let (route, mut response) = if let Err(refused) = checked {
            ("refused", text(refused.status, refused.why.to_owned()))
        } else {
            let route = counted_route(request.uri().path());
            let request: Request = request.map(axum::body::Body::new);
            match self.router.call(request).await {
                Ok(response) => (route, response),
                Err(never) => match never {},
            }
        };
        self.recorder.requested(Requested { route, code: response.status().as_u16() });
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// Answers, for as long as the process lives.
pub(super) async fn run(listener: TcpListener, answers: Arc<Answers>, limits: Limits) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut is_told = false;
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    connection(stream, answers, limits).await;
                    drop(place);
                });
            }
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    warn!("a connection over HTTP could not be taken: {error}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, answers: Arc<Answers>, limits: Limits) {
    let service = service_fn(move |request| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answers.answer(request).await) }
    });
    let stream = TokioIo::new(Patient::new(stream, limits.patience));
    // A client that goes away, or that is let go, is no news.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(stream, service)
        .await;
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use jiff::Timestamp;
    use reconciler_core::view::View;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::watch;

    use super::*;
    use crate::metrics::{Metrics, Settings, recorder};

    /// A server whose patience is short; the sender is what it shows.
    async fn server(connections: usize) -> (SocketAddr, watch::Sender<Arc<View>>) {
        let (recorder, uncounted) = recorder();
        let now = Timestamp::UNIX_EPOCH;
        let (sender, views) = watch::channel(Arc::new(View::of_nothing(now)));
        let interval = Duration::from_mins(5);
        let settings = Settings { max_steps: 10, interval, state_dir: "/".into(), started_at: now };
        let routes = Routes::new(Metrics::start(settings, uncounted, views), interval);
        let guard = Guard::new(IpAddr::V4(Ipv4Addr::LOCALHOST), &[]);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let short = Duration::from_millis(300);
        let patience = Patience { unread: short, answer: Duration::from_mins(1) };
        let limits = Limits { connections, head: short, patience };
        tokio::spawn(run(listener, Arc::new(Answers::new(guard, routes, recorder)), limits));
        (address, sender)
    }

    /// What comes until the other side ends, within a time in which it has to.
    async fn all_of(stream: &mut TcpStream) -> usize {
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        let read = tokio::time::timeout(Duration::from_secs(30), read).await;
        // What is let go may be cut off.
        read.expect("the connection is ended").map_or(bytes.len(), |length| length)
    }

    const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[tokio::test]
    async fn who_asks_nothing_or_slowly_is_let_go_and_makes_room() {
        let (address, _sender) = server(2).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /metrics HTT").await.unwrap();
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(SCRAPE).await.unwrap();
        assert_eq!(all_of(&mut silent).await, 0);
        all_of(&mut slow).await;
        assert!(all_of(&mut third).await > 100, "it is answered once there is room");
    }

    #[tokio::test]
    async fn who_reads_nothing_is_let_go_and_makes_room() {
        let (address, _sender) = server(1).await;
        let mut hanging = TcpStream::connect(address).await.unwrap();
        let requests = SCRAPE.repeat(20_000);
        // As far as it is taken.
        let writing = hanging.write_all(&requests);
        let _ = tokio::time::timeout(Duration::from_secs(2), writing).await;
        let mut other = TcpStream::connect(address).await.unwrap();
        other.write_all(SCRAPE).await.unwrap();
        assert!(all_of(&mut other).await > 100, "it is answered once there is room");
    }
}
