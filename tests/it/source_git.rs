//! The git adapter on real repositories: what is read, what is told about bad ones, and how soon a
//! push is seen.

use std::path::Path;
use std::time::{Duration, Instant};

use reconciler::git::GitSource;
use reconciler::git::diff::changed;
use reconciler::git::discover::workflows;
use reconciler::git::repository::LocalRepository;
use reconciler::git::watch::RefWatch;
use reconciler_model::ids::Revision;
use reconciler_model::source::{EntryKind, ObjectId, SourceError};

use crate::harness::repo::Repo;

const MISSING: &str = "0123456789012345678901234567890123456789";

fn open(repo: &Repo) -> LocalRepository {
    LocalRepository::open(repo.path(), None).unwrap()
}

fn follow(repo: &Repo, reference: &str) -> LocalRepository {
    LocalRepository::open(repo.path(), Some(reference.to_owned())).unwrap()
}

/// What a person is told: message, then hint.
#[track_caller]
fn told<T>(result: Result<T, SourceError>) -> String {
    match result {
        Err(SourceError::Person(told)) => {
            format!("{}\n{}", told.one_line(), told.hint.unwrap_or_default())
        }
        Err(other) => panic!("not for a person: {other}"),
        Ok(_) => panic!("no error"),
    }
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

mod reading {
    use super::*;

    #[test]
    fn the_commits_between_two_that_touched_a_path_are_found_newest_first() {
        let repo = Repo::new();
        repo.write("w/a/install.sh", "1").write("w/workflow_param.json", "{}");
        let first = repo.commit("first");
        repo.write("w/b/install.sh", "of another");
        repo.commit("another step");
        repo.write("w/a/install.sh", "2");
        let second = repo.commit("second");
        repo.write("w/workflow_param.json", "{ }");
        let third = repo.commit("third");
        let source = open(&repo);
        let paths = ["w/a", "w/workflow_param.json", "no/such/path"].map(str::to_owned);
        let between = |old, new, most| source.touched_since(old, new, &paths, most).unwrap();
        assert_eq!(between(&first, &third, 100), [third.clone(), second.clone()]);
        assert_eq!(between(&first, &third, 1), std::slice::from_ref(&third));
        assert_eq!(between(&third, &third, 100), []);
        assert_eq!(between(&third, &first, 100), [], "it has nothing that the other has not");
        let missing = Revision::new(MISSING);
        assert!(source.touched_since(&missing, &third, &paths, 100).is_err());
    }

    #[test]
    fn a_commit_is_read_and_the_work_tree_is_not() {
        let repo = Repo::new();
        repo.write("w/s/step_param.json", "{}").write_exec("w/s/install.sh", "echo");
        std::os::unix::fs::symlink("install.sh", repo.path().join("w/s/link")).unwrap();
        let commit = repo.commit("Add a step\n\nwith a body");
        repo.write("w/s/step_param.json", "dirty");

        let source = open(&repo);
        assert_eq!(source.resolve(None).unwrap(), commit);
        assert_eq!(source.reference(), "main");
        let tree = source.at(&commit).unwrap();
        let step = tree.entry("w/s").unwrap().unwrap();
        assert_eq!(step.kind, EntryKind::Tree);
        let files = tree.files(step.id, "w/s").unwrap();
        let seen: Vec<_> = files
            .iter()
            .map(|(name, file)| (name.as_str(), file.kind, file.content.as_ref()))
            .collect();
        assert_eq!(
            seen,
            [
                ("install.sh", EntryKind::Executable, b"echo".as_slice()),
                ("link", EntryKind::Symlink, b"install.sh"),
                ("step_param.json", EntryKind::File, b"{}"),
            ]
        );
        assert_eq!(tree.entry("w/none").unwrap(), None);
        assert_eq!(tree.entry("w/s/link/deeper").unwrap(), None);
        assert_eq!(tree.entry("").unwrap().unwrap().kind, EntryKind::Tree);

        let facts = source.describe(&commit).unwrap();
        assert_eq!((facts.author.as_str(), facts.subject.as_str()), ("Ada", "Add a step"));
        assert!(facts.time.as_second() > 1_700_000_000, "{}", facts.time);
    }

    #[test]
    fn a_repository_opens_from_a_folder_inside_it_bare_and_as_a_linked_work_tree() {
        let repo = Repo::new();
        repo.write("deep/er/file", "x");
        let commit = repo.commit("first");
        let inside = LocalRepository::open(&repo.path().join("deep/er"), None).unwrap();
        assert_eq!(inside.resolve(None).unwrap(), commit);
        assert_eq!(Path::new(&inside.place()), repo.path().canonicalize().unwrap());

        let bare = Repo::bare();
        repo.push_to(&bare);
        assert_eq!(open(&bare).resolve(None).unwrap(), commit);

        let folder = tempfile::tempdir().unwrap();
        let linked = folder.path().join("linked");
        repo.git(&["worktree", "add", "-q", "-b", "side", &linked.display().to_string()]);
        let side = LocalRepository::open(&linked, None).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..50).for_each(|_| assert_eq!(side.resolve(None).unwrap(), commit));
                });
            }
        });
        assert_eq!((side.reference().as_str(), side.resolve(None).unwrap()), ("side", commit));
    }

    #[test]
    fn a_branch_a_tag_and_whatever_git_rev_parse_takes_name_a_commit() {
        let repo = Repo::new();
        let first = repo.write("a", "1").commit("first");
        repo.git(&["tag", "--annotate", "v1", "--message", "one"]);
        let second = repo.write("a", "2").commit("second");
        repo.git(&["branch", "release/1", "HEAD~1"]);
        repo.git(&["pack-refs", "--all"]);

        assert_eq!(follow(&repo, "v1").resolve(None).unwrap(), first);
        assert_eq!(follow(&repo, "release/1").resolve(None).unwrap(), first);
        assert_eq!(follow(&repo, "refs/heads/main").resolve(None).unwrap(), second);
        let source = follow(&repo, "v1");
        for rev in
            ["main~1", "v1^{commit}", "HEAD^", ":/first", "main@{1}", "v1-1-g", first.short()]
        {
            let rev =
                if rev == "v1-1-g" { format!("v1-0-g{}", first.short()) } else { rev.to_owned() };
            assert_eq!(source.resolve(Some(&rev)).unwrap(), first, "{rev}");
        }
    }

    #[test]
    fn rewritten_history_does_not_descend_from_what_was() {
        let repo = Repo::new();
        let first = repo.write("a", "1").commit("first");
        let second = repo.write("a", "2").commit("second");
        let source = open(&repo);
        assert!(source.descends(&second, &first).unwrap());
        assert!(source.descends(&first, &first).unwrap());
        assert!(!source.descends(&first, &second).unwrap());
        assert!(!source.descends(&second, &Revision::new(MISSING)).unwrap());
        let server = Repo::bare();
        repo.push_to(&server);
        repo.git(&["commit", "-q", "--amend", "-m", "other"]);
        repo.force_push(&server);
        let server = open(&server);
        let amended = server.resolve(None).unwrap();
        assert_eq!(amended, source.resolve(None).unwrap());
        assert!(!server.descends(&amended, &second).unwrap());
    }

    #[test]
    fn a_clone_whose_history_is_cut_is_read_but_knows_no_ancestors() {
        let repo = Repo::new();
        let first = repo.write("a", "1").commit("first");
        let second = repo.write("a", "2").commit("second");
        let clone = tempfile::tempdir().unwrap();
        let url = format!("file://{}", repo.path().display());
        crate::harness::repo::git(clone.path(), &["clone", "-q", "--depth=1", &url, "c"]);
        let source = LocalRepository::open(&clone.path().join("c"), None).unwrap();
        assert_eq!(source.resolve(None).unwrap(), second);
        assert!(source.at(&second).unwrap().entry("a").unwrap().is_some());
        assert!(!source.descends(&second, &first).unwrap());
        let third = repo.write("a", "3").commit("third");
        crate::harness::repo::git(&clone.path().join("c"), &["pull", "-q"]);
        assert!(source.descends(&third, &second).unwrap());
        let text = told(source.resolve(Some(first.as_str())));
        assert_says(&text, &["shallow", "git fetch --unshallow"]);
    }

    #[test]
    fn what_changed_in_a_file_is_counted_and_shown() {
        let repo = Repo::new();
        let first = repo.write("s/run.sh", "a\nb\n").write("same", "x").commit("first");
        let second = repo
            .remove("s/run.sh")
            .write_exec("s/run.sh", "a\nc\nd\n")
            .write("new", "n\n")
            .commit("second");
        let source = open(&repo);
        let (old, new) = (source.at(&first).unwrap(), source.at(&second).unwrap());
        let diff = changed(old.as_ref(), new.as_ref(), "s/run.sh").unwrap().unwrap();
        assert_eq!((diff.added, diff.removed), (2, 1));
        assert_says(&diff.unified, &["old mode 100644\nnew mode 100755\n", "-b\n+c\n+d\n"]);
        assert_eq!(changed(old.as_ref(), new.as_ref(), "same").unwrap(), None);
        assert_eq!(changed(old.as_ref(), new.as_ref(), "nowhere").unwrap(), None);
        let added = changed(old.as_ref(), new.as_ref(), "new").unwrap().unwrap();
        assert_eq!((added.added, added.removed), (1, 0));
        let gone = changed(new.as_ref(), old.as_ref(), "new").unwrap().unwrap();
        assert_says(&gone.unified, &["+++ /dev/null"]);
    }

    #[test]
    fn reading_goes_on_while_git_packs_what_is_read() {
        let repo = Repo::new();
        let first = repo.write("s/a", "1").commit("first");
        repo.git(&["repack", "-adq"]);
        let source = open(&repo);
        let tree = source.at(&first).unwrap();
        let folder = tree.entry("s").unwrap().unwrap();
        let second = repo.write("s/a", "2").commit("second");
        for tree in [&tree, &source.at(&second).unwrap()] {
            repo.write("other", tree.revision().as_str()).commit("more");
            repo.git(&["repack", "-adq"]);
            repo.git(&["pack-refs", "--all"]);
            assert_eq!(tree.files(folder.id, "s").unwrap()["a"].content.as_ref(), b"1");
            assert!(tree.entry("s/a").unwrap().is_some());
        }
        assert!(source.descends(&source.resolve(None).unwrap(), &second).unwrap());
    }

    #[test]
    fn many_threads_read_one_commit() {
        let repo = Repo::from_folder("src/git");
        let source = open(&repo);
        let tree = source.at(&source.resolve(None).unwrap()).unwrap();
        let root = tree.entry("").unwrap().unwrap().id;
        let all = tree.files(root, "").unwrap();
        assert!(all.len() > 10);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let root = tree.entry("").unwrap().unwrap().id;
                    assert_eq!(tree.files(root, "").unwrap(), all);
                });
            }
        });
    }
}

