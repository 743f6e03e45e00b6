//! A plan as JSON, for programs: schema `reconciler.plan/1`, described in `docs/output.md`. Fields
//! are added, never changed.

use serde_json::{Value, json};

use crate::plan::Plan;
use crate::plan::decision::{BuildSource, Decision};
use crate::plan::planner::PlannedStep;
use crate::plan::sentences::{Context, reason_words, sentence, state};

/// The version of this form.
pub const SCHEMA: &str = "reconciler.plan/1";

/// The whole plan.
#[must_use]
pub fn json(plan: &Plan, around: &Context<'_>) -> Value {
    json!({
        "workflow_id": plan.workflow_id,
        "repository": plan.repository,
        "folder": plan.folder,
        "reference": plan.reference,
        "revision": plan.revision,
        "region": plan.region,
        "at": plan.at,
        "looked_at_ec2": plan.looked_at_ec2,
        "records_from": plan.records_from,
        "root_base": { "ami_id": plan.root_base.id, "ami_name": plan.root_base.name },
        "newer_base": plan.newer_base.as_ref().map(|base| json!({ "ami_id": base.id, "ami_name": base.name })),
        "steps": plan.steps.iter().map(|step| step_json(step, around)).collect::<Vec<_>>(),
        "orphans": plan.orphans.iter().map(|orphan| json!({
            "step_id": orphan.step_id, "ami_id": orphan.ami_id, "ami_name": orphan.ami_name,
        })).collect::<Vec<_>>(),
        "warnings": plan.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "summary": crate::plan::text::summary(plan, around.wanted),
    })
}

fn step_json(step: &PlannedStep, around: &Context<'_>) -> Value {
    let mut value = json!({
        "step_id": step.id,
        "parent": step.parent,
        "folder": step.folder,
        "state": state(&step.decision),
        "reason": sentence(step, around),
        "asked_for": around.wants(&step.id),
        "desired_fingerprint": step.desired,
        "ami_id": step.record.as_ref().map(|record| &record.ami_id),
        "ami_name": step.record.as_ref().map(|record| &record.ami_name),
        "created_at": step.record.as_ref().map(|record| record.create_at),
        "fingerprint": step.record.as_ref().and_then(|record| record.built.as_ref()).map(|built| built.fingerprint),
        "revision": step.record.as_ref().and_then(|record| record.built.as_ref()).map(|built| &built.revision),
    });
    let Some(fields) = value.as_object_mut() else {
        return value;
    };
    match &step.decision {
        Decision::Build(build) => {
            fields.insert("reasons".into(), json!(build.reasons));
            fields.insert(
                "reason_texts".into(),
                build
                    .reasons
                    .iter()
                    .map(|reason| reason_words(step, reason, around.lines))
                    .collect(),
            );
            match &build.source {
                BuildSource::Known { source, ami_name, .. } => {
                    fields.insert("source_ami".into(), json!(source.id));
                    fields.insert("next_ami_name".into(), json!(ami_name));
                }
                BuildSource::AfterBuild(parent) => {
                    fields.insert("after".into(), json!(parent));
                }
            }
        }
        Decision::TakeOver(taken) => {
            fields.insert("reasons".into(), json!(taken.reasons));
            let texts = taken.reasons.iter();
            fields.insert(
                "reason_texts".into(),
                texts.map(|reason| reason_words(step, reason, around.lines)).collect(),
            );
            fields.insert("source_ami".into(), json!(taken.source.id));
            fields.insert(
                "takes_over".into(),
                json!({ "ami_id": taken.image, "ami_name": taken.ami_name, "ready": taken.ready }),
            );
        }
        Decision::NameTaken(taken) => {
            fields.insert(
                "taken_by".into(),
                json!({ "ami_id": taken.image, "ami_name": taken.ami_name }),
            );
        }
        Decision::Update(update) => {
            if let Some(tags) = &update.tags {
                fields.insert("tags".into(), json!({ "set": tags.set, "remove": tags.remove }));
            }
            fields.insert("metadata".into(), json!(update.metadata));
        }
        Decision::Building(building) => {
            fields.insert("build_id".into(), json!(building.build_id));
            fields.insert("since".into(), json!(building.since));
            fields.insert("superseded".into(), json!(building.superseded));
            let sight = around.sights.map(|sights| sights.of(&building.build_id));
            fields.insert("seen".into(), json!(sight.unwrap_or_default().seen));
        }
        Decision::Blocked(blocked) => {
            let root = &blocked.root;
            fields.insert("blocked_on".into(), json!(blocked.on));
            fields
                .insert("root_cause".into(), json!({ "step_id": root.step, "state": root.state }));
        }
        Decision::BackingOff { until, failure, .. } => {
            fields.insert("next_try".into(), json!(until));
            fields.insert("failure".into(), json!(failure));
        }
        Decision::Quarantined(failure) => {
            fields.insert("failure".into(), json!(failure));
        }
        Decision::AwaitingManual(reasons) => {
            fields.insert("reasons".into(), json!(reasons));
        }
        Decision::Broken(why) => {
            fields.insert("errors".into(), why.iter().map(|d| d.render(false)).collect());
        }
        Decision::InSync | Decision::Suspended | Decision::Unverified => {}
    }
    value
}
