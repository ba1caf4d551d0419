//! Whether anything has changed since: a few numbers, and the names of packages that did.
//!
//! What is rendered of a package may be sent again without a look at the database while its number
//! is the same. A commit that concerns some packages alone raises theirs; any other raises that of
//! all. Packages share 4096 counters by a hash of their names: who shares one is looked up once too
//! often, never too seldom. A number is raised at the end of its commit, when those who keep
//! something in memory have been told, and before the commit's caller is answered: who reads the
//! number first and the database after it can never take an old rendering for a new one.
//!
//! Only what is known to concern some packages, or none, is said to ([`Scope`]): what is not said
//! concerns all. A document of an upstream concerns the package of its name. A commit that fails
//! concerns all, too: nobody knows how far it came.
//!
//! Does not say what has changed. The names are a hint for who wants to render early: those who lag
//! behind miss some. Nothing here survives a restart, and nothing needs to.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};

use crdt::{PackageId, Statement};
use tokio::sync::broadcast;

use super::Store;

/// Names that a slow subscriber may lag behind before it misses some.
const LAG_MAX: usize = 1024;
/// Counters that packages share.
const COUNTERS: usize = 4096;
/// Rows of other layers that no document hangs on: what is wanted and kept for whom, how far some
/// work has come, what a person is told beside. A kind that a document is rendered from must not
/// be here.
const ROWS_BESIDE: [&str; 10] = [
    "alarm",
    "budget",
    "keep",
    "keep-freed",
    "keep-state",
    "project",
    "traffic",
    "unsent",
    "verify",
    "want",
];

/// Whose documents a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// Anybody's may be others now.
    All,
    /// Those of these packages, nobody's if there are none.
    Of(BTreeSet<PackageId>),
}

impl Scope {
    /// No document hangs on it.
    pub(super) const fn none() -> Self {
        Self::Of(BTreeSet::new())
    }

    /// One package's.
    pub(super) fn of(package: &PackageId) -> Self {
        Self::Of(BTreeSet::from([package.clone()]))
    }

    /// Of a small row of another layer.
    pub(super) fn of_row(kind: &str) -> Self {
        if ROWS_BESIDE.contains(&kind) { Self::none() } else { Self::All }
    }

    /// Of a statement that comes or goes. One about a package decides about this package alone,
    /// and a receipt is about a document; all others grant, route or revoke.
    pub(super) fn of_statement(statement: &Statement) -> Self {
        let receipt = statement.receipt().map(|receipt| &receipt.subject);
        let of_receipt = receipt.map(|of| PackageId::new(&of.format, &of.document));
        match statement.package().or(of_receipt.as_ref()) {
            Some(package) => Self::of(package),
            None => Self::All,
        }
    }

    /// What concerns the one or the other.
    pub(super) fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Of(packages), Self::Of(more)) => packages.extend(more),
            _ => *self = Self::All,
        }
    }
}

/// How often what a package's documents hang on has changed: the same number, the same documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    counter: usize,
    number: u64,
}

/// What has happened since the start.
#[derive(Debug)]
pub(super) struct Changes {
    commits: AtomicU64,
    all: AtomicU64,
    packages: Box<[AtomicU64]>,
    names: broadcast::Sender<PackageId>,
}

/// Raises the numbers when it goes.
#[derive(Debug)]
pub(super) struct AtEnd<'c> {
    changes: &'c Changes,
    scope: Scope,
}

impl AtEnd<'_> {
    /// It went well, and concerned those alone.
    pub(super) fn only(mut self, scope: Scope) {
        self.scope = scope;
    }
}

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.changes.count(&self.scope);
    }
}

impl Changes {
    pub(super) fn new() -> Self {
        let packages = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        let (commits, all, names) =
            (AtomicU64::new(0), AtomicU64::new(1), broadcast::channel(LAG_MAX).0);
        Self { commits, all, packages, names }
    }

    /// Counts a change when what is returned goes: one for all, unless it hears better.
    pub(super) const fn at_end(&self) -> AtEnd<'_> {
        AtEnd { changes: self, scope: Scope::All }
    }

    /// Tells who wants to know that a package is another one now.
    pub(super) fn touched(&self, package: PackageId) {
        // Without subscribers there is nobody to tell.
        let _ = self.names.send(package);
    }

    pub(super) fn count(&self, scope: &Scope) {
        self.commits.fetch_add(1, Ordering::SeqCst);
        match scope {
            Scope::All => {
                self.all.fetch_add(1, Ordering::SeqCst);
            }
            Scope::Of(packages) => {
                for counter in packages.iter().map(counter).collect::<BTreeSet<_>>() {
                    self.packages[counter].fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }

    /// Both only grow, so the sum is the same as before only if neither has grown since.
    fn number(&self, counter: usize) -> u64 {
        let package = self.packages.get(counter).map_or(0, |it| it.load(Ordering::SeqCst));
        self.all.load(Ordering::SeqCst) + package
    }
}

fn counter(package: &PackageId) -> usize {
    let mut hasher = DefaultHasher::new();
    (&package.format, &package.name).hash(&mut hasher);
    // The remainder is below the number of counters, whatever a `usize` has room for.
    usize::try_from(hasher.finish() % COUNTERS as u64).unwrap_or(0)
}

impl Store {
    /// Another one after each commit that may concern documents of the package. Read it before what
    /// depends on it.
    #[must_use]
    pub fn generation(&self, package: &PackageId) -> Generation {
        let counter = counter(package);
        Generation { counter, number: self.inner.changes.number(counter) }
    }

    /// Whether nothing that concerns its package has come since it was read.
    #[must_use]
    pub fn is_current(&self, generation: &Generation) -> bool {
        self.inner.changes.number(generation.counter) == generation.number
    }

    /// Another number after each commit, whomever it concerns: who joins a look-up that began at
    /// the same number sees nothing older than if he had looked himself.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.inner.changes.commits.load(Ordering::SeqCst)
    }

    /// Something outside the database that renderings depend on has changed.
    pub fn count_change(&self) {
        self.inner.changes.count(&Scope::All);
    }

    /// Packages of which a statement or an upstream's document has come.
    #[must_use]
    pub fn watch_packages(&self) -> broadcast::Receiver<PackageId> {
        self.inner.changes.names.subscribe()
    }
}
