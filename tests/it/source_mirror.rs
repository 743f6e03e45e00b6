//! A mirror is derived: whatever happens to it, the next fetch mends it, says so, and leaves
//! nothing behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reconciler::git::GitSource;
use reconciler::git::access::Access;
use reconciler::git::remote::RemoteRepository;
use reconciler_model::source::SourceError;
use tempfile::TempDir;

use crate::harness::git_http::{Answer, GitHttp};
use crate::harness::repo::Repo;

/// A repository, a clone to push from, and the mirror that follows it.
struct Followed {
    server: Repo,
    clone: Repo,
    source: RemoteRepository,
    folder: TempDir,
}

impl Followed {
    fn new() -> Self {
        let (server, clone, folder) = (Repo::bare(), Repo::new(), tempfile::tempdir().unwrap());
        clone.write("a", "1").write("w/b", "2").commit("first");
        clone.push_to(&server);
        let source = open(&server.path().display().to_string(), folder.path());
        source.fetch().unwrap();
        Self { server, clone, source, folder }
    }

    fn push(&self, content: &str) {
        self.clone.write("a", content).commit(content);
        self.clone.push_to(&self.server);
    }

    fn push_as(&self, branch: &str) {
        let server = self.server.path().display().to_string();
        self.clone.git(&["push", "-q", &server, &format!("HEAD:refs/heads/{branch}")]);
    }

    /// Everything that a pass reads.
    fn read(&self) -> Result<String, SourceError> {
        let revision = self.source.resolve(None)?;
        let tree = self.source.at(&revision)?;
        let root = tree.entry("")?.unwrap();
        tree.files(root.id, "")?;
        let entry = tree.entry("a")?.unwrap();
        let content = tree.blob(entry.id, "a")?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// What lies beside the mirror's folder, and in its folder of packs, less packs and their
    /// indexes.
    fn leftovers(&self) -> Vec<String> {
        let names = |folder: &Path| -> Vec<String> {
            let entries = fs::read_dir(folder).unwrap().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let beside = names(self.folder.path()).into_iter().filter(|name| {
            let path = Path::new(name);
            !path.extension().is_some_and(|end| end == "git" || end == "lock")
        });
        let packs = names(&self.source.mirror().join("objects/pack"));
        let packs = packs.into_iter().filter(|name| !name.starts_with("pack-"));
        beside.chain(packs).collect()
    }
}

fn open(url: &str, folder: &Path) -> RemoteRepository {
    open_with(url, folder, Access::default().timeout)
}

fn open_with(url: &str, folder: &Path, timeout: Duration) -> RemoteRepository {
    let access =
        Access { program: env!("CARGO_BIN_EXE_reconciler").into(), timeout, ..Access::default() };
    RemoteRepository::open(url, "amis", None, folder, access)
}

fn packs(mirror: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(mirror.join("objects/pack")).unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "pack")).collect()
}

