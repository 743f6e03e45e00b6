//! Rewritten history: refused where that is asked for, across restarts, and accepted by a person.

use super::Guarded;
use crate::harness::farm::Farm;

/// A farm that refuses rewritten history.
fn farm() -> Farm {
    let farm = Farm::new();
    farm.step("a", None).follow_with(&["allow_rewrite: false"]);
    farm
}

#[test]
fn a_commit_that_does_not_descend_from_the_applied_one_is_refused_until_a_person_accepts_it() {
    let farm = farm();
    let repo = &farm.repo;
    repo.commit("first");
    repo.write("packer_workspaces/a/install.sh", "echo 2\n");
    repo.commit("second");
    farm.applies();
    repo.git(&["reset", "-q", "--hard", "HEAD^"]);
    for command in ["plan", "status", "apply"] {
        farm.run(&[command]).refuses(&[
            "does not descend from",
            "applied last",
            "reconciler allow-rewrite",
        ]);
    }
    assert_eq!(farm.made_images(), 1, "the older state is not built");
    let head = repo.git(&["rev-parse", "HEAD"]);
    let accepted = farm.run(&["allow-rewrite", &head]);
    assert_eq!(accepted.code, 0, "{accepted:#?}");
    farm.applies();
    assert_eq!(farm.made_images(), 2);
}

/// The commit that was applied stands in the inventory: a host that has never seen the repository
/// refuses what the first one would, and is told there as well that it is accepted.
#[test]
fn another_host_refuses_a_replayed_commit_as_the_first_one_would() {
    let farm = Farm::new();
    farm.step("a", None).configure("interval: 1s\nlease_duration: 3s\n");
    farm.follow_with(&["allow_rewrite: false"]);
    let repo = &farm.repo;
    repo.commit("first");
    let old = repo.git(&["rev-parse", "HEAD"]);
    repo.write("packer_workspaces/a/install.sh", "echo 2\n");
    repo.commit("second");
    let mut first = farm.daemon_on("one");
    farm.settles("a");
    first.kill();
    repo.git(&["reset", "-q", "--hard", "HEAD^"]);
    let _second = farm.daemon_on("two");
    farm.wait_until_said("two", "does not descend from");
    assert_eq!(farm.made_images(), 1, "the older state is not built");
    let accepted = farm.run(&["allow-rewrite", &old]);
    assert_eq!(accepted.code, 0, "{accepted:#?}");
    farm.wait_until("the accepted commit is built", |farm| farm.made_images() == 2);
    farm.wait_for_state("a", "in-sync");
}

/// The id of a workflow stands in the commit that is judged: an old commit with another id, of which
/// nothing was ever applied, is refused all the same.
#[test]
fn an_old_commit_is_refused_though_it_names_another_run() {
    let farm = Farm::new();
    farm.step("a", None).configure("lease_duration: 3s\n");
    farm.follow_with(&["allow_rewrite: false"]);
    let repo = &farm.repo;
    farm.workflow(&serde_json::json!({ "workflow_id": "wf-0" }));
    repo.commit("an earlier run, which was never applied here");
    let old = repo.git(&["rev-parse", "HEAD"]);
    farm.workflow(&serde_json::json!({ "workflow_id": "wf-1" }));
    repo.commit("this run");
    farm.applies();
    repo.git(&["reset", "-q", "--hard", "HEAD^"]);
    for command in ["plan", "apply"] {
        farm.run(&[command]).refuses(&["does not descend from"]);
    }
    assert_eq!(farm.made_images(), 1);
    assert_eq!(farm.run(&["allow-rewrite", &old]).code, 0);
    farm.applies();
}

#[test]
fn a_revert_goes_back_without_rewriting_and_a_look_is_no_application() {
    let guarded = Guarded::new(&["allow_rewrite: false"]);
    let repo = &guarded.repo;
    repo.commit("first");
    guarded.plans();
    repo.write("packer_workspaces/a/install.sh", "echo 1\n");
    repo.git(&["add", "--all"]);
    repo.git(&["commit", "-q", "--amend", "-m", "amended"]);
    // Only what was applied counts, and a plan applies nothing.
    guarded.plans();
    let accepted = guarded.run(&["allow-rewrite", "HEAD"]);
    assert_eq!(accepted.code, 0, "{accepted:#?}");
    repo.write("packer_workspaces/a/install.sh", "echo 2\n");
    repo.commit("second");
    guarded.plans();
    repo.git(&["revert", "--no-edit", "HEAD"]);
    guarded.plans();
    repo.git(&["commit", "-q", "--amend", "-m", "amended again"]);
    guarded.plans();
    repo.git(&["checkout", "-q", "--orphan", "other"]);
    repo.git(&["commit", "-q", "-m", "from nothing"]);
    guarded.refuses(&["history was rewritten"]);
}

#[test]
fn a_forced_push_is_just_another_commit_where_nothing_else_is_asked_for() {
    let guarded = Guarded::new(&[]);
    guarded.repo.commit("first");
    guarded.plans();
    guarded.repo.git(&["commit", "-q", "--amend", "-m", "amended"]);
    guarded.plans();
    let needless = guarded.run(&["allow-rewrite", "HEAD"]);
    needless.refuses(&["not refused", "allow_rewrite: false"]);
}
