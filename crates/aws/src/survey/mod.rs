//! What people ask about images beyond what a pass needs: the adapter of
//! [`ImageSurvey`]. It only looks.

mod ancestry;
mod fleets;
mod permissions;
mod references;
mod scaling;
mod search;
mod templates;
mod uses;

use async_trait::async_trait;
use aws_sdk_ec2::Client;

use crate::ec2::whole;
use reconciler_model::ids::AmiId;
use reconciler_model::images::CatalogError;
use reconciler_model::survey::{FoundImage, ImageSearch, ImageSurvey, SourceOf};
use reconciler_model::uses::Uses;

/// The images of one region as an account sees them, by the APIs of EC2 and Auto Scaling.
pub struct AwsSurvey {
    ec2: Client,
    scaling: aws_sdk_autoscaling::Client,
    /// Where it is, for people.
    place: String,
}

impl AwsSurvey {
    /// Over the clients of one region.
    #[must_use]
    pub fn new(ec2: &Client, scaling: &aws_sdk_autoscaling::Client) -> Self {
        Self {
            ec2: whole::believing_whole_answers(ec2),
            scaling: whole::believing_whole_answers_of_groups(scaling),
            place: String::new(),
        }
    }

    /// Said to be there where it does not answer.
    #[must_use]
    pub fn at(mut self, place: String) -> Self {
        self.place = place;
        self
    }
}

#[async_trait]
impl ImageSurvey for AwsSurvey {
    async fn search(&self, search: &ImageSearch) -> Result<Vec<FoundImage>, CatalogError> {
        search::images(&self.ec2, search).await.map_err(|error| error.in_place(&self.place))
    }

    async fn namesakes(&self, pattern: &str) -> Result<Vec<FoundImage>, CatalogError> {
        search::namesakes(&self.ec2, pattern).await.map_err(|error| error.in_place(&self.place))
    }

    async fn uses(&self, images: &[AmiId]) -> Uses {
        uses::of(&self.ec2, &self.scaling, images).await
    }

    async fn ancestry(&self, image: &AmiId) -> Result<Vec<SourceOf>, CatalogError> {
        ancestry::of(&self.ec2, image).await.map_err(|error| error.in_place(&self.place))
    }
}
