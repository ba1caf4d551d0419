//! The index computed anew from `stmt` and `sig`, and compared with what is kept of it: `griot
//! verify --index`.
//!
//! A run goes through the tables in small steps, in an order in which each stands on what those
//! before have proven: statements with their signatures and the rows that file them (`filed`),
//! rows that nothing stands for (`rows`), fingerprints, what seals and revocations say (`rulings`)
//! and how much room a realm takes (`room`), views and search rows (`derived`), saved documents,
//! the sums of what is held. A step reads a snapshot, and takes the writer's turn only to mend or,
//! for views and rulings, for a few packages or a realm; whatever else wants to write comes in
//! between. What a step suspects is looked at again in the transaction that mends it, so that what
//! changed meanwhile is no difference. Cut at any point it leaves nothing half done, and a new run
//! begins at the beginning: a run that finds nothing has proven all of it.
//!
//! A statement that is not what its id says, or that nobody signed, leaves the store with all that
//! followed from it: the fingerprint then differs from the peers', and those that are connected
//! compare at once and bring it again. Local tables and the log, which is a history, follow from
//! nothing and are not touched. Statements of realms that are not followed have no views.
//!
//! Source: index.md sections 2.4 and 7.6.

use std::collections::BTreeSet;
use std::sync::Arc;

use crdt::{Collection, RealmId};
use redb::{ReadTransaction, ReadableTableMetadata as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::standings::Standings;
use super::tables::{self, Tables as _};
use super::{Error, Inner, Store, blocking};
use derived::Name;
use rows::{Kind, Row};

mod derived;
mod filed;
mod pages;
mod room;
mod rows;
mod rulings;

/// Rows that one step looks at.
const PAGE: usize = 256;
/// Packages, or saved documents, that one step derives.
const DERIVED_AT_ONCE: usize = 16;

/// How a run is to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildOrder {
    /// Verify every signature again, too.
    #[serde(default)]
    pub signatures: bool,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildCourse {
    /// Rows that were looked at.
    pub rows: u64,
    /// About how many there are to look at.
    pub rows_of: u64,
    /// Statements among them.
    pub statements: u64,
    /// Signatures that were verified.
    pub signatures: u64,
    /// Fingerprints that were computed.
    pub collections: u64,
    /// Packages that were derived.
    pub packages: u64,
    /// Saved documents that were built.
    pub documents: u64,
}

/// What became of something that differed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceEnd {
    /// It is now what follows from the statements.
    Mended,
    /// A statement or a signature that was none has gone; a peer that has it brings it again.
    Lost,
}

/// Something that was not what follows from the statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The table that it was in.
    pub table: String,
    /// Which row, and what was wrong with it.
    pub what: String,
    /// What became of it.
    pub end: DifferenceEnd,
}

impl Difference {
    fn mended(table: &str, what: impl Into<String>) -> Self {
        Self { table: table.to_owned(), what: what.into(), end: DifferenceEnd::Mended }
    }

    fn lost(table: &str, what: impl Into<String>) -> Self {
        Self { end: DifferenceEnd::Lost, ..Self::mended(table, what) }
    }
}

/// What a run does next.
#[derive(Debug, Clone)]
enum Stage {
    Statements(Option<[u8; 32]>),
    /// Of one kind behind a row, and the kinds that follow it.
    Rows(Option<Row>, &'static [Kind]),
    /// Whether those that are kept were added to those that were seen.
    Fingerprints(bool),
    /// What seals and revocations say, of the realm behind one.
    Rulings(Option<RealmId>),
    Packages(Option<Name>),
    /// As `Rows`, of the tables that the packages' views are in.
    Leftovers(Option<Row>, &'static [Kind]),
    Documents(Option<[u8; 32]>),
    Sums,
}

/// Where the rows go on: behind a row of the first of these kinds.
type Rest = Option<(Option<Row>, &'static [Kind])>;

/// A run under way.
#[derive(Debug)]
pub struct Rebuild {
    store: Store,
    order: RebuildOrder,
    course: RebuildCourse,
    next: Option<Stage>,
    /// Of the statements that were seen; later those whose fingerprint is to be computed.
    collections: BTreeSet<Collection>,
}

impl Store {
    /// Begins to compute the index anew.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rebuild(&self, order: RebuildOrder) -> Result<Rebuild, Error> {
        let course = RebuildCourse { rows_of: self.reading(rows_of)?, ..RebuildCourse::default() };
        let next = Some(Stage::Statements(None));
        Ok(Rebuild { store: self.clone(), order, course, next, collections: BTreeSet::new() })
    }

    /// A step that only reads.
    async fn look_at<T: Send + 'static>(
        &self,
        look: impl Fn(&ReadTransaction) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.database.reading(look)).await
    }

