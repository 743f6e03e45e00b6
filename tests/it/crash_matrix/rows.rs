//! The rows of the crash matrix.

use super::row::{Action, Row, Scene};
use crate::harness::farm::Store;

/// What each scene does to the outside world, in the order in which it happens. Every effect has a
/// failpoint before and one after it.
const EFFECTS: [(Scene, &[&str]); 10] = [
    (
        Scene::Build,
        &[
            "prepare",
            "lease.acquire",
            "journal.intent",
            "build.start",
            "journal.started",
            "lease.renew",
            "build.wait",
            "journal.image_seen",
            "image.wait",
            "journal.available",
            "image.tag",
            "journal.tagged",
            "journal.recorded",
            "leftovers.find",
            "journal.cleaned",
            "lease.release",
        ],
    ),
    (Scene::LeakyBuild, &["leftovers.clean"]),
    (Scene::FailingBuild, &["journal.failed", "leftovers.find", "journal.cleaned"]),
    (Scene::Retag, &["image.tag", "record.update"]),
    (Scene::TakeOver, &["journal.intent", "journal.image_seen", "image.tag", "journal.recorded"]),
    (Scene::Taken, &["journal.intent", "journal.failed"]),
    (
        Scene::Adopt,
        &["request.ask", "lease.acquire", "image.tag", "journal.adopted", "lease.release"],
    ),
    (
        Scene::MakeImage,
        &[
            "request.ask",
            "journal.intent",
            "image.create",
            "journal.image_seen",
            "image.wait",
            "journal.available",
            "journal.tagged",
            "journal.recorded",
            "journal.cleaned",
            "lease.release",
        ],
    ),
    (Scene::Forget, &["request.ask", "lease.acquire", "journal.forgotten", "lease.release"]),
    (
        Scene::Delete,
        &["request.ask", "request.answer", "image.deregister", "journal.deleted", "lease.release"],
    ),
];

/// What a supervisor does; the first run of Packer is `validate`, the second `build`.
const SUPERVISED: [&str; 7] = [
    "supervisor.claim:before",
    "supervisor.claim:after",
    "supervisor.packer:before@1",
    "supervisor.packer:after@1",
    "supervisor.packer:before@2",
    "supervisor.packer:after@2",
    "supervisor.exit:before",
];

const ACTIONS: [Action; 3] = [Action::Abort, Action::Error, Action::Stop];

/// All of them.
pub(super) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for store in [Store::DynamoDb, Store::Sqlite] {
        for (scene, effects) in EFFECTS {
            for effect in effects {
                for side in ["before", "after"] {
                    for action in ACTIONS {
                        // Woken, it would say what is said already.
                        if scene == Scene::Taken && action == Action::Stop {
                            continue;
                        }
                        // A person who stands still between the permission and EC2, while others
                        // give up what was allowed, may make one image more: no fence stops that.
                        if *effect == "image.create" && action == Action::Stop {
                            continue;
                        }
                        // A process that stands still with the lock of a file keeps everybody else
                        // of its host out: nothing is written meanwhile, and nobody takes over.
                        if store == Store::Sqlite && action == Action::Stop {
                            continue;
                        }
                        rows.push(Row {
                            scene,
                            failpoint: format!("{effect}:{side}"),
                            action,
                            store,
                        });
                    }
                }
            }
        }
    }
    for failpoint in SUPERVISED.into_iter().chain(["supervisor.exit:after", "build.spawn"]) {
        for action in ACTIONS {
            // A Packer that cannot be started is the step's failure; one that has said how it went
            // is over.
            let never = action != Action::Abort && failpoint == "supervisor.exit:after"
                || action == Action::Error && failpoint.starts_with("supervisor.packer");
            if !never {
                rows.push(Row {
                    scene: Scene::Build,
                    failpoint: failpoint.to_owned(),
                    action,
                    store: if action == Action::Stop { Store::DynamoDb } else { Store::Sqlite },
                });
            }
        }
    }
    rows
}

/// Those of `make test`: every failpoint, with each action by turns, mostly on the cheaper store;
/// all of the supervisor.
pub(super) fn of_test() -> Vec<Row> {
    all()
        .into_iter()
        .enumerate()
        .filter(|(at, row)| {
            let turn = row.action != Action::Stop && at / 3 % 3 == at % 3;
            turn || row.failpoint.starts_with("supervisor.")
                || row.scene == Scene::Taken
                    && row.failpoint == "journal.failed:before"
                    && row.action == Action::Abort
        })
        .map(|(_, row)| row)
        .collect()
}

/// `all`, or those whose name contains the text.
pub(super) fn matching(which: &str) -> Vec<Row> {
    let mut rows = all();
    if which != "all" {
        rows.retain(|row| row.to_string().contains(which));
    }
    rows
}
