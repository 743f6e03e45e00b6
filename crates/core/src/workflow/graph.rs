//! The forest that steps form over `previous_step_id`.
//!
//! Duplicates, unknown parents and cycles break the steps that they concern; descendants of a
//! broken step stay in the forest and are blocked by the plan.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::workflow::{BrokenStep, Step};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::StepId;
use reconciler_model::suggest::nearest;

/// How many unknown parents are compared with all steps: each comparison costs as much as there are
/// steps.
const SUGGESTIONS: usize = 20;

/// How many steps of a cycle are shown, in each of its steps' messages.
const SHOWN_OF_A_CYCLE: usize = 20;

/// Orders steps, parents before children and otherwise by id, and sorts out those that fit nowhere.
#[must_use]
pub fn order(steps: Vec<Step>, mut broken: Vec<BrokenStep>) -> (Vec<Step>, Vec<BrokenStep>) {
    let mut by_id = take_duplicates(steps, &mut broken);
    take_orphans(&mut by_id, &mut broken);
    let order = topological(&by_id, &broken);
    take_cycles(&mut by_id, &order, &mut broken);
    let sorted = order.into_iter().filter_map(|id| by_id.remove(&id)).collect();
    broken.sort_by(|a, b| (&a.id, &a.folder).cmp(&(&b.id, &b.folder)));
    (sorted, broken)
}

fn take_duplicates(steps: Vec<Step>, broken: &mut Vec<BrokenStep>) -> BTreeMap<StepId, Step> {
    let mut folders: BTreeMap<StepId, Vec<Step>> = BTreeMap::new();
    for step in steps {
        folders.entry(step.id.clone()).or_default().push(step);
    }
    let mut broken_folders: HashMap<StepId, Vec<String>> = HashMap::new();
    for other in broken.iter() {
        broken_folders.entry(other.id.clone()).or_default().push(other.folder.clone());
    }
    let mut by_id = BTreeMap::new();
    for (id, mut same) in folders {
        if same.len() == 1 && !broken_folders.contains_key(&id) {
            by_id.extend(same.pop().map(|step| (id, step)));
            continue;
        }
        let mut files: Vec<_> = same.iter().map(Step::param_file).collect();
        files.extend(broken_folders.remove(&id).unwrap_or_default());
        let message =
            format!("step id `{id}` is used {} times: {}", files.len(), files.join(" and "));
        let why = match same.last() {
            Some(step) => step.wrong_id(message),
            None => Diagnostic::new(message).in_file(files[0].clone()),
        };
        let why = why.hint("give each step an id of its own");
        let folder = same.first().map(|step| step.folder.clone()).unwrap_or_default();
        broken.push(BrokenStep { id, folder, why: vec![why] });
    }
    by_id
}

fn take_orphans(by_id: &mut BTreeMap<StepId, Step>, broken: &mut Vec<BrokenStep>) {
    let broken_ids: BTreeSet<StepId> = broken.iter().map(|step| step.id.clone()).collect();
    let orphans: Vec<StepId> = by_id
        .values()
        .filter(|step| {
            step.parent
                .as_ref()
                .is_some_and(|parent| !by_id.contains_key(parent) && !broken_ids.contains(parent))
        })
        .map(|step| step.id.clone())
        .collect();
    for (count, id) in orphans.into_iter().enumerate() {
        let Some(step) = by_id.remove(&id) else {
            continue;
        };
        let parent = step.parent.as_ref().map(StepId::as_str).unwrap_or_default();
        let known = by_id
            .keys()
            .map(StepId::as_str)
            .filter(|other| *other != id.as_str())
            .take(if count < SUGGESTIONS { usize::MAX } else { 0 });
        let hint = nearest(parent, known).map_or_else(
            || {
                format!(
                    "there are: {}",
                    by_id.keys().take(12).map(StepId::as_str).collect::<Vec<_>>().join(", ")
                )
            },
            |near| format!("did you mean `{near}`?"),
        );
        let why = step
            .wrong_parent(format!(
                "`previous_step_id` of step `{id}` names `{parent}`, and there is no such step"
            ))
            .hint(hint);
        broken.push(BrokenStep { id, folder: step.folder, why: vec![why] });
    }
}

