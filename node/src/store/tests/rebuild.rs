//! An index that is damaged anywhere becomes again what follows from its statements.

use std::collections::{BTreeMap, BTreeSet};

use crdt::document::Document;
use crdt::session::Index;
use crdt::statement::{Beat, Counter, IdList};
use crdt::{Body, Collection, Digest, Statement, Verified};
use redb::{ReadableTable, WriteTransaction};
use tempfile::tempdir;

use super::super::rebuild::{Difference, DifferenceEnd, RebuildOrder};
use super::super::statements::document_id;
use super::super::tables::{self, Tables, every_table};
use super::super::{FollowKind, Store};
use super::receipts::receipt;
use super::stored;
use super::world::{Realm, key, package};

/// A store with two realms that have something in every table, and what was admitted.
async fn full(home: &std::path::Path) -> (Store, Realm, Vec<Verified>) {
    let (own, other) = (Realm::with_mirrors(1), Realm::new(2));
    let store = own.store(home).await;
    store.follow(other.followed(FollowKind::Followed)).await.unwrap();
    store.set_own_keys([own.publisher.public()]);
    stored(&store, b"x 1").await;
    stored(&store, b"nobody's").await;
    let mut all = vec![own.genesis.clone(), other.genesis.clone(), own.sign(own.route("x*"))];
    for version in ["1.0.0", "1.1.0"] {
        let release = own.sign(own.release("x", version, b"x 1"));
        all.push(own.sign(own.tag("x", "latest", release.statement().id(), all.len() as u64)));
        all.push(release);
        all.push(other.sign(other.release("y", version, version.as_bytes())));
    }
    all.push(own.says(receipt("x", 3), &[&key(90), &key(91)]));
    let head = own.genesis.statement().id();
    let counter = Counter { epoch: 0, n: 1 };
    let beat = Beat { head, counter, digest: Digest::of(b"all"), count: 7, claimed_time: 1 };
    let beat = Statement::new(own.id, None, Body::Beat(beat)).unwrap();
    all.push(Verified::sign(beat, &[&key(90)]));
    // One release is sealed by a list in a blob, another is all that is kept of a revoked key.
    let of = |at: usize| all[at].statement().id();
    let (sealed, kept) = (of(7), of(4));
    stored(&store, sealed.0.as_bytes()).await;
    let releases = IdList::Blob { digest: Digest::of(sealed.0.as_bytes()), count: 1 };
    let keep = IdList::Inline(vec![kept]);
    let revoke = Body::Revoke { key: key(91).public(), keep, reason: "lost".into() };
    for body in [Body::Seal { releases }, revoke] {
        let statement = Statement::new(own.id, None, body).unwrap();
        all.push(Verified::sign(statement, &[&own.root]));
    }
    let counter = Counter { epoch: 1, n: 1 };
    let tag = Body::Tag { tag: "next".into(), release: Some(sealed), counter };
    all.push(own.sign(Statement::new(own.id, Some(package("x")), tag).unwrap()));
    // A stranger's, which decides nothing and lies in a table of its own.
    all.push(Verified::sign(own.release("z", "9.0.0", b"z"), &[&key(77)]));
    store.admit(all.clone(), None).await.unwrap();
    store.document(&own.id, &package("x")).await.unwrap();
    store.kinds(BTreeSet::new()).await.unwrap();
    (store, own, all)
}

/// Every row of every table, but how often something was touched.
fn everything(store: &Store) -> BTreeMap<String, Vec<String>> {
    let txn = store.read().unwrap();
    let mut found = BTreeMap::new();
    macro_rules! dump {
        ($($table:ident)*) => {$(
            let table = txn.table(tables::$table).unwrap();
            let rows = table.iter().unwrap().map(|row| {
                let (key, value) = row.unwrap();
                format!("{:?} {:?}", key.value(), value.value())
            });
            found.insert(redb::TableHandle::name(&tables::$table).to_owned(), rows.collect());
        )*};
    }
    every_table!(dump);
    found.remove("revision");
    found
}

async fn run(store: &Store, signatures: bool) -> Vec<Difference> {
    let mut rebuild = store.rebuild(RebuildOrder { signatures }).unwrap();
    let mut found = Vec::new();
    while let Some(step) = rebuild.step().await.unwrap() {
        found.extend(step);
    }
    let course = rebuild.course();
    assert_eq!(course.rows, course.rows_of, "at the end");
    assert_eq!(course.statements, store.counts().unwrap().statements + lost(&found, "stmt"));
    assert_eq!(course.signatures > 0, signatures);
    found
}

