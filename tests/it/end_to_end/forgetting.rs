//! `reconciler forget`: the record of a step that git has no more goes, and nothing else does.

use std::time::Duration;

use reconciler_model::ids::StepId;
use reconciler_model::inventory::request::{Outcome, Wish};
use serde_json::Value;

use crate::harness::fake_packer::{FakePacker, WHOLE};
use crate::harness::farm::{Farm, Store};
use crate::harness::python_library::images;

/// Three built steps, of which `c` has left git.
fn without_c(store: Store) -> (Farm, FakePacker) {
    let packer = FakePacker::new(&format!("[build]\n{WHOLE}"));
    let mut farm = Farm::with_packer(packer.binary());
    farm.keep_records_in(store).configure("interval: 1h\nlease_duration: 3s\n");
    farm.three_steps();
    assert_eq!(farm.commit_and_apply().code, 0);
    farm.repo.git(&["rm", "-rq", "packer_workspaces/c"]);
    farm.repo.commit("c is not needed any more");
    (farm, packer)
}

#[test]
fn the_record_of_a_step_that_left_git_goes_and_its_image_and_its_history_stay() {
    let (farm, packer) = without_c(Store::DynamoDb);
    let image = farm.image("c");
    insta::assert_snapshot!(farm.run(&["forget", "b"]).refusal(), @"
    error: b is in git at [commit], so its record stays
     |
     = help: a step whose folder left git is forgotten; `reconciler status` calls it orphaned
    ");
    insta::assert_snapshot!(farm.run(&["forget", "cc"]).refusal(), @"
    error: there is no record of a step `cc` that git has no more
     |
     = help: there are: c
    ");
    insta::assert_snapshot!(farm.run(&["forget", "c", "--why", "no more tests"]).printed(0), @"the record of c is gone, its image ami-[id] stays; `reconciler history c` tells it as request [build]");
    assert!(farm.status().get("c").is_none(), "it is not told any more");
    assert_eq!(farm.stages("c").last().unwrap(), "forgotten");
    insta::assert_snapshot!(farm.run(&["history", "c", "--limit", "1"]).printed(0), @"
    wf-1

      c  forgotten  ami-[id]  [duration] ago  (no longer in git)
        request [build]  commit [commit]
        image base/wf-1/c/[fingerprint] from ami-0123456789abcdef0
        [time] UTC  record removed by uid [number]@[host]; its image stays
    ");
    let json = farm.run(&["history", "c", "--output", "json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    let workflow = &json["workflows"][0];
    assert_eq!(workflow["forgotten"][0]["ami_id"], image.as_str());
    assert_eq!(workflow["builds"].as_array().unwrap().len(), 1, "the build is still told");
    // The library does not find it any more, and finds the others.
    let catalog = farm.read_by_python("wf-1", "c");
    assert_eq!(catalog["image"], Value::Null);
    assert!(images(&catalog, "by_step").is_empty(), "{catalog}");
    assert_eq!(images(&catalog, "by_workflow").len(), 2);
    insta::assert_snapshot!(farm.run(&["forget", "c"]).refusal(), @"
    error: there is no record of a step `c` that git has no more
     |
     = help: every recorded step is in git: `reconciler images` shows what is recorded
    ");
    assert_eq!(farm.made_images(), 3, "no image goes");
    farm.applies();
    assert_eq!(packer.runs("build"), 3);
    // The step comes back, and so does its image.
    farm.step("c", None);
    assert_eq!(farm.commit_and_apply().code, 0);
    assert_eq!((farm.image("c"), packer.runs("build")), (image, 3));
}

fn beside_a_daemon(store: Store) {
    let (farm, _packer) = without_c(store);
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    farm.wait_for_state("c", "orphaned");
    let refused = |wish, words: &str| {
        let id = farm.ask(wish);
        farm.wait_until("it is answered", |farm| {
            farm.requests().iter().any(|one| one.id == id && one.answer.is_some())
        });
        let standing = farm.requests().into_iter().find(|one| one.id == id).unwrap();
        let Outcome::Refused { why, .. } = standing.answer.unwrap().outcome else {
            panic!("it is refused")
        };
        assert!(why.contains(words), "{words:?} is why: {why}");
    };
    let forget =
        |step: &str, image: &str| Wish::Forget { step: StepId::new(step), image: image.into() };
    // Whatever stands in the table of requests: what git has stays.
    refused(forget("b", &farm.image("b")), "b is in git");
    refused(forget("c", "ami-1"), "the record names");
    refused(forget("d", "ami-1"), "no record of a step d");
    assert_eq!(farm.states()[..2], ["in-sync", "in-sync"]);
    assert_eq!(farm.state_of("c"), "orphaned");
    let shown = farm.run(&["forget", "c"]).printed(0);
    assert!(shown.contains("the record of c is gone"), "{shown}");
    assert_eq!(farm.stages("c").last().unwrap(), "forgotten");
    farm.wait_until("the daemon knows it", |farm| farm.status().get("c").is_none());
    let requests = farm.run(&["requests"]).printed(0);
    assert!(requests.contains("forget c"), "{requests}");
}

#[test]
fn a_daemon_forgets_for_whoever_asks_and_never_what_git_has_on_dynamodb() {
    beside_a_daemon(Store::DynamoDb);
}

#[test]
fn a_daemon_forgets_for_whoever_asks_and_never_what_git_has_on_sqlite() {
    beside_a_daemon(Store::Sqlite);
}

/// The record goes in the write that answers: exactly once, whoever dies.
#[test]
fn a_process_that_dies_before_it_answers_has_forgotten_nothing() {
    let (farm, _packer) = without_c(Store::DynamoDb);
    let mut dies = farm.start(&["forget", "c"], "journal.forgotten:before=abort", "dies");
    assert!(!dies.end(Duration::from_mins(1)).unwrap().success(), "{}", farm.log("dies"));
    assert_eq!(farm.state_of("c"), "orphaned");
    assert_eq!(farm.requests().len(), 1, "it stands");
    // The next daemon does what stands.
    let _daemon = farm.daemon();
    farm.wait_until("it is forgotten", |farm| farm.status().get("c").is_none());
    let stages = farm.stages("c");
    assert_eq!(stages.iter().filter(|stage| *stage == "forgotten").count(), 1, "{stages:?}");
}
