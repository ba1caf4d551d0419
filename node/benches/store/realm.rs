//! Admission as a realm grows: the same statements, one by one and in batches, into ever fuller
//! stores. What one costs is to be what it touches, not what the realm holds.
//!
//! A measured statement is one more release of a package that is there, another package each time;
//! packages are drawn from all over the realm.

use std::path::{Path, PathBuf};

use crdt::Verified;
use node::store::{FollowKind, Followed, Store};

use crate::cost::{Cost, costed};
use crate::figures::{Beside, Options, Report};
use crate::made::{RELEASES, Realm, package};
use crate::{Outcome, daemon, epoch};

/// Statements of a batch that is measured.
pub(crate) const BATCH: usize = 256;
/// Statements of a batch that only fills.
const FILL: u64 = 4_096;
/// What the cost at the last size may be, as a multiple of that among ten thousand.
const GROWTH_MAX: f64 = 2.0;
/// A step that meets every package before it comes to one again, as it shares no factor with any
/// number of packages here.
const STEP: u64 = 7_919;

/// A store with one realm.
pub(crate) struct Growing {
    pub(crate) store: Store,
    pub(crate) realm: Realm,
    /// Statements that were filled in.
    filled: u64,
    /// Releases that were measured: each has a number of its own.
    more: u64,
}

impl Growing {
    /// A new store that follows one realm.
    pub(crate) async fn new(home: &Path) -> Outcome<Self> {
        let (store, realm) = (Store::open(home)?, Realm::new(1));
        let followed = Followed {
            realm: realm.id,
            // One that is merely followed may take a hundred thousand.
            kind: FollowKind::Site,
            claims: Vec::new(),
            order: 1,
            mirrors: Vec::new(),
        };
        store.follow(followed).await?;
        store.admit(vec![realm.genesis.clone()], None).await?;
        Ok(Self { store, realm, filled: 0, more: 0 })
    }

    /// Opens it again.
    fn again(home: &Path, before: (Realm, u64, u64)) -> Outcome<Self> {
        let (realm, filled, more) = before;
        Ok(Self { store: Store::open(home)?, realm, filled, more })
    }

    pub(crate) const fn packages(&self) -> u64 {
        self.filled / RELEASES
    }

    /// Admits releases of further packages until there are so many.
    async fn fill(&mut self, statements: u64) -> Outcome {
        while self.filled < statements {
            let end = statements.min(self.filled + FILL);
            let one = |n| self.realm.filler(n / RELEASES, n % RELEASES);
            let batch: Vec<Verified> = (self.filled..end).map(one).collect();
            let count = batch.len();
            let done = self.store.admit(batch, None).await?;
            assert_eq!(done.new.len(), count, "all of them are new");
            self.filled = end;
        }
        Ok(())
    }

    /// One more release of so many packages, signed for real.
    fn releases(&mut self, count: usize) -> Vec<Verified> {
        let first = self.more;
        self.more += count as u64;
        let packages = self.packages().max(1);
        (first..self.more).map(|n| self.realm.release(n * STEP % packages, 1_000 + n)).collect()
    }

    /// What one statement costs in batches of so many, the median of some rounds.
    async fn admit(&mut self, batch: usize, rounds: usize) -> Outcome<Cost> {
        let mut taken = Vec::new();
        for _ in 0..rounds {
            let releases = self.releases(batch);
            let (cost, done) = costed(self.store.admit(releases, None)).await?;
            assert_eq!(done?.new.len(), batch, "all of them are new");
            taken.push(cost.each(batch));
        }
        Ok(Cost::median(&taken))
    }
}

/// What a statement costs at one size.
#[derive(Clone, Copy, Default)]
struct Stage {
    batch: Cost,
    single: Cost,
}

/// Grows a realm, and measures at each size.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome {
    let home = tempfile::tempdir()?;
    let sizes: &[u64] = options.size(
        &[10, 500][..],
        &[10, 10_000, 100_000],
        &[10, 10_000, 100_000, 500_000, 1_000_000],
    );
    // A hundred thousand packages are promised, and the largest size there is.
    let whole = options.size(500, 100_000, 500_000);
    let mut growing = Growing::new(home.path()).await?;
    let mut first = None;
    for size in sizes {
        growing.fill(*size).await?;
        let stage = stage(&mut growing, options, report).await?;
        match first {
            None if *size >= options.size(10, 10_000, 10_000) => first = Some((*size, stage)),
            Some(first) => growth(first, (*size, stage), report),
            None => {}
        }
        if *size == whole {
            growing = whole_realm(growing, home.path(), options, report).await?;
        }
    }
    Ok(())
}

