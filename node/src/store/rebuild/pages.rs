//! A few rows of a table behind another: where a step begins and ends.

use std::ops::Bound;

use crdt::PackageId;
use redb::ReadableTable as _;

use super::super::Error;
use super::super::tables::{self, Tables};
use super::PAGE;
use super::rows::{Kind, Row};

/// 32 raw bytes.
type Id = [u8; 32];

/// Keys of a table that has ids for keys, behind one, at most so many.
pub(super) fn ids<V: redb::Value + 'static>(
    table: &impl redb::ReadableTable<tables::Id, V>,
    after: Option<&Id>,
    most: usize,
) -> Result<Vec<Id>, Error> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let rows = table.range::<&Id>((from, Bound::Unbounded))?;
    rows.take(most).map(|row| Ok(*row?.0.value())).collect()
}

/// Rows of a kind behind another, at most a page, in the order of their keys.
pub(super) fn page(txn: &impl Tables, kind: Kind, after: Option<&Row>) -> Result<Vec<Row>, Error> {
    macro_rules! page {
        ($table:ident, $last:pat => $from:expr, $key:pat, $value:pat => $row:expr) => {{
            let table = txn.table(tables::$table)?;
            let rows = match after {
                Some($last) => {
                    let from = $from;
                    table.range((Bound::Excluded(from), Bound::Unbounded))?
                }
                _ => table.iter()?,
            };
            let mut found = Vec::new();
            for row in rows.take(PAGE) {
                let (key, value) = row?;
                let ($key, $value) = (key.value(), value.value());
                found.push($row);
            }
            Ok(found)
        }};
    }
    match kind {
        Kind::Signature => page!(SIG, Row::Signature { id, key } => (id, key), (id, key), _ =>
            Row::Signature { id: *id, key: *key }),
        Kind::OfPackage => page!(DOC_STMT,
            Row::OfPackage { document, id } => (document, id), (document, id), () =>
            Row::OfPackage { document: *document, id: *id }),
        Kind::Package => page!(DOC, Row::Package { realm, package, .. } =>
        (realm, package.format.as_str(), package.name.as_str()),
        (realm, format, name), document =>
        Row::Package {
            realm: *realm,
            package: PackageId::new(format, name),
            document: *document,
        }),
        Kind::Named => {
            page!(ARTIFACT, Row::Named { digest, id } => (digest, id), (digest, id), () =>
            Row::Named { digest: *digest, id: *id })
        }
        Kind::Collected => page!(COLL, Row::Collected { collection, hash, .. } =>
            (collection, hash), (collection, hash), (id, key) =>
            Row::Collected { collection: *collection, hash: *hash, id: *id, key: *key }),
        Kind::Newest => page!(LATEST, Row::Newest { realm, subject, key, .. } =>
            (realm, subject, key), (realm, subject, key), (id, _) =>
            Row::Newest { realm: *realm, subject: *subject, key: *key, id: *id }),
        Kind::Stranger => page!(STRANGER, Row::Stranger { realm, id, key } => (realm, id, key),
            (realm, id, key), _ => Row::Stranger { realm: *realm, id: *id, key: *key }),
        Kind::Ruling => page!(AUTHORITY, Row::Ruling { realm, kind, id } =>
            (realm, kind.as_str(), id), (realm, kind, id), _ =>
            Row::Ruling { realm: *realm, kind: kind.to_owned(), id: *id }),
        Kind::Listed => page!(LIST, Row::Listed { digest, id, .. } => (digest, id),
            (digest, id), realm => Row::Listed { digest: *digest, id: *id, realm: *realm }),
        Kind::View => {
            let after = after.and_then(Row::document);
            let ids = ids(&txn.table(tables::VIEW)?, after, PAGE)?.into_iter();
            Ok(ids.map(|document| Row::View { document }).collect())
        }
        Kind::Version => page!(VIEW_VERSION, Row::Version { document, version } =>
            (document, version.as_str()), (document, version), _ =>
            Row::Version { document: *document, version: version.to_owned() }),
        Kind::Summary => page!(PACKAGE, Row::Summary { realm, package } =>
            (package.format.as_str(), package.name.as_str(), realm), (format, name, realm), _ =>
            Row::Summary { realm: *realm, package: PackageId::new(format, name) }),
        Kind::Document => {
            let after = after.and_then(Row::document);
            let ids = ids(&txn.table(tables::AM_DOC)?, after, PAGE)?.into_iter();
            Ok(ids.map(|document| Row::Document { document }).collect())
        }
    }
}
