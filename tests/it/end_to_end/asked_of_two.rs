//! What a person asks of two daemons on two hosts, of which one holds the lease and the other stands
//! by: each deed is done once and answered by the holder, or by the other, where the holder is
//! killed between request and answer; and of two who ask for the same, one is refused.

use std::time::Duration;

use reconciler_model::inventory::request::Outcome;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::by_hand::{image_of, prepared};
use crate::harness::fake_packer::{ENDLESS, FakePacker, WHOLE};
use crate::harness::farm::{Farm, Store};
use crate::harness::running::Running;

/// What is asked, of which farm.
struct Deed {
    farm: Farm,
    packer: FakePacker,
    command: Vec<String>,
    done: Done,
}

/// What is so once it is done.
type Done = Box<dyn Fn(&Farm, &FakePacker)>;

/// One test per deed, store and fate of the holder.
macro_rules! deeds {
    ($($deed:ident: $($name:ident = $store:ident),*;)*) => {
        mod the_holder_does_it_once_and_answers {
            $($(#[test]
            fn $name() {
                super::beside_two(super::$deed(super::Store::$store));
            })*)*
        }

        mod the_standby_answers_where_the_holder_was_killed {
            $($(#[test]
            fn $name() {
                super::holder_killed(super::$deed(super::Store::$store));
            })*)*
        }
    };
}

deeds! {
    retry: retry_on_dynamodb = DynamoDb, retry_on_sqlite = Sqlite;
    cancel: cancel_on_dynamodb = DynamoDb;
    adopt: adopt_on_dynamodb = DynamoDb;
    adopt_image: adopt_image_on_dynamodb = DynamoDb, adopt_image_on_sqlite = Sqlite;
    forget: forget_on_dynamodb = DynamoDb;
    create: image_create_on_dynamodb = DynamoDb;
    delete: image_delete_on_dynamodb = DynamoDb, image_delete_on_sqlite = Sqlite;
}

/// The daemon that holds the lease, on the host `one`, and the one that stands by, on `two`.
fn two_daemons(farm: &Farm) -> [Running; 2] {
    let one = farm.daemon_on("one");
    farm.wait_until("the first holds the lease", |farm| farm.status().held_by.is_some());
    let two = farm.daemon_on("two");
    farm.wait_until_said("two", "standing by");
    [one, two]
}

fn is_answered(farm: &Farm) -> bool {
    farm.requests().iter().all(|request| request.answer.is_some())
}

fn is_done_by(farm: &Farm, host: &str) {
    let requests = farm.requests();
    assert!(!requests.is_empty());
    for request in requests {
        let answer = request.answer.as_ref().unwrap();
        assert!(matches!(answer.outcome, Outcome::Done { .. }), "{request:?}");
        assert!(answer.by.starts_with(&format!("{host}/")), "{request:?}");
    }
    assert!(farm.status().held_by.as_ref().unwrap().starts_with(&format!("{host}/")));
}

fn beside_two(Deed { farm, packer, command, done }: Deed) {
    let _daemons = two_daemons(&farm);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let ran = farm.run(&command);
    assert_eq!(ran.code, 0, "{ran:#?}");
    is_done_by(&farm, "one");
    done(&farm, &packer);
}

fn holder_killed(Deed { farm, packer, command, done }: Deed) {
    let [mut one, _two] = two_daemons(&farm);
    one.signal(Signal::STOP);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    // It stands still when it has asked: so it takes no lease before the standby does.
    let mut asking = farm.start(&command, "request.ask:after=stop", "asking");
    farm.wait_until("it is asked", |farm| !farm.requests().is_empty());
    assert!(!is_answered(&farm));
    one.kill();
    while asking.ended_or_frozen(Duration::from_mins(1)).unwrap() {
        farm.wait_until("it is answered", is_answered);
        asking.signal(Signal::CONT);
    }
    assert!(asking.ended().unwrap().success(), "{}", farm.log("asking"));
    is_done_by(&farm, "two");
    done(&farm, &packer);
}

