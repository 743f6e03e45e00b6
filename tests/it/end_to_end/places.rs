//! Which inventory a command reads: never another one silently.

use crate::harness::cli::CommandOutput;
use crate::harness::farm::{Farm, Store};

fn farm() -> Farm {
    let mut farm = Farm::of_three_steps();
    farm.keep_records_in(Store::Sqlite).configure("");
    farm.repo.commit("three steps");
    farm
}

/// Refuses what is configured: 1, and 78 of a daemon, which systemd does not start again then.
#[track_caller]
fn refuses(ran: &CommandOutput, why: &str) {
    let refused = [1, 78].contains(&ran.code) && ran.err.contains(why);
    assert!(refused, "{why}: {ran:#?}");
}

#[test]
fn a_command_says_in_which_inventory_it_found_nothing() {
    let farm = farm();
    let file = farm.records();
    let place = format!("No inventory at SQLite {} yet", file.display());
    for command in [vec!["status"], vec!["plan"], vec!["plan", "--offline"], vec!["history"]] {
        let ran = farm.run(&command);
        assert!(ran.out.contains(&place), "{command:?}: {ran:#?}");
        assert!(!ran.out.contains("no image yet"), "{command:?}: {ran:#?}");
    }
    for command in [vec!["history", "a"], vec!["logs", "a"], vec!["cancel", "a"]] {
        let ran = farm.run(&command);
        assert!(ran.code != 0 && ran.err.contains(&place), "{command:?}: {ran:#?}");
    }
    assert!(!file.exists(), "no inventory is begun by asking");
    drop(reconciler::sqlite::SqliteInventory::open(&file).unwrap());
    let empty = format!("Nothing of this workflow is recorded in SQLite {}", file.display());
    for command in ["status", "plan"] {
        let ran = farm.run(&[command]);
        assert!(ran.out.contains(&empty), "{ran:#?}");
        assert!(ran.out.contains("no image yet"), "{ran:#?}");
    }
    let ran = farm.run(&["cancel", "a"]);
    assert!(ran.err.contains(&file.display().to_string()), "{ran:#?}");
}

#[test]
fn the_folder_of_a_service_is_refused_where_a_shell_would_look_elsewhere() {
    let farm = farm();
    let state = farm.state();
    farm.reconfigure(|text| {
        let lines = text.lines().filter(|line| {
            !line.starts_with("state_dir:")
                && !line.starts_with("inventory:")
                && !line.starts_with("  path:")
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    let service = [("STATE_DIRECTORY", state.to_str().unwrap())];
    let named = format!("`state_dir: {}`", state.display());
    for command in ["run", "apply", "status", "plan"] {
        refuses(&farm.run_with(&service, &[command]), "STATE_DIRECTORY");
        refuses(&farm.run_with(&service, &[command]), &named);
    }
    farm.reconfigure(|text| format!("state_dir: {}\n{text}", state.display()));
    farm.run_with(&service, &["plan"]).shows(&["3 to build"]);
}

#[test]
fn a_place_that_cannot_be_is_an_error_for_every_command() {
    let farm = farm();
    for (place, why) in [
        ("/etc/passwd", "is a file, not a folder"),
        ("/etc/passwd/state", "a part of the path is a file"),
        ("/nowhere/at/all", "there is no such folder"),
    ] {
        for command in [
            vec!["run"],
            vec!["apply"],
            vec!["status"],
            vec!["plan", "--offline"],
            vec!["history"],
            vec!["logs", "a"],
            vec!["cancel", "a"],
            vec!["retry", "a"],
        ] {
            let ran = farm.run_with(&[("RECONCILER_STATE_DIR", place)], &command);
            refuses(&ran, why);
        }
        farm.run_with(&[("RECONCILER_INVENTORY__PATH", &format!("{place}/i.sqlite"))], &["status"])
            .refuses(&[place]);
    }
}

#[test]
fn a_relative_place_of_the_configuration_is_one_place_for_every_folder() {
    let farm = farm();
    farm.reconfigure(|text| {
        text.replace(&farm.state().display().to_string(), "state")
            .replace(&farm.records().display().to_string(), "records.sqlite")
    });
    let expected = farm.configuration().with_file_name("records.sqlite");
    farm.run(&["status"]).shows(&[&expected.display().to_string()]);
}

#[test]
fn a_step_whose_journal_cannot_be_read_says_so_and_the_others_go_on() {
    let farm = farm();
    farm.run(&["apply"]).shows(&[]);
    let file = farm.records();
    let db = rusqlite::Connection::open(file).unwrap();
    let spoiled = "UPDATE attempt SET attempt = '{', recorded = 0 WHERE step_id = 'c'";
    assert_eq!(db.execute(spoiled, []).unwrap(), 1);
    let spoiled = "UPDATE record_text SET components = '[', metadata = x'00'";
    assert_eq!(db.execute(spoiled, []).unwrap(), 3);
    for step in ["a", "c"] {
        farm.repo.write(&format!("packer_workspaces/{step}/install.sh"), "echo 2\n");
    }
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 1, "{ran:#?}");
    let states = ["a", "b", "c"].map(|step| farm.state_of(step));
    assert_eq!(states, ["in-sync", "in-sync", "broken"]);
    farm.run(&["status"]).shows(&["what the journal", "says last of c cannot be read"]);
    // A lease that cannot be read is its workflow's to tell, and no other's.
    assert_eq!(db.execute("UPDATE lease SET version = x'00'", []).unwrap(), 1);
    let ran = farm.run(&["status"]);
    assert!(ran.code == 1 && ran.err.contains("lease of wf-1"), "{ran:#?}");
}
