//! What is answered: a function of what the loop has published, and of the time.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use tokio::sync::{Mutex, oneshot};

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
    newest: Newest,
}

/// The newest text of a scrape, and when it was made. Only requests wait for each other here.
#[derive(Clone, Default)]
struct Newest(Arc<Mutex<Option<(Instant, Bytes)>>>);

impl Routes {
    /// Of these metrics.
    pub(super) fn new(metrics: Metrics, interval: Duration) -> Self {
        Self { metrics, interval, newest: Newest::default() }
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

impl Newest {
    /// A text that is fresh; none if it could not be made. What is being made is made to its end and
    /// kept, also where whoever asked for it is gone by then: there is never a second one beside it.
    /// It is made on a thread of its own, for those of the runtime are the loop's as well.
    async fn text(&self, make: impl FnOnce() -> String + Send + 'static) -> Option<Bytes> {
        let mut newest = Arc::clone(&self.0).lock_owned().await;
        if let Some((at, bytes)) = newest.as_ref()
            && at.elapsed() < FRESH
        {
            return Some(bytes.clone());
        }
        let (sender, made) = oneshot::channel();
        let making = thread::Builder::new().name("scrape".to_owned()).spawn(move || {
            let bytes = Bytes::from(make());
            *newest = Some((Instant::now(), bytes.clone()));
            drop(newest);
            // Whoever asked may be gone.
            let _ = sender.send(bytes);
        });
        making.ok()?;
        made.await.ok()
    }
}

/// The numbers.
async fn scrape(State(routes): State<Routes>) -> Response {
    let metrics = routes.metrics.clone();
    let Some(bytes) = routes.newest.text(move || metrics.exposition(Timestamp::now())).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn who_asks_and_hangs_up_has_a_text_made_once_a_second_and_no_more() {
        let (newest, made) = (Newest::default(), Arc::new(AtomicUsize::new(0)));
        let begun = Instant::now();
        let asked = || {
            let made = Arc::clone(&made);
            newest.text(move || {
                let number = made.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(300));
                number.to_string()
            })
        };
        for _ in 0..100 {
            let _ = tokio::time::timeout(Duration::from_millis(2), asked()).await;
        }
        assert!(asked().await.is_some());
        let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
        assert!(made.load(Ordering::SeqCst) <= 1 + seconds, "{seconds} seconds");
    }

    #[tokio::test]
    async fn a_text_that_cannot_be_made_is_none_and_the_next_is_tried() {
        let newest = Newest::default();
        assert_eq!(newest.text(|| panic!("it cannot be made")).await, None);
        assert_eq!(newest.text(|| "text".to_owned()).await, Some(Bytes::from("text")));
    }
}
