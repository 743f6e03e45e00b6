//! Which record may go.

use jiff::Timestamp;

use super::*;
use crate::desired::step::SourceImage;
use crate::plan::{Orphan, RecordsFrom, Standing};
use crate::status::history::tests::{build, failed};
use reconciler_model::ids::{AmiName, Region, Revision, WorkflowId};

/// `kept` is in git, `broken` cannot be read, `gone` is recorded only.
fn plan() -> Plan {
    let planned = |id: &str, folder: &str, decision| PlannedStep {
        id: StepId::new(id),
        parent: None,
        folder: folder.to_owned(),
        decision,
        desired: None,
        record: None,
    };
    let wrong = Decision::Broken(vec![Diagnostic::new("its journal cannot be read")]);
    Plan {
        workflow_id: WorkflowId::new("w"),
        folder: String::new(),
        repository: String::new(),
        reference: String::new(),
        revision: Revision::new("0123456789"),
        region: Region::new("us-east-1"),
        root_base: SourceImage { id: AmiId::new("ami-0"), name: AmiName::new("base") },
        newer_base: None,
        steps: vec![planned("kept", "kept", Decision::InSync), planned("broken", "", wrong)],
        orphans: vec![Orphan {
            step_id: StepId::new("gone"),
            ami_id: AmiId::new("ami-1"),
            ami_name: AmiName::new("n"),
        }],
        warnings: Vec::new(),
        at: Timestamp::UNIX_EPOCH,
        looked_at_ec2: true,
        records_from: RecordsFrom { place: "memory".into(), standing: Standing::Recorded },
    }
}

#[test]
fn the_record_of_a_step_goes_only_where_git_has_it_no_more_and_no_build_of_it_is_open() {
    let plan = plan();
    let judged = |step: &str, image: &str, newest: Option<&Attempt>| {
        let may = may_forget(&plan, &StepId::new(step), &AmiId::new(image), newest);
        may.map_err(|why| why.message)
    };
    assert_eq!(judged("gone", "ami-1", None), Ok(()));
    for (step, image, words) in [
        ("kept", "ami-1", "kept is in git at 0123456, so its record stays"),
        ("broken", "ami-1", "so its record stays: its journal cannot be read"),
        ("gone", "ami-2", "the record names ami-1 by now, not ami-2"),
        ("nowhere", "ami-1", "there is no record of a step nowhere in workflow w"),
    ] {
        let why = judged(step, image, None).unwrap_err();
        assert!(why.contains(words), "{words:?}: {why}");
    }
    let mut events = build("2", "gone", 0, failed());
    events.reverse();
    let mut attempt = Attempt::begin(&events[0]).unwrap();
    let why = judged("gone", "ami-1", Some(&attempt)).unwrap_err();
    assert!(why.contains("build 2 is not settled yet"), "{why}");
    events[1..].iter().for_each(|event| attempt.apply(event));
    assert_eq!(judged("gone", "ami-1", Some(&attempt)), Ok(()));
}
