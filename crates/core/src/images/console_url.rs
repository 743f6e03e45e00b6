//! The link to an image in the AWS console that records carry. Pure.

use reconciler_model::ids::{AmiId, Region};

/// The link as the Python library writes it (package `aws_console_url`, `ec2.get_ami`), which knows
/// one domain for all partitions.
#[must_use]
pub fn aws_console_url(region: &Region, ami_id: &AmiId) -> String {
    format!(
        "https://{region}.console.aws.amazon.com/ec2/home?region={region}#ImageDetails:imageId={ami_id}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_the_python_librarys() {
        assert_eq!(
            aws_console_url(&Region::new("eu-central-1"), &AmiId::new("ami-0123")),
            "https://eu-central-1.console.aws.amazon.com/ec2/home?region=eu-central-1#ImageDetails:imageId=ami-0123"
        );
    }
}