mod bad_repositories {
    use super::*;

    fn opened(path: &Path) -> Result<LocalRepository, SourceError> {
        LocalRepository::open(path, None)
    }

    #[test]
    fn a_folder_that_is_no_repository_or_does_not_exist() {
        let folder = tempfile::tempdir().unwrap();
        let text = told(opened(folder.path()));
        assert_says(&text, &["is not a git repository", "`repositories`"]);
        let text = told(opened(&folder.path().join("gone")));
        assert_says(&text, &["gone does not exist"]);
    }

    #[test]
    fn an_empty_repository() {
        let text = told(open(&Repo::new()).resolve(None));
        assert_says(&text, &["has no commit yet", "commit something"]);
        let text = told(follow(&Repo::bare(), "main").resolve(None));
        assert_says(&text, &["no branch or tag `main`", "it has no commit yet"]);
    }

    #[test]
    fn a_branch_that_does_not_exist_is_met_with_those_that_do() {
        let repo = Repo::new();
        repo.write("a", "1").commit("first");
        repo.git(&["tag", "v1.0"]);
        let text = told(follow(&repo, "mian").resolve(None));
        assert_says(&text, &["no branch or tag `mian`", "did you mean `main`?", "main, v1.0"]);
        let text = told(open(&repo).resolve(Some("v1.9")));
        assert_says(&text, &["no commit, branch or tag `v1.9`", "did you mean `v1.0`?"]);
        repo.git(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
        let text = told(open(&repo).resolve(None));
        assert_says(&text, &["`trunk`, which does not exist", "there are: main, v1.0"]);
    }

    #[test]
    fn a_revision_that_is_no_commit() {
        let repo = Repo::new();
        repo.write("a", "1").commit("first");
        let source = open(&repo);
        assert_says(&told(source.resolve(Some("HEAD^{tree}"))), &["is a tree, not a commit"]);
        assert_says(&told(source.resolve(Some("HEAD:a"))), &["is a blob, not a commit"]);
        assert_says(&told(source.resolve(Some("a..b"))), &["`a..b`"]);
        assert_says(&told(source.resolve(Some(MISSING))), &["no commit, branch or tag"]);
        assert_says(&told(source.at(&Revision::new(MISSING)).map(|_| ())), &["commit 0123456"]);
    }

    #[test]
    fn a_repository_of_another_user() {
        let repo = Repo::new();
        repo.write("a", "1").commit("first");
        if std::os::unix::fs::chown(repo.path(), Some(12345), None).is_err() {
            eprintln!("only root can give a folder away: not tested here");
            return;
        }
        std::os::unix::fs::chown(repo.git_dir(), Some(12345), None).unwrap();
        let text = told(opened(repo.path()));
        let hint = format!("git config --global --add safe.directory {}", repo.path().display());
        assert_says(&text, &["belongs to another user", &hint]);
    }

    #[test]
    fn formats_that_libgit2_does_not_read() {
        for (key, value, says) in [
            (
                "extensions.refstorage",
                "reftable",
                ["reftable", "git refs migrate --ref-format=files"],
            ),
            ("extensions.objectformat", "sha256", ["SHA-256", "--object-format=sha1"]),
            ("extensions.partialclone", "origin", ["partial clone", "--refetch"]),
            ("extensions.unheardof", "1", ["not supported", "plain clone"]),
        ] {
            let repo = Repo::new();
            repo.write("a", "1").commit("first");
            let config = repo.git_dir().join("config");
            let (section, key) = key.split_once('.').unwrap();
            let text = std::fs::read_to_string(&config).unwrap();
            let text = text.replace("repositoryformatversion = 0", "repositoryformatversion = 1");
            std::fs::write(&config, format!("{text}[{section}]\n\t{key} = {value}\n")).unwrap();
            assert_says(&told(opened(repo.path())), &says);
        }
    }

    #[test]
    fn a_name_that_is_not_utf8() {
        use std::os::unix::ffi::OsStrExt;
        let repo = Repo::new();
        repo.write("s/ok", "1");
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
        std::fs::write(repo.path().join("s").join(name), "x").unwrap();
        let commit = repo.commit("first");
        let tree = open(&repo).at(&commit).unwrap();
        let step = tree.entry("s").unwrap().unwrap();
        let text = told(tree.files(step.id, "s"));
        assert_says(&text, &["s: the file name `caf\\xe9` is not UTF-8", "rename"]);
    }

    /// An object of which only the header was ever written: to read it would fail otherwise.
    #[test]
    fn a_file_that_is_too_large_is_refused_by_its_header() {
        let repo = Repo::new();
        let commit = repo.write("a", "1").commit("first");
        let header = b"blob 629145600\0and so on, for 600 MB";
        let length = u16::try_from(header.len()).unwrap();
        let mut object = vec![0x78, 0x01, 0x00];
        object.extend(length.to_le_bytes());
        object.extend((!length).to_le_bytes());
        object.extend(header);
        let folder = repo.git_dir().join("objects/ab");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ab".repeat(19)), object).unwrap();
        let tree = open(&repo).at(&commit).unwrap();
        let text = told(tree.blob(ObjectId([0xab; 20]), "s/disk.img"));
        assert_says(&text, &["s/disk.img: has 600 MB; files above 512 MB are not read", "S3"]);
    }

    #[test]
    fn an_object_that_is_missing_or_damaged_is_named() {
        let repo = Repo::new();
        repo.write("s/run.sh", "echo hello\n").write("t/run.sh", "echo other\n");
        let commit = repo.commit("first");
        let tree = open(&repo).at(&commit).unwrap();
        let object = |path: &str| {
            let id = repo.git(&["rev-parse", &format!("HEAD:{path}")]);
            repo.git_dir().join("objects").join(&id[..2]).join(&id[2..])
        };
        let (gone, damaged) = (object("s/run.sh"), object("t/run.sh"));
        let (s, t) = (tree.entry("s").unwrap().unwrap(), tree.entry("t").unwrap().unwrap());
        std::fs::remove_file(gone).unwrap();
        std::fs::remove_file(&damaged).unwrap();
        std::fs::write(&damaged, "no object").unwrap();
        let text = told(tree.files(s.id, "s"));
        assert_says(&text, &["s/run.sh is missing from", "git fetch --refetch"]);
        let text = told(tree.files(t.id, "t"));
        assert_says(&text, &["t/run.sh cannot be read from", "git fsck"]);
    }
}

mod discovery {
    use super::*;

