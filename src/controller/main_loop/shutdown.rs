//! The end of the loop: bounded, whatever AWS does.

use std::time::Duration;

use tokio::sync::mpsc;

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
        let context = self.context.clone();
        let settled = async {
            while ending.iter().any(|build| self.running.contains_key(build)) {
                let Some(news) = self.news.1.recv().await else {
                    return;
                };
                self.note(&news);
            }
        };
        // What is not settled by then is taken up from the journal by the next process.
        let _ = context.timeout(limit, settled).await;
    }

    async fn release(&mut self) {
        let (done, mut all_done) = mpsc::channel::<()>(1);
        for state in self.workflows.values_mut() {
            if let Some(lease) = state.lease.take() {
                let done = done.clone();
                self.context.spawn(async move {
                    lease.release().await;
                    drop(done);
                });
            }
        }
        drop(done);
        // The channel is closed when the last of them is done.
        let _ = self.context.timeout(RELEASE, all_done.recv()).await;
    }
}