    /// Commits what a step mended, if it did.
    async fn mend<F>(&self, mend: F) -> Result<Vec<Difference>, Error>
    where
        F: FnOnce(&Inner, &WriteTransaction) -> Result<Vec<Difference>, Error> + Send + 'static,
    {
        // What others keep in memory may be of what is no more; connected peers compare again.
        let after = |inner: &Inner, _: &Vec<Difference>| inner.tell_anew();
        self.write_if(|found| !found.is_empty(), mend, after).await
    }
}

impl Rebuild {
    /// How far it is.
    #[must_use]
    pub const fn course(&self) -> RebuildCourse {
        self.course
    }

    /// The next step: what differed in it; `None` at the end.
    ///
    /// # Errors
    /// When the database refuses: what was mended so far stays.
    pub async fn step(&mut self) -> Result<Option<Vec<Difference>>, Error> {
        let Some(stage) = self.next.clone() else { return Ok(None) };
        let (found, next) = match stage {
            Stage::Statements(after) => self.statements(after).await?,
            Stage::Rows(after, kinds) => {
                let (found, rest) = self.rows(after, kinds).await?;
                (
                    found,
                    rest.map_or(Stage::Fingerprints(false), |(row, kinds)| Stage::Rows(row, kinds)),
                )
            }
            Stage::Fingerprints(false) => {
                (self.kept_fingerprints().await?, Stage::Fingerprints(true))
            }
            Stage::Fingerprints(true) => self.fingerprint().await?,
            Stage::Rulings(after) => self.rulings(after).await?,
            Stage::Packages(after) => self.packages(after).await?,
            Stage::Leftovers(after, kinds) => {
                let (found, rest) = self.rows(after, kinds).await?;
                let next = rest.map(|(row, kinds)| Stage::Leftovers(row, kinds));
                (found, next.unwrap_or(Stage::Documents(None)))
            }
            Stage::Documents(after) => self.documents(after).await?,
            Stage::Sums => {
                self.next = None;
                self.course.rows_of = self.course.rows;
                return self.sums().await.map(Some);
            }
        };
        self.next = Some(next);
        self.course.rows_of = self.course.rows_of.max(self.course.rows);
        Ok(Some(found))
    }

    /// Statements, their signatures, and whether each is filed.
    async fn statements(
        &mut self,
        after: Option<[u8; 32]>,
    ) -> Result<(Vec<Difference>, Stage), Error> {
        let verify = self.order.signatures;
        let page = self.store.look_at(move |txn| filed::page(txn, after, verify)).await?;
        self.course.rows += page.statements;
        self.course.statements += page.statements;
        self.course.signatures += page.signatures;
        self.collections.extend(page.collections);
        let found = if page.suspects.is_empty() {
            Vec::new()
        } else {
            let mend = move |_: &Inner, txn: &WriteTransaction| {
                let mut found = Vec::new();
                for id in &page.suspects {
                    found.extend(filed::mend(txn, id, verify)?);
                }
                Ok(found)
            };
            self.store.mend(mend).await?
        };
        let next = page.last.map(|last| Stage::Statements(Some(last)));
        Ok((found, next.unwrap_or(Stage::Rows(None, &Kind::FILED))))
    }

    /// A page of rows of the first of these kinds; where to go on, if there is anything left.
    async fn rows(
        &mut self,
        after: Option<Row>,
        kinds: &'static [Kind],
    ) -> Result<(Vec<Difference>, Rest), Error> {
        let Some((kind, rest)) = kinds.split_first() else { return Ok((Vec::new(), None)) };
        let look = move |txn: &ReadTransaction| {
            let (mut page, mut wrong) = (pages::page(txn, *kind, after.as_ref())?, Vec::new());
            for row in &page {
                if !row.is_right(txn)? {
                    wrong.push(row.clone());
                }
            }
            Ok((page.len(), page.pop(), wrong))
        };
        let (count, last, wrong) = self.store.look_at(look).await?;
        self.course.rows += count as u64;
        let found = if wrong.is_empty() {
            Vec::new()
        } else {
            self.store.mend(move |_, txn| remove_wrong(txn, wrong)).await?
        };
        let rest = last.map_or_else(
            || (!rest.is_empty()).then_some((None, rest)),
            |last| Some((Some(last), kinds)),
        );
        Ok((found, rest))
    }

    /// Which fingerprints are kept: they are compared, too.
    async fn kept_fingerprints(&mut self) -> Result<Vec<Difference>, Error> {
        let kept = self.store.look_at(derived::states).await?;
        self.collections.extend(kept.known);
        if kept.unknown.is_empty() {
            return Ok(Vec::new());
        }
        let forget =
            move |_: &Inner, txn: &WriteTransaction| derived::forget_states(txn, &kept.unknown);
        self.store.mend(forget).await
    }