    fn roots() -> Vec<String> {
        vec!["packer_workspaces".to_owned(), "workflow".to_owned()]
    }

    fn found(repo: &Repo, commit: &Revision) -> Result<Vec<(String, Vec<String>)>, SourceError> {
        let tree = open(repo).at(commit)?;
        let found = workflows(tree.as_ref(), &roots(), &["example".to_owned()])?;
        let names = |folders: Vec<(String, _)>| folders.into_iter().map(|(name, _)| name).collect();
        Ok(found.into_iter().map(|one| (one.path, names(one.folders))).collect())
    }

    #[test]
    fn workflows_are_found_at_a_root_and_below_without_examples_and_hidden_folders() {
        let repo = Repo::new();
        repo.write("packer_workspaces/workflow_param.json", "{}")
            .write("packer_workspaces/s01/step_param.json", "{}")
            .write("packer_workspaces/example/step_param.json", "{}")
            .write("packer_workspaces/.cache/x", "")
            .write("workflow/team/b/workflow_param.json", "{}")
            .write("workflow/team/b/s01/x", "{}");
        let commit = repo.commit("first");
        let steps = vec!["s01".to_owned()];
        assert_eq!(
            found(&repo, &commit).unwrap(),
            [
                ("packer_workspaces".to_owned(), steps.clone()),
                ("workflow/team/b".to_owned(), steps)
            ]
        );
    }

