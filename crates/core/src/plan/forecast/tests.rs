//! Small fleets whose end can be told by hand, and random ones against what no order can beat.

use std::sync::Arc;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::desired::step::SourceImage;
use crate::plan::changes::tests::plan;
use crate::plan::decision::{Blocked, Build, Building, Manual, Obstacle, Reason, TakeOver};
use reconciler_model::digest::Digest;
use reconciler_model::ids::{AmiId, AmiName, BuildId, Region, Revision, WorkflowId};
use reconciler_model::inventory::journal::{Failure, FailureClass};
use reconciler_model::inventory::record::RecordHead;

const MINUTE: u64 = 60;

fn source() -> SourceImage {
    SourceImage { id: AmiId::new("ami-0"), name: AmiName::new("base") }
}

fn ready() -> Decision {
    Decision::Build(Build {
        reasons: vec![Reason::NeverBuilt],
        source: BuildSource::Known {
            source: source(),
            fingerprint: Digest::of(b"x").into(),
            ami_name: AmiName::new("n"),
            attempt: 0,
        },
    })
}

fn after(parent: &str) -> Decision {
    let source = BuildSource::AfterBuild(StepId::new(parent));
    Decision::Build(Build { reasons: vec![Reason::NeverBuilt], source })
}

fn building(since: Timestamp, superseded: bool) -> Decision {
    let (build_id, fingerprint) = (BuildId::new("b"), Digest::of(b"x").into());
    Decision::Building(Building { build_id, fingerprint, since, superseded })
}

fn blocked(on: &str) -> Decision {
    let root = Obstacle {
        step: StepId::new(on),
        state: "backing-off",
        why: "is backing off",
        waits_for_a_person: false,
    };
    Decision::Blocked(Blocked { on: StepId::new(on), root })
}

fn manual() -> Decision {
    Decision::AwaitingManual(Manual { reasons: vec![Reason::NeverBuilt], source: None })
}

fn record(times: &[u64]) -> Arc<RecordHead> {
    let build_times =
        times.iter().fold(BuildTimes::default(), |times, seconds| times.with(*seconds));
    Arc::new(RecordHead {
        workflow_id: WorkflowId::new("w"),
        step_id: StepId::new("s"),
        ami_id: AmiId::new("ami-1"),
        ami_name: AmiName::new("n"),
        create_at: Timestamp::UNIX_EPOCH,
        base_ami_id: AmiId::new("ami-0"),
        base_ami_name: AmiName::new("base"),
        root_base_ami_id: AmiId::new("ami-0"),
        root_base_ami_name: AmiName::new("base"),
        built: Some(Built {
            fingerprint: Digest::of(b"x").into(),
            build_id: BuildId::new("b"),
            revision: Revision::new("r"),
            region: Region::new("x"),
            tags: std::collections::BTreeMap::new().into(),
            metadata_digest: Digest::of(b"m"),
            build_seconds: times.last().copied().unwrap_or_default(),
            build_times,
            recorded_at: Timestamp::UNIX_EPOCH,
            fence: 1,
        }),
    })
}

/// Steps with their parents, what is to be done, and how long their builds took.
fn fleet(steps: &[(&str, Option<&str>, Decision, &[u64])]) -> Plan {
    let decisions = steps.iter().map(|(id, _, decision, _)| (*id, decision.clone())).collect();
    let mut plan = plan(decisions);
    for (step, (_, parent, _, times)) in plan.steps.iter_mut().zip(steps) {
        step.parent = parent.map(StepId::new);
        step.record = Some(record(times)).filter(|_| !times.is_empty());
    }
    plan
}

fn outlook(plan: &Plan, slots: usize) -> Outlook {
    Outlook::of(&[(plan, None)], BuildSlots::of(slots), plan.at).remove(0)
}

/// In how many minutes all is in sync: usually, and if each build is slow.
fn minutes(plan: &Plan, slots: usize) -> Option<[u64; 2]> {
    let forecast = outlook(plan, slots).forecast?;
    Some(forecast.from(plan.at).map(|time| time.as_secs() / MINUTE))
}