fn lost(found: &[Difference], table: &str) -> u64 {
    let lost = |one: &&Difference| one.end == DifferenceEnd::Lost && one.table == table;
    found.iter().filter(lost).count() as u64
}

fn tables_of(found: &[Difference]) -> BTreeSet<&str> {
    found.iter().map(|one| one.table.as_str()).collect()
}

/// Commits what a test breaks.
async fn break_it(store: &Store, damage: fn(&WriteTransaction)) {
    let change = move |_: &_, txn: &WriteTransaction| {
        damage(txn);
        Ok(())
    };
    store.write(change, |_, ()| {}).await.unwrap();
}

/// The first key of a table, as something that can be kept.
macro_rules! first {
    ($txn:expr, $table:ident, $key:pat => $kept:expr) => {{
        let table = $txn.open_table(tables::$table).unwrap();
        let (key, _) = table.first().unwrap().unwrap();
        let $key = key.value();
        $kept
    }};
}

#[tokio::test]
async fn an_index_that_is_sound_differs_in_nothing_and_is_not_touched() {
    let home = tempdir().unwrap();
    let (store, own, _) = full(home.path()).await;
    let (before, revision) = (everything(&store), store.revision(&package("x")).unwrap());
    for (table, rows) in &before {
        let is_of_others = ["cached_", "pin_", "sha512", "peer_", "route", "row", "last_use"];
        // What seals, revocations and later epochs say: this realm has none.
        let is_of_others =
            is_of_others.iter().chain(&["list", "sealed", "kept", "counted"]).copied();
        let is_of_others: Vec<_> = is_of_others.collect();
        assert!(
            !rows.is_empty() || is_of_others.iter().any(|of| table.starts_with(of)),
            "{table} has nothing that could be damaged"
        );
    }
    assert_eq!(run(&store, false).await, []);
    assert_eq!(run(&store, true).await, []);
    assert_eq!(everything(&store), before);
    assert_eq!(store.revision(&package("x")).unwrap(), revision);
    // After an unfollow, too.
    store.unfollow(&own.id).await.unwrap();
    assert_eq!(run(&store, true).await, []);
}

#[tokio::test]
async fn a_row_that_lacks_or_is_too_many_or_another_is_found_and_mended() {
    let home = tempdir().unwrap();
    let (store, ..) = full(home.path()).await;
    let sound = everything(&store);
    for (tables, damage) in damages() {
        break_it(&store, damage).await;
        assert_ne!(everything(&store), sound, "{tables:?}: that is damage");
        let found = run(&store, false).await;
        assert_eq!(tables_of(&found), BTreeSet::from_iter(tables.iter().copied()), "{found:?}");
        assert!(found.iter().all(|one| one.end == DifferenceEnd::Mended), "{found:?}");
        let mended = everything(&store);
        for (table, rows) in &sound {
            // A document that was dropped is made at the next look.
            let is_dropped = table == "am_doc" && tables.contains(&"am_doc");
            assert!(is_dropped || mended[table] == *rows, "{table} after {tables:?}");
        }
        assert_eq!(run(&store, true).await, [], "after {tables:?}");
        store.document(&Realm::with_mirrors(1).id, &package("x")).await.unwrap();
        assert_eq!(everything(&store), sound, "{tables:?}");
    }
}

/// The tables in which damage is seen, and how it is done.
type Damage = (&'static [&'static str], fn(&WriteTransaction));

fn damages() -> Vec<Damage> {
    let mut all: Vec<Damage> = lacking();
    all.extend(too_many());
    all.extend(others());
    all
}