    #[test]
    fn nothing_found_says_where_it_looked_and_where_there_is_one() {
        let repo = Repo::new();
        let commit = repo.write("README", "").commit("first");
        let text = told(found(&repo, &commit));
        assert_says(
            &text,
            &["no workflow found", "packer_workspaces/, workflow/", "commit a folder"],
        );
        let commit = repo.write("images/web/workflow_param.json", "{}").commit("second");
        let text = told(found(&repo, &commit));
        assert_says(&text, &["there is one in images/web/", "`roots`"]);
    }

    #[test]
    fn a_workflow_that_is_excluded_or_whose_parameters_are_a_link_is_said() {
        let repo = Repo::new();
        let commit =
            repo.write("packer_workspaces/example/workflow_param.json", "{}").commit("first");
        let text = told(found(&repo, &commit));
        assert_says(&text, &["packer_workspaces/example/ has one", "`exclude`"]);
        std::os::unix::fs::symlink(
            "example/workflow_param.json",
            repo.path().join("packer_workspaces/workflow_param.json"),
        )
        .unwrap();
        let commit = repo.commit("second");
        let text = told(found(&repo, &commit));
        assert_says(
            &text,
            &["packer_workspaces/workflow_param.json: is a symbolic link", "as a file"],
        );
    }
}

mod watching {
    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    /// How long after `act` returned the watch woke.
    async fn woken_after(watch: &mut RefWatch, act: impl FnOnce()) -> Duration {
        act();
        let start = Instant::now();
        watch.changed(LONG).await;
        start.elapsed()
    }

