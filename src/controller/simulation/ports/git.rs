//! What git says in the simulation: one workflow of two steps, the second on the first, and one
//! number that every push counts up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::controller::simulation::world::Handle;
use crate::git::named::NamedRevision;
use crate::git::{CommitFacts, GitSource};
use reconciler_model::digest::Digest;
use reconciler_model::ids::Revision;
use reconciler_model::source::{
    Entry, EntryKind, Files, GitTree, ObjectId, SourceError, SourceFile,
};

/// The image that the first step starts from.
pub(in crate::controller::simulation) const BASE: &str = "ami-0123456789abcdef0";

const TEMPLATE: &str = r#"source "amazon-ebs" "x" {
  region          = "{{ builder.workflow_param.aws_region }}"
  source_ami      = "{{ builder.source_ami_id }}"
  ami_name        = "{{ builder.output_ami_name }}"
  ami_description = "wanted NUMBER"
  instance_type   = "t3.micro"
  communicator    = "none"
}
build {
  sources = ["source.amazon-ebs.x"]
}
"#;

/// The repository, as a host reaches it.
pub(in crate::controller::simulation) struct SimulatedRepository {
    at: Handle,
    /// The commit that was read last.
    last: Mutex<Option<Arc<MemoryTree>>>,
}

impl SimulatedRepository {
    pub(in crate::controller::simulation) fn new(at: Handle) -> Self {
        Self { at, last: Mutex::default() }
    }
}

impl GitSource for SimulatedRepository {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn resolve(&self, _: Option<&str>) -> Result<Revision, SourceError> {
        let mut world = self.at.world();
        if world.misfortune(60) {
            return Err(SourceError::Transient {
                place: "memory".to_owned(),
                detail: "locked".to_owned(),
            });
        }
        Ok(Revision::new(format!("{:040}", world.wanted)))
    }

    fn reference(&self) -> String {
        "main".to_owned()
    }

    fn at(&self, revision: &Revision) -> Result<Box<dyn GitTree>, SourceError> {
        let mut last = self.last.lock().unwrap();
        let known = last.take().filter(|tree| tree.revision == *revision);
        let tree = known.unwrap_or_else(|| Arc::new(MemoryTree::of(revision)));
        *last = Some(Arc::clone(&tree));
        Ok(Box::new(Commit(tree)))
    }

    fn fetch(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn descends(&self, _: &Revision, _: &Revision) -> Result<bool, SourceError> {
        Ok(true)
    }

    fn describe(&self, _: &Revision) -> Result<CommitFacts, SourceError> {
        Ok(CommitFacts {
            author: "somebody".to_owned(),
            time: jiff::Timestamp::UNIX_EPOCH,
            subject: "another number".to_owned(),
        })
    }

    fn touched_since(
        &self,
        _: &Revision,
        _: &Revision,
        _: &[String],
        _: usize,
    ) -> Result<Vec<Revision>, SourceError> {
        Ok(Vec::new())
    }

    fn named(&self, _: Option<&str>) -> Result<NamedRevision, SourceError> {
        unreachable!("nothing here asks for signatures")
    }

    fn git_dir(&self) -> PathBuf {
        PathBuf::new()
    }
}

/// A commit in memory.
struct MemoryTree {
    revision: Revision,
    trees: BTreeMap<ObjectId, Vec<Entry>>,
    blobs: BTreeMap<ObjectId, Arc<[u8]>>,
    root: ObjectId,
}

fn id(content: &[u8]) -> ObjectId {
    let mut id = [0; 20];
    id.copy_from_slice(&Digest::of(content).as_bytes()[..20]);
    ObjectId(id)
}

impl MemoryTree {
    fn of(revision: &Revision) -> Self {
        let number = revision.as_str().trim_start_matches('0');
        let number = if number.is_empty() { "0" } else { number };
        let mut tree = Self {
            revision: revision.clone(),
            trees: BTreeMap::new(),
            blobs: BTreeMap::new(),
            root: ObjectId([0; 20]),
        };
        let params = format!(
            r#"{{ "workflow_id": "wf", "region_name": "us-east-1", "aws_region": "us-east-1", "root_base_ami_id": "{BASE}", "root_base_ami_name": "base" }}"#
        );
        let mut folders = vec![tree.file("workflow_param.json", &params)];
        for (step, parent) in [("a", "null"), ("b", "\"a\"")] {
            let params = format!(r#"{{ "step_id": "{step}", "previous_step_id": {parent} }}"#);
            let template = TEMPLATE.replace("NUMBER", number);
            let templates = vec![tree.file(".pkr.hcl", &template)];
            let files =
                vec![tree.file("step_param.json", &params), tree.folder("templates", templates)];
            folders.insert(folders.len() - 1, tree.folder(step, files));
        }
        let workspaces = tree.folder("packer_workspaces", folders);
        tree.root = tree.folder("", vec![workspaces]).id;
        tree
    }

    fn file(&mut self, name: &str, content: &str) -> Entry {
        let id = id(content.as_bytes());
        self.blobs.insert(id, content.as_bytes().into());
        Entry { name: name.to_owned(), kind: EntryKind::File, id }
    }

    fn folder(&mut self, name: &str, entries: Vec<Entry>) -> Entry {
        let id = id(format!("{entries:?}").as_bytes());
        self.trees.insert(id, entries);
        Entry { name: name.to_owned(), kind: EntryKind::Tree, id }
    }
}

/// A commit that is read.
struct Commit(Arc<MemoryTree>);

impl GitTree for Commit {
    fn revision(&self) -> &Revision {
        &self.0.revision
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>, SourceError> {
        let mut found = Entry { name: String::new(), kind: EntryKind::Tree, id: self.0.root };
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let entries = self.0.trees.get(&found.id).into_iter().flatten();
            match entries.into_iter().find(|entry| entry.name == part) {
                Some(entry) => found = entry.clone(),
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    fn list(&self, tree: ObjectId) -> Result<Vec<Entry>, SourceError> {
        Ok(self.0.trees[&tree].clone())
    }

    fn blob(&self, id: ObjectId, _: &str) -> Result<Arc<[u8]>, SourceError> {
        Ok(Arc::clone(&self.0.blobs[&id]))
    }

    fn files(&self, tree: ObjectId, _: &str) -> Result<Files, SourceError> {
        let mut files = Files::new();
        for entry in &self.0.trees[&tree] {
            if entry.kind == EntryKind::Tree {
                for (path, file) in self.files(entry.id, "")? {
                    files.insert(format!("{}/{path}", entry.name), file);
                }
            } else {
                let content = Arc::clone(&self.0.blobs[&entry.id]);
                let file = SourceFile { kind: entry.kind, id: entry.id, content };
                files.insert(entry.name.clone(), file);
            }
        }
        Ok(files)
    }
}
