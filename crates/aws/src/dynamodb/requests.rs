//! What people ask for, in a table of its own: `{table}_requests`, one item per request. Who may
//! ask needs to write nothing else. The answer is put into the item in the transaction of what it
//! changes. Formats are pure.
//!
//! | `request_id` | content |
//! | --- | --- |
//! | a request | `request` (JSON), `answer` (JSON) once it has one |
//! | `@asked` | `count`: how often something was asked in the workflow |

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::KeysAndAttributes;

use crate::dynamodb::error::{inventory_error, is_missing};
use crate::dynamodb::terms::{Change, Terms, delete};
use crate::dynamodb::transaction::{Part, Refusal};
use crate::dynamodb::{DynamoDbInventory, beats, builds, sdk};
use reconciler_items::Item;
use reconciler_items::attributes::{
    json_value, number, number_value, optional_text, text, text_value,
};
use reconciler_model::ids::{RequestId, WorkflowId};
use reconciler_model::inventory::request::{Answer, AnswerTo, News, Request, StandingRequest};
use reconciler_model::inventory::reservation::Reservation;
use reconciler_model::inventory::{Fence, InventoryError, Requests};

/// The range key of the count of requests; all requests sort before it.
const ASKED: &str = "@asked";
/// The count itself.
const COUNT: &str = "count";
/// What was asked.
const REQUEST: &str = "request";
/// What became of it.
const ANSWER: &str = "answer";

/// How often a request is written while others ask.
const TRIES: u32 = 8;

/// The key of an item of the table of requests.
fn key(workflow: &WorkflowId, item: &str) -> Item {
    Item::from([
        ("workflow_id".to_owned(), text_value(workflow.as_str())),
        ("request_id".to_owned(), text_value(item)),
    ])
}

/// A request as it stands.
fn standing(item: &Item) -> Result<StandingRequest, String> {
    let workflow = WorkflowId::new(text(item, "workflow_id")?);
    let id = RequestId::new(text(item, "request_id")?);
    let answer = optional_text(item, ANSWER)?.map(Answer::read);
    Ok(StandingRequest::read(&workflow, id, text(item, REQUEST), answer))
}

/// Puts an answer in its place.
pub(super) fn answer(table: &str, to: &AnswerTo) -> Result<Change, String> {
    let given = Terms::change("SET #answer = :answer", [(":answer", json_value(&to.answer)?)]);
    // Seeded bug: a-request-is-answered-twice-in-dynamodb
    let given =
        given.and_only_if("attribute_exists(#request) AND attribute_not_exists(#answer)", []);
    Ok(given.update(table, key(&to.workflow_id, to.id.as_str())))
}

#[async_trait]
impl Requests for DynamoDbInventory {
    async fn ask(&self, request: &Request) -> Result<(), InventoryError> {
        let (workflow, id) = (&request.workflow_id, &request.id);
        let mut item = key(workflow, id.as_str());
        let value = json_value(request)
            .map_err(|detail| self.unwritable(&format!("request {id}"), &detail))?;
        item.insert(REQUEST.to_owned(), value);
        let new = Terms::only_if("attribute_not_exists(#request)", []);
        let counted = Terms::change("ADD #count :one", [(":one", number_value(1))]);
        for _ in 0..TRIES {
            let parts = vec![
                (Part::Request, new.put(&self.requests, item.clone())),
                (Part::Request, counted.update(&self.requests, key(workflow, ASKED))),
            ];
            match self.send(parts, self.requests_place()).await {
                Ok(()) => return Ok(()),
                // Others ask at the same moment.
                Err(Refusal::TryAgain) => {}
                Err(Refusal::By(_)) => {
                    // A call whose answer was lost has done it.
                    let stands = self.request(workflow, id).await?;
                    return match stands.map(|stands| stands.request) {
                        Some(Ok(stands)) if stands == *request => Ok(()),
                        _ => Err(InventoryError::Conflict { what: format!("request {id}") }),
                    };
                }
                Err(Refusal::Error(error)) => return Err(error),
            }
        }
        Err(InventoryError::Unavailable {
            place: self.requests_place(),
            detail: "others keep asking at the same moment".to_owned(),
        })
    }

    async fn request(
        &self,
        workflow: &WorkflowId,
        id: &RequestId,
    ) -> Result<Option<StandingRequest>, InventoryError> {
        let item = self.item(&self.requests, key(workflow, id.as_str())).await?;
        item.map(|item| standing(&item)).transpose().map_err(|detail| InventoryError::Malformed {
            place: self.requests_place(),
            key: format!("{workflow}: request {id}"),
            detail,
        })
    }

