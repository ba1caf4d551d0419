//! Lockfiles against a real store, npm's real rules and an upstream that can break.

use std::sync::Arc;

use crdt::SecretKey;
use node::formats::ALL;
use node::formats::lockfile::{self, Parsed};
use node::registry::{
    Failed, Lack, LackOf, Progress, Project, Registry, Report, Setup, UpstreamChoice,
};
use node::store::{FollowKind, Followed, Store};
use node::upstream::Upstream;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::genesis;
use crate::upstream::{Raw, Stub};

const NODE: &str = "http://127.0.0.1:7878";

/// A registry that may ask an upstream.
struct Asker {
    registry: Registry,
    home: Arc<TempDir>,
    _background: JoinSet<()>,
}

impl Asker {
    async fn of(stub: &Stub) -> Self {
        let home = Arc::new(TempDir::new().unwrap());
        let asker = Self::open(&home, false).await;
        let choice = UpstreamChoice {
            format: "npm".to_owned(),
            url: stub.url(),
            credential: None,
            same_as: Vec::new(),
            pattern: None,
            default: true,
        };
        asker.registry.upstream_add(choice).await.unwrap();
        asker
    }

    async fn open(home: &Arc<TempDir>, offline: bool) -> Self {
        let store = Store::open(home.path()).unwrap();
        let (root, publisher) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let genesis = genesis(&root, &publisher);
        let own = genesis.statement().realm();
        let (claims, mirrors) = (Vec::new(), Vec::new());
        let followed = Followed { realm: own, kind: FollowKind::Own, claims, order: 0, mirrors };
        store.follow(followed).await.unwrap();
        store.admit(vec![genesis], None).await.unwrap();
        let registry = Registry::new(Setup {
            upstream: Upstream::new(store.clone(), offline).unwrap(),
            mirror: SecretKey::from_seed(&[77; 32]),
            store,
            mesh: None,
            rules: ALL.iter().map(|format| format.rules).collect(),
            publisher,
            own,
        })
        .unwrap();
        let mut background = JoinSet::new();
        let running = registry.clone();
        background.spawn(async move { drop(running.run_background().await) });
        Self { registry, home: Arc::clone(home), _background: background }
    }

    /// The same home, after everything of the old process is gone, asking nobody.
    async fn reopen_offline(self) -> Self {
        let Self { registry, home, mut _background } = self;
        _background.shutdown().await;
        drop(registry);
        Self::open(&home, true).await
    }

    async fn check(&self, project: &Project) -> Report {
        self.registry.check(project, NODE).await.unwrap()
    }

    async fn prefetch(&self, project: &Project) -> Vec<Progress> {
        let (sender, mut receiver) = mpsc::channel(1);
        let work = self.registry.prefetch(project, NODE, sender);
        let listen = async {
            let mut all = Vec::new();
            while let Some(one) = receiver.recv().await {
                all.push(one);
            }
            all
        };
        let (done, all) = tokio::join!(work, listen);
        done.unwrap();
        all
    }
}

/// A package-lock of these (name, version, integrity).
fn project(stub: &Stub, locked: &[(&str, &str)]) -> Project {
    let mut packages = serde_json::Map::new();
    for (name, version) in locked {
        let integrity = stub.integrity(name, version);
        let url = format!("{}{name}/-/{name}-{version}.tgz", stub.url());
        let entry = json!({ "version": version, "resolved": url, "integrity": integrity });
        packages.insert(format!("{version}/node_modules/{name}"), entry);
    }
    let lock = json!({ "lockfileVersion": 3, "packages": packages });
    read(&lock.to_string())
}

fn read(text: &str) -> Project {
    let Parsed { format, lockfile, locked, .. } =
        lockfile::parse("package-lock.json", text).unwrap();
    Project {
        format: format.id.to_owned(),
        path: "/shop/package-lock.json".to_owned(),
        document: lockfile.document.to_owned(),
        beside: Vec::new(),
        locked,
    }
}

fn stub() -> Stub {
    let stub = Stub::start();
    stub.publish("pad", "1.0.0", |p| p);
    stub.publish("pad", "2.0.0", |p| p);
    stub.publish("left-pad", "1.3.0", |p| p.dependency("pad", "^1.0.0"));
    stub
}

fn ids(lacks: &[Lack]) -> Vec<(String, LackOf)> {
    let mut ids: Vec<(String, LackOf)> = lacks
        .iter()
        .map(|lack| {
            let version = lack.version.as_ref().map_or(String::new(), |v| format!("@{v}"));
            (format!("{}{version}", lack.name), lack.what)
        })
        .collect();
    ids.sort_by(|a, b| a.0.cmp(&b.0));
    ids
}

fn failures(progress: &[Progress]) -> Vec<&Failed> {
    let mut failed = Vec::new();
    for one in progress {
        if let Progress::Failed(one) = one {
            failed.push(one);
        }
    }
    failed
}

