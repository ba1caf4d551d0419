//! Real conversations: what a comparison, a node in sync and a catch-up take in bytes and trips.
//!
//! *Comparing* is what it takes to know the difference: the list of collections, cells or ids, and
//! what is wanted of them. Statements are counted apart: they are the content.

use std::rc::Rc;

use crdt::session::MemoryIndex;
use crdt::{Collection, Verified};

use crate::figures::{Beside, Options, Report};
use crate::link::{Admits, Link, Taken};
use crate::made::{RELEASES, Realm};
use crate::shelf::{Common, Shelf};
use crate::sketch::items;

const HELLO: u8 = 0x01;
const CHECK: u8 = 0x04;
const COLLS: u8 = 0x05;
const ALLIDS: u8 = 0x06;
const DONE: u8 = 0x07;
const CELLS: u8 = 0x0c;
const MORE: u8 = 0x0d;
/// Frames of which a comparison consists.
const COMPARING: [u8; 5] = [COLLS, ALLIDS, DONE, CELLS, MORE];

/// Comparisons of one large collection, and a node in sync.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    let realm = Realm::new(1);
    let collection = Collection::Format(realm.id, "npm".to_owned());
    let sizes: &[u64] = options.size(&[1_000][..], &[100_000], &[100_000, 1_000_000]);
    let counts: &[u64] = options.size(
        &[0, 1, 10, 100][..],
        &[0, 1, 10, 1_000, 100_000],
        &[0, 1, 10, 1_000, 100_000],
    );
    for size in sizes {
        let all = Common::of(items(realm.key.public(), 0, *size));
        for count in counts {
            let common = Rc::new(all.without_last((count - count / 2) as usize));
            let shelf = |epoch| Shelf::new(epoch, collection.clone(), Rc::clone(&common));
            let mut ends = [shelf(1), shelf(2)];
            for (side, end) in ends.iter_mut().enumerate() {
                end.admit(realm.genesis.clone());
                let own = if side == 0 { count / 2 } else { count - count / 2 };
                for number in 0..own {
                    end.admit(realm.filler(side as u64 * 1_000_000 + number, 0));
                }
            }
            one(ends, (*size, *count), report);
        }
    }
    in_sync(options, report);
}

fn one(ends: [Shelf; 2], (size, count): (u64, u64), report: &mut Report) {
    let mut link = Link::start(ends, [None; 2]);
    let taken = link.until_in_sync();
    let name = format!("session: {size} items, {count} differences");
    let promised = count == 10 && size == 1_000_000;
    let most = |most: f64| if promised { vec![Beside::AtMost(most)] } else { Vec::new() };
    let mut beside = most(1024.0);
    beside.push(Beside::Bound((count * 8) as f64));
    let bytes = link.bytes_of(&COMPARING) as f64;
    report.line(&format!("{name}, comparing"), (bytes, "bytes"), &beside);
    let trips = link.count_of(COLLS).min(1) + link.count_of(MORE);
    let trips = (trips as f64, "trips");
    report.line(&format!("{name}, comparing"), trips, &most(1.0));
    let all = taken.trips_to_know;
    report.line(&format!("{name}, from hello until both know"), (all, "trips"), &[]);
    report.line(&format!("{name}, both ends"), (taken.cpu * 1e3, "CPU-ms"), &[]);
}

/// A node whose thousand collections are all equal to its peer's.
fn in_sync(options: &Options, report: &mut Report) {
    let (realms, formats) = options.size((5, 3), (250, 3), (250, 3));
    let mut ends = [MemoryIndex::new(1), MemoryIndex::new(2)];
    for number in 0..realms {
        let realm = Realm::new(number);
        for end in &mut ends {
            end.follow(realm.id);
            end.admit(realm.genesis.clone());
            for format in 0..formats {
                end.admit(realm.release_of(&format!("format-{format}"), 0, 0));
            }
        }
    }
    let collections = realms * (formats + 1);
    let mut link = Link::start(ends, [None; 2]);
    let met = link.until_in_sync();
    let hello = link.bytes_of(&[HELLO]) as f64;
    let check = link.bytes_of(&[CHECK]) as f64;
    let name = format!("session: {collections} collections of {realms} realms, in sync");
    let again = link.compare();
    let kept = [Beside::AtMost(64.0)];
    report.line(&format!("{name}, compared again"), (again.bytes, "bytes"), &kept);
    report.line(&format!("{name}, compared again"), (again.trips_to_know, "trips"), &[]);
    report.line(&format!("{name}, compared again"), (again.cpu * 1e3, "CPU-ms"), &[]);
    report.line(&format!("{name}, at a meeting: checks"), (check, "bytes"), &kept);
    report.line(&format!("{name}, at a meeting: hellos"), (hello, "bytes"), &[]);
    let other = met.bytes - hello - check;
    report.line(&format!("{name}, at a meeting: all else"), (other, "bytes"), &[]);
}

/// Releases that one end lacks: at a first meeting, among others that both have, and when it has
/// been away.
pub(crate) fn catch_up(options: &Options, report: &mut Report) {
    let count = options.size(100, 10_000, 10_000);
    let realm = Realm::new(1);
    let releases: Vec<_> =
        (0..count).map(|number| realm.release(number / RELEASES, number % RELEASES)).collect();
    let collection = Collection::Format(realm.id, "npm".to_owned());
    let others = count * 10;
    let common = Rc::new(Common::of(items(realm.key.public(), 0, others)));
    for (lacks, who) in [(0, "who asks lacks"), (1, "who answers lacks")] {
        let mut ends = [MemoryIndex::new(1), MemoryIndex::new(2)];
        ends.iter_mut().for_each(|end| end.follow(realm.id));
        ends[1 - lacks].admit(realm.genesis.clone());
        fill(&mut ends[1 - lacks], &releases);
        let taken = Link::start(ends, [None; 2]).until_in_sync();
        caught_up(&format!("catch-up: {count} releases, first meeting, {who}"), taken, report);

        let shelf = |epoch| Shelf::new(epoch, collection.clone(), Rc::clone(&common));
        let mut ends = [shelf(1), shelf(2)];
        ends.iter_mut().for_each(|end| drop(end.admit(realm.genesis.clone())));
        fill(&mut ends[1 - lacks], &releases);
        let taken = Link::start(ends, [None; 2]).until_in_sync();
        let name = format!("catch-up: {count} releases beside {others} equal ones, {who}");
        caught_up(&name, taken, report);

        let mut ends = [MemoryIndex::new(1), MemoryIndex::new(2)];
        for end in &mut ends {
            end.follow(realm.id);
            end.admit(realm.genesis.clone());
        }
        let mut link = Link::start(ends, [None; 2]);
        link.until_in_sync();
        let (mut ends, seen) = link.close();
        fill(&mut ends[1 - lacks], &releases);
        let taken = Link::start(ends, seen).until_in_sync();
        caught_up(&format!("catch-up: {count} releases, away, {who}"), taken, report);
    }
}

fn fill(end: &mut impl Admits, releases: &[Verified]) {
    for one in releases {
        end.take_in(one.clone());
    }
}

fn caught_up(name: &str, taken: Taken, report: &mut Report) {
    report.line(name, (taken.bytes, "bytes"), &[Beside::AtMost(4e6)]);
    report.line(name, (taken.trips, "trips"), &[Beside::AtMost(4.0)]);
    report.line(&format!("{name}, until both know"), (taken.trips_to_know, "trips"), &[]);
    report.line(&format!("{name}, both ends"), (taken.cpu * 1e3, "CPU-ms"), &[]);
}
