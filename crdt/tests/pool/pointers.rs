//! Withdrawals, yanks and tags, some of them filed under the wrong package.

use crdt::statement::Counter;
use crdt::{Body, PackageId, RealmId, Statement, StatementId, Verified};

use super::events::Maker;
use super::{number, signed};

impl Maker {
    /// A release that is known, with where statements about it are filed (mostly).
    fn target(&mut self) -> Option<(Verified, RealmId, PackageId)> {
        let known = self.known(0, "release");
        if known.is_empty() {
            return None;
        }
        let release = self.dice.pick(&known).clone();
        let mut package = release.statement().package().unwrap().clone();
        let mut realm = self.realms[0];
        match self.dice.below(30) {
            0 => package = self.package(),
            1 => realm = self.realms[1],
            _ => {}
        }
        Some((release, realm, package))
    }

    pub(super) fn withdraw(&mut self) -> Option<Verified> {
        let (of, realm, package) = self.target()?;
        let theirs: Vec<_> = of.signatures().keys().map(number).collect();
        let signers =
            if self.dice.percent(75) { self.dice.some(&theirs, 1) } else { self.some_publishers() };
        let body = Body::Withdraw { release: of.statement().id(), reason: String::new() };
        Some(signed(Statement::new(realm, Some(package), body).unwrap(), &signers))
    }

    fn counter(&mut self) -> Counter {
        let epoch = *self.dice.pick(&[0, 0, 0, 1, 1, 2]);
        let n = *self.dice.pick(&[1, 1, 2, 2, 3, 1 << 53, (1 << 53) + 1]);
        Counter { epoch, n }
    }

    pub(super) fn yank(&mut self) -> Option<Verified> {
        let (of, realm, package) = self.target()?;
        let (release, counter) = (of.statement().id(), self.counter());
        let body = Body::Yank { release, counter, reason: "broken".to_owned() };
        let signers = self.some_publishers();
        Some(signed(Statement::new(realm, Some(package), body).unwrap(), &signers))
    }

    /// Mostly against a yank that is known, and often with its very counter.
    pub(super) fn unyank(&mut self) -> Option<Verified> {
        let (of, mut realm, mut package) = self.target()?;
        let (mut release, mut counter) = (of.statement().id(), self.counter());
        let yanks = self.known(0, "yank");
        if !yanks.is_empty() && self.dice.percent(80) {
            let yank = self.dice.pick(&yanks).statement().clone();
            let Body::Yank { release: of, counter: at, .. } = yank.body() else { return None };
            (release, realm) = (*of, yank.realm());
            package = yank.package()?.clone();
            counter = if self.dice.percent(60) { *at } else { counter };
        }
        let body = Body::Unyank { release, counter, reason: String::new() };
        let signers = self.some_publishers();
        Some(signed(Statement::new(realm, Some(package), body).unwrap(), &signers))
    }

    pub(super) fn tag(&mut self) -> Verified {
        let mut counter = self.counter();
        let mut tag = (*self.dice.pick(&["latest", "latest", "next"])).to_owned();
        let (mut release, mut realm, mut package): (Option<StatementId>, _, _) =
            (None, self.realms[0], self.package());
        if self.dice.percent(90)
            && let Some((of, in_realm, of_package)) = self.target()
        {
            (release, realm, package) = (Some(of.statement().id()), in_realm, of_package);
        }
        let tags = self.known(0, "tag");
        if !tags.is_empty() && self.dice.percent(40) {
            // A tie with one that is known.
            let Body::Tag { tag: name, counter: at, .. } =
                self.dice.pick(&tags).statement().body().clone()
            else {
                panic!("not a tag");
            };
            (tag, counter) = (name, at);
        }
        let signers = self.some_publishers();
        let body = Body::Tag { tag, release, counter };
        signed(Statement::new(realm, Some(package), body).unwrap(), &signers)
    }
}
