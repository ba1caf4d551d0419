//! Rows that follow from statements: each says whether something stands for it.
//!
//! A statement with its signers says which rows file it ([`Signed::rows`]); a row of those tables
//! is right if the statement that it names says so. Rows of views are right if their package has
//! statements; what is in them is compared by deriving it (`derived`).
//!
//! Does not decide which statement is one: see `filed`. Source: index.md section 2.4.

use std::collections::BTreeSet;
use std::fmt;

use crdt::{Collection, Digest, Item, PackageId, PublicKey, RealmId, Statement};
use redb::{ReadableTable as _, TableHandle as _, WriteTransaction};

use super::super::admission::counter;
use super::super::statements::{IDS, digests, document_id, list_of};
use super::super::tables::{self, Tables};
use super::super::{Error, kinds, rulings, views};

/// 32 raw bytes.
type Id = [u8; 32];

/// Whose rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Signature,
    OfPackage,
    Package,
    Named,
    Collected,
    Newest,
    Stranger,
    Ruling,
    Listed,
    View,
    Version,
    Summary,
    Document,
}

impl Kind {
    /// Of the tables in which statements are filed; each is right by those before it.
    pub(super) const FILED: [Self; 9] = [
        Self::Signature,
        Self::OfPackage,
        Self::Package,
        Self::Named,
        Self::Collected,
        Self::Newest,
        Self::Stranger,
        Self::Ruling,
        Self::Listed,
    ];
    /// Of those in which is what was derived.
    pub(super) const DERIVED: [Self; 4] =
        [Self::View, Self::Version, Self::Summary, Self::Document];
}

/// A row, without what is derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    /// `sig`.
    Signature { id: Id, key: [u8; 33] },
    /// `doc_stmt`.
    OfPackage { document: Id, id: Id },
    /// `doc`.
    Package { realm: Id, package: PackageId, document: Id },
    /// `artifact`.
    Named { digest: Id, id: Id },
    /// `coll`.
    Collected { collection: Id, hash: Id, id: Id, key: [u8; 33] },
    /// `latest`.
    Newest { realm: Id, subject: Id, key: [u8; 33], id: Id },
    /// `stranger`.
    Stranger { realm: Id, id: Id, key: [u8; 33] },
    /// `authority`, however it counts.
    Ruling { realm: Id, kind: String, id: Id },
    /// `list`.
    Listed { digest: Id, id: Id, realm: Id },
    /// `signed`: one may stay when the signature goes.
    Signer { realm: Id, key: [u8; 33], package: PackageId },
    /// `counted`: one may stay, too.
    Counted { realm: Id, epoch: u64, package: PackageId },
    /// `view`.
    View { document: Id },
    /// `view_version`.
    Version { document: Id, version: String },
    /// `package`.
    Summary { realm: Id, package: PackageId },
    /// `am_doc`.
    Document { document: Id },
}

/// A statement, with the keys of its signatures.
pub(super) struct Signed {
    pub(super) statement: Statement,
    pub(super) keys: Vec<PublicKey>,
}

impl Signed {
    /// As they lie; `None` where there is no such statement, or it is not what its id says.
    pub(super) fn load(txn: &impl Tables, id: &Id) -> Result<Option<Self>, Error> {
        let Some(Ok(statement)) = decode(txn, id)? else { return Ok(None) };
        let keys = keys_of(txn, id)?;
        let keys = keys.iter().filter_map(|key| PublicKey::admit(key).ok()).collect();
        Ok(Some(Self { statement, keys }))
    }

