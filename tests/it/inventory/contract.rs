//! Runs every rule of the port over every adapter.

use std::sync::Arc;

use reconciler::sqlite::SqliteInventory;
use reconciler_model::inventory::Inventory;
use reconciler_model::memory::MemoryInventory;

use super::tables::{Tables, runtime};

/// One test per rule and adapter.
macro_rules! contract {
    ($($rules:ident: $($rule:ident),* $(,)?;)*) => {
        mod sqlite {
            $($(#[test]
            fn $rule() {
                super::over_sqlite(super::super::$rules::$rule);
            })*)*
        }

        mod memory {
            $($(#[test]
            fn $rule() {
                super::over_memory(super::super::$rules::$rule);
            })*)*
        }

        mod dynamodb {
            $($(#[test]
            fn $rule() {
                super::over_dynamodb(super::super::$rules::$rule);
            })*)*
        }
    };
}

contract! {
    rules:
    an_inventory_without_anything_is_empty,
    preparing_twice_changes_nothing,
    a_record_comes_back_as_it_was_written,
    a_record_without_anything_of_ours_is_read_as_such,
    a_record_that_is_put_again_replaces_all_of_the_old_one,
    heads_come_in_step_id_order_and_only_of_their_workflow,
    records_come_newest_image_first,
    a_record_expected_to_be_absent_is_put_once,
    a_record_is_replaced_only_where_the_expected_image_stands,
    a_record_is_removed_whole_and_only_where_it_names_the_image,
    a_removal_and_its_event_happen_both_or_not_at_all_and_under_the_lease,
    a_record_and_its_event_are_written_both_or_not_at_all,
    a_write_repeated_word_for_word_has_happened_once,
    an_event_is_never_changed,
    events_come_newest_first_by_step_and_up_to_the_limit,
    attempts_are_the_newest_build_of_each_step_folded,
    a_request_takes_the_next_place_without_a_lease_and_the_attempt_says_whose_it_is,
    attempts_without_a_record_are_those_that_run_failed_or_left_something,
    lease_and_attempts_that_are_read_at_once_are_what_each_says_by_itself,
    a_workflow_is_listed_as_open_until_its_last_build_is_settled,
    a_stale_token_writes_neither_record_nor_event,
    without_a_lease_no_token_writes,
    a_lease_given_back_writes_no_more_and_is_taken_anew,
    of_sixteen_that_want_the_lease_one_gets_it,
    a_heartbeat_changes_the_version_and_keeps_the_token,
    every_event_of_a_workflow_is_counted,
    more_than_a_page_of_records_and_attempts_is_read_whole;
    beat_rules:
    a_beat_takes_the_place_of_the_one_before_and_needs_no_lease,
    beats_come_in_the_order_of_builds_and_only_of_their_workflow,
    a_build_that_was_given_up_is_told_so_and_stays_so,
    only_the_holder_of_the_lease_gives_a_build_up_or_forgets_it,
    who_asks_for_a_build_to_end_is_heard_by_its_supervisor,
    a_build_that_has_given_a_sign_since_is_not_given_up,
    a_workflow_is_listed_as_open_while_a_build_that_was_given_up_is_looked_after,
    the_first_sign_of_life_of_a_build_is_counted;
    request_rules:
    a_request_stands_until_it_is_answered_and_its_answer_stands_beside_it,
    a_request_asked_twice_is_asked_once_and_counted_once,
    a_request_is_answered_once_and_with_what_it_changes_or_not_at_all,
    only_the_holder_of_the_lease_answers,
    an_answer_repeated_word_for_word_was_given_once,
    only_the_holder_of_the_lease_forgets_a_request,
    a_reservation_begins_with_the_answer_that_grants_it_and_stands_until_it_ends,
    only_the_holder_of_the_lease_reserves_and_ends_a_reservation,
    the_commit_that_was_applied_last_stands_beside_the_lease;
}

fn over_memory<R: Future<Output = ()>>(rule: impl FnOnce(Arc<dyn Inventory>) -> R) {
    runtime().block_on(rule(Arc::new(MemoryInventory::default())));
}

fn over_sqlite<R: Future<Output = ()>>(rule: impl FnOnce(Arc<dyn Inventory>) -> R) {
    let folder = tempfile::tempdir().unwrap();
    let inventory = SqliteInventory::open(folder.path().join("inventory.sqlite")).unwrap();
    runtime().block_on(async {
        inventory.prepare().await.unwrap();
        rule(Arc::new(inventory)).await;
    });
}

fn over_dynamodb<R: Future<Output = ()>>(rule: impl FnOnce(Arc<dyn Inventory>) -> R) {
    runtime().block_on(async {
        let tables = Tables::fresh().await;
        let inventory = tables.inventory(true);
        inventory.prepare().await.unwrap();
        rule(Arc::new(inventory)).await;
        tables.delete().await;
    });
}
