//! Images by id and by name, their tags, their description.

use std::collections::BTreeMap;
use std::process::Command;

use jiff::Timestamp;
use reconciler_model::ids::AmiId;
use reconciler_model::images::{
    CatalogError, ImageReader as _, ImageState, ImageWriter as _, TagChange,
};
use serde_json::Value;

use super::region::{Place, REGION, name, packers, unique};
use crate::harness::emulator::{Emulator, python};

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn among_1500_ids_those_that_exist_are_found_and_the_others_are_absent() {
    let place = Place::open(Emulator::shared()).await;
    let mut known = Vec::new();
    for _ in 0..5 {
        known.push(place.published(&unique("image")).await);
    }
    let mut asked: Vec<_> = (0..1495).map(|n| AmiId::new(format!("ami-{n:017x}"))).collect();
    for (at, id) in known.iter().enumerate() {
        asked.insert(at * 300, id.clone());
    }
    let found = place.catalog.images(&asked).await.unwrap();
    let mut ids: Vec<_> = found.keys().cloned().collect();
    ids.sort();
    known.sort();
    assert_eq!(ids, known);
    assert!(found.values().all(|image| image.details.is_empty()));
}

#[tokio::test]
async fn an_image_of_our_own_is_found_by_its_whole_name_only() {
    let place = Place::open(Emulator::shared()).await;
    let wanted = unique("own");
    let id = place.published(&wanted).await;
    place.published(&format!("{wanted}-longer")).await;
    let found = place.catalog.own_image_named(&name(&wanted)).await.unwrap();
    assert_eq!(found.unwrap().id, id);
    let part = name(&wanted[..wanted.len() - 1]);
    assert_eq!(place.catalog.own_image_named(&part).await.unwrap(), None);
    assert_eq!(place.catalog.own_image_named(&name("own/*")).await.unwrap(), None);
}

#[tokio::test]
async fn the_newest_image_of_a_pattern_is_that_of_its_owner() {
    let place = Place::open(Emulator::shared()).await;
    let base = unique("ubuntu-focal");
    place.published(&format!("{base}-20240601")).await;
    // EC2 counts creation in milliseconds, the emulator in seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let newest = place.published(&format!("{base}-20240613")).await;
    let pattern = format!("{base}-*");
    let found = place.catalog.newest_image(&pattern, "self").await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.id, newest);
    assert_eq!(found.state, ImageState::Available);
    let account = place.catalog.newest_image(&pattern, &found.owner_id).await;
    assert_eq!(account.unwrap().unwrap().id, newest);
    let stranger = place.catalog.newest_image(&pattern, "999999999999").await;
    assert_eq!(stranger.unwrap(), None);
    let anybody = place.catalog.newest_image(&pattern, " ").await.unwrap_err();
    assert!(
        matches!(anybody, CatalogError::Refused { .. }) && anybody.to_string().contains("owner"),
        "{anybody}"
    );
}

#[tokio::test]
async fn tags_are_put_on_the_image_and_its_snapshots_and_taken_off_again() {
    let place = Place::open(Emulator::shared()).await;
    let instance = place.instance(&packers(), None).await;
    let id = place.image_of(&instance, &unique("tagged")).await;
    let image = place.catalog.image(&id).await.unwrap().unwrap();
    assert_eq!(image.snapshots.len(), 1);
    let snapshot = image.snapshots[0].clone();
    let set = TagChange { set: tags(&[("team", "ops"), ("old", "1")]), remove: vec![] };
    place.catalog.tag(&image, &set).await.unwrap();
    let image = place.catalog.image(&id).await.unwrap().unwrap();
    assert_eq!(image.tags, tags(&[("team", "ops"), ("old", "1")]));
    assert_eq!(place.snapshot_tags(&snapshot).await.unwrap().len(), 2);

    let change = TagChange { set: tags(&[("team", "dev")]), remove: vec!["old".into()] };
    place.catalog.tag(&image, &change).await.unwrap();
    let image = place.catalog.image(&id).await.unwrap().unwrap();
    assert_eq!(image.tags, tags(&[("team", "dev")]));
    assert_eq!(
        place.snapshot_tags(&snapshot).await.unwrap(),
        [("team".to_owned(), "dev".to_owned())]
    );
}

#[tokio::test]
async fn an_available_image_is_waited_for_with_one_look() {
    let place = Place::open(Emulator::shared()).await;
    let id = place.published(&unique("ready")).await;
    let already_over = Timestamp::now();
    let image = place.catalog.wait_available(&id, already_over).await;
    assert_eq!(image.unwrap().id, id);
}

#[tokio::test]
async fn what_a_record_keeps_of_an_image_is_what_the_python_library_keeps() {
    let emulator = Emulator::shared();
    let place = Place::open(emulator).await;
    let instance = place.instance(&packers(), None).await;
    let wanted = unique("details");
    let id = place.image_of(&instance, &wanted).await;
    let image = place.catalog.image(&id).await.unwrap().unwrap();
    let change = TagChange { set: tags(&[("team", "ops")]), remove: vec![] };
    place.catalog.tag(&image, &change).await.unwrap();

    let ours = place.catalog.image(&id).await.unwrap().unwrap().details;
    let output = Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/image_details.py"))
        .args([&emulator.endpoint(), REGION, &wanted])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ours: Value = serde_json::from_str(&ours).unwrap();
    assert_eq!(ours, theirs);
}