/// Two who have looked and ask for the same at once: the second gets this word.
fn at_once(Deed { farm, packer, command, done }: Deed, refusal: &str) {
    let _daemons = two_daemons(&farm);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut both =
        ["first", "second"].map(|log| farm.start(&command, "request.ask:before=stop", log));
    let limit = Duration::from_mins(1);
    for asking in &mut both {
        assert!(
            asking.ended_or_frozen(limit).unwrap(),
            "{} {}",
            farm.log("first"),
            farm.log("second")
        );
    }
    let ended = std::thread::scope(|scope| {
        both.each_mut()
            .map(|asking| {
                scope.spawn(|| {
                    while asking.ended_or_frozen(limit).unwrap() {
                        asking.signal(Signal::CONT);
                    }
                    asking.ended().unwrap().success()
                })
            })
            .map(|thread| thread.join().unwrap())
    });
    let said = ["first", "second"].map(|log| farm.log(log));
    let refused = match ended {
        [true, false] => &said[1],
        [false, true] => &said[0],
        _ => panic!("{said:#?}"),
    };
    assert!(refused.contains(refusal), "{said:#?}");
    assert!(is_answered(&farm));
    done(&farm, &packer);
}

#[test]
fn of_two_who_adopt_an_image_at_once_one_does_and_the_other_is_told() {
    at_once(adopt_image(Store::DynamoDb), "is its recorded image already");
}

#[test]
fn of_two_who_forget_at_once_one_does_and_the_other_is_told() {
    at_once(forget(Store::DynamoDb), "there is no record of a step c");
}

#[test]
fn of_two_who_delete_at_once_one_does_and_the_other_is_told() {
    at_once(delete(Store::DynamoDb), "is reserved for deletion by");
}

