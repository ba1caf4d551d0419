//! What is derived, derived again: fingerprints, views and search rows, saved documents.
//!
//! Fingerprints are computed from all items of their collection, which are by then proven to be the
//! pairs of `sig`; views by the code that admission uses, in a transaction that is only kept if a
//! row of it changes.
//!
//! Source: index.md sections 2.3 and 7.6, trust.md section 5.

use std::collections::BTreeMap;
use std::ops::Bound;

use crdt::reconcile::Fingerprint;
use crdt::{Collection, Digest, PackageId, RealmId};
use redb::{ReadableTable as _, WriteTransaction};

use super::super::standings::Standings;
use super::super::statements::{IDS, document_id};
use super::super::tables::{self, Tables};
use super::super::{Error, Inner, collections, delegates, documents as saved, views};
use super::pages::ids;
use super::{DERIVED_AT_ONCE, Difference};

/// A package of a realm.
pub(super) type Name = (RealmId, PackageId);

/// The collections that have a fingerprint.
#[derive(Debug, Default)]
pub(super) struct States {
    pub(super) known: Vec<Collection>,
    /// Rows whose part is no collection's.
    pub(super) unknown: Vec<(RealmId, String)>,
}

/// Which fingerprints are kept.
pub(super) fn states(txn: &impl Tables) -> Result<States, Error> {
    let mut states = States::default();
    for row in txn.table(tables::COLL_STATE)?.iter()? {
        let key = row?.0;
        let (realm, part) = key.value();
        let realm = RealmId(Digest::from_bytes(*realm));
        let collection = collections::parse(realm, part);
        if collections::part(&collection) == part {
            states.known.push(collection);
        } else {
            states.unknown.push((realm, part.to_owned()));
        }
    }
    Ok(states)
}

/// Drops those of no collection.
pub(super) fn forget_states(
    txn: &WriteTransaction,
    unknown: &[(RealmId, String)],
) -> Result<Vec<Difference>, Error> {
    let mut table = txn.open_table(tables::COLL_STATE)?;
    let mut found = Vec::new();
    for (realm, part) in unknown {
        if table.remove((realm.0.as_bytes(), part.as_str()))?.is_some() {
            let what = format!("fingerprint of {part:?}, which is no collection");
            found.push(Difference::mended("coll_state", what));
        }
    }
    Ok(found)
}

/// Whether a fingerprint is another one than that of the collection's items, and how many they are.
pub(super) fn state_differs(
    txn: &impl Tables,
    collection: &Collection,
) -> Result<(bool, u64), Error> {
    let fresh = fresh_state(txn, collection)?;
    let kept = collections::state(txn, collection);
    Ok((kept.map_or(true, |kept| kept != fresh), fresh.count))
}

/// Keeps that of the items.
pub(super) fn mend_state(
    txn: &WriteTransaction,
    collection: &Collection,
) -> Result<Vec<Difference>, Error> {
    if !state_differs(txn, collection)?.0 {
        return Ok(Vec::new());
    }
    collections::set_state(txn, collection, &fresh_state(txn, collection)?)?;
    let (realm, part) = (collection.realm(), collections::part(collection));
    Ok(vec![Difference::mended("coll_state", format!("fingerprint of {part} of {realm}"))])
}

fn fresh_state(txn: &impl Tables, collection: &Collection) -> Result<Fingerprint, Error> {
    let (table, id) = (txn.table(tables::COLL)?, collection.id());
    let of = id.0.as_bytes();
    let mut state = Fingerprint::empty();
    for row in table.range((of, &IDS.0)..=(of, &IDS.1))? {
        let (_, item) = row?;
        let (id, key) = item.value();
        state.add(&collections::item_of(id, key)?);
    }
    Ok(state)
}

/// Packages behind one, a few.
pub(super) fn names(txn: &impl Tables, after: Option<&Name>) -> Result<Vec<Name>, Error> {
    let table = txn.table(tables::DOC)?;
    let from = after.map_or(Bound::Unbounded, |(realm, package)| {
        Bound::Excluded((realm.0.as_bytes(), package.format.as_str(), package.name.as_str()))
    });
    let mut found = Vec::new();
    for row in table.range((from, Bound::Unbounded))?.take(DERIVED_AT_ONCE) {
        let key = row?.0;
        let (realm, format, name) = key.value();
        found.push((RealmId(Digest::from_bytes(*realm)), PackageId::new(format, name)));
    }
    Ok(found)
}

