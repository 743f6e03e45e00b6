//! Which steps of a plan are meant where a person named some: those, with the ancestors that they
//! are built on. Pure.

use std::collections::{BTreeSet, HashMap};

use crate::plan::planner::PlannedStep;
use reconciler_model::ids::StepId;

/// The steps that are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    named: BTreeSet<StepId>,
    wanted: BTreeSet<StepId>,
}

impl Selection {
    /// Those named, with their ancestors; none if none was named: all steps are meant.
    #[must_use]
    pub fn of(steps: &[PlannedStep], named: &BTreeSet<StepId>) -> Option<Self> {
        if named.is_empty() {
            return None;
        }
        let parents: HashMap<&StepId, &StepId> =
            steps.iter().filter_map(|step| Some((&step.id, step.parent.as_ref()?))).collect();
        let mut wanted = BTreeSet::new();
        for id in named {
            let mut at = Some(id);
            while let Some(id) = at {
                if !wanted.insert(id.clone()) {
                    break;
                }
                at = parents.get(id).copied();
            }
        }
        Some(Self { named: named.clone(), wanted })
    }

    /// Whether a step is meant.
    #[must_use]
    pub fn wants(&self, step: &StepId) -> bool {
        self.wanted.contains(step)
    }

    /// Whether a step was named.
    #[must_use]
    pub fn names(&self, step: &StepId) -> bool {
        self.named.contains(step)
    }

    /// `Asked for: web, with base and runtime, which it starts from.`
    #[must_use]
    pub fn words(&self, steps: &[PlannedStep]) -> String {
        let ids = |named: bool| -> Vec<&str> {
            let ids = steps.iter().map(|step| &step.id);
            ids.filter(|id| self.wants(id) && self.named.contains(*id) == named)
                .map(StepId::as_str)
                .collect()
        };
        let (named, ancestors) = (ids(true), ids(false));
        let mut text = format!("Asked for: {}", named.join(", "));
        if !ancestors.is_empty() {
            let verb = if named.len() == 1 { "it starts" } else { "they start" };
            text.push_str(&format!(", with {}, which {verb} from", ancestors.join(", ")));
        }
        text + "."
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::decision::Decision;

    fn steps(parents: &[(&str, Option<&str>)]) -> Vec<PlannedStep> {
        let of = |(id, parent): &(&str, Option<&str>)| PlannedStep {
            id: StepId::new(*id),
            parent: parent.map(StepId::new),
            folder: String::new(),
            decision: Decision::InSync,
            desired: None,
            record: None,
        };
        parents.iter().map(of).collect()
    }

    #[test]
    fn a_step_is_meant_with_its_ancestors_and_without_its_children_and_neighbours() {
        let steps = steps(&[
            ("base", None),
            ("runtime", Some("base")),
            ("web", Some("runtime")),
            ("after", Some("web")),
            ("beside", Some("base")),
        ]);
        let named = |ids: &[&str]| ids.iter().map(StepId::new).collect::<BTreeSet<_>>();
        let of = |ids: &[&str]| Selection::of(&steps, &named(ids));
        assert_eq!(of(&[]), None);
        let web = of(&["web"]).unwrap();
        let wanted: Vec<_> = steps.iter().filter(|step| web.wants(&step.id)).collect();
        assert_eq!(
            wanted.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(),
            ["base", "runtime", "web"]
        );
        assert_eq!(web.words(&steps), "Asked for: web, with base, runtime, which it starts from.");
        assert_eq!(of(&["base"]).unwrap().words(&steps), "Asked for: base.");
        assert_eq!(
            of(&["web", "beside"]).unwrap().words(&steps),
            "Asked for: web, beside, with base, runtime, which they start from."
        );
    }
}
