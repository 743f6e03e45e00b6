//! Repositories behind an URL: what a fetch brings, and what is told when it fails.

use std::path::Path;
use std::time::{Duration, Instant};

use reconciler::git::GitSource;
use reconciler::git::access::Access;
use reconciler::git::remote::RemoteRepository;
use reconciler_model::source::SourceError;
use tempfile::TempDir;

use crate::harness::git_http::{Answer, GitHttp};
use crate::harness::repo::Repo;

/// A variable that cargo sets for every test: a token without touching this process's environment.
const TOKEN_ENV: &str = "CARGO_PKG_NAME";
/// `x-access-token:reconciler`
const LOGIN: &str = "Basic eC1hY2Nlc3MtdG9rZW46cmVjb25jaWxlcg==";

struct Mirror {
    source: RemoteRepository,
    _folder: TempDir,
}

fn follow(url: &str, reference: Option<&str>, access: Access) -> Mirror {
    let folder = tempfile::tempdir().unwrap();
    let reference = reference.map(str::to_owned);
    let access = Access { program: env!("CARGO_BIN_EXE_reconciler").into(), ..access };
    let source = RemoteRepository::open(url, "amis", reference, folder.path(), access);
    Mirror { source, _folder: folder }
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

fn with_token() -> Access {
    Access { token_env: Some(TOKEN_ENV.to_owned()), ..Access::default() }
}

/// What a person is told: message, then hint.
#[track_caller]
fn told(mirror: &Mirror) -> String {
    match mirror.source.fetch() {
        Err(SourceError::Person(told)) => {
            format!("{}\n{}", told.one_line(), told.hint.unwrap_or_default())
        }
        other => panic!("not for a person: {other:?}"),
    }
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn a_mirror_follows_pushes_forced_pushes_and_what_was_removed() {
    let server = Repo::bare();
    let clone = Repo::new();
    let first = clone.write("a", "1").commit("first");
    clone.push_to(&server);
    clone.git(&["push", "-q", &server.path().display().to_string(), "main:team/x"]);
    let mirror = follow(&url(server.path()), None, Access::default());
    let source = &mirror.source;
    let early = source.resolve(None).unwrap_err().to_string();
    assert_says(&early, &["has not been fetched yet"]);

    source.fetch().unwrap();
    assert_eq!(
        (source.resolve(None).unwrap(), source.reference().as_str()),
        (first.clone(), "main")
    );
    assert_eq!(source.resolve(Some("team/x")).unwrap(), first);
    assert!(source.at(&first).unwrap().entry("a").unwrap().is_some());

    let second = clone.write("a", "2").commit("second");
    clone.push_to(&server);
    source.fetch().unwrap();
    assert!(source.descends(&second, &first).unwrap());

    clone.git(&["commit", "-q", "--amend", "-m", "other"]);
    clone.force_push(&server);
    server.git(&["branch", "-D", "team/x"]);
    server.git(&["tag", "v1", "main"]);
    source.fetch().unwrap();
    let amended = source.resolve(None).unwrap();
    assert!(!source.descends(&amended, &second).unwrap());
    assert_eq!(source.resolve(Some("v1")).unwrap(), amended);
    let gone = source.resolve(Some("team/x")).unwrap_err().to_string();
    assert_says(&gone, &["no commit, branch or tag `team/x`"]);
}

#[test]
fn the_default_branch_of_the_remote_is_followed_whatever_its_name() {
    let server = Repo::new();
    server.git(&["checkout", "-q", "-b", "trunk"]);
    let first = server.write("a", "1").commit("first");
    let mirror = follow(&url(server.path()), None, Access::default());
    mirror.source.fetch().unwrap();
    assert_eq!(mirror.source.reference(), "trunk");
    assert_eq!(mirror.source.resolve(None).unwrap(), first);
    let tag = follow(&url(server.path()), Some("v9"), Access::default());
    tag.source.fetch().unwrap();
    let text = tag.source.resolve(None).unwrap_err().to_string();
    assert_says(&text, &["no branch or tag `v9`"]);
}

#[test]
fn a_remote_that_sends_more_than_may_be_taken_is_left_and_says_so() {
    let server = Repo::new();
    let noise: Vec<String> =
        (0..40_000_u64).map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_string()).collect();
    server.write("large", noise.concat());
    server.commit("large");
    let access = |most_bytes| Access { most_bytes, ..Access::default() };
    let mirror = follow(&url(server.path()), None, access(10_000));
    let Err(SourceError::Person(told)) = mirror.source.fetch() else {
        panic!("the fetch was not ended");
    };
    assert!(told.message.contains("the fetch was ended"), "{told}");
    follow(&url(server.path()), None, access(10_000_000)).source.fetch().unwrap();
}

#[test]
fn an_empty_remote_says_so() {
    let server = Repo::bare();
    let mirror = follow(&url(server.path()), None, Access::default());
    mirror.source.fetch().unwrap();
    let text = mirror.source.resolve(None).unwrap_err().to_string();
    assert_says(&text, &["no commit yet"]);
}

#[test]
fn a_token_from_the_environment_opens_an_http_remote() {
    let server = Repo::bare();
    let clone = Repo::new();
    let first = clone.write("a", "1").commit("first");
    clone.push_to(&server);
    let http = GitHttp::start(Answer::Git {
        root: server.path().to_owned(),
        authorization: Some(LOGIN.to_owned()),
    });
    let mirror = follow(&http.url(""), None, with_token());
    mirror.source.fetch().unwrap();
    assert_eq!(mirror.source.resolve(None).unwrap(), first);
}

#[test]
fn a_wrong_token_is_offered_at_most_twice_and_never_shown() {
    let http = GitHttp::start(Answer::Git {
        root: "/nonexistent".into(),
        authorization: Some("Basic other".to_owned()),
    });
    let address = http.url("a.git").replace("http://", "http://me:pass-word@");
    let mirror = follow(&address, None, with_token());
    let text = told(&mirror);
    assert_says(&text, &["refused the token of $CARGO_PKG_NAME", "may be expired"]);
    assert!(!text.contains("pass-word"), "{text}");
    assert!(http.logins() <= 2, "{}", http.logins());
    let mirror = follow(&http.url("a.git"), None, Access::default());
    assert_says(&told(&mirror), &["asks for a login", "`token_env`"]);
}

#[test]
fn a_repository_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let mirror = follow(&url(&folder.path().join("none")), None, Access::default());
    assert_says(&told(&mirror), &["none was not found", "check the URL"]);
    let http = GitHttp::start(Answer::Status("404 Not Found"));
    let mirror = follow(&http.url("a.git"), None, Access::default());
    assert_says(&told(&mirror), &["a.git was not found", "private"]);
    let mirror = follow("gopher://host/a", None, Access::default());
    assert_says(&told(&mirror), &["is not an URL of a git repository", "https://"]);
}

