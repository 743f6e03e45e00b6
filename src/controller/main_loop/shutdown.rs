//! The end of the loop: bounded, whatever AWS does.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::config::OnShutdown;
use crate::controller::main_loop::Controller;

/// How long giving back leases may take: a lease that is not given back runs out by itself.
const RELEASE: Duration = Duration::from_secs(3);

/// How long a cancelled build may take beyond its grace: clean-up and the last entry of its
/// journal.
const SETTLE: Duration = Duration::from_secs(30);

impl Controller {
    /// Ends in order: builds go on under their supervisors or, if that is wanted, are ended; leases
    /// go back.
    pub(super) async fn end(&mut self) {
        if self.config.on_shutdown == OnShutdown::Cancel {
            self.cancel_all().await;
        }
        self.release().await;
    }

    async fn cancel_all(&mut self) {
        let mut ending = Vec::new();
        for (build, followed) in &mut self.running {
            if let Some(running) = &followed.running
                && followed.builder.cancel(running).await.is_ok()
            {
                followed.ending = true;
                ending.push(build.clone());
            }
        }
        let limit = self.config.packer.grace + SETTLE;
        let settled = async {
            while ending.iter().any(|build| self.running.contains_key(build)) {
                let Some(news) = self.news.1.recv().await else {
                    return;
                };
                self.note(&news);
            }
        };
        // What is not settled by then is taken up from the journal by the next process.
        let _ = tokio::time::timeout(limit, settled).await;
    }

    async fn release(&mut self) {
        let mut releases = JoinSet::new();
        for state in self.workflows.values_mut() {
            if let Some(lease) = state.lease.take() {
                releases.spawn(lease.release());
            }
        }
        let all = async { while releases.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(RELEASE, all).await;
    }
}