fn done(progress: &[Progress]) -> &Report {
    match progress.last() {
        Some(Progress::Done { report }) => report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_check_lists_what_lacks_and_asks_nobody_and_a_prefetch_brings_exactly_that() {
    let stub = stub();
    let asker = Asker::of(&stub).await;
    let project = project(&stub, &[("pad", "1.0.0"), ("left-pad", "1.3.0")]);
    let report = asker.check(&project).await;
    assert_eq!((report.packages, report.need, report.is_complete()), (2, 2, false));
    assert_eq!(
        ids(&report.lacks),
        [
            ("left-pad".to_owned(), LackOf::Document),
            ("left-pad@1.3.0".to_owned(), LackOf::File),
            ("pad".to_owned(), LackOf::Document),
            ("pad@1.0.0".to_owned(), LackOf::File),
        ]
    );
    assert!(stub.requests().is_empty(), "a check asks nobody");

    let progress = asker.prefetch(&project).await;
    assert!(matches!(progress[0], Progress::Plan { packages: 2, need: 2, things: 4, .. }));
    assert!(failures(&progress).is_empty(), "{progress:?}");
    assert!(done(&progress).is_complete(), "{progress:?}");
    assert_eq!(stub.count("pad-2.0.0.tgz"), 0, "only what is locked");
    assert_eq!(stub.count(".tgz"), 2);

    stub.forget_requests();
    let again = asker.prefetch(&project).await;
    assert!(matches!(again[0], Progress::Plan { need: 0, things: 0, .. }), "{again:?}");
    assert!(stub.requests().is_empty(), "what is held is not asked for again");
    assert_eq!(asker.registry.projects().unwrap(), 1);

    let offline = asker.reopen_offline().await;
    assert!(offline.check(&project).await.is_complete());
}

#[tokio::test]
async fn a_lockfile_that_contradicts_the_document_is_told_and_nothing_is_fetched_under_it() {
    let stub = stub();
    let asker = Asker::of(&stub).await;
    let mut project = project(&stub, &[("pad", "1.0.0"), ("left-pad", "1.3.0")]);
    let other = stub.integrity("pad", "2.0.0");
    let pad = project.locked.iter_mut().find(|one| one.name == "pad").unwrap();
    pad.integrity = Some(other);
    let progress = asker.prefetch(&project).await;
    let report = done(&progress);
    assert_eq!(ids(&report.lacks), [("pad@1.0.0".to_owned(), LackOf::Unobtainable)]);
    assert!(report.lacks[0].why.contains("other bytes"), "{report:?}");
    assert_eq!(stub.count("pad-1.0.0.tgz"), 0);
    assert_eq!(stub.count("left-pad-1.3.0.tgz"), 1);
}

#[tokio::test]
async fn one_that_fails_does_not_stop_the_rest_and_the_next_run_goes_on() {
    let stub = stub();
    let asker = Asker::of(&stub).await;
    let project = project(&stub, &[("pad", "1.0.0"), ("pad", "2.0.0"), ("left-pad", "1.3.0")]);
    let path = "/pad/-/pad-1.0.0.tgz";
    stub.raw(path, Raw { status: 404, headers: Vec::new(), body: b"gone".to_vec() });
    let progress = asker.prefetch(&project).await;
    let failed = failures(&progress);
    assert_eq!(failed.len(), 1, "{progress:?}");
    assert_eq!((failed[0].name.as_str(), failed[0].version.as_deref()), ("pad", Some("1.0.0")));
    assert_eq!(ids(&done(&progress).lacks), [("pad@1.0.0".to_owned(), LackOf::File)]);

    stub.unraw(path);
    stub.forget_requests();
    let progress = asker.prefetch(&project).await;
    assert!(done(&progress).is_complete(), "{progress:?}");
    assert_eq!(stub.count(".tgz"), 1, "the two others were held");
}

#[tokio::test]
async fn wrong_bytes_are_never_taken_for_what_is_locked() {
    let stub = stub();
    let asker = Asker::of(&stub).await;
    let project = project(&stub, &[("pad", "1.0.0")]);
    stub.switch(|s| s.wrong_bytes = true);
    let progress = asker.prefetch(&project).await;
    assert_eq!(failures(&progress).len(), 1, "{progress:?}");
    assert!(!done(&progress).is_complete());
    stub.switch(|s| s.wrong_bytes = false);
    assert!(done(&asker.prefetch(&project).await).is_complete());
}

#[tokio::test]
async fn a_version_that_the_held_document_does_not_know_is_asked_for_anew() {
    let stub = stub();
    let asker = Asker::of(&stub).await;
    let old = project(&stub, &[("pad", "1.0.0")]);
    assert!(done(&asker.prefetch(&old).await).is_complete());
    stub.publish("pad", "3.0.0", |p| p);
    let new = project(&stub, &[("pad", "3.0.0")]);
    let report = asker.check(&new).await;
    assert_eq!(ids(&report.lacks), [("pad@3.0.0".to_owned(), LackOf::Version)]);
    // A document that was looked at a moment ago is not looked at again.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let progress = asker.prefetch(&new).await;
    assert!(done(&progress).is_complete(), "{progress:?}");
}

#[tokio::test]
async fn what_no_registry_serves_is_named_and_the_project_does_not_install_offline() {
    let stub = stub();
    let asker = Asker::of(&stub).await;
    let project = read(
        r#"{ "lockfileVersion": 3, "packages": {
            "node_modules/g": { "version": "1.0.0", "resolved": "git+https://host.test/g.git#c0" },
            "node_modules/f": { "version": "1.0.0", "resolved": "file:f.tgz" } } }"#,
    );
    let report = asker.check(&project).await;
    assert_eq!(report.packages, 0);
    assert!(report.lacks.is_empty());
    let names: Vec<&str> = report.elsewhere.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["f", "g"]);
    assert!(!report.is_complete());
    let only_file = Project {
        locked: report.elsewhere.into_iter().filter(|one| one.name == "f").collect(),
        ..project
    };
    assert!(asker.check(&only_file).await.is_complete(), "a file lies beside the project");
}