fn ids(steps: &[&PlannedStep]) -> Vec<String> {
    steps.iter().map(|step| step.id.to_string()).collect()
}

fn ago(minutes: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH - SignedDuration::from_mins(minutes)
}

/// `a` takes ten minutes, `b` on it twenty; `c` stands alone with twenty-five.
fn three() -> Plan {
    fleet(&[
        ("a", None, ready(), &[10 * MINUTE]),
        ("b", Some("a"), after("a"), &[20 * MINUTE, 40 * MINUTE, 20 * MINUTE]),
        ("c", None, ready(), &[25 * MINUTE]),
    ])
}

#[test]
fn the_end_is_that_of_the_longest_chain_or_of_all_on_the_slots() {
    assert_eq!(minutes(&three(), 2), Some([30, 50]));
    assert_eq!(minutes(&three(), 1), Some([55, 75]));
    let two = outlook(&three(), 2);
    let forecast = two.forecast.clone().unwrap();
    assert_eq!((forecast.builds_left, forecast.guessed), (3, 0));
    assert_eq!(forecast.critical_path, ["a", "b"].map(StepId::new));
    let ends = |id| two.step(&StepId::new(id)).unwrap().ends_at.unwrap().as_second() / 60;
    assert_eq!(["a", "b", "c"].map(ends), [10, 30, 25]);
    let one = outlook(&three(), 1).forecast.unwrap();
    assert_eq!(one.critical_path, ["a", "c", "b"].map(StepId::new), "they wait for the one slot");
}

#[test]
fn the_longest_chain_gets_the_slot_and_the_others_stand_in_line() {
    let plan = three();
    assert_eq!(ids(&build_order(&plan, None)), ["a", "c", "b"]);
    let places = |slots| {
        let outlook = outlook(&plan, slots);
        ["a", "b", "c"].map(|id| outlook.step(&StepId::new(id)).unwrap().place)
    };
    assert_eq!(places(1), [None, None, Some(1)]);
    assert_eq!(places(2), [None; 3]);
    // Where nobody knows how long a build takes, the chain with most builds goes first.
    let unknown = fleet(&[
        ("alone", None, ready(), &[]),
        ("first", None, ready(), &[]),
        ("second", Some("first"), after("first"), &[]),
    ]);
    assert_eq!(ids(&build_order(&unknown, None)), ["first", "alone", "second"]);
    let unknown = outlook(&unknown, 1);
    assert_eq!(unknown.forecast, None, "nobody knows when");
    let alone = unknown.step(&StepId::new("alone")).unwrap();
    assert_eq!(alone, StepForecast { ends_at: None, place: Some(1) });
}

#[test]
fn what_runs_takes_what_is_left_of_its_time_and_holds_its_slot() {
    let of = |since, superseded| {
        fleet(&[
            ("a", None, building(since, superseded), &[10 * MINUTE]),
            ("b", None, ready(), &[10 * MINUTE]),
        ])
    };
    assert_eq!(minutes(&of(ago(4), false), 1), Some([16, 16]));
    assert_eq!(minutes(&of(ago(4), false), 2), Some([10, 10]));
    // It takes longer than any before: a tenth of what it took, and half of that.
    assert_eq!(minutes(&of(ago(40), false), 1), Some([12, 14]));
    // It is built once more when it has ended.
    assert_eq!(minutes(&of(ago(4), true), 2), Some([16, 16]));
}

/// A push that changes a base while what stands on it is built.
#[test]
fn what_runs_on_a_source_that_changes_is_built_again_after_it_and_once() {
    let of = |parent| {
        fleet(&[
            ("base", None, parent, &[60 * MINUTE]),
            ("on-it", Some("base"), building(ago(10), true), &[20 * MINUTE]),
        ])
    };
    assert_eq!(minutes(&of(ready()), 1), Some([90, 90]), "10 left, 60, and 20 again");
    assert_eq!(minutes(&of(ready()), 2), Some([80, 80]));
    assert_eq!(outlook(&of(ready()), 2).forecast.unwrap().builds_left, 3);
    // A person makes the base: when, nobody can tell.
    assert_eq!(minutes(&of(manual()), 2), Some([10, 10]));
    assert_eq!(outlook(&of(manual()), 2).forecast.unwrap().builds_left, 1);
    assert_eq!(minutes(&of(Decision::InSync), 2), Some([30, 30]));
}