    /// One fingerprint.
    async fn fingerprint(&mut self) -> Result<(Vec<Difference>, Stage), Error> {
        let Some(of) = self.collections.pop_first() else {
            return Ok((Vec::new(), Stage::Rulings(None)));
        };
        let collection = of.clone();
        let look = move |txn: &ReadTransaction| derived::state_differs(txn, &collection);
        let (differs, items) = self.store.look_at(look).await?;
        self.course.collections += 1;
        self.course.rows += items;
        let found = match differs {
            true => self.store.mend(move |_, txn| derived::mend_state(txn, &of)).await?,
            false => Vec::new(),
        };
        Ok((found, Stage::Fingerprints(true)))
    }

    /// What is kept of one realm's seals and revocations, in a transaction that is only committed
    /// if it changes; and the room that the realm takes.
    async fn rulings(&self, after: Option<RealmId>) -> Result<(Vec<Difference>, Stage), Error> {
        let next = move |txn: &ReadTransaction| rulings::behind(txn, after.as_ref());
        let Some((realm, has_some)) = self.store.look_at(next).await? else {
            return Ok((Vec::new(), Stage::Packages(None)));
        };
        let mut found = match has_some {
            true => self.store.mend(move |inner, txn| rulings::judge(inner, txn, &realm)).await?,
            false => Vec::new(),
        };
        if self.store.look_at(move |txn| room::differs(txn, &realm)).await?.is_some() {
            found.extend(self.store.mend(move |_, txn| room::mend(txn, &realm)).await?);
        }
        Ok((found, Stage::Rulings(Some(realm))))
    }

    /// Some packages, derived again in transactions that are only committed if a row changes.
    async fn packages(&mut self, after: Option<Name>) -> Result<(Vec<Difference>, Stage), Error> {
        let page = self.store.look_at(move |txn| derived::names(txn, after.as_ref())).await?;
        let Some(last) = page.last().cloned() else {
            return Ok((Vec::new(), Stage::Leftovers(None, &Kind::DERIVED)));
        };
        self.course.rows += page.len() as u64;
        self.course.packages += page.len() as u64;
        let mut anew = BTreeSet::new();
        let try_all = move |inner: &Inner, txn: &WriteTransaction| {
            let (mut suspects, mut standings) = (Vec::new(), Standings::new(inner, txn));
            for name in page {
                // As the tables have it, not as somebody remembers it.
                if anew.insert(name.0) {
                    standings.change(&name.0)?;
                }
                if !derived::derive(inner, txn, &name, &mut standings)?.is_empty() {
                    suspects.push(name);
                }
            }
            Ok(suspects)
        };
        let suspects = self.store.write_if(|_| false, try_all, |_, _| {}).await?;
        let mut found = Vec::new();
        for name in suspects {
            let mend = move |inner: &Inner, txn: &WriteTransaction| {
                let mut standings = Standings::new(inner, txn);
                standings.change(&name.0)?;
                derived::derive(inner, txn, &name, &mut standings)
            };
            found.extend(self.store.mend(mend).await?);
        }
        Ok((found, Stage::Packages(Some(last))))
    }

    /// Saved documents: what each holds must be what its statements make.
    async fn documents(
        &mut self,
        after: Option<[u8; 32]>,
    ) -> Result<(Vec<Difference>, Stage), Error> {
        let page = self.store.look_at(move |txn| derived::documents(txn, after)).await?;
        let Some(last) = page.last else { return Ok((Vec::new(), Stage::Sums)) };
        self.course.rows += page.count;
        self.course.documents += page.count;
        let mut found = Vec::new();
        for document in page.suspects {
            let mend =
                move |_: &Inner, txn: &WriteTransaction| derived::drop_document(txn, &document);
            found.extend(self.store.mend(mend).await?);
        }
        Ok((found, Stage::Documents(Some(last))))
    }

    /// How much is held of each kind.
    async fn sums(&self) -> Result<Vec<Difference>, Error> {
        let inner = Arc::clone(&self.store.inner);
        if blocking(move || super::kinds::are_right(&inner)).await? {
            return Ok(Vec::new());
        }
        self.store.recount().await?;
        Ok(vec![Difference::mended("held", "the sums of what is held were others")])
    }
}

/// Of the rows of one step those that are still there and wrong go.
fn remove_wrong(txn: &WriteTransaction, wrong: Vec<Row>) -> Result<Vec<Difference>, Error> {
    let mut found = Vec::new();
    for row in wrong {
        if row.is_there(txn)? && !row.is_right(txn)? {
            row.remove(txn)?;
            found.push(Difference::mended(&row.table(), format!("{row}: nothing stands for it")));
        }
    }
    Ok(found)
}

/// About how many rows a run looks at.
fn rows_of(txn: &ReadTransaction) -> Result<u64, Error> {
    let mut rows = 0;
    macro_rules! add {
        ($($table:ident)*) => {$( rows += txn.table(tables::$table)?.len()?; )*};
    }
    add!(STMT SIG DOC_STMT DOC ARTIFACT COLL LATEST STRANGER AUTHORITY LIST);
    // Once more for fingerprints and for packages.
    add!(COLL DOC VIEW VIEW_VERSION PACKAGE AM_DOC AM_DOC);
    Ok(rows)
}