fn lacking() -> Vec<Damage> {
    vec![
        (&["doc_stmt"], |txn| {
            let key = first!(txn, DOC_STMT, (document, id) => (*document, *id));
            txn.open_table(tables::DOC_STMT).unwrap().remove((&key.0, &key.1)).unwrap();
        }),
        (&["doc"], |txn| {
            let key = first!(txn, DOC, (realm, format, name) =>
                (*realm, format.to_owned(), name.to_owned()));
            let key = (&key.0, key.1.as_str(), key.2.as_str());
            txn.open_table(tables::DOC).unwrap().remove(key).unwrap();
        }),
        (&["artifact", "coll", "latest"], |txn| {
            txn.open_table(tables::ARTIFACT).unwrap().retain(|_, ()| false).unwrap();
            txn.open_table(tables::COLL).unwrap().retain(|_, _| false).unwrap();
            txn.open_table(tables::LATEST).unwrap().retain(|_, _| false).unwrap();
        }),
        (&["coll_state"], |txn| {
            txn.open_table(tables::COLL_STATE).unwrap().retain(|_, _| false).unwrap();
        }),
        (&["signed", "counted", "list", "taken"], |txn| {
            txn.open_table(tables::SIGNED).unwrap().retain(|_, ()| false).unwrap();
            txn.open_table(tables::COUNTED).unwrap().retain(|_, ()| false).unwrap();
            txn.open_table(tables::LIST).unwrap().retain(|_, _| false).unwrap();
            txn.open_table(tables::TAKEN).unwrap().retain(|_, _| false).unwrap();
        }),
        (&["sealed", "kept"], |txn| {
            txn.open_table(tables::SEALED).unwrap().retain(|_, ()| false).unwrap();
            txn.open_table(tables::KEPT).unwrap().retain(|_, ()| false).unwrap();
        }),
        (&["authority", "sealed", "kept"], |txn| {
            txn.open_table(tables::AUTHORITY).unwrap().retain(|_, _| false).unwrap();
            txn.open_table(tables::SEALED).unwrap().retain(|_, ()| false).unwrap();
            txn.open_table(tables::KEPT).unwrap().retain(|_, ()| false).unwrap();
        }),
        (&["view", "view_version", "package"], |txn| {
            txn.open_table(tables::VIEW).unwrap().retain(|_, _| false).unwrap();
            txn.open_table(tables::VIEW_VERSION).unwrap().retain(|_, _| false).unwrap();
            txn.open_table(tables::PACKAGE).unwrap().retain(|_, _| false).unwrap();
        }),
        (&["view_version"], |txn| {
            let key = first!(txn, VIEW_VERSION, (document, version) =>
                (*document, version.to_owned()));
            let key = (&key.0, key.1.as_str());
            txn.open_table(tables::VIEW_VERSION).unwrap().remove(key).unwrap();
        }),
    ]
}

fn too_many() -> Vec<Damage> {
    vec![
        (&["sig", "doc_stmt", "artifact", "coll", "stranger", "latest"], |txn| {
            let (id, key) = ([7; 32], first!(txn, SIG, (_, key) => *key));
            txn.open_table(tables::SIG).unwrap().insert((&id, &key), &[0; 64]).unwrap();
            txn.open_table(tables::DOC_STMT).unwrap().insert((&id, &id), ()).unwrap();
            txn.open_table(tables::ARTIFACT).unwrap().insert((&id, &id), ()).unwrap();
            txn.open_table(tables::COLL).unwrap().insert((&id, &id), (&id, &key)).unwrap();
            txn.open_table(tables::STRANGER).unwrap().insert((&id, &id, &key), 1).unwrap();
            let newest = (&id, &id, &key);
            txn.open_table(tables::LATEST).unwrap().insert(newest, (&id, 1)).unwrap();
        }),
        (&["doc"], |txn| {
            let key = (&[7; 32], "npm", "never-was");
            txn.open_table(tables::DOC).unwrap().insert(key, &[7; 32]).unwrap();
        }),
        (&["doc_stmt"], |txn| {
            // A statement in a document of another package would change its view.
            let of = document_id(&Realm::with_mirrors(1).id, &package("x"));
            let table = txn.open_table(tables::DOC_STMT).unwrap();
            let other = table.iter().unwrap().map(|row| {
                let key = row.unwrap().0;
                (*key.value().0, *key.value().1)
            });
            let id = { other }.find(|(document, _)| *document != of).unwrap().1;
            drop(table);
            txn.open_table(tables::DOC_STMT).unwrap().insert((&of, &id), ()).unwrap();
        }),
        (&["view", "view_version", "package", "am_doc"], |txn| {
            txn.open_table(tables::VIEW).unwrap().insert(&[7; 32], &[1][..]).unwrap();
            let version = (&[8; 32], "1.0.0");
            txn.open_table(tables::VIEW_VERSION).unwrap().insert(version, &[1][..]).unwrap();
            let name = ("npm", "never-was", &[7; 32]);
            txn.open_table(tables::PACKAGE).unwrap().insert(name, ("1", 1, "x")).unwrap();
            txn.open_table(tables::AM_DOC).unwrap().insert(&[7; 32], (1, 1, &[1][..])).unwrap();
        }),
        (&["coll_state"], |txn| {
            let key = (&[7; 32], "no such part");
            txn.open_table(tables::COLL_STATE).unwrap().insert(key, &[1][..]).unwrap();
        }),
    ]
}

