//! For tests: that what an earlier version has written is still read, whole.
//!
//! Files and items outlive a process, and an upgrade comes in the middle of a build. So for each of
//! them a test holds, word for word, what this version writes. Such a literal is never changed:
//! whoever adds a field writes the new text beside it, as the one that is written today, and leaves
//! the old one among the earlier ones.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    missing_docs,
    reason = "for tests only"
)]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Every text is read, and nothing of it is lost; `today` is also what is written.
#[track_caller]
pub fn stays_readable<T: Serialize + DeserializeOwned>(earlier: &[&str], today: &str) {
    let again = |text: &str| {
        let read: T = serde_json::from_str(text).unwrap_or_else(|wrong| panic!("{wrong}: {text}"));
        serde_json::to_value(&read).unwrap()
    };
    let literal = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(again(today), literal(today), "what is written today");
    for text in earlier {
        let (kept, was) = (again(text), literal(text));
        assert!(holds(&kept, &was), "of {was} only this is left: {kept}");
    }
}

/// Whether all that stands in `was` stands in `kept`.
fn holds(kept: &Value, was: &Value) -> bool {
    match (kept, was) {
        (Value::Object(kept), Value::Object(was)) => was.iter().all(|(name, was)| {
            let kept = kept.get(name).unwrap_or(&Value::Null);
            holds(kept, was)
        }),
        (Value::Array(kept), Value::Array(was)) => {
            kept.len() == was.len() && kept.iter().zip(was).all(|(kept, was)| holds(kept, was))
        }
        _ => kept == was,
    }
}

#[test]
#[should_panic(expected = "only this is left")]
fn a_field_that_is_read_no_more_is_a_loss() {
    #[derive(Serialize, serde::Deserialize)]
    struct Renamed {
        #[serde(default)]
        new: u8,
    }
    stays_readable::<Renamed>(&[r#"{ "old": 1 }"#], r#"{ "new": 2 }"#);
}
