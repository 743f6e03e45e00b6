//! What people ask about images beyond what a pass needs: the adapter of
//! [`ImageSurvey`]. It only looks.

mod search;

use async_trait::async_trait;
use aws_sdk_ec2::Client;

use crate::ec2::whole;
use reconciler_model::images::CatalogError;
use reconciler_model::survey::{FoundImage, ImageSearch, ImageSurvey};

/// The images of one region as an account sees them, by EC2's API.
pub struct AwsSurvey {
    ec2: Client,
    /// Where it is, for people.
    place: String,
}

impl AwsSurvey {
    /// Over a client.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the survey is what the client is made for")]
    pub fn new(ec2: Client) -> Self {
        Self { ec2: whole::believing_whole_answers(&ec2), place: String::new() }
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
}
