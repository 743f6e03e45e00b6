//! What may stop a pass, by consequence.

use reconciler_model::build::BuildError;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::host_cause::HostCause;
use reconciler_model::images::CatalogError;
use reconciler_model::inventory::InventoryError;
use reconciler_model::inventory::journal::FailureClass;
use reconciler_model::source::SourceError;

/// What stopped a pass over one workflow. The others go on.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Git could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Records could not be read or written.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// EC2 could not be asked.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Packer could not be run.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Something that a person has to mend.
    #[error(transparent)]
    Person(#[from] Diagnostic),
}

impl PassError {
    /// What it means for the next try.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Source(SourceError::Transient { .. } | SourceError::Host { .. })
            | Self::Inventory(
                InventoryError::Unavailable { .. }
                | InventoryError::Conflict { .. }
                | InventoryError::Fenced { .. },
            )
            | Self::Catalog(
                CatalogError::Unavailable { .. }
                | CatalogError::LeaseLost { .. }
                | CatalogError::StillPending { .. }
                | CatalogError::ImageFailed { .. },
            )
            | Self::Build(BuildError::Io { .. } | BuildError::LeaseLost) => FailureClass::Transient,
            Self::Build(BuildError::Step(_)) => FailureClass::Step,
            _ => FailureClass::Person,
        }
    }

    /// What this very host lacks, where that is why: another host would not meet with it.
    #[must_use]
    pub fn host_cause(&self) -> Option<HostCause> {
        match self {
            Self::Source(SourceError::Host { cause, .. }) => Some(*cause),
            // What a remote says of its own disk is no word about this one.
            Self::Source(SourceError::Transient { .. }) => None,
            other => HostCause::of(&other.to_string()),
        }
    }

    /// Whether the lease is another's by now.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(
            self,
            Self::Inventory(InventoryError::Fenced { .. })
                | Self::Catalog(CatalogError::LeaseLost { .. })
                | Self::Build(BuildError::LeaseLost)
        )
    }

    /// Whether the inventory that was opened stands no more at its place.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        matches!(self, Self::Inventory(InventoryError::Replaced { .. }))
    }

    /// Whether it is about what stands in one workflow's records or files, and not about how all of
    /// them are reached.
    #[must_use]
    pub fn concerns_one_workflow(&self) -> bool {
        matches!(self, Self::Inventory(InventoryError::Malformed { .. }) | Self::Source(_))
    }

    /// Whether it is that the inventory cannot be reached, or not used: nothing was read there.
    #[must_use]
    pub fn is_of_the_way_to_the_inventory(&self) -> bool {
        matches!(
            self,
            Self::Inventory(
                InventoryError::Schema { .. }
                    | InventoryError::Replaced { .. }
                    | InventoryError::Denied { .. }
                    | InventoryError::Credentials { .. }
                    | InventoryError::Unavailable { .. }
            )
        )
    }

    /// For people: what happened, where, what to do.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::Source(SourceError::Person(diagnostic) | SourceError::Damaged(diagnostic))
            | Self::Build(BuildError::Step(diagnostic) | BuildError::Host(diagnostic))
            | Self::Person(diagnostic) => diagnostic.clone(),
            Self::Catalog(CatalogError::Denied { action, .. })
            | Self::Inventory(InventoryError::Denied { action, .. }) => {
                Diagnostic::new(self.to_string()).hint(format!(
                    "allow `{action}` in the policy of this role or user"
                ))
            }
            Self::Catalog(CatalogError::Credentials { detail })
            | Self::Inventory(InventoryError::Credentials { detail, .. }) => {
                Diagnostic::new(self.to_string()).hint(if detail.contains("xpired") {
                    "they have expired: log in again (`aws sso login`), or set new ones"
                } else {
                    "set AWS_PROFILE or AWS_ACCESS_KEY_ID, or give this host a role; `check` and `plan --offline` need none"
                })
            }
            Self::Inventory(InventoryError::Replaced { .. }) => Diagnostic::new(self.to_string()).hint(
                "leases that stood there are held no longer; what stands at the place now is opened at the next try",
            ),
            Self::Inventory(InventoryError::Schema { .. }) => Diagnostic::new(self.to_string())
                .hint("docs/inventory.md describes what is expected; name another place under `inventory` in the configuration"),
            Self::Catalog(CatalogError::Unavailable { .. }) => Diagnostic::new(self.to_string()).hint(
                "look at the network, the region and `aws.endpoint_url`; `plan --offline` and `status --offline` do without EC2",
            ),
            Self::Inventory(InventoryError::Malformed { .. }) => Diagnostic::new(self.to_string())
                .hint("restore that item from a backup; docs/inventory.md says what each holds"),
            other => Diagnostic::new(other.to_string()),
        }
    }
}
