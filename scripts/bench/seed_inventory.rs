//! For `make bench`: works out every fingerprint of a repository, and writes a record for each
//! step, so that a plan finds nothing to do.
//!
//! `seed_inventory fingerprints REPOSITORY` reads git, parses, renders and hashes, on one core, and
//! prints how many fingerprints there were; `seed_inventory records REPOSITORY STATE_FOLDER` writes
//! the records too.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use reconciler::controller::checkout::{Checkout, Desired};
use reconciler::controller::step_cache::Kept;
use reconciler::git::GitSource as _;
use reconciler::git::discover::workflows;
use reconciler::git::repository::LocalRepository;
use reconciler::sqlite::SqliteInventory;
use reconciler_core::desired::ami_name::DEFAULT_TEMPLATE;
use reconciler_core::desired::step::SourceImage;
use reconciler_core::images::tags::ImageTags;
use reconciler_core::plan::planner::Outline;
use reconciler_core::workflow::RootBase;
use reconciler_jinja::Engine;
use reconciler_model::ids::{AmiId, AmiName, BuildId, Region};
use reconciler_model::inventory::build_times::BuildTimes;
use reconciler_model::inventory::record::{Built, Record, RecordHead};
use reconciler_model::inventory::{Inventory as _, Write};
use reconciler_model::source::GitTree;

type Failure = Box<dyn std::error::Error>;

const USAGE: &str =
    "seed_inventory fingerprints REPOSITORY, or seed_inventory records REPOSITORY STATE_FOLDER";

#[expect(clippy::print_stdout, reason = "it is its answer")]
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["fingerprints", repository] => {
            println!("{}", records(Path::new(repository))?.len());
            Ok(())
        }
        ["records", repository, state] => write(&records(Path::new(repository))?, Path::new(state)),
        _ => Err(USAGE.into()),
    }
}

/// Each write is on disk before the next one starts, which takes long: on a file system in memory,
/// where there is one.
fn write(records: &[Record], state: &Path) -> Result<(), Failure> {
    let memory = Path::new("/dev/shm");
    let quick = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let file = quick.path().join("inventory.sqlite");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let inventory = SqliteInventory::open(&file)?;
        inventory.prepare().await?;
        for record in records {
            let record = Some((record.clone(), None));
            let write = Write { record, ..Write::default() };
            inventory.write(write, None).await?;
        }
        Ok::<(), Failure>(())
    })?;
    // The last connection has closed the file, and with it the log beside it is taken in.
    std::fs::create_dir_all(state)?;
    std::fs::copy(&file, state.join("inventory.sqlite"))?;
    Ok(())
}

/// The record of every step as if it had just been built.
fn records(path: &Path) -> Result<Vec<Record>, Failure> {
    let source = LocalRepository::open(path, None)?;
    let revision = source.resolve(None)?;
    let tree: Arc<dyn GitTree> = Arc::from(source.at(&revision)?);
    let folder = workflows(tree.as_ref(), &["packer_workspaces".to_owned()], &[])?.remove(0);
    let checkout = Arc::new(Checkout::read(&tree, &folder, Kept::default())?);
    let RootBase::Image { id, name } = &checkout.params.root_base else {
        return Err("no base image".into());
    };
    let base = SourceImage { id: id.clone(), name: AmiName::new(name.clone()) };
    let (engine, region) = (Engine::new(), Region::new("us-east-1"));
    let desired = Desired::new(&checkout, &engine, &region, DEFAULT_TEMPLATE, &base);
    let mut images = std::collections::HashMap::new();
    let mut states = Vec::new();
    for (number, step) in checkout.outlines.iter().enumerate() {
        let source = step
            .parent
            .as_ref()
            .map_or_else(|| base.clone(), |parent| SourceImage::clone(&images[parent]));
        let state = desired.state(&step.id, &source)?;
        let name = desired
            .desire()
            .name_parts(desired.loaded(&step.id)?.content())
            .with_fingerprint(&state.fingerprint, 0)?;
        let image = SourceImage { id: AmiId::new(format!("ami-{number:017x}")), name };
        images.insert(step.id.clone(), image.clone());
        states.push((step, source, image, state));
    }
    let record = |(step, source, image, state): &(
        &Outline,
        SourceImage,
        SourceImage,
        reconciler_core::desired::step::DesiredStep,
    )| {
        let mut head = RecordHead {
            workflow_id: checkout.params.workflow_id.clone(),
            step_id: step.id.clone(),
            ami_id: image.id.clone(),
            ami_name: image.name.clone(),
            create_at: Timestamp::now(),
            base_ami_id: source.id.clone(),
            base_ami_name: source.name.clone(),
            root_base_ami_id: base.id.clone(),
            root_base_ami_name: base.name.clone(),
            built: None,
        };
        let mut built = Built {
            fingerprint: state.fingerprint,
            build_id: BuildId::generate(),
            revision: revision.clone(),
            region: region.clone(),
            tags: std::collections::BTreeMap::new().into(),
            metadata_digest: step.metadata_digest,
            build_seconds: 600,
            build_times: BuildTimes::default().with(600),
            recorded_at: Timestamp::now(),
            fence: 1,
        };
        built.tags = ImageTags::of_record(&head, &built, &checkout.params.aws_tags).tags().into();
        head.built = Some(built);
        Record {
            head,
            aws_console_url: String::new(),
            details: "{}".into(),
            metadata: "{}".into(),
            components: Some(state.components.clone()),
        }
    };
    Ok(states.iter().map(record).collect())
}