#[tokio::test]
async fn a_lockfile_that_names_a_node_is_told_with_the_upstreams_url() {
    let stub = stub();
    let asker = Asker::of(&stub).await;
    let mut project = project(&stub, &[("pad", "1.0.0"), ("left-pad", "1.3.0")]);
    asker.prefetch(&project).await;
    assert!(asker.check(&project).await.polluted.is_empty(), "an upstream on loopback is no node");
    let node = format!("{NODE}/npm/pad/-/pad-1.0.0.tgz");
    let pad = project.locked.iter_mut().find(|one| one.name == "pad").unwrap();
    let canonical = pad.url.replace(node.clone());
    let report = asker.check(&project).await;
    assert!(report.is_complete(), "it installs here");
    assert_eq!(report.polluted.len(), 1);
    assert_eq!((&report.polluted[0].url, &report.polluted[0].canonical), (&node, &canonical));
}

#[tokio::test]
async fn an_upstream_that_went_away_is_told_soon_and_once_for_all() {
    let stub = stub();
    let asker = Asker::of(&stub).await;
    let project = project(&stub, &[("pad", "1.0.0"), ("left-pad", "1.3.0")]);
    stub.switch(|s| s.black_hole = true);
    let started = std::time::Instant::now();
    let progress = asker.prefetch(&project).await;
    assert!(started.elapsed() < std::time::Duration::from_secs(60));
    assert!(!failures(&progress).is_empty());
    assert_eq!(done(&progress).need, 2);
    let wants = asker.registry.want_list().unwrap();
    assert!(wants.iter().any(|row| row.want.package.name == "pad"), "{wants:?}");
    assert!(wants.iter().all(|row| row.want.since > 0 && !row.why.is_empty()), "{wants:?}");
    let forgotten = asker.registry.want_forget("pad", Some("npm")).await.unwrap();
    assert!(forgotten > 0);
    let wants = asker.registry.want_list().unwrap();
    assert!(wants.iter().all(|row| row.want.package.name != "pad"), "{wants:?}");
}

#[tokio::test]
async fn a_lockfile_of_fifty_thousand_entries_is_checked_soon() {
    let stub = stub();
    let asker = Asker::of(&stub).await;
    let held = project(&stub, &[("pad", "1.0.0")]);
    asker.prefetch(&held).await;
    let integrity = stub.integrity("pad", "1.0.0");
    let mut packages = serde_json::Map::new();
    for number in 0..25_000 {
        let entry = json!({ "version": format!("1.{number}.0"), "integrity": integrity });
        packages.insert(format!("{number}/node_modules/pad"), entry.clone());
        packages.insert(format!("{number}/node_modules/other-{number}"), entry);
    }
    for (number, name) in ["__proto__", "..", "../../etc", "@/x", "A B"].iter().enumerate() {
        let entry = json!({ "version": "../..", "integrity": "md17-x sha512-", "resolved": "x:y" });
        packages.insert(format!("{number}/node_modules/{name}"), entry);
    }
    let big = read(&json!({ "lockfileVersion": 3, "packages": packages }).to_string());
    let started = std::time::Instant::now();
    let report = asker.check(&big).await;
    println!("50,000 entries were checked in {:?}", started.elapsed());
    assert!(started.elapsed() < std::time::Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(report.packages >= 50_000, "{}", report.packages);
    assert!(report.need >= 49_999, "{}", report.need);
}
