//! Leases as one item per workflow, each change a single conditional update.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;

use crate::dynamodb::attributes::{number_value, text, text_value};
use crate::dynamodb::error::{is_refused, told};
use crate::dynamodb::{DynamoDbInventory, builds};
use reconciler_model::ids::WorkflowId;
use reconciler_model::inventory::{InventoryError, Lease};

/// How an update of the lease ended.
enum Updated {
    Done(Option<Lease>),
    Refused,
}

impl DynamoDbInventory {
    pub(super) async fn read_lease(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Option<Lease>, InventoryError> {
        match self.build_item(workflow, builds::LEASE).await? {
            Some(item) => builds::lease(workflow, &item)
                .map_err(|detail| self.malformed(format!("lease of {workflow}"), detail)),
            None => Ok(None),
        }
    }

    /// Takes the lease if it stands as `seen`.
    pub(super) async fn take_lease(
        &self,
        workflow: &WorkflowId,
        holder: &str,
        duration_seconds: u64,
        seen: Option<&Lease>,
        now: Timestamp,
    ) -> Result<Lease, InventoryError> {
        let version = new_version();
        let token = seen.map_or(0, |lease| lease.token) + 1;
        let update = self
            .lease_update(workflow)
            .update_expression(
                "SET #holder = :holder, #token = :new_token, #version = :new_version, \
                 #duration_seconds = :duration_seconds, #renewed_at = :renewed_at",
            )
            .expression_attribute_names("#holder", "holder")
            .expression_attribute_names("#token", "token")
            .expression_attribute_names("#version", "version")
            .expression_attribute_names("#duration_seconds", "duration_seconds")
            .expression_attribute_names("#renewed_at", "renewed_at")
            .expression_attribute_values(":holder", text_value(holder))
            .expression_attribute_values(":new_token", number_value(token))
            .expression_attribute_values(":new_version", text_value(&version))
            .expression_attribute_values(":duration_seconds", number_value(duration_seconds))
            .expression_attribute_values(":renewed_at", text_value(now.to_string()));
        let update = match seen {
            None => update.condition_expression("attribute_not_exists(#token)"),
            Some(seen) => update
                .condition_expression("#token = :token AND #version = :version")
                .expression_attribute_values(":token", number_value(seen.token))
                .expression_attribute_values(":version", text_value(&seen.version)),
        };
        match self.update_lease(workflow, update, &version).await? {
            Updated::Done(Some(lease)) => Ok(lease),
            _ => {
                Err(InventoryError::Conflict { what: format!("the lease of workflow {workflow}") })
            }
        }
    }

    /// A heartbeat. Conditioned on the token alone, so that one whose answer was lost can be
    /// repeated.
    pub(super) async fn renew(
        &self,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<Lease, InventoryError> {
        let version = new_version();
        let update = self
            .lease_update(&lease.workflow_id)
            .update_expression("SET #version = :version, #renewed_at = :renewed_at")
            .condition_expression("#token = :token AND attribute_exists(#holder)")
            .expression_attribute_names("#holder", "holder")
            .expression_attribute_names("#token", "token")
            .expression_attribute_names("#version", "version")
            .expression_attribute_names("#renewed_at", "renewed_at")
            .expression_attribute_values(":token", number_value(lease.token))
            .expression_attribute_values(":version", text_value(&version))
            .expression_attribute_values(":renewed_at", text_value(now.to_string()));
        match self.update_lease(&lease.workflow_id, update, &version).await? {
            Updated::Done(Some(lease)) => Ok(lease),
            _ => Err(fenced(lease)),
        }
    }

    /// Gives the lease back; doing it twice is as doing it once.
    pub(super) async fn give_back(&self, lease: &Lease) -> Result<(), InventoryError> {
        let version = new_version();
        let update = self
            .lease_update(&lease.workflow_id)
            .update_expression("SET #version = :version REMOVE #holder")
            .condition_expression("#token = :token")
            .expression_attribute_names("#holder", "holder")
            .expression_attribute_names("#token", "token")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":token", number_value(lease.token))
            .expression_attribute_values(":version", text_value(&version));
        match self.update_lease(&lease.workflow_id, update, &version).await? {
            Updated::Done(_) => Ok(()),
            Updated::Refused => Err(fenced(lease)),
        }
    }

    fn lease_update(&self, workflow: &WorkflowId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.builds)
            .set_key(Some(builds::key(workflow, builds::LEASE)))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// A refusal by an item that carries our own new version is the answer to a repeated call whose
    /// first answer was lost.
    async fn update_lease(
        &self,
        workflow: &WorkflowId,
        update: UpdateItemFluentBuilder,
        version: &str,
    ) -> Result<Updated, InventoryError> {
        let item = match update.send().await {
            Ok(answer) => answer.attributes.unwrap_or_default(),
            Err(error) if is_refused(&error) => {
                let stands = match error.into_service_error() {
                    aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(
                        refused,
                    ) => refused.item.unwrap_or_default(),
                    _ => return Ok(Updated::Refused),
                };
                if text(&stands, "version") != Ok(version) {
                    return Ok(Updated::Refused);
                }
                stands
            }
            Err(error) => {
                return Err(told(&error, "dynamodb:UpdateItem", &self.builds_place()));
            }
        };
        builds::lease(workflow, &item)
            .map(Updated::Done)
            .map_err(|detail| self.malformed(format!("lease of {workflow}"), detail))
    }
}

fn fenced(lease: &Lease) -> InventoryError {
    InventoryError::Fenced { workflow: lease.workflow_id.clone() }
}

fn new_version() -> String {
    uuid::Uuid::now_v7().to_string()
}
