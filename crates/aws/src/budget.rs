//! How many calls this program makes of AWS in one second, at most: AWS limits them by account and
//! region, and whoever uses them up stops everybody else there.
//!
//! # Guarantees
//!
//! Every try of every call counts, of whatever service, retries too, over all workflows of the
//! process: in no second do more begin than the budget. A call beyond it waits its turn; none is
//! refused. Packer is a program of its own, whose calls are not counted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use tokio::time::Instant;

/// The second, and a little for what the network does to distances.
const SECOND: Duration = Duration::from_millis(1050);

/// A number of calls for each second.
pub struct CallBudget {
    most: usize,
    /// When the newest calls begin, at most as many as the budget.
    begun: Mutex<VecDeque<Instant>>,
}

impl CallBudget {
    /// So many calls a second; at least one.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), begun: Mutex::new(VecDeque::new()) }
    }

    /// The one budget of this process. Who asks first settles how large it is.
    #[must_use]
    pub fn of_process(most: usize) -> Arc<Self> {
        static BUDGET: OnceLock<Arc<CallBudget>> = OnceLock::new();
        Arc::clone(BUDGET.get_or_init(|| Arc::new(Self::new(most))))
    }

    /// The same transport within the budget.
    #[must_use]
    pub fn limit(self: &Arc<Self>, inner: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Limited { inner, budget: Arc::clone(self) })
    }

    /// Takes the next place; when the call may begin.
    fn reserve(&self, now: Instant) -> Instant {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = now;
        if begun.len() >= self.most
            && let Some(oldest) = begun.pop_front()
        {
            at = now.max(oldest + SECOND);
        }
        begun.push_back(at);
        at
    }
}

impl fmt::Debug for CallBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls a second", self.most)
    }
}

#[derive(Debug)]
struct Limited<T> {
    inner: T,
    budget: Arc<CallBudget>,
}

impl HttpClient for Limited<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Limited {
            inner: self.inner.http_connector(settings, components),
            budget: Arc::clone(&self.budget),
        })
    }
}

impl HttpConnector for Limited<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (inner, budget) = (self.inner.clone(), Arc::clone(&self.budget));
        HttpConnectorFuture::new(async move {
            tokio::time::sleep_until(budget.reserve(Instant::now())).await;
            inner.call(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn in_no_second_do_more_calls_begin_than_the_budget() {
        let budget = CallBudget::new(5);
        let begin = Instant::now();
        let mut places: Vec<_> = (0..23).map(|_| budget.reserve(begin)).collect();
        // A call that comes after a pause finds the budget whole again.
        places.extend((0..7).map(|_| budget.reserve(begin + Duration::from_mins(1))));
        for first in &places {
            let within =
                places.iter().filter(|at| **at >= *first && **at < *first + Duration::from_secs(1));
            assert!(within.count() <= 5);
        }
        assert_eq!(places[4], begin);
        assert_eq!(places[22], begin + SECOND * 4);
        assert_eq!(places[27], begin + Duration::from_mins(1));
    }
}
