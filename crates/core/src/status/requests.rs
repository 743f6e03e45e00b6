//! What people have asked of whoever holds the lease, as people and programs read it. Pure.

use std::fmt::Write as _;

use anstyle::Style;
use jiff::Timestamp;
use serde::Serialize;

use crate::plan::sentences::age_words;
use crate::plan::sight::holder_words;
use reconciler_model::ids::{AmiId, BuildId, RequestId, StepId, WorkflowId};
use reconciler_model::inventory::request::{Outcome, StandingRequest};

/// The form of the JSON output (docs/output.md).
pub const SCHEMA: &str = "reconciler.requests/1";

/// A request as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownRequest {
    /// The workflow that it is asked of.
    pub workflow_id: WorkflowId,
    /// Which.
    pub request_id: RequestId,
    /// `open`, `done` or `refused`.
    pub state: &'static str,
    /// The command that asked for it; null where a newer version asked for what this one does not
    /// know.
    pub command: Option<&'static str>,
    /// The step that it is about.
    pub step_id: Option<StepId>,
    /// The images that it is about, where it is not about a step.
    pub ami_ids: Vec<AmiId>,
    /// Who asked.
    pub by: Option<String>,
    /// When.
    pub asked_at: Option<Timestamp>,
    /// Why.
    pub why: Option<String>,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
    /// Who answered.
    pub answered_by: Option<String>,
    /// The build that it concerns, or under whose id the journal tells of it.
    pub build_id: Option<BuildId>,
    /// Why it was refused.
    pub refusal: Option<String>,
}

impl ShownRequest {
    /// What stands in the inventory, as it is shown.
    #[must_use]
    pub fn new(workflow: &WorkflowId, standing: StandingRequest) -> Self {
        let request = standing.request.ok();
        let answer = standing.answer;
        let (state, build, refusal) = match answer.as_ref().map(|answer| &answer.outcome) {
            None => ("open", None, None),
            Some(Outcome::Done { build }) => ("done", Some(build.clone()), None),
            Some(Outcome::Refused { why, .. }) => ("refused", None, Some(why.clone())),
        };
        Self {
            workflow_id: workflow.clone(),
            request_id: standing.id,
            state,
            command: request.as_ref().map(|request| request.wish.command()),
            step_id: request.as_ref().and_then(|request| request.wish.step().cloned()),
            ami_ids: request.iter().flat_map(|one| one.wish.images()).cloned().collect(),
            by: request.as_ref().map(|request| request.by.clone()),
            asked_at: request.as_ref().map(|request| request.at),
            why: request.and_then(|request| request.why),
            answered_at: answer.as_ref().map(|answer| answer.at),
            answered_by: answer.map(|answer| answer.by),
            build_id: build,
            refusal,
        }
    }
}

/// A paragraph for each request, newest first; styled, for a stream that takes the styles off where
/// they are not wanted.
#[must_use]
pub fn text(requests: &[ShownRequest], now: Timestamp) -> String {
    let bold = Style::new().bold();
    let mut out = String::new();
    for request in requests {
        let what = match (&request.command, &request.step_id) {
            (Some(command), Some(step)) => format!("{command} {step}"),
            (Some(command), None) => {
                let images: Vec<_> = request.ami_ids.iter().map(AmiId::as_str).collect();
                format!("{command} {}", images.join(" ")).trim_end().to_owned()
            }
            _ => "what this version does not know".to_owned(),
        };
        let asked = request.asked_at.map(|at| age_words(now.duration_since(at)));
        let _ = writeln!(
            out,
            "{bold}{what}{bold:#}  {}  asked {} ago by {}",
            request.workflow_id,
            asked.as_deref().unwrap_or("?"),
            request.by.as_deref().unwrap_or("?"),
        );
        let _ = writeln!(out, "  request {}", request.request_id);
        if let Some(why) = &request.why {
            let _ = writeln!(out, "  because: {why}");
        }
        let by = request.answered_by.as_deref().map(holder_words).unwrap_or_default();
        match (request.state, &request.build_id, &request.refusal) {
            (_, Some(build), _) => {
                let _ = writeln!(out, "  done by {by}: build {build}");
            }
            (_, _, Some(why)) => {
                let _ = writeln!(out, "  refused by {by}: {why}");
            }
            _ => {
                let _ = writeln!(out, "  not answered yet");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::inventory::request::{Answer, Request, Wish};

    fn standing(answer: Option<Outcome>) -> StandingRequest {
        let id = RequestId::new("01900000-0000-7000-8000-000000000000");
        let request = Request {
            workflow_id: WorkflowId::new("wf"),
            id: id.clone(),
            by: "ada@desk".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            why: Some("a hotfix".to_owned()),
            wish: Wish::Retry { step: StepId::new("pyenv") },
        };
        let answer = answer.map(|outcome| Answer {
            at: Timestamp::UNIX_EPOCH,
            by: "one/12/34".to_owned(),
            outcome,
        });
        StandingRequest { id, request: Ok(request), answer }
    }

    #[test]
    fn it_is_told_who_asked_for_what_and_what_came_of_it() {
        let workflow = WorkflowId::new("wf");
        let done = Outcome::Done { build: BuildId::new("01900000-0000-7000-8000-000000000001") };
        let refused = Outcome::Refused { why: "it runs".to_owned(), hint: None };
        let unknown = StandingRequest { request: Err("no such wish".to_owned()), ..standing(None) };
        let all = [standing(None), standing(Some(done)), standing(Some(refused)), unknown];
        let all = all.map(|one| ShownRequest::new(&workflow, one));
        let now = Timestamp::from_second(60).unwrap();
        let plain = anstream::adapter::strip_str(&text(&all, now)).to_string();
        insta::assert_snapshot!(plain, @"
        retry pyenv  wf  asked 1m ago by ada@desk
          request 01900000-0000-7000-8000-000000000000
          because: a hotfix
          not answered yet
        retry pyenv  wf  asked 1m ago by ada@desk
          request 01900000-0000-7000-8000-000000000000
          because: a hotfix
          done by reconciler on one, pid 12: build 01900000-0000-7000-8000-000000000001
        retry pyenv  wf  asked 1m ago by ada@desk
          request 01900000-0000-7000-8000-000000000000
          because: a hotfix
          refused by reconciler on one, pid 12: it runs
        what this version does not know  wf  asked ? ago by ?
          request 01900000-0000-7000-8000-000000000000
          not answered yet
        ");
        assert_eq!(all.map(|one| one.state), ["open", "done", "refused", "open"]);
    }
}
