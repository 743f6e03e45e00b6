//! `GetImageAncestry`: where an image comes from by EC2's own word, over copies and accounts. Not
//! every region and no emulator of old knows it.

use aws_sdk_ec2::Client;

use crate::ec2::error::fail;
use reconciler_model::ids::{AmiId, Region};
use reconciler_model::images::CatalogError;
use reconciler_model::survey::SourceOf;

/// From the image to the one of which EC2 knows no source.
pub(super) async fn of(client: &Client, image: &AmiId) -> Result<Vec<SourceOf>, CatalogError> {
    let answer = client
        .get_image_ancestry()
        .image_id(image.as_str())
        .send()
        .await
        .map_err(|error| fail("ec2:GetImageAncestry", &error))?;
    let entries = answer.image_ancestry_entries.unwrap_or_default().into_iter();
    Ok(entries
        .map(|entry| SourceOf {
            image: AmiId::new(entry.image_id.unwrap_or_default()),
            source: entry.source_image_id.map(AmiId::new),
            region: entry.source_image_region.map(Region::new),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::scripted::{Answer, Ec2};

    #[tokio::test]
    async fn the_chain_is_told_as_ec2_tells_it_and_an_ec2_that_does_not_know_how_is_an_error() {
        let ec2 = Ec2::answering(|_| {
            Answer::ok(
                "<imageAncestryEntrySet><item><imageId>ami-2</imageId><sourceImageId>ami-1</sourceImageId>\
                 <sourceImageRegion>eu-west-1</sourceImageRegion></item><item><imageId>ami-1</imageId></item></imageAncestryEntrySet>",
            )
        });
        let image = AmiId::new("ami-2");
        let chain = of(&ec2.client(), &image).await.unwrap();
        let (first, last) = (&chain[0], &chain[1]);
        assert_eq!(first.source, Some(AmiId::new("ami-1")));
        assert_eq!(first.region, Some(Region::new("eu-west-1")));
        assert_eq!((last.image.as_str(), &last.source), ("ami-1", &None));
        let deaf = Ec2::answering(|_| Answer::error("InvalidAction", "not valid"));
        let refused = of(&deaf.client(), &image).await.unwrap_err().to_string();
        assert!(refused.contains("ec2:GetImageAncestry: InvalidAction"), "{refused}");
    }
}
