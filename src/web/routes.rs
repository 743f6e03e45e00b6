//! What is answered: a function of what the loop has published, and of the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::metrics::{CONTENT_TYPE, Metrics};
use reconciler_core::view::readiness::why_not_ready;

/// How old the text of a scrape may be: many who ask at once are given the same.
const FRESH: Duration = Duration::from_secs(1);

/// The routes, as they are counted.
const ROUTES: [&str; 3] = ["/metrics", "/healthz", "/readyz"];

/// A route for counting: what nobody knows is one, whatever was typed.
pub(super) fn counted_route(path: &str) -> &'static str {
    ROUTES.into_iter().find(|route| *route == path).unwrap_or("other")
}

/// What answers are made from.
#[derive(Clone)]
pub(super) struct Routes {
    metrics: Metrics,
    interval: Duration,
    /// The newest text of a scrape. Only requests wait for each other here.
    newest: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Routes {
    /// Of these metrics.
    pub(super) fn new(metrics: Metrics, interval: Duration) -> Self {
        Self { metrics, interval, newest: Arc::default() }
    }

    /// As a router.
    pub(super) fn into_router(self) -> Router {
        let [metrics, healthz, readyz] = ROUTES;
        Router::new()
            .route(metrics, get(scrape))
            .route(healthz, get(async || text(StatusCode::OK, "ok\n".to_owned())))
            .route(readyz, get(ready))
            .with_state(self)
    }
}

/// The numbers.
async fn scrape(State(routes): State<Routes>) -> Response {
    let mut newest = routes.newest.lock().await;
    let is_fresh = |(at, _): &&(Instant, Bytes)| at.elapsed() < FRESH;
    let kept = newest.as_ref().filter(is_fresh).map(|(_, bytes)| bytes.clone());
    let bytes = if let Some(bytes) = kept {
        bytes
    } else {
        let metrics = routes.metrics.clone();
        let made = tokio::task::spawn_blocking(move || metrics.exposition(Timestamp::now()));
        let Ok(made) = made.await else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let bytes = Bytes::from(made);
        *newest = Some((Instant::now(), bytes.clone()));
        bytes
    };
    ([(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))], bytes).into_response()
}

/// Whether the daemon does its work, and why not.
async fn ready(State(routes): State<Routes>) -> Response {
    let why = why_not_ready(&routes.metrics.view(), routes.interval, Timestamp::now());
    if why.is_empty() {
        return text(StatusCode::OK, "ready\n".to_owned());
    }
    text(StatusCode::SERVICE_UNAVAILABLE, why.join("\n") + "\n")
}

/// A text for people.
pub(super) fn text(status: StatusCode, text: String) -> Response {
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    (status, [(header::CONTENT_TYPE, plain)], text).into_response()
}