    /// The rows that file it.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Self { statement, keys } = self;
        let (id, realm) = (*statement.id().0.as_bytes(), statement.realm());
        let collection = *statement.collection().id().0.as_bytes();
        let mut rows = Vec::new();
        for key in keys {
            let hash = Item { id: statement.id(), key: *key }.hash();
            rows.push(Row::Collected { collection, hash, id, key: *key.as_bytes() });
            if let Some(subject) = statement.subject() {
                let subject = *subject.as_bytes();
                let (realm, key) = (*realm.0.as_bytes(), *key.as_bytes());
                rows.push(Row::Newest { realm, subject, key, id });
            }
        }
        if let Some(package) = statement.package() {
            let document = document_id(&realm, package);
            let (realm, package) = (*realm.0.as_bytes(), package.clone());
            rows.push(Row::OfPackage { document, id });
            rows.push(Row::Package { realm, package: package.clone(), document });
            for key in keys.iter().map(|key| *key.as_bytes()) {
                rows.push(Row::Signer { realm, key, package: package.clone() });
            }
            let epoch = counter(statement.body()).map_or(0, |counter| counter.epoch);
            if epoch > 0 {
                rows.push(Row::Counted { realm, epoch, package });
            }
        }
        let realm = *realm.0.as_bytes();
        if matches!(statement.collection(), Collection::Authority(_)) {
            rows.push(Row::Ruling { realm, kind: statement.kind().to_owned(), id });
        }
        if let Some(blob) = list_of(statement) {
            rows.push(Row::Listed { digest: *blob.digest.as_bytes(), id, realm });
        }
        rows.extend(digests(statement).iter().map(|it| Row::Named { digest: *it.as_bytes(), id }));
        rows
    }
}

/// What lies under an id: the statement, or why it is none; `None` if nothing does.
pub(super) fn decode(
    txn: &impl Tables,
    id: &Id,
) -> Result<Option<Result<Statement, String>>, Error> {
    let table = txn.table(tables::STMT)?;
    let Some(row) = table.get(id)? else { return Ok(None) };
    let (kind, payload) = row.value();
    Ok(Some(match Statement::decode(kind, payload) {
        Ok(statement) if statement.id().0.as_bytes() == id => Ok(statement),
        Ok(_) => Err("its bytes have another id".to_owned()),
        Err(why) => Err(why.to_string()),
    }))
}

/// The keys of the signatures of a statement, as they lie.
pub(super) fn keys_of(txn: &impl Tables, id: &Id) -> Result<Vec<[u8; 33]>, Error> {
    let table = txn.table(tables::SIG)?;
    let rows = table.range((id, &[0; 33])..=(id, &[0xff; 33]))?;
    rows.map(|row| Ok(*row?.0.value().1)).collect()
}

/// Does something with the table and the key of a row.
macro_rules! at {
    ($row:expr, $table:ident, $key:ident => $act:expr) => {
        at!(@ $row, $table, $key, $act;
            Signature { id, key } SIG (id, key),
            OfPackage { document, id } DOC_STMT (document, id),
            Package { realm, package } DOC
                (realm, package.format.as_str(), package.name.as_str()),
            Named { digest, id } ARTIFACT (digest, id),
            Collected { collection, hash } COLL (collection, hash),
            Newest { realm, subject, key } LATEST (realm, subject, key),
            Stranger { realm, id, key } STRANGER (realm, id, key),
            Ruling { realm, kind, id } AUTHORITY (realm, kind.as_str(), id),
            Listed { digest, id } LIST (digest, id),
            Signer { realm, key, package } SIGNED
                (realm, key, package.format.as_str(), package.name.as_str()),
            Counted { realm, epoch, package } COUNTED
                (realm, *epoch, package.format.as_str(), package.name.as_str()),
            View { document } VIEW document,
            Version { document, version } VIEW_VERSION (document, version.as_str()),
            Summary { realm, package } PACKAGE
                (package.format.as_str(), package.name.as_str(), realm),
            Document { document } AM_DOC document)
    };
    (@ $row:expr, $table:ident, $key:ident, $act:expr;
        $($kind:ident { $($field:ident),* } $of:ident $at:expr),*) => {
        match $row {
            $(Row::$kind { $($field,)* .. } => {
                let ($table, $key) = (tables::$of, $at);
                $act
            })*
        }
    };
}

