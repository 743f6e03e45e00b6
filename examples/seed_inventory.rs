//! For `make bench`: works out every fingerprint of a repository, says how long that took on one core, and writes a record for each step,
//! so that a plan finds nothing to do.
//!
//! `seed_inventory REPOSITORY STATE_FOLDER`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use reconciler::catalog::tags::ImageTags;
use reconciler::desired::ami_name::DEFAULT_TEMPLATE;
use reconciler::desired::jinja::Engine;
use reconciler::desired::step::SourceImage;
use reconciler::ids::{AmiId, AmiName, BuildId, Region};
use reconciler::inventory::record::{Built, Record, RecordHead};
use reconciler::inventory::sqlite::SqliteInventory;
use reconciler::inventory::{Inventory as _, Write};
use reconciler::plan::planner::Outline;
use reconciler::reconcile::checkout::{Checkout, Desired};
use reconciler::source::discover::workflows;
use reconciler::source::repository::LocalRepository;
use reconciler::source::{GitSource as _, GitTree};
use reconciler::workflow::RootBase;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(repository), Some(state)) = (arguments.next(), arguments.next()) else {
        return Err("seed_inventory REPOSITORY STATE_FOLDER".into());
    };
    let records = fingerprints(&repository)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let inventory = SqliteInventory::open(state.join("inventory.sqlite"))?;
        inventory.prepare().await?;
        for record in records {
            inventory
                .write(
                    Write {
                        record: Some((record, None)),
                        event: None,
                    },
                    None,
                )
                .await?;
        }
        Ok::<(), Failure>(())
    })
}

/// The records, and on standard output how many seconds all fingerprints took: reading git, parsing, rendering, hashing.
#[expect(clippy::print_stdout, reason = "the benchmark reads it")]
fn fingerprints(path: &Path) -> Result<Vec<Record>, Failure> {
    let begin = Instant::now();
    let source = LocalRepository::open(path, None)?;
    let revision = source.resolve(None)?;
    let tree: Arc<dyn GitTree> = Arc::from(source.at(&revision)?);
    let folder = workflows(tree.as_ref(), &["packer_workspaces".to_owned()], &[])?.remove(0);
    let checkout = Checkout::read(&tree, &folder, std::collections::HashMap::new())?;
    let RootBase::Image { id, name } = &checkout.params.root_base else {
        return Err("no base image".into());
    };
    let base = SourceImage {
        id: id.clone(),
        name: AmiName::new(name.clone()),
    };
    let (engine, region) = (Engine::new(), Region::new("us-east-1"));
    let desired = Desired::new(&checkout, &engine, &region, DEFAULT_TEMPLATE, &base);
    let mut images = std::collections::HashMap::new();
    let mut states = Vec::new();
    for (number, step) in checkout.outlines.iter().enumerate() {
        let source = step.parent.as_ref().map_or_else(
            || base.clone(),
            |parent| SourceImage::clone(&images[parent]),
        );
        let state = desired.state(&step.id, &source)?;
        let name = desired
            .desire()
            .name_parts(desired.loaded(&step.id)?.content())
            .with_fingerprint(&state.fingerprint, 0)?;
        let image = SourceImage {
            id: AmiId::new(format!("ami-{number:017x}")),
            name,
        };
        images.insert(step.id.clone(), image.clone());
        states.push((step, source, image, state));
    }
    println!("{:.6}", begin.elapsed().as_secs_f64());
    let record = |(step, source, image, state): &(
        &Outline,
        SourceImage,
        SourceImage,
        reconciler::desired::step::DesiredStep,
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
            recorded_at: Timestamp::now(),
            fence: 1,
        };
        built.tags = ImageTags::of_record(&head, &built, &checkout.params.aws_tags)
            .tags()
            .into();
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