    /// Lets the events of what was done before go by.
    async fn settle(watch: &mut RefWatch) {
        let quiet = Duration::from_millis(150);
        loop {
            let start = Instant::now();
            watch.changed(quiet).await;
            if start.elapsed() >= quiet {
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_push_wakes_at_once_also_after_refs_were_packed_or_replaced() {
        let server = Repo::bare();
        let clone = Repo::new();
        clone.write("a", "1").commit("first");
        clone.push_to(&server);
        let source = open(&server);
        let mut watch = RefWatch::start(&server.git_dir());
        assert!(watch.is_watching());
        let mut slowest = Duration::ZERO;
        for round in 0..6 {
            let pushed = clone.write("a", format!("{round}")).commit("next");
            slowest = slowest.max(
                woken_after(&mut watch, || {
                    clone.push_to(&server);
                })
                .await,
            );
            assert_eq!(source.resolve(None).unwrap(), pushed);
            settle(&mut watch).await;
            match round {
                1 => drop(server.git(&["pack-refs", "--all"])),
                2 => {
                    let (refs, old) = (server.path().join("refs"), server.path().join("old"));
                    std::fs::rename(&refs, &old).unwrap();
                    std::fs::create_dir_all(refs.join("heads")).unwrap();
                    std::fs::create_dir_all(refs.join("tags")).unwrap();
                    std::fs::remove_dir_all(old).unwrap();
                    settle(&mut watch).await;
                    assert!(watch.is_watching());
                }
                _ => {}
            }
        }
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    }

    #[tokio::test]
    async fn a_branch_in_a_folder_that_did_not_exist_wakes() {
        let server = Repo::bare();
        let mut watch = RefWatch::start(&server.git_dir());
        let clone = Repo::new();
        clone.write("a", "1").commit("first");
        let url = server.path().display().to_string();
        let push = || drop(clone.git(&["push", "-q", &url, "main:refs/heads/team/x"]));
        assert!(woken_after(&mut watch, push).await < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn reading_and_staging_wake_nobody_and_the_interval_always_does() {
        let repo = Repo::new();
        let commit = repo.write("a", "1").commit("first");
        let source = open(&repo);
        let mut watch = RefWatch::start(source.watched().unwrap());
        settle(&mut watch).await;
        assert_eq!(source.resolve(None).unwrap(), commit);
        repo.write("a", "2").git(&["add", "a"]);
        repo.git(&["status"]);
        let start = Instant::now();
        watch.changed(Duration::from_millis(200)).await;
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_wake_survives_a_dropped_future() {
        let repo = Repo::new();
        repo.write("a", "1").commit("first");
        let mut watch = RefWatch::start(&repo.git_dir());
        settle(&mut watch).await;
        repo.write("a", "2").commit("second");
        let start = Instant::now();
        let cut = Duration::from_millis(1);
        while tokio::time::timeout(cut, watch.changed(LONG)).await.is_err() {
            if start.elapsed() > Duration::from_millis(20) {
                watch.changed(LONG).await;
                break;
            }
        }
        assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_repository_that_does_not_exist_yet_is_polled() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = RefWatch::start(&folder.path().join("none"));
        assert!(!watch.is_watching());
        let start = Instant::now();
        watch.changed(Duration::from_millis(20)).await;
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}

mod speed {
    use super::*;

    /// Prints what `docs/benchmarks.md` is written from:
    /// `cargo test --test it -- --ignored --nocapture speed`.
    #[test]
    #[ignore = "measures, does not judge"]
    fn ten_thousand_steps_of_seven_files() {
        let repo = Repo::new();
        for step in 0..10_000 {
            for file in 0..7 {
                repo.write(
                    &format!("w/s{step:05}/f{file}"),
                    format!("step {step} file {file}\n").repeat(40),
                );
            }
        }
        let commit = repo.commit("all");
        for state in ["loose", "packed"] {
            if state == "packed" {
                repo.git(&["repack", "-adq"]);
            }
            let start = Instant::now();
            let tree = open(&repo).at(&commit).unwrap();
            let folder = tree.entry("w").unwrap().unwrap();
            let opened = start.elapsed();
            let start = Instant::now();
            let steps = tree.list(folder.id).unwrap();
            let listed = start.elapsed();
            let start = Instant::now();
            let mut files = 0;
            for step in &steps {
                files += tree.files(step.id, &step.name).unwrap().len();
            }
            println!(
                "{state}: open {opened:?}, list {} entries {listed:?}, read {files} files {:?}",
                steps.len(),
                start.elapsed()
            );
        }
    }

    #[tokio::test]
    #[ignore = "measures, does not judge"]
    async fn from_a_push_returning_to_the_wake() {
        let server = Repo::bare();
        let clone = Repo::new();
        let mut watch = RefWatch::start(&server.git_dir());
        let mut times = Vec::new();
        for round in 0..30 {
            clone.write("a", format!("{round}")).commit("next");
            while tokio::time::timeout(
                Duration::from_millis(80),
                watch.changed(Duration::from_secs(9)),
            )
            .await
            .is_ok()
            {}
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let (path, bare) = (clone.path().to_owned(), server.path().display().to_string());
            std::thread::spawn(move || {
                crate::harness::repo::git(&path, &["push", "-q", &bare, "HEAD"]);
                let _ = sender.send(Instant::now());
            });
            watch.changed(Duration::from_secs(9)).await;
            let woken = Instant::now();
            let returned = receiver.await.unwrap();
            times.push(woken.saturating_duration_since(returned));
        }
        times.sort();
        println!("median {:?}, slowest {:?}", times[15], times[29]);
    }
}