#[test]
fn what_no_plan_shows_holds_its_slots() {
    let plan = three();
    let slots = BuildSlots { limit: 2, taken: 1 };
    let outlook = Outlook::of(&[(&plan, None)], slots, plan.at).remove(0);
    assert_eq!(outlook.forecast.as_ref().unwrap().from(plan.at)[0].as_secs(), 55 * MINUTE);
    assert_eq!(outlook.step(&StepId::new("c")).unwrap().place, Some(1));
    assert_eq!(outlook.slots, 2, "people are told how many there are");
    let none = BuildSlots { limit: 2, taken: 5 };
    assert!(Outlook::of(&[(&plan, None)], none, plan.at)[0].forecast.is_some());
}

#[test]
fn what_waits_for_a_person_is_left_out_and_what_passes_is_waited_for() {
    let failure = Failure {
        class: FailureClass::Transient,
        cause: "no capacity".into(),
        changed: String::new(),
        phases: Vec::new(),
        details: String::new(),
        log: None,
        retry_at: None,
    };
    let backing_off = Decision::BackingOff { until: ago(-30), failure, repeats: false };
    let plan = fleet(&[
        ("late", None, backing_off, &[10 * MINUTE]),
        ("then", Some("late"), blocked("late"), &[5 * MINUTE]),
        ("by-hand", None, manual(), &[MINUTE]),
        ("on-it", Some("by-hand"), blocked("by-hand"), &[500 * MINUTE]),
        ("fine", None, Decision::InSync, &[500 * MINUTE]),
    ]);
    assert_eq!(minutes(&plan, 4), Some([45, 45]));
    let outlook = outlook(&plan, 4);
    assert_eq!(outlook.forecast.as_ref().unwrap().builds_left, 2);
    assert_eq!(outlook.step(&StepId::new("on-it")), None);
    let fine = fleet(&[("fine", None, Decision::InSync, &[MINUTE])]);
    assert_eq!(minutes(&fine, 4), None);
}

#[test]
fn an_image_that_is_taken_over_takes_no_time_and_no_slot() {
    let taken = Decision::TakeOver(TakeOver {
        reasons: vec![Reason::NeverBuilt],
        source: source(),
        fingerprint: Digest::of(b"x").into(),
        image: AmiId::new("ami-1"),
        ami_name: AmiName::new("n"),
        ready: true,
        attempt: 0,
    });
    let only = fleet(&[("a", None, taken.clone(), &[10 * MINUTE])]);
    assert_eq!(minutes(&only, 1), None, "nothing is built");
    let both = fleet(&[
        ("a", None, taken, &[10 * MINUTE]),
        ("b", Some("a"), after("a"), &[5 * MINUTE]),
        ("c", None, ready(), &[5 * MINUTE]),
    ]);
    assert_eq!(minutes(&both, 2), Some([5, 5]));
    assert_eq!(outlook(&both, 2).forecast.unwrap().builds_left, 2);
}

#[test]
fn a_step_that_was_never_built_takes_what_others_take() {
    let plan = fleet(&[
        ("a", None, ready(), &[10 * MINUTE]),
        ("new", Some("a"), after("a"), &[]),
        ("c", None, ready(), &[4 * MINUTE]),
        ("d", None, ready(), &[7 * MINUTE]),
    ]);
    assert_eq!(minutes(&plan, 4), Some([17, 17]));
    assert_eq!(outlook(&plan, 4).forecast.unwrap().guessed, 1);
}

