//! Facts about homes of earlier layouts: the old file is written here as the old program wrote it.

use std::collections::BTreeSet;
use std::path::Path;

use crdt::reconcile::Fingerprint;
use crdt::session::Index as _;
use crdt::statement::{Receipt, Subject, Via};
use crdt::{Body, Collection, Digest, Item, Statement, Verified};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use redb::{ReadableTableMetadata as _, WriteTransaction};
use serde::Serialize;
use tempfile::tempdir;

use super::super::statements::{document_id, named};
use super::super::tables;
use super::super::{AcceptedMirror, BlobInfo, Error, FollowKind, Store};
use super::world::{Realm, describe, key, package};

/// `followed` of layout 1.
#[derive(Serialize)]
struct Followed1 {
    realm: crdt::RealmId,
    kind: FollowKind,
    claims: Vec<crdt::realm::Claim>,
    order: u64,
    mirrors: bool,
}

/// A realm with a mirror, as a site.
pub(super) fn realm() -> Realm {
    let mut realm = Realm::new(1);
    let mirror = crdt::statement::Grant::to_key(
        "mirror",
        crdt::statement::Pattern::parse("*").unwrap(),
        key(90).public(),
    );
    realm.content.grants.push(mirror);
    let genesis = Statement::genesis(realm.content.clone()).unwrap();
    realm.genesis = Verified::sign(genesis, &[&realm.root]);
    realm.id = realm.genesis.statement().realm();
    realm
}

fn receipt(realm: &Realm) -> Verified {
    let subject = Subject {
        origin: Digest::of(b"origin"),
        format: "npm".into(),
        document: "a".into(),
        variant: String::new(),
    };
    let receipt = Receipt {
        subject,
        blake3: Digest::of(b"bytes"),
        size: 5,
        content_type: "application/json".into(),
        etag: None,
        last_modified: None,
        fetched_at: 1,
        via: Via::Tls,
        n: 1,
        checksums: None,
    };
    let statement = Statement::new(realm.id, None, Body::Receipt(receipt)).unwrap();
    Verified::sign(statement, &[&key(90)])
}

/// Writes a pair as layout 1 did: what it did not know was filed under `other`.
fn file(txn: &WriteTransaction, sequence: u64, verified: &Verified) {
    let statement = verified.statement();
    let (id, realm) = (statement.id(), statement.realm());
    let row = (statement.kind(), statement.payload());
    txn.open_table(tables::STMT).unwrap().insert(id.0.as_bytes(), row).unwrap();
    let (collection, part) = match statement.body() {
        Body::Root(_) => (Collection::Authority(realm), "authority".to_owned()),
        Body::Receipt(_) => (Collection::Other(realm), "other".to_owned()),
        _ => (Collection::Format(realm, "npm".into()), "format/npm".to_owned()),
    };
    for (key, signature) in verified.signatures() {
        let item = Item { id, key: *key };
        let pair = (id.0.as_bytes(), key.as_bytes());
        txn.open_table(tables::SIG).unwrap().insert(pair, &signature.0).unwrap();
        let place = (collection.id(), item.hash());
        let place = (place.0.0.as_bytes(), &place.1);
        txn.open_table(tables::COLL).unwrap().insert(place, pair).unwrap();
        let mut state = Fingerprint::empty();
        state.add(&item);
        let of = (realm.0.as_bytes(), part.as_str());
        let bytes = state.to_bytes();
        txn.open_table(tables::COLL_STATE).unwrap().insert(of, bytes.as_slice()).unwrap();
        let entry = (realm.0.as_bytes(), part.as_str(), pair.0, pair.1);
        txn.open_table(tables::LOG).unwrap().insert(sequence, entry).unwrap();
    }
    let Some(package) = statement.package() else { return };
    let document = document_id(&realm, package);
    let name = (realm.0.as_bytes(), package.format.as_str(), package.name.as_str());
    txn.open_table(tables::DOC).unwrap().insert(name, &document).unwrap();
    let listed = (&document, id.0.as_bytes());
    txn.open_table(tables::DOC_STMT).unwrap().insert(listed, ()).unwrap();
    for it in named(statement) {
        let row = (it.digest.as_bytes(), id.0.as_bytes());
        txn.open_table(tables::ARTIFACT).unwrap().insert(row, ()).unwrap();
    }
}

