//! The list of packages, searched by substring.
//!
//! One pass over the rows of `package`, which hold all that a list shows: no view is opened. A
//! full-text index would have to be kept up by every admission, for a question that people ask a
//! few times a day.

use crdt::{Digest, PackageId, RealmId};

use super::tables::{self, Tables};
use super::{Error, PackageSummary, Store};

impl Store {
    /// Case-insensitive substring of name or description, sorted by format and name; `format`
    /// narrows; pages by limit and offset. Gives the rows of the page and the total.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn search(
        &self,
        query: &str,
        format: Option<&str>,
        limit: usize,
        offset: usize,
    ) -> Result<(Vec<PackageSummary>, usize), Error> {
        self.search_shown(query, format, (limit, offset), &|_, _| true)
    }

    /// The same among the packages that are shown: (limit, offset) count no others.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn search_shown(
        &self,
        query: &str,
        format: Option<&str>,
        (limit, offset): (usize, usize),
        shows: &dyn Fn(&RealmId, &PackageId) -> bool,
    ) -> Result<(Vec<PackageSummary>, usize), Error> {
        let query = query.to_lowercase();
        let txn = self.read()?;
        let table = txn.table(tables::PACKAGE)?;
        let (mut rows, mut total) = (Vec::new(), 0);
        for row in table.range((format.unwrap_or(""), "", &[0; 32])..)? {
            let (key, value) = row?;
            let (of, name, realm) = key.value();
            let (latest, versions, description) = value.value();
            if format.is_some_and(|format| format != of) {
                break;
            }
            if !contains(name, &query) && !contains(description, &query) {
                continue;
            }
            let (realm, package) = (RealmId(Digest::from_bytes(*realm)), PackageId::new(of, name));
            if !shows(&realm, &package) {
                continue;
            }
            if total >= offset && rows.len() < limit {
                rows.push(PackageSummary {
                    realm,
                    package,
                    latest: (!latest.is_empty()).then(|| latest.to_owned()),
                    versions: usize::try_from(versions).unwrap_or(usize::MAX),
                    description: description.to_owned(),
                });
            }
            total += 1;
        }
        Ok((rows, total))
    }

    /// At most `count` names of packages of a format that are shown, in their order, from the first
    /// behind `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn names_after(
        &self,
        (format, after): (&str, &str),
        count: usize,
        shows: &dyn Fn(&RealmId, &PackageId) -> bool,
    ) -> Result<Vec<String>, Error> {
        let txn = self.read()?;
        let table = txn.table(tables::PACKAGE)?;
        let mut names: Vec<String> = Vec::new();
        for row in table.range((format, after, &[0; 32])..)? {
            let key = row?.0;
            let (of, name, realm) = key.value();
            if of != format || names.len() == count {
                break;
            }
            // A name of several realms is one.
            if name == after || names.last().is_some_and(|last| last == name) {
                continue;
            }
            let realm = RealmId(Digest::from_bytes(*realm));
            if shows(&realm, &PackageId::new(of, name)) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

/// Whether `text` has the lower-case `query` in it.
fn contains(text: &str, query: &str) -> bool {
    text.contains(query) || text.to_lowercase().contains(query)
}
