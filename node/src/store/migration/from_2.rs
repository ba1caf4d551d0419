//! Layout 2 → 3: statements of authority are found by their type, packages by who signed them and
//! by the epochs of their counters; a realm knows how much room it takes.
//!
//! What layout 2 held:
//! - no table of these. All are made from the statements, one realm after another.
//! - revocations, seals and beats: no program of layout 2 signed one, and each was filed as a
//!   statement of an unknown type, whatever it held. They are taken out and come again.

use crdt::{Digest, RealmId};
use redb::{ReadableTable as _, WriteTransaction};

use super::super::admission::{counts, index};
use super::super::statements::{load, of_authority, of_package};
use super::super::tables::{self, Tables as _};
use super::super::{Error, collections};
use super::taking_out;

/// Types that no program of layout 2 knew.
const UNKNOWN: [&str; 3] = ["revoke", "seal", "beat"];
/// Packages between two lines of the log.
const TOLD_EVERY: u64 = 10_000;

/// The whole step.
pub(super) fn run(txn: &WriteTransaction) -> Result<(), Error> {
    txn.open_table(tables::AUTHORITY)?;
    txn.open_table(tables::SIGNED)?;
    txn.open_table(tables::COUNTED)?;
    txn.open_table(tables::LIST)?;
    txn.open_table(tables::TAKEN)?;
    taking_out::take_out(txn, &UNKNOWN)?;
    let mut realms = Vec::new();
    for row in txn.table(tables::FOLLOWED)?.iter()? {
        realms.push(RealmId(Digest::from_bytes(*row?.0.value())));
    }
    realms.iter().try_for_each(|realm| index_realm(txn, realm))
}

fn index_realm(txn: &WriteTransaction, realm: &RealmId) -> Result<(), Error> {
    let mut taken = (0_u64, 0_u64);
    let mut count = |statement: &crdt::Statement| {
        if counts(statement) {
            taken = (taken.0 + 1, taken.1.saturating_add(statement.payload().len() as u64));
        }
    };
    for verified in of_authority(txn, realm)? {
        index(txn, verified.statement())?;
        count(verified.statement());
    }
    let other = collections::parse(*realm, "other");
    let ids: std::collections::BTreeSet<_> =
        collections::items(txn, &other)?.into_iter().map(|item| item.id).collect();
    for id in ids {
        load(txn, &id)?.iter().for_each(|verified| count(verified.statement()));
    }
    for (at, (document, format, name)) in (1_u64..).zip(documents(txn, realm)?) {
        for verified in of_package(txn, &document)? {
            index(txn, verified.statement())?;
            count(verified.statement());
            for key in verified.signatures().keys() {
                let row = (realm.0.as_bytes(), key.as_bytes(), &*format, &*name);
                txn.open_table(tables::SIGNED)?.insert(row, ())?;
            }
        }
        if at % TOLD_EVERY == 0 {
            tracing::info!("{at} packages are looked through");
        }
    }
    txn.open_table(tables::TAKEN)?.insert(realm.0.as_bytes(), taken)?;
    Ok(())
}

/// Document, format and name of each package of a realm.
fn documents(
    txn: &WriteTransaction,
    realm: &RealmId,
) -> Result<Vec<([u8; 32], String, String)>, Error> {
    let of = realm.0.as_bytes();
    let table = txn.table(tables::DOC)?;
    let mut found = Vec::new();
    for row in table.range((of, "", "")..)? {
        let (key, document) = row?;
        let (realm, format, name) = key.value();
        if realm != of {
            break;
        }
        found.push((*document.value(), format.to_owned(), name.to_owned()));
    }
    Ok(found)
}