/// What happens to a mirror, and how.
type Kind = (&'static str, fn(&Path));

fn each_pack(mirror: &Path, act: impl Fn(&Path)) {
    for pack in packs(mirror) {
        act(&pack);
    }
}

fn put(mirror: &Path, name: &str, text: &str) {
    fs::write(mirror.join(name), text).unwrap();
}

/// A pack of its length whose objects are damaged.
fn flipped(mut pack: Vec<u8>) -> Vec<u8> {
    let end = pack.len() - 20;
    for byte in &mut pack[12..end] {
        *byte ^= 0xff;
    }
    pack
}

fn overwrite(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let bytes = change(fs::read(path).unwrap());
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_branch_makes_room_for_one_below_its_name_and_the_other_way_round() {
    let followed = Followed::new();
    let delete = |branch: &str| followed.server.git(&["branch", "-D", branch]);
    for pair in [["hotfix", "hotfix/one"], ["x/y/z", "x/y"], ["p", "p/q/r/s"]] {
        for packed in [false, true] {
            for [old, new] in [pair, [pair[1], pair[0]]] {
                followed.push_as(old);
                followed.source.fetch().unwrap();
                if packed {
                    let mirror = followed.source.mirror();
                    crate::harness::repo::git(&mirror, &["pack-refs", "--all"]);
                }
                delete(old);
                followed.push(&format!("{old} to {new}, {packed}"));
                followed.push_as(new);
                followed.source.fetch().unwrap();
                assert!(followed.source.resolve(Some(new)).is_ok(), "{new}");
                assert!(followed.source.resolve(Some(old)).is_err(), "{old}");
                assert!(followed.read().unwrap().starts_with(old));
                delete(new);
            }
        }
    }
    assert_eq!(followed.leftovers(), [""; 0]);
}

/// What can be wrong with a mirror.
const DAMAGE: [Kind; 19] = [
    ("an old lock of a branch", |at| {
        let lock = at.join("refs/heads/main.lock");
        fs::write(&lock, "").unwrap();
        let long_ago = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        let file = fs::File::options().write(true).open(&lock).unwrap();
        file.set_times(long_ago).unwrap();
    }),
    ("locks", |at| {
        for name in ["HEAD.lock", "packed-refs.lock", "config.lock", "FETCH_HEAD.lock"] {
            put(at, name, "");
        }
    }),
    ("a cut pack", |at| {
        each_pack(at, |pack| {
            overwrite(pack, |bytes| bytes[..bytes.len() / 2].to_vec());
        });
    }),
    ("an empty pack", |at| {
        each_pack(at, |pack| overwrite(pack, |_| Vec::new()));
    }),
    ("a cut index", |at| {
        each_pack(at, |pack| {
            overwrite(&pack.with_extension("idx"), |bytes| bytes[..900].to_vec());
        });
    }),
    ("no pack", |at| {
        each_pack(at, |pack| fs::remove_file(pack).unwrap());
    }),
    ("no index", |at| {
        each_pack(at, |pack| {
            fs::remove_file(pack.with_extension("idx")).unwrap();
        });
    }),
    ("flipped bytes", |at| {
        each_pack(at, |pack| overwrite(pack, flipped));
    }),
    ("an empty reference", |at| put(at, "refs/heads/main", "")),
    ("a reference of zeros", |at| {
        put(at, "refs/heads/main", &"\0".repeat(41));
    }),
    ("a reference to nothing", |at| {
        put(at, "refs/heads/main", &"4f2c1e9d".repeat(5));
    }),
    ("a folder in place of a reference", |at| {
        fs::remove_file(at.join("refs/heads/main")).unwrap();
        fs::create_dir_all(at.join("refs/heads/main/x")).unwrap();
    }),
    ("damaged packed references", |at| {
        put(at, "packed-refs", "nonsense\0\n");
    }),
    ("an empty HEAD", |at| put(at, "HEAD", "")),
    ("no HEAD", |at| fs::remove_file(at.join("HEAD")).unwrap()),
    ("a damaged configuration", |at| {
        put(at, "config", "[core\n\0");
    }),
    ("no references", |at| {
        fs::remove_dir_all(at.join("refs")).unwrap();
    }),
    ("no objects", |at| {
        fs::remove_dir_all(at.join("objects")).unwrap();
    }),
    ("a file in its place", |at| {
        fs::remove_dir_all(at).unwrap();
        fs::write(at, "").unwrap();
    }),
];

#[test]
fn whatever_is_damaged_in_a_mirror_it_is_fetched_anew_and_read() {
    let followed = Followed::new();
    for (round, (kind, damage)) in DAMAGE.into_iter().enumerate() {
        damage(&followed.source.mirror());
        // At once, and by a process that has never seen it sound.
        for (again, push) in [(false, true), (true, false)] {
            if push {
                followed.push(&format!("{round}"));
            }
            let url = followed.server.path().display().to_string();
            let fresh = open(&url, followed.folder.path());
            let source = if again { &fresh } else { &followed.source };
            source.fetch().unwrap_or_else(|error| panic!("{kind}: {error}"));
            let read = followed.read();
            let read = read.unwrap_or_else(|error| panic!("{kind}: {error}"));
            assert_eq!(read, round.to_string(), "{kind}");
        }
        assert_eq!(followed.leftovers(), [""; 0], "{kind}");
    }
}

#[test]
fn an_object_that_is_damaged_in_a_mirror_is_read_all_the_same() {
    let followed = Followed::new();
    followed.read().unwrap();
    for pack in packs(&followed.source.mirror()) {
        overwrite(&pack, flipped);
    }
    // No fetch in between: what is read next finds it out.
    let url = followed.server.path().display().to_string();
    let source = open(&url, followed.folder.path());
    let revision = source.resolve(None).unwrap();
    let tree = source.at(&revision).unwrap();
    let entry = tree.entry("a").unwrap().unwrap();
    assert_eq!(tree.blob(entry.id, "a").unwrap().as_ref(), b"1");
    assert_eq!(followed.read().unwrap(), "1");
}

#[test]
fn while_the_remote_is_down_a_damaged_mirror_is_said_to_be_damaged_and_mended_later() {
    let followed = Followed::new();
    let away = followed.folder.path().with_extension("away");
    fs::rename(followed.server.path(), &away).unwrap();
    for pack in packs(&followed.source.mirror()) {
        overwrite(&pack, |bytes| bytes[..40].to_vec());
    }
    let url = followed.server.path().display().to_string();
    let error = open(&url, followed.folder.path()).resolve(None).unwrap_err();
    assert!(!matches!(error, SourceError::Damaged(_)), "{error:?}");
    fs::rename(&away, followed.server.path()).unwrap();
    followed.source.fetch().unwrap();
    assert_eq!(followed.read().unwrap(), "1");
}

#[test]
fn who_reads_while_a_mirror_is_fetched_anew_and_packed_reads_on() {
    let followed = Followed::new();
    let url = followed.server.path().display().to_string();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reads = 0;
            while !is_over.load(Ordering::Relaxed) {
                followed.read().unwrap();
                reads += 1;
            }
            reads
        });
        let other = open(&url, followed.folder.path());
        for round in 1..=40 {
            followed.push(&round.to_string());
            if round % 8 == 0 {
                fs::write(followed.source.mirror().join("packed-refs"), "nonsense").unwrap();
            }
            other.fetch().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        let reads = reading.join().unwrap();
        assert!(reads > 40, "only {reads} reads");
    });
}

