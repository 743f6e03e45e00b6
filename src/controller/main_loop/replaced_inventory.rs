//! What becomes of a daemon whose embedded inventory is deleted or replaced under it.
//!
//! The leases that it held stood in the old file, so it holds none any more. A new, empty inventory
//! is not begun in its place: that is a person's to do. What stands there is opened like any other.
//! A build that it knows is carried on; one that it does not is ended, for nobody could record what
//! it makes, and the next try would need its name.

use crate::config::InventoryConfig;
use crate::controller::error::PassError;
use crate::controller::main_loop::Controller;
use crate::controller::main_loop::event::Event;
use crate::controller::main_loop::workflow_state::WorkflowKey;
use reconciler_model::diagnostic::Diagnostic;

impl Controller {
    /// Refuses to make an inventory where one was a moment ago.
    pub(super) fn refuse_to_begin_anew(&self) -> Result<(), PassError> {
        match &self.services.config.inventory {
            InventoryConfig::Sqlite { path } if self.workflows.inventory_was_replaced() && !path.exists() => {
                Err(Diagnostic::new(
                    "the inventory is gone: it was deleted or moved away under this process, and no empty one is begun in its place",
                )
                .in_file(path.display().to_string())
                .hint("put it back, or restart the reconciler if a new one is meant")
                .into())
            }
            _ => Ok(()),
        }
    }

    /// Ends the builds of this process of which an inventory that took the place of another knows
    /// nothing.
    pub(super) async fn end_what_is_unknown(&mut self, key: &WorkflowKey) -> Result<(), PassError> {
        if !self.workflows.inventory_was_replaced() {
            return Ok(());
        }
        let Some(ports) = self.workflows.get(key).map(|state| state.ports.clone()) else {
            return Ok(());
        };
        for (build, step) in self.builds.running_for(key) {
            let events = ports.inventory.events_of_build(&key.inventory.id, &build).await?;
            if events.is_empty() && self.builds.cancel(&build, Some(ports.builder.as_ref())).await?
            {
                self.notice(key, &Event::Unknown { step: &step, build: &build });
            }
        }
        Ok(())
    }
}
