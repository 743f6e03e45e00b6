//! The ports of a simulated host: each call takes its time, and may be lost.

pub(super) mod builder;
pub(super) mod catalog;
pub(super) mod git;
pub(super) mod inventory;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use async_trait::async_trait;
use serde_json::Map;

use crate::config::Config;
use crate::controller::connect::{Connector, Ports, Use, Who};
use crate::controller::context::Context;
use crate::controller::error::PassError;
use crate::controller::simulation::world::Handle;
use crate::secrets::CurrentSecrets;
use reconciler_model::ids::Region;
use reconciler_model::inventory::InventoryError;

/// What a port in memory answers: it never waits.
pub(super) fn at_once<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("a port in memory waits"),
    }
}

/// Opens the ports of a simulated host.
pub(super) struct SimulatedConnector {
    pub(super) context: Context,
    pub(super) at: Handle,
}

#[async_trait]
impl Connector for SimulatedConnector {
    fn context(&self) -> &Context {
        &self.context
    }

    async fn connect(
        &self,
        config: &Config,
        _who: &Who<'_>,
        usage: Use,
    ) -> Result<Ports, PassError> {
        self.at.call(|_| ()).await.map_err(|_| InventoryError::Unavailable {
            place: "memory".to_owned(),
            detail: "lost".to_owned(),
        })?;
        let at = self.at.clone();
        let images =
            (usage != Use::LookOffline).then(|| Arc::new(catalog::SimulatedCatalog(at.clone())));
        Ok(Ports::new(
            Arc::new(inventory::SimulatedInventory::new(at.clone())),
            images,
            Arc::new(builder::SimulatedBuilder(at)),
            Region::new("us-east-1"),
            CurrentSecrets::new(&config.secrets, &Map::new()),
            self.context.clone(),
        ))
    }
}