#[test]
fn a_key_or_a_token_that_is_not_there_is_said_before_anything_is_sent() {
    let key = Access { ssh_key: Some("/nonexistent/key".into()), ..Access::default() };
    let mirror = follow("ssh://git@127.0.0.1:1/a", None, key);
    assert_says(&told(&mirror), &["the ssh key /nonexistent/key does not exist", "`ssh_key`"]);
    let token = Access { token_env: Some("RECONCILER_NO_SUCH".to_owned()), ..Access::default() };
    let mirror = follow("https://127.0.0.1:1/a", None, token);
    assert_says(&told(&mirror), &["RECONCILER_NO_SUCH is not set", "`token_env`"]);
    let mirror = follow("http://example.invalid/a", None, with_token());
    assert_says(&told(&mirror), &["without encryption", "https://"]);
}

#[test]
fn what_may_work_later_is_told_apart() {
    let busy = GitHttp::start(Answer::Status("503 Service Unavailable"));
    let silent = GitHttp::start(Answer::Silence);
    // Who answers has all the time that a busy machine takes to start git.
    let (long, short) = (Duration::from_mins(1), Duration::from_millis(300));
    for (url, timeout, says) in [
        (busy.url("a.git"), long, "503"),
        ("http://127.0.0.1:1/a.git".to_owned(), long, "connect"),
        (silent.url("a.git"), short, "no answer for 300ms"),
        (format!("ssh://git@127.0.0.1:{}/a", silent.port), short, "no answer for 300ms"),
    ] {
        let mirror = follow(&url, None, Access { timeout, ..Access::default() });
        let start = Instant::now();
        match mirror.source.fetch() {
            Err(SourceError::Transient { detail, .. }) => assert_says(&detail, &[says]),
            other => panic!("{url}: {other:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{url}: {:?}", start.elapsed());
    }
}

/// Every fetch is a process that has ended when its caller is told, so nothing of it is left that
/// could pile up.
#[test]
fn a_remote_that_hangs_leaves_nothing_behind_however_often_it_is_asked() {
    let silent = GitHttp::start(Answer::Silence);
    let access = Access { timeout: Duration::from_millis(200), ..Access::default() };
    let mirror = follow(&silent.url("a.git"), None, access);
    for _ in 0..6 {
        assert_says(&mirror.source.fetch().unwrap_err().to_string(), &["no answer for 200ms"]);
    }
    assert_eq!(silent.open_connections(), 0);
}

#[test]
fn a_program_that_cannot_fetch_is_no_fault_of_the_repository() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::bare();
    for (program, says) in
        [("/nowhere/reconciler", "could not fetch"), ("/bin/true", "without an answer")]
    {
        let access = Access { program: program.into(), ..Access::default() };
        let url = url(repo.path());
        let source = RemoteRepository::open(&url, "amis", None, folder.path(), access);
        match source.fetch() {
            Err(SourceError::Transient { detail, .. }) => assert_says(&detail, &[says]),
            other => panic!("{program}: {other:?}"),
        }
    }
}