fn others() -> Vec<Damage> {
    vec![
        (&["sealed", "authority", "list", "taken"], |txn| {
            let (realm, kind, id) = first!(txn, AUTHORITY, (realm, kind, id) =>
                (*realm, kind.to_owned(), *id));
            let row = (&realm, &[3; 32], &[4; 32]);
            txn.open_table(tables::SEALED).unwrap().insert(row, ()).unwrap();
            let row = (&realm, kind.as_str(), &[9; 32]);
            txn.open_table(tables::AUTHORITY).unwrap().insert(row, 1).unwrap();
            txn.open_table(tables::LIST).unwrap().insert((&id, &id), &realm).unwrap();
            txn.open_table(tables::TAKEN).unwrap().insert(&realm, (1, 1)).unwrap();
        }),
        (&["coll"], |txn| {
            let key = first!(txn, COLL, (collection, hash) => (*collection, *hash));
            let signer = first!(txn, SIG, (_, key) => *key);
            let mut table = txn.open_table(tables::COLL).unwrap();
            table.insert((&key.0, &key.1), (&[9; 32], &signer)).unwrap();
        }),
        (&["coll_state"], |txn| {
            let key = first!(txn, COLL_STATE, (realm, part) => (*realm, part.to_owned()));
            let key = (&key.0, key.1.as_str());
            let mut table = txn.open_table(tables::COLL_STATE).unwrap();
            let mut state = table.get(key).unwrap().unwrap().value().to_vec();
            *state.last_mut().unwrap() ^= 1;
            table.insert(key, state.as_slice()).unwrap();
        }),
        (&["view"], |txn| {
            let key = first!(txn, VIEW, document => *document);
            txn.open_table(tables::VIEW).unwrap().insert(&key, &b"rot"[..]).unwrap();
        }),
        (&["view_version"], |txn| {
            let key = first!(txn, VIEW_VERSION, (document, version) =>
                (*document, version.to_owned()));
            let key = (&key.0, key.1.as_str());
            txn.open_table(tables::VIEW_VERSION).unwrap().insert(key, &b"rot"[..]).unwrap();
        }),
        (&["package"], |txn| {
            let key = first!(txn, PACKAGE, (format, name, realm) =>
                (format.to_owned(), name.to_owned(), *realm));
            let key = (key.0.as_str(), key.1.as_str(), &key.2);
            let mut table = txn.open_table(tables::PACKAGE).unwrap();
            table.insert(key, ("6.6.6", 6, "something else")).unwrap();
        }),
        (&["am_doc"], |txn| {
            let key = first!(txn, AM_DOC, document => *document);
            let mut table = txn.open_table(tables::AM_DOC).unwrap();
            table.insert(&key, (1, 4, &b"rot"[..])).unwrap();
        }),
        (&["held"], |txn| {
            tables::set_meta(txn, tables::META_BLOB_BYTES, 99).unwrap();
        }),
        (&["held"], |txn| super::super::kinds::count_package(txn, true).unwrap()),
    ]
}

/// The pairs of a collection, hashed in their order: the oracle beside the fingerprint.
fn oracle(store: &Store, collection: &Collection) -> Digest {
    let mut hashes: Vec<_> = Index::items(store, collection).iter().map(|it| it.hash()).collect();
    hashes.sort_unstable();
    Digest::of(&hashes.concat())
}