impl Row {
    /// Which document it is of, if it says nothing else.
    pub(super) const fn document(&self) -> Option<&Id> {
        match self {
            Self::View { document } | Self::Document { document } => Some(document),
            _ => None,
        }
    }

    /// The table that it is in.
    pub(super) fn table(&self) -> String {
        at!(self, table, _key => table.name().to_owned())
    }

    /// Whether something stands for it.
    pub(super) fn is_right(&self, txn: &impl Tables) -> Result<bool, Error> {
        Ok(match self {
            Self::Signature { id, .. } => txn.table(tables::STMT)?.get(id)?.is_some(),
            Self::OfPackage { id, .. }
            | Self::Named { id, .. }
            | Self::Collected { id, .. }
            | Self::Ruling { id, .. }
            | Self::Listed { id, .. }
            | Self::Newest { id, .. } => {
                Signed::load(txn, id)?.is_some_and(|signed| signed.rows().contains(self))
            }
            Self::Stranger { realm, id, key } => {
                let is_signed = txn.table(tables::SIG)?.get((id, key))?.is_some();
                let signed = Signed::load(txn, id)?;
                is_signed && signed.is_some_and(|it| it.statement.realm().0.as_bytes() == realm)
            }
            Self::Package { realm, package, document } => {
                let table = txn.table(tables::DOC_STMT)?;
                let mut of = table.range((document, &IDS.0)..=(document, &IDS.1))?;
                *document == document_id(&realm_of(realm), package) && of.next().is_some()
            }
            Self::Signer { realm, package, .. } | Self::Counted { realm, package, .. } => {
                let document = document_id(&realm_of(realm), package);
                let (realm, package) = (*realm, package.clone());
                Self::Package { realm, package, document }.is_there(txn)?
            }
            Self::View { document } => match views::package_of(txn, document)? {
                Some((realm, package)) => {
                    let (realm, document) = (*realm.0.as_bytes(), *document);
                    Self::Package { realm, package, document }.is_there(txn)?
                }
                None => false,
            },
            Self::Version { document, .. } | Self::Document { document } => {
                txn.table(tables::VIEW)?.get(document)?.is_some()
            }
            Self::Summary { realm, package } => {
                let document = document_id(&realm_of(realm), package);
                txn.table(tables::VIEW)?.get(&document)?.is_some()
            }
        })
    }

    /// Whether it is in its table. Of an author's receipts and beats the newest is enough.
    pub(super) fn is_there(&self, txn: &impl Tables) -> Result<bool, Error> {
        match self {
            Self::Package { realm, package, document } => {
                let key = (realm, package.format.as_str(), package.name.as_str());
                Ok(txn.table(tables::DOC)?.get(key)?.is_some_and(|row| row.value() == document))
            }
            Self::Collected { collection, hash, id, key } => {
                let table = txn.table(tables::COLL)?;
                let row = table.get((collection, hash))?;
                Ok(row.is_some_and(|row| row.value() == (id, key)))
            }
            Self::Newest { realm, subject, key, id } => {
                let table = txn.table(tables::LATEST)?;
                let kept = table.get((realm, subject, key))?.map(|row| *row.value().0);
                kept.map_or(Ok(false), |kept| Ok(kept == *id || outranks(txn, &kept, self)?))
            }
            _ => at!(self, table, key => Ok(txn.table(table)?.get(key)?.is_some())),
        }
    }