fn topological(by_id: &BTreeMap<StepId, Step>, broken: &[BrokenStep]) -> Vec<StepId> {
    let broken: BTreeSet<&StepId> = broken.iter().map(|step| &step.id).collect();
    let mut children: HashMap<&StepId, Vec<&StepId>> = HashMap::new();
    let mut ready = BTreeSet::new();
    for step in by_id.values() {
        match &step.parent {
            Some(parent) if !broken.contains(parent) => {
                children.entry(parent).or_default().push(&step.id);
            }
            _ => {
                ready.insert(&step.id);
            }
        }
    }
    let mut order = Vec::with_capacity(by_id.len());
    while let Some(id) = ready.pop_first() {
        order.push(id.clone());
        ready.extend(children.remove(id).unwrap_or_default());
    }
    order
}

fn take_cycles(by_id: &mut BTreeMap<StepId, Step>, order: &[StepId], broken: &mut Vec<BrokenStep>) {
    let placed: BTreeSet<&StepId> = order.iter().collect();
    let mut left: BTreeSet<StepId> =
        by_id.keys().filter(|id| !placed.contains(id)).cloned().collect();
    while let Some(start) = left.first().cloned() {
        let mut walk: Vec<StepId> = vec![start.clone()];
        let mut at: HashMap<StepId, usize> = HashMap::from([(start, 0)]);
        while let Some(parent) = walk.last().and_then(|id| by_id[id].parent.clone()) {
            if let Some(first) = at.get(&parent).copied() {
                break_cycle(by_id, &walk[first..], &mut left, broken);
                break;
            }
            if !left.contains(&parent) {
                break;
            }
            at.insert(parent.clone(), walk.len());
            walk.push(parent);
        }
        // What leads into the cycle is below it: broken as well, for its order cannot be known.
        for id in walk.iter().filter(|id| left.contains(*id)).cloned().collect::<Vec<_>>() {
            left.remove(&id);
            let parent = by_id[&id].parent.as_ref().map(ToString::to_string).unwrap_or_default();
            let why = by_id[&id]
                .wrong_parent(format!("step `{id}` descends from a cycle, by way of `{parent}`"));
            broken.push(BrokenStep { folder: by_id[&id].folder.clone(), id, why: vec![why] });
        }
    }
}