/// A home of layout 1, with a release, its blob, a receipt from a later peer, and a site whose
/// mirrors were believed.
pub(super) fn write_layout_1(home: &Path, realm: &Realm) {
    let bytes = b"the tarball";
    let digest = Digest::of(bytes);
    let blob = super::super::backup::blob_path(home, &digest);
    fs_err::create_dir_all(blob.parent().unwrap()).unwrap();
    fs_err::write(&blob, bytes).unwrap();
    let database = Database::create(home.join("store.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    macro_rules! make {
        ($($table:ident)*) => {$( txn.open_table(tables::$table).unwrap(); )*};
    }
    make!(META BLOB STMT SIG DOC_STMT DOC COLL COLL_STATE LOG STRANGER ARTIFACT PEER_SEEN);
    make!(VIEW VIEW_VERSION PACKAGE AM_DOC);
    make!(FOLLOWED ROUTE PIN_CONTENT PIN_SOURCE PIN_CHAIN REVISION ROW);
    let release = realm.sign(realm.release("a", "1.0.0", bytes));
    for (sequence, verified) in [&realm.genesis, &release, &receipt(realm)].into_iter().enumerate()
    {
        file(&txn, sequence as u64 + 1, verified);
    }
    let checksums = match release.statement().body() {
        Body::Release(release) => release.files[0].checksums.clone(),
        _ => unreachable!("it is a release"),
    };
    let info = BlobInfo { digest, size: bytes.len() as u64, checksums, stored: 7 };
    let row = tables::encode("blob", &info).unwrap();
    txn.open_table(tables::BLOB).unwrap().insert(digest.as_bytes(), row.as_slice()).unwrap();
    let (kind, claims) = (FollowKind::Site, Vec::new());
    let followed = Followed1 { realm: realm.id, kind, claims, order: 3, mirrors: true };
    let row = tables::encode("followed", &followed).unwrap();
    let of = realm.id.0.as_bytes();
    txn.open_table(tables::FOLLOWED).unwrap().insert(of, row.as_slice()).unwrap();
    txn.open_table(tables::PEER_SEEN).unwrap().insert(&b"peer"[..], (5, 6)).unwrap();
    txn.open_table(tables::ROW).unwrap().insert(("kind", "key"), &b"value"[..]).unwrap();
    let meta = [("schema", 1), ("epoch", 77), ("sequence", 3), ("blob_bytes", info.size)];
    for (name, value) in meta {
        tables::set_meta(&txn, name, value).unwrap();
    }
    txn.commit().unwrap();
}

pub(super) fn schema(path: &Path) -> u64 {
    let database = Database::open(path).unwrap();
    let txn = database.begin_read().unwrap();
    let meta = txn.open_table(tables::META).unwrap();
    meta.get("schema").unwrap().unwrap().value()
}

#[tokio::test]
async fn a_home_of_layout_1_is_brought_to_this_one_and_loses_nothing() {
    let (home, realm) = (tempdir().unwrap(), realm());
    write_layout_1(home.path(), &realm);
    let store = Store::open_with(home.path(), describe).unwrap();
    let view = store.package(&realm.id, &package("a")).unwrap().unwrap();
    assert_eq!(view.versions.len(), 1);
    let digest = Digest::of(b"the tarball");
    let info = store.blob(&digest).unwrap().unwrap();
    assert_eq!(super::content(&store, &info).await, b"the tarball");
    assert_eq!(store.row("kind", "key").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(store.epoch(), 77, "the log goes on: peers resume");
    let mirrors = vec![AcceptedMirror { key: key(90).public(), format: "*".into() }];
    let followed = store.followed().unwrap();
    assert_eq!(followed[0].mirrors, mirrors, "whom the program before believed");
    assert_eq!((followed[0].kind, followed[0].order), (FollowKind::Site, 3));
    let txn = store.read().unwrap();
    let found = txn.open_table(tables::SHA256).unwrap();
    let sha256 = info.checksums.sha256;
    assert_eq!(found.get(&sha256).unwrap().unwrap().value(), digest.as_bytes());
    let names: BTreeSet<String> = txn
        .list_tables()
        .unwrap()
        .map(|table| redb::TableHandle::name(&table).to_owned())
        .collect();
    assert!(names.contains("latest") && names.contains("cached_document"), "{names:?}");
}

#[tokio::test]
async fn receipts_of_layout_1_are_taken_out_whole_and_can_come_again() {
    let (home, realm) = (tempdir().unwrap(), realm());
    write_layout_1(home.path(), &realm);
    let store = Store::open(home.path()).unwrap();
    assert!(store.statement(&receipt(&realm).statement().id()).unwrap().is_none());
    assert_eq!(store.peer_seen(b"peer").unwrap(), None, "or it would never come again");
    let txn = store.read().unwrap();
    assert_eq!(txn.open_table(tables::LOG).unwrap().len().unwrap(), 2);
    assert_eq!(txn.open_table(tables::COLL).unwrap().len().unwrap(), 2);
    let states = txn.open_table(tables::COLL_STATE).unwrap();
    let other = states.get((realm.id.0.as_bytes(), "other")).unwrap().unwrap();
    assert_eq!(Fingerprint::from_bytes(other.value()).unwrap(), Fingerprint::empty());
    drop((other, states, txn));
    let admitted = store.admit(vec![receipt(&realm)], None).await.unwrap();
    assert_eq!(admitted.new.len(), 1);
    assert_eq!(admitted.new[0].sequence, 4);
}

/// Files a seal as layout 2 did, which took whatever bore that name.
fn plant_seal(home: &Path, realm: &Realm, payload: &[u8]) {
    let database = Database::open(home.join("store.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    let item = Item { id: crdt::StatementId(Digest::of(payload)), key: realm.publisher.public() };
    let (id, key, of) = (item.id.0.as_bytes(), item.key.as_bytes(), realm.id.0.as_bytes());
    let collection = Collection::Authority(realm.id);
    let place = (collection.id(), item.hash());
    txn.open_table(tables::STMT).unwrap().insert(id, ("seal", payload)).unwrap();
    txn.open_table(tables::SIG).unwrap().insert((id, key), &[0; 64]).unwrap();
    let mut coll = txn.open_table(tables::COLL).unwrap();
    coll.insert((place.0.0.as_bytes(), &place.1), (id, key)).unwrap();
    drop(coll);
    let mut states = txn.open_table(tables::COLL_STATE).unwrap();
    let row = states.get((of, "authority")).unwrap().map(|row| row.value().to_vec());
    let mut state = Fingerprint::from_bytes(&row.unwrap()).unwrap();
    state.add(&item);
    states.insert((of, "authority"), state.to_bytes().as_slice()).unwrap();
    drop(states);
    txn.open_table(tables::LOG).unwrap().insert(4, (of, "authority", id, key)).unwrap();
    tables::set_meta(&txn, "sequence", 4).unwrap();
    txn.commit().unwrap();
}

#[tokio::test]
async fn the_tables_of_layout_3_are_made_and_what_was_no_seal_is_taken_out() {
    let (home, realm) = (tempdir().unwrap(), realm());
    write_layout_1(home.path(), &realm);
    plant_seal(home.path(), &realm, b"no seal at all");
    let store = Store::open_with(home.path(), describe).unwrap();
    assert!(store.package(&realm.id, &package("a")).unwrap().is_some());
    let held = [realm.genesis.clone(), realm.sign(realm.release("a", "1.0.0", b"the tarball"))];
    let bytes: usize = held.iter().map(|it| it.statement().payload().len()).sum();
    let (taken, _) = store.realm_room(&realm.id).unwrap().unwrap();
    assert_eq!((taken.statements, taken.bytes), (2, bytes as u64));
    assert_eq!(store.authority_statements(&realm.id).unwrap(), held[..1]);
    assert_eq!(store.authority_of_kind(&realm.id, "root").unwrap(), held[..1]);
    // What the new tables are for: the key's packages are found.
    let body = Body::Revoke {
        key: realm.publisher.public(),
        keep: crdt::statement::IdList::Inline(Vec::new()),
        reason: "lost".into(),
    };
    let revoke = Statement::new(realm.id, None, body).unwrap();
    store.admit(vec![Verified::sign(revoke, &[&realm.root])], None).await.unwrap();
    assert!(store.package(&realm.id, &package("a")).unwrap().is_none());
}

#[tokio::test]
async fn the_file_from_before_is_kept_and_leads_back() {
    let (home, realm) = (tempdir().unwrap(), realm());
    write_layout_1(home.path(), &realm);
    drop(Store::open(home.path()).unwrap());
    let before = home.path().join("store.redb.before-1");
    assert_eq!(schema(&before), 1);
    assert_eq!(schema(&home.path().join("store.redb")), tables::SCHEMA_VERSION);
    let epoch = |path: &Path| {
        let database = Database::open(path).unwrap();
        let txn = database.begin_read().unwrap();
        let meta = txn.open_table(tables::META).unwrap();
        meta.get("epoch").unwrap().unwrap().value()
    };
    assert_ne!(epoch(&before), 77, "what goes back in time goes on in another log");
    // Back, and on again.
    fs_err::rename(&before, home.path().join("store.redb")).unwrap();
    let store = Store::open(home.path()).unwrap();
    assert!(store.package(&realm.id, &package("a")).unwrap().is_some());
    drop(store);
    // Kept for some days, then removed at a start.
    drop(Store::open(home.path()).unwrap());
    assert!(before.exists());
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(15 * 24 * 60 * 60);
    fs_err::File::options().write(true).open(&before).unwrap().set_modified(old).unwrap();
    drop(Store::open(home.path()).unwrap());
    assert!(!before.exists());
}

#[tokio::test]
async fn a_migration_cut_at_any_change_of_the_disk_goes_on_at_the_next_start() {
    use super::super::disk::Disk;
    use super::super::disk::journal::{Journal, Op};
    let (home, realm) = (tempdir().unwrap(), realm());
    write_layout_1(home.path(), &realm);
    let original = fs_err::read(home.path().join("store.redb")).unwrap();
    let journal = std::sync::Arc::new(Journal::default());
    drop(Store::open_on(Disk::observed(journal.clone()), home.path(), describe).unwrap());
    let ops = journal.ops();
    let opened: Vec<_> = ops
        .iter()
        .filter_map(|op| match op {
            Op::Open { path, .. } => Some(path.clone()),
            _ => None,
        })
        .collect();
    let main = home.path().join("store.redb");
    let copied = ops
        .iter()
        .position(|op| matches!(op, Op::Rename { to, .. } if to.ends_with("store.redb.before-1")));
    let copied = copied.expect("the file is kept before it is changed");
    // Every prefix of the writes to the file, in their order.
    let mut bytes = original;
    let mut cuts = 0;
    for (at, op) in ops.iter().enumerate() {
        match op {
            Op::Write { file, offset, bytes: piece } if opened[*file] == main => {
                let offset = usize::try_from(*offset).unwrap();
                let end = offset + piece.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[offset..end].copy_from_slice(piece);
            }
            Op::SetLen { file, len } if opened[*file] == main => {
                bytes.resize(usize::try_from(*len).unwrap(), 0);
            }
            _ => continue,
        }
        if at < copied {
            continue;
        }
        cuts += 1;
        let cut = tempdir().unwrap();
        fs_err::write(cut.path().join("store.redb"), &bytes).unwrap();
        let store = Store::open_with(cut.path(), describe).unwrap();
        assert!(store.package(&realm.id, &package("a")).unwrap().is_some(), "cut at {at}");
        assert_eq!(store.followed().unwrap()[0].mirrors.len(), 1, "cut at {at}");
    }
    assert!(cuts > 3, "{cuts} places to cut at");
}

#[tokio::test]
async fn a_later_layout_is_refused_to_the_byte_and_its_program_is_named() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let change = |_: &_, txn: &WriteTransaction| {
        txn.open_table(tables::ROW)?.insert(("store", "program"), &b"griot 9.9.9"[..])?;
        tables::set_meta(txn, tables::META_SCHEMA, 99)
    };
    store.write(change, |_, ()| {}).await.unwrap();
    drop(store);
    let before = fs_err::read(home.path().join("store.redb")).unwrap();
    let refused = Store::open(home.path()).unwrap_err();
    assert!(matches!(refused, Error::Newer { found: 99, .. }), "{refused}");
    assert!(refused.to_string().contains("griot 9.9.9"), "{refused}");
    assert!(before == fs_err::read(home.path().join("store.redb")).unwrap(), "it was written to");
}

#[tokio::test]
async fn a_table_that_lacks_is_made_at_a_start() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let info = super::stored(&store, b"x").await;
    let change = |_: &_, txn: &WriteTransaction| {
        txn.delete_table(tables::SHA256)?;
        txn.delete_table(tables::CACHED_FILE)?;
        Ok(())
    };
    store.write(change, |_, ()| {}).await.unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    let txn = store.read().unwrap();
    assert_eq!(txn.open_table(tables::CACHED_FILE).unwrap().len().unwrap(), 0);
    let found = txn.open_table(tables::SHA256).unwrap();
    let row = found.get(&info.checksums.sha256).unwrap().unwrap();
    assert_eq!(row.value(), info.digest.as_bytes());
}

#[tokio::test]
async fn the_list_of_tables_names_all_that_a_store_has() {
    const SOURCE: &str = include_str!("../tables.rs");
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let there = store.read().unwrap().list_tables().unwrap().count();
    let defined = SOURCE.matches("TableDefinition::new(").count();
    assert_eq!(there, defined, "a table lacks in every_table, and so in every backup");
    let _: TableDefinition<'_, &str, u64> = tables::META;
}