    async fn requests(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<StandingRequest>, InventoryError> {
        let query = self.query(
            &self.requests,
            "#workflow_id = :workflow AND #request_id < :asked",
            [(":workflow", workflow.as_str()), (":asked", ASKED)],
        );
        let items = self.collect(query, usize::MAX, self.requests_place()).await?;
        let read = |item: &Item| {
            standing(item).unwrap_or_else(|detail| StandingRequest {
                id: RequestId::new(text(item, "request_id").unwrap_or_default()),
                request: Err(detail),
                answer: None,
            })
        };
        Ok(items.iter().map(read).collect())
    }

    /// One `BatchGetItem` of two counts.
    async fn news(&self, workflow: &WorkflowId) -> Result<News, InventoryError> {
        let wanted = [
            (&self.requests, key(workflow, ASKED)),
            (&self.beats, beats::key(workflow, beats::FIRST)),
        ];
        let mut asked = HashMap::new();
        for (table, key) in wanted {
            let keys = KeysAndAttributes::builder().keys(sdk::attributes(key));
            let keys = keys.consistent_read(true).build().map_err(|wrong| {
                InventoryError::Failed { place: self.requests_place(), detail: wrong.to_string() }
            })?;
            asked.insert(table.clone(), keys);
        }
        let answer = match self.client.batch_get_item().set_request_items(Some(asked)).send().await
        {
            Ok(answer) => answer,
            Err(error) if is_missing(&error) => return Ok(News::default()),
            Err(error) => {
                let place = self.requests_place();
                return Err(inventory_error(&error, "dynamodb:BatchGetItem", &place));
            }
        };
        if answer.unprocessed_keys().is_some_and(|keys| !keys.is_empty()) {
            return Err(InventoryError::Unavailable {
                place: self.requests_place(),
                detail: "not all of what was asked for was answered".to_owned(),
            });
        }
        let mut found = answer.responses.unwrap_or_default();
        let mut count = |table: &String, name: &str| {
            let item = found.remove(table).and_then(|items| items.into_iter().next());
            item.map(sdk::item).and_then(|item| number(&item, name).ok()).unwrap_or_default()
        };
        Ok(News {
            requests: count(&self.requests, COUNT),
            first_beats: count(&self.beats, beats::COUNT),
        })
    }

    async fn forget_request(&self, id: &RequestId, fence: &Fence) -> Result<(), InventoryError> {
        let forgotten = delete(&self.requests, key(&fence.workflow_id, id.as_str()));
        self.under_fence([Some(forgotten), None], fence).await
    }

    /// One Query.
    async fn reservations(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<Reservation>, InventoryError> {
        let items = self.build_items(workflow, builds::RESERVATION).await?;
        let read = |item: &Item| {
            builds::reservation(item).map_err(|detail| {
                let key = text(item, "item").unwrap_or("?");
                self.malformed(format!("{workflow}: {key}"), detail)
            })
        };
        items.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// See `format_stability`: what stands in `request` and `answer` is looked at where these are.
    #[test]
    fn an_item_that_an_earlier_version_wrote_is_read() {
        let texts = |all: &[(&str, &str)]| -> Item {
            let of = |(name, value): &(&str, &str)| ((*name).to_owned(), text_value(*value));
            all.iter().map(of).collect()
        };
        let request = r#"{"workflow_id":"acore","id":"01900000-0000-7000-8000-000000000000","by":"ada@desk",
            "at":"2026-11-25T00:00:00Z","wish":{"retry":{"step":"a"}}}"#;
        let answer = r#"{"at":"2026-11-25T00:00:01Z","by":"one/1/2","outcome":{"refused":{"why":"it runs"}}}"#;
        let kept = [
            ("workflow_id", "acore"),
            ("request_id", "01900000-0000-7000-8000-000000000000"),
            ("request", request),
        ];
        let open = standing(&texts(&kept)).unwrap();
        assert_eq!(open.request.as_ref().map(|request| request.by.as_str()), Ok("ada@desk"));
        assert_eq!(open.answer, None);
        let mut answered = texts(&kept);
        answered.extend(texts(&[("answer", answer)]));
        let found = standing(&answered).unwrap().answer.unwrap();
        assert_eq!(found.by, "one/1/2");
        assert_eq!((REQUEST, ANSWER, ASKED, COUNT), ("request", "answer", "@asked", "count"));
    }
}
