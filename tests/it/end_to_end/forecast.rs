//! When all is in sync, and who waits for a build slot.

use crate::harness::fake_packer::{ENDLESS, WHOLE};
use crate::harness::farm::Farm;

#[test]
fn a_step_says_its_place_in_the_line_and_status_when_all_is_in_sync() {
    let (farm, packer) = Farm::playing(&format!("[build]\nsleep 2\n{WHOLE}[build 2]\n{ENDLESS}"));
    farm.applies();
    farm.script("a", "echo more\n");
    farm.step("b", Some("a")).step("c", None);
    farm.configure("interval: 1s\nlease_duration: 3s\nmax_concurrent_builds: 1\n");
    farm.repo.commit("two more");
    let planned = farm.run(&["plan"]);
    assert!(
        planned.out.contains("In sync in about ")
            && planned.out.contains("s (2 were never built: a guess)."),
        "{}",
        planned.out
    );

    // `a` has `b` behind it, so it goes before `c`.
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    farm.wait_for_state("a", "building");
    let status = farm.status();
    let [a, b, c] = ["a", "b", "c"].map(|step| status.get(step).unwrap());
    assert_eq!((a.place_in_line, b.place_in_line, c.place_in_line), (None, None, Some(1)));
    let waits = "waits for the one build slot, first in line, to build: no image yet";
    assert_eq!(c.reason, waits);
    assert!(a.in_sync_at < b.in_sync_at && b.in_sync_at < c.in_sync_at, "{:#?}", status.steps);
    let forecast = status.forecast.as_ref().unwrap();
    assert_eq!((forecast.builds_left, forecast.guessed), (3, 2));
    let path: Vec<_> = forecast.critical_path.iter().map(ToString::to_string).collect();
    assert_eq!(path, ["a", "b", "c"]);
    let said = farm.run(&["status"]).out;
    assert!(said.contains("In sync in about") && said.contains(waits), "{said}");
}