fn break_cycle(
    by_id: &BTreeMap<StepId, Step>,
    cycle: &[StepId],
    left: &mut BTreeSet<StepId>,
    broken: &mut Vec<BrokenStep>,
) {
    let mut shown: Vec<String> = cycle
        .iter()
        .take(SHOWN_OF_A_CYCLE)
        .map(|id| format!("{id} ({})", by_id[id].param_file()))
        .collect();
    if let Some(more) = cycle.len().checked_sub(SHOWN_OF_A_CYCLE).filter(|n| *n > 0) {
        shown.push(format!("({more} more steps)"));
    }
    shown.extend(cycle.first().map(ToString::to_string));
    let whole = shown.join(" -> ");
    for id in cycle {
        left.remove(id);
        let why = by_id[id]
            .wrong_parent(format!(
                "`previous_step_id` leads around in a circle: {whole}"
            ))
            .hint(
                "one of these steps has to start from another step, or from the root base image (null)",
            );
        broken.push(BrokenStep {
            id: id.clone(),
            folder: by_id[id].folder.clone(),
            why: vec![why],
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::workflow::Switches;

    fn step(id: &str, parent: Option<&str>) -> Step {
        Step {
            id: StepId::new(id),
            folder: format!("w/{id}"),
            parent: parent.map(StepId::new),
            values: Map::new(),
            switches: Switches::default(),
            written: None,
        }
    }

    fn ordered(steps: Vec<Step>) -> (Vec<String>, Vec<(String, String)>) {
        let (sound, broken) = order(steps, Vec::new());
        let ids = sound.iter().map(|s| s.id.to_string()).collect();
        (ids, broken.iter().map(|b| (b.id.to_string(), b.why[0].message.clone())).collect())
    }

    #[test]
    fn parents_come_before_children_and_otherwise_ids_sort() {
        let (ids, broken) = ordered(vec![
            step("c", Some("z")),
            step("b", None),
            step("z", None),
            step("a", Some("c")),
        ]);
        assert_eq!(ids, ["b", "z", "c", "a"]);
        assert!(broken.is_empty());
    }

    #[test]
    fn a_cycle_is_shown_whole_and_breaks_nobody_else() {
        let (ids, broken) = ordered(vec![
            step("a", Some("b")),
            step("b", Some("a")),
            step("below", Some("a")),
            step("ok", None),
        ]);
        assert_eq!(ids, ["ok"]);
        assert_eq!(broken.len(), 3);
        assert!(
            broken[0].1.contains("a (w/a/step_param.json) -> b (w/b/step_param.json) -> a"),
            "{}",
            broken[0].1
        );
        assert!(broken[2].1.contains("descends from a cycle"));
    }

    #[test]
    fn twenty_thousand_steps_are_ordered_whatever_is_wrong_with_them() {
        const MANY: usize = 20_000;
        let chain: Vec<Step> = (0..MANY)
            .map(|n| {
                let parent = (n + 1 < MANY).then(|| format!("s{}", n + 1));
                step(&format!("s{n}"), parent.as_deref())
            })
            .collect();
        let (ids, _) = ordered(chain);
        assert_eq!((ids.len(), ids[0].as_str()), (MANY, "s19999"));

        let circle = (0..MANY)
            .map(|n| step(&format!("s{n}"), Some(&format!("s{}", (n + 1) % MANY))))
            .collect();
        let (ids, broken) = ordered(circle);
        assert_eq!((ids.len(), broken.len()), (0, MANY));
        assert!(broken[0].1.contains("(19980 more steps)"), "{}", broken[0].1);

        let orphans = (0..MANY).map(|n| step(&format!("s{n}"), Some("nobody"))).collect();
        assert_eq!(ordered(orphans).1.len(), MANY);
    }

    proptest::proptest! {
        #[test]
        fn every_step_is_either_ordered_after_its_parent_or_broken(
            parents in proptest::collection::vec(proptest::option::of(0..30_usize), 0..25)
        ) {
            let steps: Vec<Step> = parents
                .iter()
                .enumerate()
                .map(|(n, parent)| step(&format!("s{n}"), parent.map(|p| format!("s{p}")).as_deref()))
                .collect();
            let (sound, broken) = order(steps.clone(), Vec::new());
            let broken: BTreeSet<_> = broken.into_iter().map(|step| step.id).collect();
            let mut seen = BTreeSet::new();
            for step in &sound {
                if let Some(parent) = &step.parent {
                    proptest::prop_assert!(seen.contains(parent) || broken.contains(parent));
                }
                proptest::prop_assert!(!broken.contains(&step.id));
                proptest::prop_assert!(seen.insert(step.id.clone()));
            }
            proptest::prop_assert_eq!(seen.len() + broken.len(), steps.len());
            let mut turned = steps;
            turned.reverse();
            let again: Vec<StepId> = order(turned, Vec::new()).0.into_iter().map(|s| s.id).collect();
            let first: Vec<StepId> = sound.into_iter().map(|s| s.id).collect();
            proptest::prop_assert_eq!(again, first);
        }
    }

    #[test]
    fn a_duplicate_names_both_files_and_an_unknown_parent_the_nearest_step() {
        let mut twin = step("a", None);
        twin.folder = "w/other".into();
        let (sound, broken) = order(
            vec![step("a", None), twin, step("pyenv", None), step("x", Some("pyenw"))],
            Vec::new(),
        );
        assert_eq!(sound.len(), 1);
        assert!(
            broken[0].why[0].message.contains("w/a/step_param.json and w/other/step_param.json")
        );
        assert_eq!(broken[1].why[0].hint.as_deref(), Some("did you mean `pyenv`?"));
    }
}
