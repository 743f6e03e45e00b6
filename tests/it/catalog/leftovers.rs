//! What a dead build left is found and removed; what others made stays.

use reconciler_model::build_resources::{ClaimedResources, OwnedResources, ResourceKind};
use reconciler_model::ids::BuildId;
use reconciler_model::images::{ImageReader as _, ImageWriter as _};

use super::region::{Place, name, packers, unique};
use crate::harness::emulator::Emulator;

#[tokio::test]
async fn a_dead_builds_instance_key_and_group_go_and_a_persons_stay() {
    let place = Place::open(Emulator::shared()).await;
    let build = BuildId::generate();
    let key = packers();
    let own = place.instance(&key, Some(&key)).await;
    let other_key = packers();
    let other = place.instance(&other_key, Some(&other_key)).await;
    let persons_key = unique("ops");
    let persons = place.instance(&persons_key, None).await;

    // Packer was ended before it knew the instance's id; the log names what is another's too.
    let told = ClaimedResources {
        instances: vec![other.clone()],
        key_pairs: vec![key.clone(), persons_key.clone()],
        security_groups: vec![key.clone(), "default".to_owned()],
        ..ClaimedResources::default()
    };
    let none = name(&unique("never-made"));
    let found = place.owned(&build, &none, &told, &[]).await;
    let one_by_one: Vec<_> = found.iter().map(|one| (one.kind(), one.id())).collect();
    assert_eq!(
        one_by_one,
        [
            (ResourceKind::Instance, &*own),
            (ResourceKind::KeyPair, &*key),
            (ResourceKind::SecurityGroup, &*key)
        ]
    );
    let gone = place.catalog.remove_all(&found).await.unwrap();
    assert_eq!(gone, [&*own, &*key, &*key]);
    assert!(!place.is_alive(&own).await);
    assert!(!place.has_key(&key).await && !place.has_group(&key).await);
    assert!(place.is_alive(&other).await && place.is_alive(&persons).await);
    assert!(place.has_key(&other_key).await && place.has_group(&other_key).await);
    assert!(place.has_key(&persons_key).await && place.has_group("default").await);

    let again = place.owned(&build, &none, &told, &[]).await;
    assert_eq!(again, OwnedResources::default());
    let gone = place.catalog.remove_all(&found).await;
    assert_eq!(gone.map(|gone| gone.contains(&own)).ok(), Some(true));
}

#[tokio::test]
async fn a_finished_image_stays_and_goes_with_its_snapshot_when_asked_for() {
    let place = Place::open(Emulator::shared()).await;
    let build = BuildId::generate();
    let key = packers();
    let instance = place.instance(&key, None).await;
    let own = name(&unique("own"));
    let id = place.image_of(&instance, own.as_str()).await;
    let image = place.catalog.image(&id).await.unwrap().unwrap();
    let told = ClaimedResources {
        instances: vec![instance.clone()],
        key_pairs: vec![key.clone()],
        ..ClaimedResources::default()
    };
    let found = place.owned(&build, &own, &told, &[]).await;
    let (images, snapshots) = (found.ids(ResourceKind::Image), found.ids(ResourceKind::Snapshot));
    assert!(images.is_empty() && snapshots.is_empty(), "{found:?}");

    let found = place.owned(&build, &own, &told, std::slice::from_ref(&id)).await;
    assert_eq!(found.ids(ResourceKind::Image), [id.as_str()]);
    assert_eq!(found.ids(ResourceKind::Snapshot), image.snapshots);
    place.catalog.remove_all(&found).await.unwrap();
    assert_eq!(place.catalog.own_image_named(&own).await.unwrap(), None);
    assert_eq!(place.snapshot_tags(&image.snapshots[0]).await, None);
}

#[tokio::test]
async fn a_snapshot_whose_image_is_already_gone_is_found_by_its_description() {
    let place = Place::open(Emulator::shared()).await;
    let build = BuildId::generate();
    let instance = place.instance(&packers(), None).await;
    let own = name(&unique("half-cleaned"));
    let id = place.image_of(&instance, own.as_str()).await;
    let kept = place.image_of(&instance, &unique("kept")).await;
    let image = place.catalog.image(&id).await.unwrap().unwrap();
    let request = place.client.deregister_image().image_id(id.as_str());
    request.send().await.unwrap();
    let told =
        ClaimedResources { instances: vec![instance.clone()], ..ClaimedResources::default() };
    let found = place.owned(&build, &own, &told, &[]).await;
    assert_eq!(found.ids(ResourceKind::Snapshot), image.snapshots, "and not that of {kept}");
}
