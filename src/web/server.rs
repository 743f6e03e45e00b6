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
use crate::web::patient::Patient;
use crate::web::routes::{Routes, counted_route, text};

/// How many connections there are at once: a few scrapers and people, and many more that hang.
const MOST_CONNECTIONS: usize = 128;

/// How long the head of a request may take; a connection on which nothing is asked for so long is
/// closed as well.
const HEAD: Duration = Duration::from_secs(15);

/// How long a client may take nothing of what it is sent.
const UNREAD: Duration = Duration::from_secs(15);

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
pub(super) async fn run(listener: TcpListener, answers: Arc<Answers>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
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
                    connection(stream, answers).await;
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

async fn connection(stream: TcpStream, answers: Arc<Answers>) {
    let service = service_fn(move |request| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answers.answer(request).await) }
    });
    let stream = TokioIo::new(Patient::new(stream, UNREAD));
    // A client that goes away, or that is let go, is no news.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(stream, service)
        .await;
}
