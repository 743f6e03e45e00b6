//! `DeregisterImage` with the image's snapshots: EC2 itself keeps those that another image uses, and
//! tells of each what became of it.

use async_trait::async_trait;
use aws_sdk_ec2::types::{DeleteSnapshotReturnCode, SnapshotReturnCodes};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;

use super::Ec2Catalog;
use super::clean::is_gone;
use super::error::fail;
use reconciler_model::ids::AmiId;
use reconciler_model::images::{
    AssociatedSnapshots, CatalogError, Deregistered, ImageRemover, SnapshotResult,
};

#[async_trait]
impl ImageRemover for Ec2Catalog {
    async fn deregister(
        &self,
        id: &AmiId,
        snapshots: AssociatedSnapshots,
    ) -> Result<Deregistered, CatalogError> {
        let client = &self.client;
        let answer = client
            .deregister_image()
            .image_id(id.as_str())
            .delete_associated_snapshots(snapshots == AssociatedSnapshots::Deleted)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let results = answer.delete_snapshot_results.unwrap_or_default();
                Ok(Deregistered::Done(results.iter().map(result).collect()))
            }
            Err(error) if error.code().is_some_and(is_gone) => Ok(Deregistered::WasGone),
            Err(error) => Err(self.placed(fail("ec2:DeregisterImage", &error))),
        }
    }
}

fn result(told: &DeleteSnapshotReturnCode) -> (String, SnapshotResult) {
    use SnapshotReturnCodes as Code;
    let result = match &told.return_code {
        Some(Code::Success) => SnapshotResult::Deleted,
        Some(Code::WarnSkipped) => SnapshotResult::UsedByAnother,
        Some(Code::ErrorMissingPermissions) => SnapshotResult::Denied,
        Some(other) => SnapshotResult::Failed(other.as_str().to_owned()),
        None => SnapshotResult::Failed("EC2 says nothing of it".to_owned()),
    };
    (told.snapshot_id.clone().unwrap_or_default(), result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::scripted::{Answer, Ec2};

    async fn asked(answer: fn() -> Answer) -> (Result<Deregistered, CatalogError>, Ec2) {
        let ec2 = Ec2::answering(move |_| answer());
        let catalog = Ec2Catalog::new(ec2.client());
        let done = catalog.deregister(&AmiId::new("ami-1"), AssociatedSnapshots::Deleted).await;
        (done, ec2)
    }

    #[tokio::test]
    async fn each_snapshot_is_told_by_ec2s_word() {
        let (done, ec2) = asked(|| {
            let item = |id: &str, code: &str| {
                format!("<item><snapshotId>{id}</snapshotId><returnCode>{code}</returnCode></item>")
            };
            let all = [
                item("snap-1", "success"),
                item("snap-2", "skipped"),
                item("snap-3", "missing-permissions"),
                item("snap-4", "internal-error"),
            ]
            .concat();
            Answer::ok(&format!(
                "<return>true</return><deleteSnapshotResultSet>{all}</deleteSnapshotResultSet>"
            ))
        })
        .await;
        let told = |id: &str, result| (id.to_owned(), result);
        assert_eq!(
            done.unwrap(),
            Deregistered::Done(vec![
                told("snap-1", SnapshotResult::Deleted),
                told("snap-2", SnapshotResult::UsedByAnother),
                told("snap-3", SnapshotResult::Denied),
                told("snap-4", SnapshotResult::Failed("internal-error".into())),
            ])
        );
        assert_eq!(ec2.calls()[0].get("DeleteAssociatedSnapshots"), Some("true"));
    }

    #[tokio::test]
    async fn what_is_gone_is_gone_and_what_is_refused_is_told() {
        let gone = asked(|| Answer::error("InvalidAMIID.Unavailable", "no longer")).await.0;
        assert_eq!(gone.unwrap(), Deregistered::WasGone);
        let refused = asked(|| Answer::error("OperationNotPermitted", "is protected")).await.0;
        assert!(refused.unwrap_err().to_string().contains("is protected"));
    }
}