/// The rows of a package's view.
#[derive(PartialEq, Eq)]
struct Kept {
    head: Option<Vec<u8>>,
    versions: BTreeMap<String, Vec<u8>>,
    summary: Option<(String, u64, String)>,
}

impl Kept {
    fn load(txn: &impl Tables, (realm, package): &Name) -> Result<Self, Error> {
        let document = document_id(realm, package);
        let head = txn.table(tables::VIEW)?.get(&document)?.map(|row| row.value().to_vec());
        let mut versions = BTreeMap::new();
        for row in txn.table(tables::VIEW_VERSION)?.range((&document, "")..)? {
            let (key, row) = row?;
            let (of, version) = key.value();
            if *of != document {
                break;
            }
            versions.insert(version.to_owned(), row.value().to_vec());
        }
        let table = txn.table(tables::PACKAGE)?;
        let key = (package.format.as_str(), package.name.as_str(), realm.0.as_bytes());
        let summary = table.get(key)?.map(|row| {
            let (latest, count, description) = row.value();
            (latest.to_owned(), count, description.to_owned())
        });
        Ok(Self { head, versions, summary })
    }

    /// What is another one after it was derived.
    fn differences(&self, after: &Self, (realm, package): &Name) -> Vec<Difference> {
        let mut found = Vec::new();
        let name = format!("{package} of realm {}", &realm.0.to_hex()[..12]);
        if self.head != after.head {
            found.push(Difference::mended("view", name.clone()));
        }
        let mut versions: Vec<&String> =
            self.versions.keys().chain(after.versions.keys()).collect();
        versions.sort_unstable();
        versions.dedup();
        for version in versions {
            if self.versions.get(version) != after.versions.get(version) {
                found.push(Difference::mended("view_version", format!("{name}, {version}")));
            }
        }
        if self.summary != after.summary {
            found.push(Difference::mended("package", name));
        }
        found
    }
}

/// Derives a package of a followed realm; says which rows became others.
pub(super) fn derive(
    inner: &Inner,
    txn: &WriteTransaction,
    name: &Name,
    standings: &mut Standings<'_>,
) -> Result<Vec<Difference>, Error> {
    let (realm, package) = name;
    // An unfollow may have come meanwhile.
    if !delegates::bases(txn)?.contains(realm) {
        return Ok(Vec::new());
    }
    let before = Kept::load(txn, name)?;
    views::derive(inner, txn, standings, (realm, package))?;
    Ok(before.differences(&Kept::load(txn, name)?, name))
}

/// What a step saw of the saved documents.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) count: u64,
    pub(super) last: Option<[u8; 32]>,
    pub(super) suspects: Vec<[u8; 32]>,
}

/// Looks at the saved documents behind one, a few.
pub(super) fn documents(txn: &impl Tables, after: Option<[u8; 32]>) -> Result<Documents, Error> {
    let mut page = Documents::default();
    for document in ids(&txn.table(tables::AM_DOC)?, after.as_ref(), DERIVED_AT_ONCE)? {
        page.count += 1;
        page.last = Some(document);
        if !saved::is_sound(txn, &document)? {
            page.suspects.push(document);
        }
    }
    Ok(page)
}

/// Drops a saved document that is not what its statements make: the next look builds it anew.
pub(super) fn drop_document(
    txn: &WriteTransaction,
    document: &[u8; 32],
) -> Result<Vec<Difference>, Error> {
    if saved::is_sound(txn, document)? {
        return Ok(Vec::new());
    }
    txn.open_table(tables::AM_DOC)?.remove(document)?;
    let what = match views::package_of(txn, document)? {
        Some((_, package)) => format!("document of {package}"),
        None => "document of no package".to_owned(),
    };
    Ok(vec![Difference::mended("am_doc", what)])
}
