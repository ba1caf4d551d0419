//! The documents that are held, up to a bound in bytes.
//!
//! Readers share it: one that takes a document only marks it. Who puts one in makes room by the
//! clock rule: the oldest goes unless it was asked for since its last turn, then it gets another.
//! Each entry is charged with all its forms, its names and the place in the tables, so that many
//! small ones cannot take more than a few large ones.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crdt::PackageId;

use super::document::Document;
use super::{Again, Place};
use crate::registry::Stamp;

/// What an entry takes in the tables beside its names, roughly.
const ROW_BYTES: usize = 512;
/// How often its names are stored, at most.
const NAMES: usize = 3;

/// A document under its key.
pub(super) struct Entry {
    place: Place,
    document: Arc<Document>,
    stamp: Option<Stamp>,
    weight: usize,
    /// Since the clock's hand came by.
    used: AtomicBool,
    /// Since it was made.
    wanted: AtomicBool,
}

impl Entry {
    pub(super) fn new(place: &Place, document: Arc<Document>, stamp: Option<Stamp>) -> Self {
        let (used, wanted) = (AtomicBool::new(false), AtomicBool::new(place.asked));
        Self { place: place.clone(), document, stamp, weight: 0, used, wanted }
    }

    fn weigh(&mut self) -> usize {
        let names = self.place.key.len() + self.place.package.name.len();
        self.weight = ROW_BYTES + NAMES * names + self.document.weight();
        self.weight
    }
}

/// All of them.
pub(super) struct Shelf {
    max: usize,
    bytes: usize,
    entries: HashMap<Arc<str>, Entry>,
    packages: HashMap<PackageId, Vec<Arc<str>>>,
    /// Each key once, in the order in which the hand meets them.
    clock: VecDeque<Arc<str>>,
}

impl Shelf {
    pub(super) fn new(max: usize) -> Self {
        let (entries, packages, clock) = Default::default();
        Self { max, bytes: 0, entries, packages, clock }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, key: &str) -> Option<(Arc<Document>, Option<Stamp>)> {
        let entry = self.entries.get(key)?;
        entry.used.store(true, Ordering::Relaxed);
        entry.wanted.store(true, Ordering::Relaxed);
        Some((Arc::clone(&entry.document), entry.stamp))
    }

    /// How to make those of a package again that somebody asked for since they were made.
    pub(super) fn wanted(&self, package: &PackageId) -> Vec<Again> {
        let keys = self.packages.get(package).map_or(&[][..], Vec::as_slice);
        let entries = keys.iter().filter_map(|key| self.entries.get(key));
        let wanted = entries.filter(|entry| entry.wanted.load(Ordering::Relaxed));
        wanted.filter_map(|entry| entry.place.again.clone()).collect()
    }

    /// Takes the place of what is there under its key, then makes room.
    pub(super) fn put(&mut self, mut entry: Entry) {
        let (key, package) = (Arc::clone(&entry.place.key), entry.place.package.clone());
        self.bytes += entry.weigh();
        if let Some(old) = self.entries.insert(Arc::clone(&key), entry) {
            self.bytes -= old.weight;
        } else {
            self.clock.push_back(Arc::clone(&key));
            self.packages.entry(package).or_default().push(key);
        }
        self.make_room();
    }

    /// Charges a document with the forms that were made behind.
    pub(super) fn weigh(&mut self, key: &str, document: &Arc<Document>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if Arc::ptr_eq(&entry.document, document) {
            self.bytes -= entry.weight;
            self.bytes += entry.weigh();
            self.make_room();
        }
    }

    fn make_room(&mut self) {
        while self.bytes > self.max {
            let Some(key) = self.clock.pop_front() else { return };
            let used =
                self.entries.get(&key).is_some_and(|e| e.used.swap(false, Ordering::Relaxed));
            if used {
                self.clock.push_back(key);
            } else {
                self.remove(&key);
            }
        }
    }

    fn remove(&mut self, key: &Arc<str>) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.bytes -= entry.weight;
        if let Some(keys) = self.packages.get_mut(&entry.place.package) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.packages.remove(&entry.place.package);
            }
        }
    }
}