/// One by one, in batches, and a look at a package.
async fn stage(growing: &mut Growing, options: &Options, report: &mut Report) -> Outcome<Stage> {
    let (size, rounds) = (growing.filled, options.size(1, 7, 7));
    let mut stage = Stage { single: growing.admit(1, rounds * 15).await?, ..Stage::default() };
    lines(&format!("admit: among {size}, one by one"), stage.single, report);
    if growing.packages() >= BATCH as u64 {
        stage.batch = growing.admit(BATCH, rounds).await?;
        lines(&format!("admit: among {size}, {BATCH} at a time"), stage.batch, report);
    }
    let store = growing.store.clone();
    let (looks, packages) = (1_000_usize, growing.packages());
    let names: Vec<_> = (0..looks as u64).map(|n| package(n * STEP % packages)).collect();
    let realm = growing.realm.id;
    let (cost, seen) = costed(async {
        names.iter().try_fold(0, |seen, name| {
            store.package(&realm, name).map(|view| seen + usize::from(view.is_some()))
        })
    })
    .await?;
    assert_eq!(seen?, looks, "every package has a view");
    let name = format!("view: a look at one package among {packages}");
    report.line(&name, (cost.each(looks).cpu * 1e6, "CPU-µs"), &[]);
    Ok(stage)
}

/// The figures of one statement.
pub(crate) fn lines(name: &str, cost: Cost, report: &mut Report) {
    report.line(name, (1.0 / cost.time, "a second"), &[]);
    report.line(name, (cost.cpu * 1e6, "CPU-µs"), &[]);
    report.line(name, (cost.written / 1024.0, "KiB"), &[]);
}

/// What a statement costs here as a multiple of what it costs there.
fn growth((from, then): (u64, Stage), (to, now): (u64, Stage), report: &mut Report) {
    let promised = [Beside::AtMost(GROWTH_MAX)];
    let mut line = |what: &str, then: f64, now: f64| {
        if then > 0.0 {
            report.line(&format!("growth: {to} / {from}, {what}"), (now / then, "×"), &promised);
        }
    };
    line("CPU one by one", then.single.cpu, now.single.cpu);
    line("CPU in batches", then.batch.cpu, now.batch.cpu);
    line("bytes one by one", then.single.written, now.single.written);
    line("bytes in batches", then.batch.written, now.batch.written);
}

/// The file, a node that starts on it, and a new root.
async fn whole_realm(
    growing: Growing,
    home: &Path,
    options: &Options,
    report: &mut Report,
) -> Outcome<Growing> {
    let (packages, file) = (growing.packages(), home.join("store.redb"));
    let size = fs_err::metadata(&file)?.len() as f64;
    let name = format!("file: {packages} packages of {RELEASES} releases");
    report.line(&name, (size / f64::from(1 << 20), "MiB"), &[]);
    report.line(&format!("{name}, each statement"), (size / growing.filled as f64, "bytes"), &[]);
    let Growing { store, realm, filled, more } = growing;
    // The node takes the lock of the home.
    drop(store);
    match binary(options)? {
        Some(binary) => daemon::measure(&binary, home, packages, report)?,
        None => report.remark("no griot beside this program: a start is not measured"),
    }
    let mut growing = Growing::again(home, (realm, filled, more))?;
    if options.wants("authority") {
        epoch::measure(&mut growing, report).await?;
    }
    Ok(growing)
}

/// The node that was named, or that of the same build.
fn binary(options: &Options) -> Outcome<Option<PathBuf>> {
    if let Some(named) = &options.binary {
        return Ok(Some(named.into()));
    }
    let own = std::env::current_exe()?;
    let beside = own.parent().and_then(Path::parent).map(|folder| folder.join("griot"));
    Ok(beside.filter(|path| path.is_file()))
}
