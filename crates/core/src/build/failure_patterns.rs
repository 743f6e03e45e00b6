//! Whose turn it is after a build has failed, told from Packer's words. Pure.
//!
//! `table` holds what is known, row by row, with who says it. The order counts: a provisioner that
//! exits with a status is the step's doing whatever it wrote; a sentence that says more than its
//! code comes before the code; a code that names a person's turn comes before one that may pass,
//! for messages quote each other.
//!
//! What no row knows is told by its form. A call of AWS, in the words of either SDK, is not a
//! script: what it says is tried again a few times, and is a person's turn if it stays. All else is
//! the step's own: it is not tried again by itself, so that a new kind of failure costs nothing.

mod table;

use reconciler_model::build::PackerStage;
use reconciler_model::inventory::journal::FailureClass;
pub(super) use table::NAME_TAKEN;
use table::{Form, Row, TABLE};

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The step's own, whatever else is said.
    Step,
    /// Somebody has to do something outside of git: permission, quota, money, a missing thing, the
    /// build host.
    Person,
    /// May work later as it is.
    Passes,
    /// May work later; if it stays, it was the step's own doing, and each try costs an instance.
    PassesOrStep,
    /// May work later; if it stays, somebody has to look.
    PassesOrPerson,
}

impl Turn {
    /// What a failure counts as, and what it counts as once it has stayed for a few tries, where
    /// that is another.
    pub(super) fn classes(self) -> (FailureClass, Option<FailureClass>) {
        use FailureClass::{Person, Step, Transient};
        match self {
            Self::Step => (Step, None),
            Self::Person => (Person, None),
            Self::Passes => (Transient, None),
            Self::PassesOrStep => (Transient, Some(Step)),
            Self::PassesOrPerson => (Transient, Some(Person)),
        }
    }
}

/// Whose turn it is by Packer's words; without a word or a form that is known, the step's own.
pub(super) fn turn(said: &str, stage: PackerStage) -> Turn {
    let called = is_call(said);
    // What `validate` refuses is the template's, though it may quote whatever stands in there.
    let counts = |row: &&Row| {
        stage == PackerStage::Build
            || called
            || row.form == Form::Rpc
            || matches!(row.turn, Turn::Step | Turn::Person)
    };
    let known = TABLE.iter().filter(counts).find(|row| row.is_in(said));
    match known {
        Some(row) => row.turn,
        None if called => of_call(said),
        // The network library's whole word, where nobody says what was read.
        None if said.lines().any(|line| line.trim() == "EOF" || line.ends_with(": EOF")) => {
            Turn::PassesOrPerson
        }
        None => Turn::Step,
    }
}

/// What kind of failure Packer's words tell of at first.
pub(super) fn class_of(said: &str, stage: PackerStage) -> FailureClass {
    turn(said, stage).classes().0
}

impl Row {
    fn is_in(&self, said: &str) -> bool {
        match self.form {
            Form::Words | Form::Rpc => said.contains(self.text),
            Form::Code => said.match_indices(self.text).any(|(at, _)| {
                let (before, after) = (&said[..at], &said[at + self.text.len()..]);
                begins_code(before) && ends_code(after)
            }),
        }
    }
}

/// `Server.` and the like stand before the codes of an instance's state reason.
fn begins_code(before: &str) -> bool {
    before.ends_with("Server.")
        || before.ends_with("Client.")
        || !before.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn ends_code(after: &str) -> bool {
    let mut rest = after.chars();
    match rest.next() {
        Some('.') => !rest.next().is_some_and(|c| c.is_ascii_alphanumeric()),
        Some(c) => !c.is_ascii_alphanumeric() && c != '_',
        None => true,
    }
}

/// Whether a text tells of a call of AWS, by the form that one of the SDKs gives it.
pub(super) fn is_call(said: &str) -> bool {
    // aws-sdk-go-v2: `operation error EC2: RunInstances, …`
    let second = said.match_indices("operation error ").any(|(at, words)| {
        let rest = &said[at + words.len()..];
        rest.split_once(": ").is_some_and(|(service, rest)| {
            let operation = rest.split([',', ' ', '\n']).next().unwrap_or_default();
            !service.contains('\n')
                && operation.starts_with(|c: char| c.is_ascii_uppercase())
                && operation.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    });
    // aws-sdk-go: `Code: message\n\tstatus code: 400, request id: …`, and a fleet's errors, of
    // which the plugin keeps the messages.
    second
        || (said.contains("status code: ") && said.contains("request id"))
        || said.contains("RequestError: ")
        || said.contains("Error waiting for fleet request (")
}

/// The code of a call's error, where it is told in the words of one of the SDKs.
fn code_of(said: &str) -> Option<&str> {
    let is_code = |code: &&str| {
        code.starts_with(|c: char| c.is_ascii_uppercase())
            && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    };
    if let Some((_, rest)) = said.split_once("api error ") {
        return rest.split(':').next().filter(is_code);
    }
    let (before, _) = said.split_once("status code: ")?;
    let line = before.trim_end().lines().next_back()?;
    let mut parts = line.rsplit(": ").map(str::trim);
    parts.find(|part| is_code(part) && part.len() > 3)
}

/// A call of AWS that no row knows, by the shape of its code.
fn of_call(said: &str) -> Turn {
    let Some(code) = code_of(said) else {
        return Turn::PassesOrPerson;
    };
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if has(&["Throttl", "TooMany"]) || (has(&["Capacity"]) && has(&["Insufficient"])) {
        Turn::Passes
    } else if has(&["LimitExceeded", "CountExceeded", "Quota", "NotPermitted"])
        || has(&["Unauthorized", "Denied", "NotFound"])
    {
        Turn::Person
    } else if has(&["Malformed", "InvalidParameter", "MissingParameter", "Unsupported"]) {
        Turn::Step
    } else {
        Turn::PassesOrPerson
    }
}

#[cfg(test)]
mod tests;