#[test]
fn workflows_share_the_slots_in_the_order_of_the_pass() {
    let first = fleet(&[("a", None, ready(), &[10 * MINUTE])]);
    let second = fleet(&[("b", None, ready(), &[20 * MINUTE])]);
    let both = Outlook::of(&[(&first, None), (&second, None)], BuildSlots::of(1), first.at);
    let minutes = |outlook: &Outlook| {
        let [usual, _] = outlook.forecast.as_ref().unwrap().from(first.at);
        usual.as_secs() / MINUTE
    };
    assert_eq!([minutes(&both[0]), minutes(&both[1])], [10, 30]);
    let place = both[1].step(&StepId::new("b")).unwrap().place;
    assert_eq!(place, Some(1));
}

/// A forest of so many steps, each on an earlier one or on none, with times of one to sixty
/// minutes.
fn forest(count: usize) -> impl Strategy<Value = Vec<(Option<usize>, u64)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0..10_u8, 1..=60_u64), count).prop_map(
        |steps| {
            let of =
                |(number, (parent, alone, minutes)): (usize, (prop::sample::Index, u8, u64))| {
                    let parent = (number > 0 && alone > 0).then(|| parent.index(number.max(1)));
                    (parent, minutes * MINUTE)
                };
            steps.into_iter().enumerate().map(of).collect()
        },
    )
}

fn planned(forest: &[(Option<usize>, u64)]) -> Plan {
    let names: Vec<_> = (0..forest.len()).map(|number| format!("s{number}")).collect();
    let times: Vec<_> = forest.iter().map(|(_, seconds)| [*seconds]).collect();
    let steps = forest.iter().enumerate().map(|(number, (parent, _))| {
        let parent = parent.map(|parent| names[parent].as_str());
        let decision = parent.map_or_else(ready, after);
        (names[number].as_str(), parent, decision, &times[number][..])
    });
    fleet(&steps.collect::<Vec<_>>())
}

/// What no order of builds can beat: the longest chain, and the sum over the slots.
fn bounds(forest: &[(Option<usize>, u64)], slots: usize) -> [u64; 2] {
    let mut ends = vec![0; forest.len()];
    for (number, (parent, seconds)) in forest.iter().enumerate() {
        ends[number] = parent.map_or(0, |parent| ends[parent]) + seconds;
    }
    let longest = ends.into_iter().max().unwrap_or(0);
    let sum: u64 = forest.iter().map(|(_, seconds)| seconds).sum();
    [longest, sum.div_ceil(slots as u64)]
}

/// A fleet of 200 steps in chains of five, as `make bench` makes them, by numbers that are always
/// the same.
fn generated(seed: u64) -> Vec<(Option<usize>, u64)> {
    let mut state = seed;
    let mut below = |limit: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let parent = |number: usize| (!number.is_multiple_of(5)).then(|| number - 1);
    (0..200).map(|number| (parent(number), (1 + below(60)) * MINUTE)).collect()
}

#[test]
fn two_hundred_steps_take_hardly_longer_than_they_must() {
    for seed in 0..40 {
        let forest = generated(seed);
        let plan = planned(&forest);
        for slots in [1, 4, 16, 64] {
            let [usual, _] = outlook(&plan, slots).forecast.unwrap().from(plan.at);
            let least = bounds(&forest, slots).into_iter().max().unwrap();
            let usual = usual.as_secs();
            assert!(usual * 100 <= least * 105, "seed {seed}, {slots} slots: {usual}, {least}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Of any fleet: no slot is left empty while something could start (Graham's bound), and the
    /// path tells where the time goes.
    #[test]
    fn no_slot_is_left_empty_while_something_waits(forest in forest(60), slots in 1..20_usize) {
        let plan = planned(&forest);
        let forecast = outlook(&plan, slots).forecast.unwrap();
        let [usual, slow] = forecast.from(plan.at).map(|time| time.as_secs());
        let [longest, shared] = bounds(&forest, slots);
        prop_assert!(usual >= longest.max(shared), "{usual} < {longest}, {shared}");
        prop_assert!(usual <= longest + shared, "{usual} > {longest} + {shared}");
        prop_assert_eq!(usual, slow, "one time is known of each");
        let seconds = |id: &StepId| forest[id.as_str()[1..].parse::<usize>().unwrap()].1;
        let sum: u64 = forecast.critical_path.iter().map(seconds).sum();
        prop_assert_eq!(sum, usual);
    }
}
