//! What the adapter makes of answers that an emulator does not give: denials, throttling, cancelled
//! transactions.
//!
//! A server here gives the answers of AWS, in order, and the last of them for ever.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use reconciler_model::inventory::{Fence, Inventory, InventoryError, Records as _};
use serde_json::json;

use super::tables::{Tables, runtime};
use super::values::{minute, of_record, record, workflow};

/// Status and body.
type Answer = (u16, String);

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body =
        json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message});
    (status, body.to_string())
}

fn cancelled(codes: &[&str]) -> Answer {
    let reasons: Vec<_> = codes.iter().map(|code| json!({"Code": code})).collect();
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": reasons,
    });
    (400, body.to_string())
}

/// An endpoint that ends with the test binary.
fn answering(answers: Vec<Answer>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let last = answers.last().cloned().unwrap();
        let all = answers.into_iter().chain(std::iter::repeat(last));
        for (stream, answer) in listener.incoming().zip(all) {
            let _ = answer_one(&stream.unwrap(), &answer);
        }
    });
    endpoint
}

fn answer_one(mut stream: &TcpStream, (status, body): &Answer) -> std::io::Result<()> {
    let mut request = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        request.read_line(&mut line)?;
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    request.read_exact(&mut vec![0; length])?;
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What a look at the records gives.
fn heads_of(answer: Answer) -> InventoryError {
    runtime().block_on(async {
        let tables = Tables::at(answering(vec![answer])).await;
        tables.inventory(false).heads(&workflow()).await.unwrap_err()
    })
}

/// What a write of a record under a lease gives: two items, the lease first.
fn write_of(answers: Vec<Answer>) -> Result<(), InventoryError> {
    runtime().block_on(async {
        let tables = Tables::at(answering(answers)).await;
        let fence = Fence { workflow_id: workflow(), token: 3 };
        tables
            .inventory(false)
            .write(of_record(record("pyenv", "ami-1", minute(0))), Some(&fence))
            .await
    })
}

#[test]
fn a_denial_names_the_action() {
    let said = "User: arn:aws:iam::1:user/ci is not authorized to perform: dynamodb:Query on resource: arn:aws:dynamodb:us-east-1:1:table/t";
    let error = heads_of(refusal(400, "AccessDeniedException", said));
    match error {
        InventoryError::Denied { action, .. } => assert_eq!(action, "dynamodb:Query"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_credentials_are_told_as_such() {
    let said = "The security token included in the request is invalid.";
    let error = heads_of(refusal(400, "UnrecognizedClientException", said));
    assert!(matches!(error, InventoryError::Credentials { .. }), "{error:?}");
    assert!(error.to_string().contains(said), "{error}");
}

#[test]
fn throttling_errors_of_the_service_and_silence_may_pass() {
    let throttled = heads_of(refusal(400, "ThrottlingException", "slow down"));
    let broken = heads_of(refusal(500, "InternalServerError", "oops"));
    let silent = runtime().block_on(async {
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}", listener.local_addr().unwrap())
        };
        let tables = Tables::at(closed).await;
        let heads = tables.inventory(false).heads(&workflow()).await;
        heads.unwrap_err()
    });
    for error in [throttled, broken, silent] {
        assert!(matches!(error, InventoryError::Unavailable { .. }), "{error:?}");
    }
}

#[test]
fn a_cancelled_transaction_is_told_by_the_condition_that_failed() {
    let failed = "ConditionalCheckFailed";
    let fenced = write_of(vec![cancelled(&[failed, "None"])]);
    assert!(matches!(fenced, Err(InventoryError::Fenced { .. })), "{fenced:?}");
    let both = write_of(vec![cancelled(&[failed, failed])]);
    assert!(matches!(both, Err(InventoryError::Fenced { .. })), "{both:?}");
    let conflict = write_of(vec![cancelled(&["None", failed])]).unwrap_err();
    assert!(matches!(conflict, InventoryError::Conflict { .. }), "{conflict:?}");
    assert!(conflict.to_string().contains("/pyenv"), "{conflict}");
    let throttled = write_of(vec![cancelled(&["None", "ThrottlingError"])]);
    assert!(matches!(throttled, Err(InventoryError::Unavailable { .. })), "{throttled:?}");
}

#[test]
fn a_transaction_that_met_another_is_tried_again() {
    let met = cancelled(&["TransactionConflict", "None"]);
    write_of(vec![met.clone(), met.clone(), (200, "{}".to_owned())]).unwrap();
    let always = write_of(vec![met]);
    assert!(matches!(always, Err(InventoryError::Unavailable { .. })), "{always:?}");
}
