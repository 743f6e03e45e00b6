//! A plan as JSON, for programs: schema `reconciler.plan/1`, described in `docs/output.md`. Fields
//! are added, never changed.

use serde_json::{Map, Value, json};

use crate::plan::Plan;
use crate::plan::decision::{BuildSource, Decision, Reason};
use crate::plan::planner::PlannedStep;
use crate::plan::sentences::manual_command;
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
        "summary": crate::plan::text::summary(plan, around),
        "forecast": around.outlook.and_then(|outlook| outlook.forecast.as_ref()),
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
        "in_sync_at": around.outlook.and_then(|outlook| outlook.step(&step.id)).and_then(|step| step.ends_at),
    });
    let Some(fields) = value.as_object_mut() else {
        return value;
    };
    fields.extend(decision_json(step, around));
    value
}

/// What a step's decision adds to it.
fn decision_json(step: &PlannedStep, around: &Context<'_>) -> Map<String, Value> {
    let texts = |reasons: &[Reason]| -> Vec<String> {
        reasons.iter().map(|reason| reason_words(&step.id, reason, around.lines)).collect()
    };
    let fields = match &step.decision {
        Decision::Build(build) => {
            let mut fields = json!({
                "reasons": build.reasons, "reason_texts": texts(&build.reasons),
            });
            match &build.source {
                BuildSource::Known { source, ami_name, .. } => {
                    fields["source_ami"] = json!(source.id);
                    fields["next_ami_name"] = json!(ami_name);
                }
                BuildSource::AfterBuild(parent) => fields["after"] = json!(parent),
            }
            fields
        }
        Decision::TakeOver(taken) => json!({
            "reasons": taken.reasons,
            "reason_texts": texts(&taken.reasons),
            "source_ami": taken.source.id,
            "takes_over": { "ami_id": taken.image, "ami_name": taken.ami_name, "ready": taken.ready },
        }),
        Decision::NameTaken(taken) => {
            json!({ "taken_by": { "ami_id": taken.image, "ami_name": taken.ami_name } })
        }
        Decision::Stopped(stopped) => {
            json!({ "stopped": { "ami_id": stopped.image, "ami_name": stopped.ami_name } })
        }
        Decision::Update(update) => match &update.tags {
            Some(tags) => json!({
                "tags": { "set": tags.set, "remove": tags.remove }, "metadata": update.metadata,
            }),
            None => json!({ "metadata": update.metadata }),
        },
        Decision::Building(building) => {
            let sight = around.sights.map(|sights| sights.of(&building.build_id));
            json!({
                "build_id": building.build_id,
                "since": building.since,
                "superseded": building.superseded,
                "seen": sight.unwrap_or_default().seen,
            })
        }
        Decision::Blocked(blocked) => json!({
            "blocked_on": blocked.on,
            "root_cause": { "step_id": blocked.root.step, "state": blocked.root.state },
        }),
        Decision::BackingOff { until, failure, .. } => {
            json!({ "next_try": until, "failure": failure })
        }
        Decision::Quarantined(failure) => json!({ "failure": failure }),
        Decision::AwaitingManual(manual) => json!({
            "reasons": manual.reasons,
            "source_ami": manual.source.as_ref().map(|source| &source.id),
            "command": manual_command(&step.id),
        }),
        Decision::Broken(why) => {
            json!({ "errors": why.iter().map(|wrong| wrong.render(false)).collect::<Vec<_>>() })
        }
        Decision::InSync | Decision::Suspended | Decision::Unverified => json!({}),
    };
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