    /// Puts a row that files a statement; others are derived, or are statements themselves.
    pub(super) fn put(&self, txn: &WriteTransaction) -> Result<(), Error> {
        match self {
            Self::OfPackage { document, id } => {
                txn.open_table(tables::DOC_STMT)?.insert((document, id), ())?;
            }
            Self::Package { realm, package, document } => {
                let key = (realm, package.format.as_str(), package.name.as_str());
                txn.open_table(tables::DOC)?.insert(key, document)?;
            }
            Self::Named { digest, id } => {
                txn.open_table(tables::ARTIFACT)?.insert((digest, id), ())?;
            }
            Self::Collected { collection, hash, id, key } => {
                txn.open_table(tables::COLL)?.insert((collection, hash), (id, key))?;
            }
            Self::Newest { realm, subject, key, id } => {
                let sequence = admitted_at(txn, id, key)?;
                txn.open_table(tables::LATEST)?.insert((realm, subject, key), (id, sequence))?;
            }
            Self::Ruling { realm, kind, id } => {
                let row = (realm, kind.as_str(), id);
                txn.open_table(tables::AUTHORITY)?.insert(row, rulings::IDLE)?;
            }
            Self::Listed { digest, id, realm } => {
                txn.open_table(tables::LIST)?.insert((digest, id), realm)?;
            }
            Self::Signer { realm, key, package } => {
                let row = (realm, key, package.format.as_str(), package.name.as_str());
                txn.open_table(tables::SIGNED)?.insert(row, ())?;
            }
            Self::Counted { realm, epoch, package } => {
                let row = (realm, *epoch, package.format.as_str(), package.name.as_str());
                txn.open_table(tables::COUNTED)?.insert(row, ())?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes it out of its table.
    pub(super) fn remove(&self, txn: &WriteTransaction) -> Result<(), Error> {
        // Why a blob is held hangs on it. A row that files one was wrong while the sums were right:
        // they are compared in the end.
        let digests = match self {
            Self::Signature { id, .. } => {
                let signed = Signed::load(txn, id)?;
                signed.map(|signed| digests(&signed.statement)).unwrap_or_default()
            }
            _ => BTreeSet::new(),
        };
        kinds::around_all(txn, digests, || {
            at!(self, table, key => {
                txn.open_table(table)?.remove(key)?;
            });
            Ok(())
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |id: &Id| crdt::digest::to_hex(&id[..6]);
        match self {
            Self::Signature { id, key } | Self::Collected { id, key, .. } => {
                write!(f, "statement {} by {}", short(id), crdt::digest::to_hex(&key[..7]))
            }
            Self::Newest { id, .. }
            | Self::Stranger { id, .. }
            | Self::Ruling { id, .. }
            | Self::Listed { id, .. }
            | Self::OfPackage { id, .. } => write!(f, "statement {}", short(id)),
            Self::Named { digest, id } => {
                write!(f, "statement {} naming {}", short(id), short(digest))
            }
            Self::Package { package, realm, .. }
            | Self::Signer { package, realm, .. }
            | Self::Counted { package, realm, .. }
            | Self::Summary { package, realm } => {
                write!(f, "{package} of realm {}", short(realm))
            }
            Self::View { document } | Self::Document { document } => {
                write!(f, "package {}", short(document))
            }
            Self::Version { document, version } => {
                write!(f, "package {}, version {version}", short(document))
            }
        }
    }
}

fn realm_of(bytes: &Id) -> RealmId {
    RealmId(Digest::from_bytes(*bytes))
}

/// Whether another receipt or beat that is held takes the place of this one.
fn outranks(txn: &impl Tables, kept: &Id, row: &Row) -> Result<bool, Error> {
    let Row::Newest { realm, subject, key, id } = row else { return Ok(false) };
    let (Some(kept), Some(ours)) = (Signed::load(txn, kept)?, Signed::load(txn, id)?) else {
        return Ok(false);
    };
    let id = *kept.statement.id().0.as_bytes();
    let same = Row::Newest { realm: *realm, subject: *subject, key: *key, id };
    Ok(kept.rows().contains(&same) && kept.statement.rank() > ours.statement.rank())
}

/// Where a pair stands in the log; 0, which nothing has, if it was cut off there.
fn admitted_at(txn: &impl Tables, id: &Id, key: &[u8; 33]) -> Result<u64, Error> {
    for row in txn.table(tables::LOG)?.iter()?.rev() {
        let (sequence, entry) = row?;
        if (entry.value().2, entry.value().3) == (id, key) {
            return Ok(sequence.value());
        }
    }
    Ok(0)
}
