//! What a person asks while a daemon runs, while none does, and while the holder of the lease stands
//! still, dies, or cannot do what is asked. What is asked of two is in `asked_of_two`.

use std::time::{Duration, Instant};

use reconciler_model::ids::{RequestId, StepId, WorkflowId};
use reconciler_model::inventory::request::{Outcome, Request, StandingRequest, Wish};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::fake_packer::{FakePacker, WHOLE};
use crate::harness::farm::Farm;

const FAILS: &str = "[build]\nkey\nunkey\nfailure Script exited with non-zero exit status: 7. Allowed exit codes are: [0]\nexit 1\n";

/// A farm whose only step has failed once, and is built when it is tried again.
fn failed_once(configuration: &str) -> (Farm, FakePacker) {
    let (farm, packer) = Farm::playing(&format!("{FAILS}[build 2]\n{WHOLE}"));
    farm.configure(configuration);
    farm.applies_in_vain();
    (farm, packer)
}

fn only_request(farm: &Farm) -> StandingRequest {
    let requests = farm.requests();
    let [only] = requests.as_slice() else { panic!("one request: {requests:#?}") };
    only.clone()
}

#[test]
fn the_daemon_of_this_host_answers_at_once_and_says_who_asked_and_why() {
    let (farm, packer) = failed_once("interval: 1h\nlease_duration: 10m\n");
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let since = Instant::now();
    let asked = farm.run(&["retry", "a", "--why", "the mirror is back"]);
    assert!(asked.out.contains("at its next pass"), "{asked:#?}");
    farm.wait_for_state("a", "in-sync");
    // A heartbeat is minutes away.
    assert!(since.elapsed() < Duration::from_mins(1), "{:?}", since.elapsed());
    assert_eq!(packer.runs("build"), 2);
    let shown = farm.run(&["requests"]).printed(0);
    for words in ["retry a", "because: the mirror is back", "done by", "asked"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let json: Value = serde_json::from_str(&farm.run(&["requests", "-o", "json"]).out).unwrap();
    assert_eq!(json["schema"], "reconciler.requests/1");
    assert_eq!(json["requests"][0]["state"], "done");
    assert_eq!(farm.run(&["requests", "--open"]).out.lines().count(), 1);
    farm.run(&["requests", "01"]).printed(0);
    farm.run(&["requests", "ffff"]).refuses(&["no request `ffff` is known"]);
}

#[test]
fn a_holder_that_is_killed_between_request_and_answer_costs_no_request() {
    let (farm, packer) = failed_once("interval: 1h\nlease_duration: 3s\n");
    let mut daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    daemon.signal(Signal::STOP);
    let mut asking = farm.start(&["retry", "a"], "", "asking");
    farm.wait_until("it is asked", |farm| !farm.requests().is_empty());
    assert_eq!(only_request(&farm).answer, None);
    daemon.kill();
    assert!(asking.end(Duration::from_mins(1)).unwrap().success(), "{}", farm.log("asking"));
    let standing = only_request(&farm);
    assert!(matches!(standing.answer.unwrap().outcome, Outcome::Done { .. }));
    let stages = farm.stages("a");
    assert_eq!(stages.iter().filter(|stage| *stage == "retry_requested").count(), 1, "{stages:?}");
    assert_eq!(packer.runs("build"), 1, "to ask is not to build");
    farm.applies();
    assert_eq!(packer.runs("build"), 2);
}

#[test]
fn ctrl_c_ends_the_wait_and_not_the_request() {
    let (farm, _packer) = failed_once("interval: 1h\nlease_duration: 30s\n");
    let daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    daemon.signal(Signal::STOP);
    let mut asking = farm.start(&["retry", "a"], "", "asking");
    farm.wait_until_said("asking", "Ctrl-C ends the wait, not the request");
    asking.signal(Signal::INT);
    let ended = asking.end(Duration::from_secs(10)).unwrap();
    assert!(!ended.success(), "{ended:?}");
    assert_eq!(only_request(&farm).answer, None);
    let shown = farm.run(&["requests", "--open"]).printed(0);
    assert!(shown.contains("not answered yet"), "{shown}");
    daemon.signal(Signal::CONT);
    farm.wait_for_state("a", "in-sync");
    assert!(only_request(&farm).answer.is_some());
}

/// What looked well when it was asked may be otherwise when the holder comes to it.
#[test]
fn what_cannot_be_done_any_more_is_refused_and_changes_nothing() {
    let (farm, _packer) = failed_once("interval: 1s\nlease_duration: 3s\n");
    let _daemon = farm.daemon();
    let ask = |wish| {
        let id = farm.ask(wish);
        farm.wait_until("it is answered", |farm| {
            farm.requests().iter().any(|one| one.id == id && one.answer.is_some())
        });
        let requests = farm.requests();
        let standing = requests.into_iter().find(|one| one.id == id).unwrap();
        let Outcome::Refused { why, .. } = standing.answer.unwrap().outcome else {
            panic!("it is refused")
        };
        why
    };
    let before = farm.stages("a");
    let step = StepId::new("a");
    let cancelled = ask(Wish::Cancel { step: step.clone(), build: "x".into() });
    assert!(cancelled.contains("nothing to cancel"), "{cancelled}");
    let retried = ask(Wish::Retry { step: StepId::new("nowhere") });
    assert!(retried.contains("no build of nowhere is known"), "{retried}");
    let adopted = ask(Wish::Adopt { step, image: "ami-1".into() });
    assert!(adopted.contains("there is no record of the Python library to adopt"), "{adopted}");
    let adopted = ask(Wish::Adopt { step: StepId::new("nowhere"), image: "ami-1".into() });
    assert!(adopted.contains("has no step nowhere"), "{adopted}");
    assert_eq!(farm.stages("a"), before);
    // Where nothing can be planned, what needs a plan is refused with what is in the way.
    farm.repo.write("packer_workspaces/workflow_param.json", "{\n");
    farm.repo.commit("a mistake");
    let refused = ask(Wish::Adopt { step: StepId::new("a"), image: "ami-1".into() });
    assert!(refused.contains("wf-1 is not planned"), "{refused}");
}

#[test]
fn what_a_newer_version_asks_for_is_refused_by_an_older_one() {
    let (farm, _packer) = failed_once("interval: 1s\nlease_duration: 3s\n");
    let id = RequestId::generate();
    farm.put_request(&id, r#"{"wish":{"dance":{"step":"a"}}}"#);
    let _daemon = farm.daemon();
    farm.wait_until("it is answered", |farm| {
        farm.requests().iter().any(|one| one.id == id && one.answer.is_some())
    });
    let answer = only_request(&farm).answer.unwrap();
    let Outcome::Refused { why, hint } = answer.outcome else { panic!("it is refused") };
    assert!(why.contains("cannot be read"), "{why}");
    assert!(hint.unwrap().contains("older version"));
}

/// Not a rule of the port: what is asked of a workflow stays its own.
#[test]
fn a_request_to_a_workflow_that_git_has_no_more_is_refused_by_the_command() {
    let (farm, _packer) = failed_once("");
    let gone = Request {
        workflow_id: WorkflowId::new("wf-gone"),
        ..Farm::request(Wish::Retry { step: StepId::new("a") })
    };
    farm.ask_as(&gone);
    farm.run(&["retry", "a", "--workflow", "wf-gone"]).refuses(&["there is no workflow `wf-gone`"]);
    assert!(farm.requests().is_empty(), "nothing is asked of this one");
}

/// A permission that is missing is the answer, and what else is asked is done.
#[test]
fn one_that_can_never_be_done_is_refused_and_keeps_no_other() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.configure("interval: 1h\nlease_duration: 4s\n");
    farm.applies();
    farm.forget_what_it_was_made_of("a");
    let image = farm.image("a");
    farm.faults(&json!([{ "operation": "CreateTags", "kind": "denied", "times": 1000 }]));
    let first = farm.ask(Wish::Adopt { step: StepId::new("a"), image: image.as_str().into() });
    let second = farm.ask(Wish::Adopt { step: StepId::new("nowhere"), image: "ami-1".into() });
    // One that says to be another's takes nobody's answer.
    let third = RequestId::generate();
    let other = serde_json::to_string(&Request {
        id: second.clone(),
        ..Farm::request(Wish::Retry { step: StepId::new("a") })
    });
    farm.put_request(&third, &other.unwrap());
    // As the library leaves it, its tags are not ours.
    let _daemon = farm.daemon();
    farm.wait_until("all are answered", |farm| {
        farm.requests().iter().all(|one| one.answer.is_some())
    });
    let requests = farm.requests();
    let why = |id: &RequestId| {
        let standing = requests.iter().find(|one| one.id == *id).unwrap();
        match &standing.answer.as_ref().unwrap().outcome {
            Outcome::Refused { why, .. } => why.clone(),
            done @ Outcome::Done { .. } => panic!("{done:?}"),
        }
    };
    assert!(why(&first).contains("ec2:CreateTags"), "{}", why(&first));
    assert!(why(&second).contains("has no step nowhere"), "{}", why(&second));
    assert!(why(&third).contains("it says to be request"), "{}", why(&third));
}
