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
        if self.services.config.on_shutdown == OnShutdown::Cancel {
            self.cancel_all().await;
        }
        self.release().await;
    }

    async fn cancel_all(&mut self) {
        let mut ending = Vec::new();
        let all: Vec<_> = self.builds.ids().cloned().collect();
        for build in all {
            // One that was asked before is waited for as well.
            if self.builds.cancel(&build, None).await.is_ok() && self.builds.is_ending(&build) {
                ending.push(build);
            }
        }
        let limit = self.services.config.packer.grace + SETTLE;
        let context = self.services.context.clone();
        let settled = async {
            while ending.iter().any(|build| self.builds.contains(build)) {
                let result = self.builds.next_result().await;
                self.take_in(&result);
            }
        };
        // What is not settled by then is taken up from the journal by the next process.
        let _ = context.timeout(limit, settled).await;
    }

    async fn release(&mut self) {
        let (done, mut all_done) = mpsc::channel::<()>(1);
        for lease in self.workflows.let_go_of_all() {
            let done = done.clone();
            self.services.context.spawn(async move {
                lease.release().await;
                drop(done);
            });
        }
        drop(done);
        // The channel is closed when the last of them is done.
        let _ = self.services.context.timeout(RELEASE, all_done.recv()).await;
    }
}