#[test]
fn what_a_fetch_left_that_was_killed_or_given_up_is_removed() {
    let followed = Followed::new();
    let mirror = followed.source.mirror();
    let inside = mirror.join("objects/pack");
    fs::write(inside.join("pack_git2_0123456789abcdef"), "x").unwrap();
    fs::write(inside.join("tmp_pack_AbCdEf"), "x").unwrap();
    fs::write(inside.join(format!("pack-{}.pack", "0".repeat(40))), "x").unwrap();
    fs::create_dir_all(mirror.with_extension("new").join("objects")).unwrap();
    fs::create_dir_all(mirror.with_extension("joining")).unwrap();
    symlink("/nowhere", mirror.with_extension("old")).unwrap();
    let before = packs(&mirror).len();
    followed.source.fetch().unwrap();
    assert_eq!(followed.leftovers(), [""; 0]);
    assert_eq!(packs(&mirror).len(), before - 1);

    let silent = GitHttp::start(Answer::Silence);
    let folder = tempfile::tempdir().unwrap();
    let access = Duration::from_millis(200);
    let source = open_with(&silent.url("a.git"), folder.path(), access);
    for _ in 0..2 {
        source.fetch().unwrap_err();
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "the lock and nothing else: {left:?}");
}

#[test]
fn two_that_fetch_one_mirror_at_once_wait_for_each_other() {
    let followed = Followed::new();
    let url = followed.server.path().display().to_string();
    for round in 0..3 {
        followed.push(&round.to_string());
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| open(&url, followed.folder.path()).fetch().unwrap());
            }
        });
        assert_eq!(followed.read().unwrap(), round.to_string());
    }
    assert_eq!(followed.leftovers(), [""; 0]);
}

/// How many files of this process are in a folder, or were.
fn open_below(folder: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = links.filter_map(|link| fs::read_link(link.path()).ok());
    links.filter(|to| to.starts_with(folder)).count()
}

/// Long: `RECONCILER_TEST_PUSHES=10000`, which `make soak` does.
#[test]
fn however_often_is_pushed_few_files_are_open_and_few_packs_are_kept() {
    let pushes = std::env::var("RECONCILER_TEST_PUSHES");
    let pushes: usize = pushes.map_or(60, |said| said.parse().unwrap());
    let followed = Followed::new();
    let early = followed.source.resolve(None).unwrap();
    let (mut most_packs, mut most_open) = (0, 0);
    for round in 0..pushes {
        followed.push(&round.to_string());
        followed.source.fetch().unwrap();
        assert_eq!(followed.read().unwrap(), round.to_string());
        most_packs = most_packs.max(packs(&followed.source.mirror()).len());
        most_open = most_open.max(open_below(followed.folder.path()));
    }
    println!("figures: {pushes} pushes: at most {most_packs} packs, {most_open} open files");
    assert!(most_packs <= 16, "{most_packs} packs");
    assert!(most_open <= 16, "{most_open} files");
    let old = followed.source.at(&early).unwrap();
    assert!(old.entry("w/b").unwrap().is_some());
    crate::harness::repo::git(&followed.source.mirror(), &["fsck", "--strict"]);
}

#[test]
fn a_local_repository_that_is_packed_again_and_again_keeps_few_files_open() {
    use reconciler::git::repository::LocalRepository;
    let repo = Repo::new();
    repo.write("a", "0").commit("0");
    let source = LocalRepository::open(repo.path(), None).unwrap();
    let mut most_open = 0;
    for round in 1..40 {
        let commit = repo.write("a", round.to_string()).commit("next");
        repo.git(&["repack", "-q", "-d"]);
        let tree = source.at(&commit).unwrap();
        assert!(tree.entry("a").unwrap().is_some());
        let old = source.resolve(Some("HEAD~1")).unwrap();
        assert!(source.at(&old).unwrap().entry("a").unwrap().is_some());
        most_open = most_open.max(open_below(repo.path()));
    }
    assert!(most_open <= 8, "{most_open} files");
}
