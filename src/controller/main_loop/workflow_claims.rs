//! Workflow ids that are given out twice: nothing new is begun under them, and what was begun is
//! carried to its end (`unplanned_workflows`).

use crate::controller::error::PassError;
use crate::controller::main_loop::Controller;
use crate::controller::main_loop::backoff::BackoffKey;
use crate::controller::main_loop::event::Origin;
use crate::controller::main_loop::repository::{Opened, OpenedFolder};
use crate::controller::main_loop::workflow_pass::{WorkflowKey, WorkflowLocation};
use reconciler_core::workflow::unique::{Claim, shared};

impl Controller {
    /// Takes in which ids there are. A repository that cannot be read now says what it said before.
    pub(super) fn note_claims(&mut self, opened: &[Result<Opened, PassError>]) {
        for (site, opened) in self.sites.iter().zip(opened) {
            if let Ok(opened) = opened {
                self.claims.insert(site.name.clone(), opened.claims.clone());
            }
        }
        let here = self.claims.values().flatten();
        let all: Vec<Claim> = here.chain(&self.options.elsewhere).cloned().collect();
        self.shared = shared(&all);
    }

    /// Whether a folder's id is another's as well, which is told once.
    pub(super) fn is_shared(&mut self, opened: &OpenedFolder, location: &WorkflowLocation) -> bool {
        let matter = BackoffKey::SharedId(location.clone());
        let origin =
            Origin { repository: &location.site, folder: Some(&location.folder), workflow: None };
        let params = opened.params.as_ref().ok();
        let why = params.and_then(|(params, _)| self.shared.get(&params.workflow_id));
        let (Some((params, _)), Some(why)) = (params, why) else {
            self.settle(&matter, &origin);
            return false;
        };
        let key = WorkflowKey::new(location.clone(), params, &self.config);
        self.round.seen(&key);
        let error = PassError::Person(why.clone());
        self.put_off(&matter, &origin, None, &error);
        self.backoffs.forget(&BackoffKey::Workflow(location.clone()));
        true
    }
}