#[tokio::test]
async fn a_statement_or_a_signature_that_is_none_leaves_and_comes_again_from_a_peer() {
    let (home, twin) = (tempdir().unwrap(), tempdir().unwrap());
    let (store, own, all) = full(home.path()).await;
    let (peer, ..) = full(twin.path()).await;
    let x = Collection::Format(own.id, "npm".into());
    let state = |store: &Store| {
        let states: BTreeMap<_, _> = Index::collections(store, &own.id).into_iter().collect();
        (states[&x].clone(), oracle(store, &x))
    };
    assert_eq!(state(&store), state(&peer));
    let release = |verified: &&Verified| verified.statement().kind() == "release";
    let release = all.iter().find(release).unwrap().statement().id();

    // A signature is only looked at where that was asked.
    let change = move |_: &_, txn: &WriteTransaction| {
        let mut table = txn.open_table(tables::SIG)?;
        let signed = table.range((release.0.as_bytes(), &[0; 33])..)?.next().unwrap()?;
        let key = *signed.0.value().1;
        drop(signed);
        table.insert((release.0.as_bytes(), &key), &[1; 64])?;
        Ok(())
    };
    store.write(change, |_, ()| {}).await.unwrap();
    assert_eq!(run(&store, false).await, []);
    let found = run(&store, true).await;
    assert_eq!((lost(&found, "stmt"), store.statement(&release).unwrap()), (1, None), "{found:?}");
    let view = store.package(&own.id, &package("x")).unwrap().unwrap();
    assert_eq!(view.versions.len(), 1);
    assert_ne!(state(&store), state(&peer), "whoever compares sees that something lacks");
    assert_eq!(run(&store, true).await, []);
    store.admit(all.clone(), None).await.unwrap();
    assert_eq!(state(&store), state(&peer));

    // A payload under another's id, and bytes that are no statement: of a root, too.
    let genesis = own.genesis.statement().id();
    let change = move |_: &_, txn: &WriteTransaction| {
        let mut table = txn.open_table(tables::STMT)?;
        let other = table.get(genesis.0.as_bytes())?.unwrap().value().1.to_vec();
        table.insert(release.0.as_bytes(), ("root", other.as_slice()))?;
        table.insert(genesis.0.as_bytes(), ("root", &b"rot"[..]))?;
        Ok(())
    };
    store.write(change, |_, ()| {}).await.unwrap();
    let found = run(&store, false).await;
    assert_eq!(lost(&found, "stmt"), 2, "{found:?}");
    assert!(store.package(&own.id, &package("x")).unwrap().is_none(), "nobody is granted");
    store.admit(all, None).await.unwrap();
    assert_eq!(state(&store), state(&peer));
    assert_eq!(run(&store, true).await, []);
    let views = |store: &Store| store.package(&own.id, &package("x")).unwrap();
    assert_eq!(views(&store), views(&peer));
}

#[tokio::test]
async fn what_is_admitted_between_two_steps_is_no_difference() {
    let home = tempdir().unwrap();
    let (store, own, _) = full(home.path()).await;
    let mut rebuild = store.rebuild(RebuildOrder { signatures: true }).unwrap();
    let mut steps = 0;
    while let Some(found) = rebuild.step().await.unwrap() {
        assert_eq!(found, [], "step {steps}");
        let new = format!("new-{steps}");
        let admitted = vec![
            own.sign(own.release("x", &format!("2.{steps}.0"), new.as_bytes())),
            own.sign(own.release(&new, "1.0.0", new.as_bytes())),
            own.says(receipt("x", 10 + steps), &[&key(90)]),
        ];
        store.admit(admitted, None).await.unwrap();
        stored(&store, new.as_bytes()).await;
        store.document(&own.id, &package("x")).await.unwrap();
        // Each admission gives the steps over packages more to do.
        if steps > 40 {
            break;
        }
        steps += 1;
    }
    assert_eq!(run(&store, true).await, []);
}

#[tokio::test]
async fn documents_that_were_deleted_come_again_with_the_same_heads() {
    let home = tempdir().unwrap();
    let (store, own, all) = full(home.path()).await;
    let heads = |saved: &[u8]| Document::load(saved).unwrap().heads();
    let before = store.document(&own.id, &package("x")).await.unwrap();
    let drop_all = |txn: &WriteTransaction| {
        txn.open_table(tables::AM_DOC).unwrap().retain(|_, _| false).unwrap();
    };
    break_it(&store, drop_all).await;
    let after = store.document(&own.id, &package("x")).await.unwrap();
    assert_eq!((heads(&after), after), (heads(&before), before));
    // One that lags behind is sound; one that has more than its statements is not.
    let newer = own.sign(own.release("x", "3.0.0", b"newer"));
    store.admit(vec![newer], None).await.unwrap();
    assert_eq!(run(&store, false).await, []);
    let latest = store.document(&own.id, &package("x")).await.unwrap();
    let mut foreign = Document::new();
    let of_y = all.iter().filter(|it| it.statement().package() == Some(&package("y")));
    assert_eq!(foreign.extend(of_y.take(1)).unwrap(), 1);
    let foreign = foreign.save();
    let document = document_id(&own.id, &package("x"));
    let change = move |_: &_, txn: &WriteTransaction| {
        txn.open_table(tables::AM_DOC)?.insert(&document, (1, 1, foreign.as_slice()))?;
        Ok(())
    };
    store.write(change, |_, ()| {}).await.unwrap();
    let found = run(&store, false).await;
    assert_eq!(tables_of(&found), BTreeSet::from(["am_doc"]));
    assert_eq!(heads(&store.document(&own.id, &package("x")).await.unwrap()), heads(&latest));
}
