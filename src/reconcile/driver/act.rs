//! Does what a plan says, as far as it can be done now. Chooses nothing.

use std::collections::HashMap;

use super::Driver;
use super::event::Event;
use super::workflow::WorkflowKey;
use crate::config::OnSuperseded;
use crate::ids::StepId;
use crate::inventory::Fence;
use crate::inventory::journal::Attempt;
use crate::plan::Plan;
use crate::plan::decision::{BuildSource, Decision};
use crate::reconcile::checkout::{Checkout, Desired};
use crate::reconcile::error::PassError;
use crate::reconcile::finish::take_over;
use crate::reconcile::start::{Started, start};
use crate::reconcile::update::update;

impl Driver {
    /// Does what the plan says, as far as it can be done now. Returns whether anything was done.
    pub(super) async fn act(
        &mut self,
        key: &WorkflowKey,
        checkout: &Checkout,
        plan: &Plan,
        attempts: &HashMap<StepId, Attempt>,
        fence: &Fence,
    ) -> Result<bool, PassError> {
        let ports = match self.workflows.get(key) {
            Some(state) => state.ports.clone(),
            None => return Ok(false),
        };
        let mut acted = self.resume(key, &ports, plan, attempts, fence).await?;
        let wanted = self.orders.wanted(plan);
        for step in plan.steps.iter().filter(|step| wanted.contains(&step.id)) {
            match &step.decision {
                Decision::Update(change) => {
                    update(&ports, checkout, step, change, fence).await?;
                    self.observer.notice(&Event::Updated(step));
                    acted = true;
                }
                Decision::Building(building)
                    if building.superseded && self.config.on_superseded == OnSuperseded::Cancel =>
                {
                    if let Some((_, Some(running))) = self.running.get(&building.build_id) {
                        self.observer.notice(&Event::Superseded(&step.id));
                        ports.builder.cancel(running).await?;
                    }
                }
                _ => {}
            }
        }
        let desired = Desired::new(
            checkout,
            &self.engine,
            &ports.region,
            &self.config.ami_name,
            &plan.root_base,
        );
        let mut begun = Vec::new();
        for step in plan.ready().filter(|step| wanted.contains(&step.id)) {
            if self.running.len() + begun.len() >= self.config.max_concurrent_builds {
                break;
            }
            let Decision::Build(build) = &step.decision else {
                continue;
            };
            if matches!(build.source, BuildSource::Known { .. }) {
                let started = start(&self.config, &ports, &desired, &step.id, build, fence).await?;
                if let Started::Running(attempt, running) = &started {
                    self.observer.notice(&Event::Started(attempt));
                    begun.push(((**attempt).clone(), Some(running.clone())));
                }
                acted |= !matches!(started, Started::Nothing);
                self.orders.forced.remove(&step.id);
                match started {
                    Started::Exists(attempt, image) => {
                        let attempt = take_over(&ports, fence, *attempt, &image).await?;
                        self.observer.notice(&Event::TakenOver(&attempt));
                    }
                    Started::Failed(attempt) => self.observer.notice(&Event::Ended(&attempt)),
                    Started::Running(..) | Started::Nothing => {}
                }
            }
        }
        for (attempt, running) in begun {
            self.follow(key, &ports, fence, attempt, running);
        }
        Ok(acted)
    }
}
