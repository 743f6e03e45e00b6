//! Links to an image in the AWS console. Pure.

use reconciler_model::ids::{AmiId, Region};

/// The link that records carry, as the Python library writes it (package `aws_console_url`, `ec2.get_ami`), which knows
/// one domain for all partitions.
#[must_use]
pub fn aws_console_url(region: &Region, ami_id: &AmiId) -> String {
    format!(
        "https://{region}.console.aws.amazon.com/ec2/home?region={region}#ImageDetails:imageId={ami_id}"
    )
}

/// The link that people are shown: each partition has a console of its own. None for one whose
/// console's address is not public.
#[must_use]
pub fn console_link(region: &Region, ami_id: &AmiId) -> Option<String> {
    let name = region.as_str();
    let host = if name.starts_with("cn-") {
        format!("{region}.console.amazonaws.cn")
    } else if name.starts_with("us-gov-") {
        format!("{region}.console.amazonaws-us-gov.com")
    } else if name.starts_with("eusc-") {
        format!("{region}.console.amazonaws-eusc.eu")
    } else if name.contains("-iso") {
        return None;
    } else {
        return Some(aws_console_url(region, ami_id));
    };
    Some(format!("https://{host}/ec2/home?region={region}#ImageDetails:imageId={ami_id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_a_console_of_its_own() {
        let host = |region: &str| {
            let link = console_link(&Region::new(region), &AmiId::new("ami-1"))?;
            Some(link.split('/').nth(2)?.to_owned())
        };
        for (region, expected) in [
            ("eu-central-1", Some("eu-central-1.console.aws.amazon.com")),
            ("cn-north-1", Some("cn-north-1.console.amazonaws.cn")),
            ("us-gov-west-1", Some("us-gov-west-1.console.amazonaws-us-gov.com")),
            ("eusc-de-east-1", Some("eusc-de-east-1.console.amazonaws-eusc.eu")),
            ("us-iso-east-1", None),
            ("us-isob-east-1", None),
        ] {
            assert_eq!(host(region).as_deref(), expected, "{region}");
        }
    }

    #[test]
    fn the_link_is_the_python_librarys() {
        assert_eq!(
            aws_console_url(&Region::new("eu-central-1"), &AmiId::new("ami-0123")),
            "https://eu-central-1.console.aws.amazon.com/ec2/home?region=eu-central-1#ImageDetails:imageId=ami-0123"
        );
    }
}
