//! EC2 fleets, Spot fleets and requests for Spot instances: the images that they name beside their
//! launch templates. What is over launches nothing any more.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    BatchState, FleetData, FleetLaunchTemplateConfig, FleetStateCode, SpotFleetRequestConfigData,
    SpotInstanceState,
};

use super::uses::{Looked, note};
use crate::ec2::error::fail;
use reconciler_model::ids::AmiId;
use reconciler_model::uses::{ImageUser, Sightings, UserKind};

/// What overrides of fleets name. Of fleets that launch once and at once EC2 tells nothing more.
pub(super) async fn fleets(client: &Client, images: &BTreeSet<AmiId>) -> Looked {
    let mut seen = Sightings::default();
    let mut pages = client.describe_fleets().into_paginator().items().send();
    while let Some(fleet) = pages.next().await {
        let fleet = fleet.map_err(|error| fail("ec2:DescribeFleets", &error))?;
        let name = fleet.fleet_id.as_deref().unwrap_or_default();
        if fleet.fleet_state.as_ref().is_some_and(is_over) {
            continue;
        }
        for image in overrides(&fleet) {
            note(&mut seen, images, ImageUser::new(UserKind::Fleet, name), name, image);
        }
    }
    Ok(seen)
}

/// What specifications of Spot fleets name.
pub(super) async fn spot_fleets(client: &Client, images: &BTreeSet<AmiId>) -> Looked {
    let mut seen = Sightings::default();
    let mut pages = client.describe_spot_fleet_requests().into_paginator().items().send();
    while let Some(fleet) = pages.next().await {
        let fleet = fleet.map_err(|error| fail("ec2:DescribeSpotFleetRequests", &error))?;
        let name = fleet.spot_fleet_request_id.as_deref().unwrap_or_default();
        let is_over = fleet.spot_fleet_request_state.as_ref().is_some_and(|state| {
            use BatchState as State;
            matches!(
                state,
                State::Cancelled
                    | State::CancelledRunning
                    | State::CancelledTerminatingInstances
                    | State::Failed
            )
        });
        if is_over {
            continue;
        }
        let config = fleet.spot_fleet_request_config.as_ref();
        let specifications = config.map(SpotFleetRequestConfigData::launch_specifications);
        for one in specifications.unwrap_or_default() {
            let image = one.image_id.as_deref().unwrap_or_default();
            note(&mut seen, images, ImageUser::new(UserKind::SpotFleet, name), name, image);
        }
    }
    Ok(seen)
}

/// What requests for Spot instances name.
pub(super) async fn spot_requests(client: &Client, images: &BTreeSet<AmiId>) -> Looked {
    let mut seen = Sightings::default();
    let mut pages = client.describe_spot_instance_requests().into_paginator().items().send();
    while let Some(request) = pages.next().await {
        let request = request.map_err(|error| fail("ec2:DescribeSpotInstanceRequests", &error))?;
        if request.state.as_ref().is_some_and(is_request_over) {
            continue;
        }
        let name = request.spot_instance_request_id.as_deref().unwrap_or_default();
        let specification = request.launch_specification.as_ref();
        let image = specification.and_then(|one| one.image_id.as_deref()).unwrap_or_default();
        note(&mut seen, images, ImageUser::new(UserKind::SpotRequest, name), name, image);
    }
    Ok(seen)
}

fn is_request_over(state: &SpotInstanceState) -> bool {
    use SpotInstanceState as State;
    matches!(state, State::Cancelled | State::Closed | State::Failed)
}

fn is_over(state: &FleetStateCode) -> bool {
    use FleetStateCode as State;
    matches!(
        state,
        State::Deleted | State::DeletedRunning | State::DeletedTerminatingInstances | State::Failed
    )
}

fn overrides(fleet: &FleetData) -> impl Iterator<Item = &str> {
    let overrides =
        fleet.launch_template_configs().iter().flat_map(FleetLaunchTemplateConfig::overrides);
    overrides.filter_map(|one| one.image_id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::scripted::{Answer, Ec2};

    fn names(seen: &Sightings) -> Vec<&str> {
        seen.users.values().flatten().map(|user| user.name.as_str()).collect()
    }

    fn images() -> BTreeSet<AmiId> {
        [AmiId::new("ami-1")].into()
    }

    #[tokio::test]
    async fn a_fleet_counts_until_it_is_over_and_in_a_state_that_nobody_knows() {
        let fleet = |id: &str, state: &str, image: &str| {
            format!(
                "<item><fleetId>{id}</fleetId><fleetState>{state}</fleetState><launchTemplateConfigs><item><overrides>\
                 <item><imageId>{image}</imageId></item></overrides></item></launchTemplateConfigs></item>"
            )
        };
        let all = [
            fleet("a", "active", "ami-1"),
            fleet("b", "modifying", "ami-2"),
            fleet("c", "deleted_running", "ami-1"),
            fleet("d", "sleeping", "ami-1"),
            fleet("e", "active", "resolve:ssm:/x"),
        ]
        .concat();
        let ec2 = Ec2::answering(move |_| Answer::ok(&format!("<fleetSet>{all}</fleetSet>")));
        let seen = fleets(&ec2.client(), &images()).await.unwrap();
        assert_eq!(names(&seen), ["a", "d"]);
        assert!(seen.unread[0].why.starts_with("e names resolve:ssm:/x"));
    }

    #[tokio::test]
    async fn so_do_spot_fleets_and_requests() {
        let fleet = |id: &str, state: &str| {
            format!(
                "<item><spotFleetRequestId>{id}</spotFleetRequestId><spotFleetRequestState>{state}</spotFleetRequestState>\
                 <spotFleetRequestConfig><launchSpecifications><item><imageId>ami-1</imageId></item></launchSpecifications>\
                 </spotFleetRequestConfig></item>"
            )
        };
        let request = |id: &str, state: &str| {
            format!(
                "<item><spotInstanceRequestId>{id}</spotInstanceRequestId><state>{state}</state>\
                 <launchSpecification><imageId>ami-1</imageId></launchSpecification></item>"
            )
        };
        let fleets = [fleet("a", "active"), fleet("b", "cancelled_running")].concat();
        let requests =
            [request("c", "open"), request("d", "closed"), request("e", "active")].concat();
        let ec2 = Ec2::answering(move |call| match call.action() {
            "DescribeSpotFleetRequests" => Answer::ok(&format!(
                "<spotFleetRequestConfigSet>{fleets}</spotFleetRequestConfigSet>"
            )),
            _ => {
                Answer::ok(&format!("<spotInstanceRequestSet>{requests}</spotInstanceRequestSet>"))
            }
        });
        let client = ec2.client();
        assert_eq!(names(&spot_fleets(&client, &images()).await.unwrap()), ["a"]);
        assert_eq!(names(&spot_requests(&client, &images()).await.unwrap()), ["c", "e"]);
    }
}