/// A farm whose Packer plays a transcript and whose daemons find out of each other within seconds.
fn farm(store: Store, transcript: &str) -> (Farm, FakePacker) {
    let packer = FakePacker::new(transcript);
    let mut farm = Farm::with_packer(packer.binary());
    farm.keep_records_in(store).configure("interval: 1h\nlease_duration: 4s\n");
    farm.step("a", None);
    (farm, packer)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The journal of a step tells of this once.
fn is_told_once(farm: &Farm, step: &str, stage: &str) {
    let stages = farm.stages(step);
    assert_eq!(stages.iter().filter(|one| *one == stage).count(), 1, "{stages:?}");
}

fn retry(store: Store) -> Deed {
    const FAILS: &str = "[build]\nkey\nunkey\nfailure Script exited with non-zero exit status: 7. Allowed exit codes are: [0]\nexit 1\n";
    let (farm, packer) = farm(store, &format!("{FAILS}[build 2]\n{WHOLE}"));
    farm.repo.commit("one step");
    farm.applies_in_vain();
    let done = |farm: &Farm, packer: &FakePacker| {
        farm.settles("a");
        is_told_once(farm, "a", "retry_requested");
        assert_eq!(packer.runs("build"), 2);
    };
    Deed { farm, packer, command: words(&["retry", "a"]), done: Box::new(done) }
}

/// Of a build whose process has died, and which its supervisor carries on.
fn cancel(store: Store) -> Deed {
    let (farm, packer) = farm(store, &format!("[build]\n{ENDLESS}"));
    farm.repo.commit("one step");
    let mut dies = farm.start(&["apply"], "", "dies");
    farm.wait_for_packer(&packer, "running");
    farm.wait_for_stage("a", "started");
    dies.kill();
    let done = |farm: &Farm, packer: &FakePacker| {
        let stages = ["intent", "started", "cancel_requested", "failed", "cleaned"];
        farm.wait_for_stage("a", "cleaned");
        assert_eq!(farm.stages("a"), stages);
        farm.failed("cancelled", "cancelled by");
        assert_eq!((packer.runs("build"), farm.leftovers()), (1, String::new()));
    };
    Deed { farm, packer, command: words(&["cancel", "a"]), done: Box::new(done) }
}

fn adopt(store: Store) -> Deed {
    let (farm, packer) = farm(store, &format!("[build]\n{WHOLE}"));
    assert_eq!(farm.commit_and_apply().code, 0);
    farm.forget_what_it_was_made_of("a");
    let image = farm.image("a");
    assert_eq!(farm.state_of("a"), "unverified");
    let done = move |farm: &Farm, packer: &FakePacker| {
        assert_eq!((farm.state_of("a"), farm.image("a")), ("in-sync".into(), image.clone()));
        is_told_once(farm, "a", "adopted");
        assert_eq!(packer.runs("build"), 1);
    };
    Deed { farm, packer, command: words(&["adopt", "a"]), done: Box::new(done) }
}

/// A farm with a step that a person makes, and an instance that is prepared for it.
fn with_an_instance(store: Store) -> (Farm, FakePacker, String) {
    let (farm, packer) = farm(store, &format!("[build]\n{WHOLE}"));
    farm.step_params("hand", Some("a"), &json!({})).step("b", Some("hand"));
    farm.commit_and_apply();
    assert_eq!(farm.state_of("hand"), "awaiting-manual");
    let instance = prepared(&farm, "a");
    (farm, packer, instance)
}

fn adopt_image(store: Store) -> Deed {
    let (farm, packer, instance) = with_an_instance(store);
    let image = image_of(&farm, &instance, "by hand");
    let command = words(&["adopt", "hand", "--image", &image]);
    let done = move |farm: &Farm, packer: &FakePacker| {
        assert_eq!(farm.image("hand"), image);
        assert_eq!(farm.stages("hand"), ["adopted"]);
        farm.settles("b");
        assert_eq!(packer.runs("build"), 2, "what stands on it");
    };
    Deed { farm, packer, command, done: Box::new(done) }
}

fn create(store: Store) -> Deed {
    let (farm, packer, instance) = with_an_instance(store);
    let command = words(&["image", "create", "--step", "hand", "--instance-id", &instance]);
    let done = |farm: &Farm, packer: &FakePacker| {
        farm.settles("hand");
        let stages = ["intent", "image_seen", "available", "tagged", "recorded", "cleaned"];
        assert_eq!(farm.stages("hand"), stages);
        farm.settles("b");
        assert_eq!(packer.runs("build"), 2, "what stands on it");
        assert_eq!(farm.calls("ec2.CreateImage"), 3, "one by the person, two by Packer");
    };
    Deed { farm, packer, command, done: Box::new(done) }
}

fn forget(store: Store) -> Deed {
    let (farm, packer) = farm(store, &format!("[build]\n{WHOLE}"));
    farm.step("c", None);
    assert_eq!(farm.commit_and_apply().code, 0);
    farm.repo.git(&["rm", "-rq", "packer_workspaces/c"]);
    farm.repo.commit("c is not needed any more");
    let images = ["a", "c"].map(|step| farm.image(step));
    let done = move |farm: &Farm, packer: &FakePacker| {
        let status = farm.status();
        assert!(status.get("c").is_none(), "{status:?}");
        is_told_once(farm, "c", "forgotten");
        assert_eq!(farm.image("a"), images[0]);
        assert_eq!((farm.made_images(), packer.runs("build")), (2, 2), "both images stay");
    };
    Deed { farm, packer, command: words(&["forget", "c"]), done: Box::new(done) }
}

fn delete(store: Store) -> Deed {
    let (farm, packer) = farm(store, &format!("[build]\n{WHOLE}"));
    assert_eq!(farm.commit_and_apply().code, 0);
    let old = farm.image("a");
    farm.script("a", "echo 2\n");
    assert_eq!(farm.commit_and_apply().code, 0);
    let current = farm.image("a");
    let command = words(&["image", "delete", "--yes", "--snapshots", &old]);
    let done = move |farm: &Farm, _: &FakePacker| {
        let left = farm.images();
        assert!(left.iter().all(|image| image["id"] != old.as_str()), "{left:?}");
        assert_eq!((farm.state_of("a"), farm.image("a")), ("in-sync".into(), current.clone()));
        is_told_once(farm, "a", "deleted");
        assert!(farm.reservations().is_empty());
    };
    Deed { farm, packer, command, done: Box::new(done) }
}
