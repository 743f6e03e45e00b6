//! The real Python library (`packer-ami-workflow` from PyPI) on a table of ours, and we on a table
//! of its making.

use reconciler_model::ids::WorkflowId;
use reconciler_model::inventory::{Inventory, Records as _};
use serde_json::{Value, json};

use super::tables::{Tables, region, runtime};
use super::values::{Build, minute, of_record, record, step, workflow};
use crate::harness::python_library;
use crate::harness::python_library::images;

/// Runs one of `tests/python/*.py` on the table.
fn run(script: &str, tables: &Tables, more: &[&str], input: &str) -> String {
    python_library::run(script, [&tables.endpoint, &region(), &tables.name], more, input)
}

#[test]
fn the_python_library_reads_our_records_by_its_three_queries() {
    runtime().block_on(async {
        let tables = Tables::fresh().await;
        let inventory = tables.inventory(true);
        inventory.prepare().await.unwrap();
        for (name, ami_id, at) in
            [("pyenv", "ami-1", 10), ("mysql", "ami-3", 30), ("core", "ami-2", 20)]
        {
            let write = reconciler_model::inventory::Write {
                record: Some((record(name, ami_id, minute(at)), None)),
                event: Some(Build::of(name).intent()),
                ..reconciler_model::inventory::Write::default()
            };
            inventory.write(write, None).await.unwrap();
        }
        let mut later = record("pyenv", "ami-4", minute(40));
        later.head.workflow_id = WorkflowId::new("acore-ami-2024-07-01-00-00-00");
        inventory.write(of_record(later), None).await.unwrap();

        let said = run("read_catalog.py", &tables, &[workflow().as_str(), "pyenv"], "");
        let catalog: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(images(&catalog, "by_workflow"), ["ami-3", "ami-2", "ami-1"]);
        assert_eq!(images(&catalog, "by_step"), ["ami-4", "ami-1"]);
        assert_eq!(
            catalog["image"],
            json!({
                "workflow_id": workflow().as_str(),
                "step_id": "pyenv",
                "ami_id": "ami-1",
                "ami_name": "ubuntu/pyenv/ami-1",
                "create_at": "2024-06-13T12:10:00+00:00",
                "aws_console_url": "https://console.aws.amazon.com/ec2/#ami-1",
                "base_ami_id": "ami-0base",
                "base_ami_name": "base",
                "root_base_ami_id": "ami-0root",
                "root_base_ami_name": "ubuntu",
                "details": {"id": "ami-1", "note": "Ærø 🦀"},
                "metadata": {"who": "köbi"},
            })
        );
        tables.delete().await;
    });
}

#[test]
fn we_read_what_the_python_library_wrote_on_a_table_of_its_making() {
    let image = |step_id: &str, ami_id: &str, created: &str| {
        json!({
            "workflow_id": workflow().as_str(),
            "step_id": step_id,
            "ami_id": ami_id,
            "ami_name": format!("ubuntu/acore/{step_id}"),
            "create_at": created,
            "aws_console_url": "https://console.aws.amazon.com/",
            "base_ami_id": "ami-0",
            "base_ami_name": "base",
            "root_base_ami_id": "ami-0",
            "root_base_ami_name": "ubuntu",
            "details": {"ena_support": true, "note": "Ærø 🦀", "size": 1.5},
            "metadata": {},
        })
    };
    runtime().block_on(async {
        let tables = Tables::fresh().await;
        let saved = json!([
            image("pyenv", "ami-1", "2024-06-13T12:00:00+00:00"),
            image("mysql", "ami-2", "2024-06-13T14:30:00.123456+02:00"),
        ]);
        run("write_catalog.py", &tables, &[], &saved.to_string());

        // Its table is as ours would be, but for the second one.
        let inventory = tables.inventory(true);
        inventory.prepare().await.unwrap();
        let heads = inventory.heads(&workflow()).await.unwrap();
        assert_eq!(heads.malformed, []);
        let [mysql, pyenv] = &heads.records[..] else {
            panic!("{heads:?}");
        };
        assert_eq!((mysql.ami_id.as_str(), &mysql.built), ("ami-2", &None));
        assert_eq!(mysql.create_at, "2024-06-13T12:30:00.123456Z".parse().unwrap());
        assert_eq!((pyenv.ami_id.as_str(), &pyenv.built), ("ami-1", &None));
        assert_eq!(pyenv.create_at, minute(0));
        let whole = inventory.record(&workflow(), &step("pyenv")).await.unwrap().unwrap();
        let details: Value = serde_json::from_str(&whole.details).unwrap();
        assert_eq!(details, saved[0]["details"]);
        assert_eq!((&*whole.metadata, whole.components), ("{}", None));

        // Saved by the library again, a record of ours is the library's: nothing of the old build
        // is left on it.
        let ours = record("pyenv", "ami-9", minute(0));
        inventory.write(of_record(ours), None).await.unwrap();
        run("write_catalog.py", &tables, &[], &saved.to_string());
        let heads = inventory.heads(&workflow()).await.unwrap();
        assert!(heads.records.iter().all(|head| head.built.is_none()));
        tables.delete().await;
    });
}
