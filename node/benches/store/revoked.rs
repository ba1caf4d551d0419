//! A revocation of a key that has signed much: every package of its is derived anew.
//!
//! A realm of twenty thousand packages of five releases, of which one key has signed a hundredth, a
//! tenth, or all; the realm's own key has signed the rest. The key is revoked without a list, the
//! next root declares that void, and it is revoked with a list: of each package all releases but
//! the last. The list is held before its statement comes, as where `griot key revoke` was typed.

use std::path::Path;

use crdt::statement::{Grant, IdList, Pattern};
use crdt::{Body, PublicKey, SecretKey, Statement, StatementId, Verified};
use node::store::Hashes;

use crate::Outcome;
use crate::cost::{Cost, costed, forget_most, most_resident};
use crate::epoch::next;
use crate::figures::{Options, Report};
use crate::made::{RELEASES, noise, package};
use crate::realm::Growing;

/// Of a hundred packages, those that the key has signed.
const SHARES: [u64; 3] = [1, 10, 100];
/// Packages of a batch that only fills.
const FILL: u64 = 800;
/// Bytes of the longest list here, and more.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// A realm with a key that is going to be revoked.
struct World {
    growing: Growing,
    key: PublicKey,
    packages: u64,
    share: u64,
    last: Verified,
}

/// All shares, each in a store of its own.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome {
    let packages = options.size(200, 20_000, 20_000);
    for share in SHARES {
        let home = tempfile::tempdir()?;
        let mut world = World::filled(home.path(), packages, share).await?;
        let none = IdList::Inline(Vec::new());
        let revoke = world.admit("revoked, nothing kept", world.revocation(none)?, report).await?;
        assert_eq!(world.standing()?, 0, "nothing stands that only the key has signed");
        let void = next(&world.growing.realm, &world.last, |root| root.cleared = vec![revoke])?;
        world.last = void.clone();
        world.admit("the same declared void", void, report).await?;
        assert_eq!(world.standing()?, RELEASES as usize, "all stands again");
        let list = world.list(report).await?;
        world.admit("revoked, four of five kept", world.revocation(list)?, report).await?;
        assert_eq!(world.standing()?, RELEASES as usize - 1, "what is kept stands");
    }
    Ok(())
}

impl World {
    /// A store that is full, with a key that publishes and is no root.
    async fn filled(home: &Path, packages: u64, share: u64) -> Outcome<Self> {
        let growing = Growing::new(home).await?;
        let key = SecretKey::from_seed(&noise(&[98])).public();
        let grant = Grant::to_key("publish", Pattern("*".to_owned()), key);
        let genesis = growing.realm.genesis.clone();
        let last = next(&growing.realm, &genesis, |root| root.grants.push(grant))?;
        growing.store.admit(vec![last.clone()], None).await?;
        let world = Self { growing, key, packages, share, last };
        for first in (0..packages).step_by(FILL as usize) {
            let range = first..packages.min(first + FILL);
            let batch: Vec<Verified> = range.flat_map(|n| world.releases(n)).collect();
            let count = batch.len();
            let done = world.growing.store.admit(batch, None).await?;
            assert_eq!(done.new.len(), count, "all of them are new");
        }
        Ok(world)
    }

    /// Whether the key has signed a package.
    const fn has_signed(&self, package: u64) -> bool {
        package % 100 < self.share
    }

    fn releases(&self, package: u64) -> Vec<Verified> {
        let realm = &self.growing.realm;
        let one = |number| match self.has_signed(package) {
            true => realm.filler_by(self.key, package, number),
            false => realm.filler(package, number),
        };
        (0..RELEASES).map(one).collect()
    }

    /// Packages that the key has signed.
    fn signed(&self) -> impl Iterator<Item = u64> {
        (0..self.packages).filter(|number| self.has_signed(*number))
    }

    fn revocation(&self, keep: IdList) -> Outcome<Verified> {
        let realm = &self.growing.realm;
        let body = Body::Revoke { key: self.key, keep, reason: "stolen".to_owned() };
        let statement = Statement::new(realm.id, None, body)?;
        Ok(Verified::sign(statement, &[&realm.key]))
    }

    /// A list of all releases of the key but the last of each package; its blob is held.
    async fn list(&self, report: &mut Report) -> Outcome<IdList> {
        let kept = self.signed().flat_map(|package| (0..RELEASES - 1).map(move |n| (package, n)));
        let realm = &self.growing.realm;
        let ids: Vec<StatementId> = kept.map(|(p, n)| realm.statement(p, n).id()).collect();
        let (list, bytes) = IdList::of(ids)?;
        let Some(bytes) = bytes else { return Ok(list) };
        let name = format!("{}, the list stored", self.name());
        report.line(&name, (bytes.len() as f64 / 1024.0, "KiB"), &[]);
        let store = &self.growing.store;
        let (cost, done) = costed(async {
            let mut writer = store.writer(Hashes::default(), LIST_BYTES_MAX).await?;
            writer.write(bytes.into()).await?;
            let staged = writer.finish().await?;
            store.commit(staged).await
        })
        .await?;
        done?;
        report.line(&name, (cost.cpu, "CPU-s"), &[]);
        Ok(list)
    }

    fn name(&self) -> String {
        let (share, packages) = (self.share, self.packages);
        format!("authority: {share} % of {packages} packages")
    }

    /// Admits a statement that touches all packages of the key, and says what it costs.
    async fn admit(
        &self,
        what: &str,
        statement: Verified,
        report: &mut Report,
    ) -> Outcome<StatementId> {
        let id = statement.statement().id();
        forget_most()?;
        let (cost, done) = costed(self.growing.store.admit(vec![statement], None)).await?;
        assert_eq!(done?.new.len(), 1, "it is new");
        let name = format!("{}, {what}", self.name());
        report.line(&name, (cost.time, "s"), &[]);
        report.line(&name, (cost.cpu, "CPU-s"), &[]);
        report.line(&name, (cost.written / f64::from(1 << 20), "MiB"), &[]);
        report.line(&format!("{name}, at the most"), (most_resident()?, "MiB RSS"), &[]);
        let touched = self.signed().count() * RELEASES as usize;
        let Cost { cpu, written, .. } = cost.each(touched);
        let name = format!("{name}, each release");
        report.line(&name, (cpu * 1e6, "CPU-µs"), &[]);
        report.line(&name, (written / 1024.0, "KiB"), &[]);
        Ok(id)
    }

    /// How many versions stand of the last package that the key has signed.
    fn standing(&self) -> Outcome<usize> {
        let last = self.signed().last().ok_or("the key has signed something")?;
        let view = self.growing.store.package(&self.growing.realm.id, &package(last))?;
        Ok(view.map_or(0, |view| view.versions.len()))
    }
}
