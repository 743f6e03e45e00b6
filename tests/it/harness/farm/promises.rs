//! The promises of ARCHITECTURE.md that hold after whatever happened, looked at from outside.

use std::time::Duration;

use reconciler_model::ids::AmiId;
use serde_json::Value;

use super::Farm;

impl Farm {
    /// Applies until nothing is left to do, and says what the last try said if that is never.
    pub(crate) fn converge(&self, tries: usize) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..tries {
            let ran = self.run(&["apply"]);
            if ran.code == 0 {
                return Ok(());
            }
            last = format!("exit {}\n{}\n{}", ran.code, ran.out, ran.err);
            std::thread::sleep(Duration::from_millis(700));
        }
        Err(format!("it does not converge: {last}"))
    }

    /// All promises that are broken, for a workflow of so many steps of which each was built once.
    pub(crate) fn broken_promises(&self, images: usize) -> Vec<String> {
        let mut broken = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                broken.push(what);
            }
        };
        let made = self.images();
        expect(made.len() == images, format!("{} images, not {images}: {made:?}", made.len()));
        let steps = match self.try_status() {
            Ok(status) => status.steps.clone(),
            Err(what) => {
                expect(false, what);
                Vec::new()
            }
        };
        expect(!steps.is_empty(), "there is no step".to_owned());
        for step in steps {
            expect(step.state == "in-sync", format!("not in sync: {step:?}"));
            let recorded = step.ami_id.as_ref().map(AmiId::as_str);
            let Some(image) = made.iter().find(|image| image["id"].as_str() == recorded) else {
                expect(false, format!("recorded, and not there: {step:?}"));
                continue;
            };
            expect(image["state"] == "available", format!("recorded, and not available: {image}"));
            for tag in ["fingerprint", "build-id", "step-id", "git-commit"] {
                expect(
                    image["tags"][format!("reconciler:{tag}")].is_string(),
                    format!("without the tag {tag}: {image}"),
                );
            }
        }
        let left = self.leftovers();
        expect(left.is_empty(), format!("left: {left}"));
        let kept: Vec<Value> = self
            .resources("images")
            .iter()
            .flat_map(|image| image["snapshots"].as_array().cloned().unwrap_or_default())
            .collect();
        for snapshot in self.resources("snapshots") {
            expect(
                kept.contains(&snapshot["id"]),
                format!("a snapshot without an image is left: {snapshot}"),
            );
        }
        for event in self.region.ask("images").as_array().into_iter().flatten() {
            expect(event["event"] != "refused", format!("built twice: {event}"));
            expect(event["event"] != "removed-available", format!("an image was lost: {event}"));
        }
        broken
    }
}
