//! Which files an entry of a lockfile means.
//!
//! One, where the format fixes the name (and no document has several of it) or the lockfile has it.
//! Else those of the version that fit the entry's checksums, as the documents and the releases that
//! are held say it; all of them where it has none. To a file of an upstream belong those beside it
//! (a wheel's `.metadata`) that the document has.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt::{Checksums, PackageId, PackageView};

use super::Locked;
use super::integrity::Integrity;
use crate::registry::change::absent;
use crate::registry::{Error, Outline, OutlineFile, Registry};
use crate::store::cached::CachedFile;

/// One file that is locked.
#[derive(Debug)]
pub(super) struct Slot<'l> {
    pub(super) locked: &'l Locked,
    /// In its normal form.
    pub(super) version: String,
    pub(super) file: String,
    /// Whether the version may have several.
    pub(super) several: bool,
    /// Whether it comes with another one, and the lockfile demands nothing of it.
    pub(super) is_beside: bool,
}

impl Slot<'_> {
    /// The checksums that the lockfile demands.
    pub(super) fn demanded(&self) -> Option<&str> {
        self.locked.integrity.as_deref().filter(|_| !self.is_beside)
    }
}

/// What is known of a package's files, looked up by normal version and file name: a lockfile may
/// name thousands of versions of one package.
pub(super) struct Known<'o> {
    pub(super) described: BTreeMap<(&'o str, &'o str), &'o OutlineFile>,
    held: Vec<CachedFile>,
}

impl<'o> Known<'o> {
    pub(super) fn of(outlines: &'o [Arc<Outline>], held: Vec<CachedFile>) -> Self {
        let mut described = BTreeMap::new();
        for version in outlines.iter().flat_map(|outline| &outline.versions) {
            for file in &version.files {
                // The first document that names it counts.
                let slot = (version.version.as_str(), file.file.as_str());
                described.entry(slot).or_insert(file);
            }
        }
        Self { described, held }
    }

    pub(super) fn held_by_slot(&self) -> BTreeMap<(&str, &str), Vec<&CachedFile>> {
        let mut slots: BTreeMap<_, Vec<&CachedFile>> = BTreeMap::new();
        for held in &self.held {
            slots.entry((held.version.as_str(), held.file.as_str())).or_default().push(held);
        }
        slots
    }

    fn of_version<'k>(&'k self, version: &'k str) -> impl Iterator<Item = &'o OutlineFile> + 'k {
        let from = self.described.range((version, "")..);
        from.take_while(move |((of, _), _)| *of == version).map(|(_, file)| *file)
    }
}

impl Registry {
    /// The files that an entry means, of an upstream's package; none if they are not known yet.
    ///
    /// # Errors
    /// Invalid when it is no version, or when none of its files is one that the entry allows.
    pub(super) fn slots<'l>(
        &self,
        package: &PackageId,
        locked: &'l Locked,
        known: &Known<'_>,
        beside: &[String],
    ) -> Result<Vec<Slot<'l>>, Error> {
        let (version, fixed) = self.locked_version(package, locked)?;
        // An upstream may have several files under one version of ours: those of cargo that differ
        // by build metadata alone. The checksum says which is meant.
        let fixed = fixed.filter(|_| known.of_version(&version).nth(1).is_none());
        let several = fixed.is_none();
        let files = match fixed.or_else(|| locked.file.clone()) {
            Some(file) => vec![file],
            None => {
                let companion = |file: &str| beside.iter().any(|end| file.ends_with(end.as_str()));
                let all = known.of_version(&version).filter(|file| !companion(&file.file));
                let sums = all.map(|file| (file.file.as_str(), Sums::Declared(file)));
                allowed(package, locked, sums)?
            }
        };
        let slot = |file: String, is_beside| {
            let version = version.clone();
            Slot { locked, version, file, several, is_beside }
        };
        let mut slots = Vec::new();
        for file in files {
            let with = beside.iter().map(|end| format!("{file}{end}"));
            let with: Vec<_> = with
                .filter(|with| known.described.contains_key(&(version.as_str(), with.as_str())))
                .map(|with| slot(with, true))
                .collect();
            slots.push(slot(file, false));
            slots.extend(with);
        }
        Ok(slots)
    }

    /// The same of a realm's package.
    ///
    /// # Errors
    /// As [`Registry::slots`].
    pub(super) fn hosted_slots<'l>(
        &self,
        package: &PackageId,
        view: &PackageView,
        locked: &'l Locked,
    ) -> Result<Vec<Slot<'l>>, Error> {
        let (version, fixed) = self.locked_version(package, locked)?;
        let several = fixed.is_none();
        let files = match fixed.or_else(|| locked.file.clone()) {
            Some(file) => vec![file],
            None => {
                let found = view.versions.get(&version);
                let served =
                    found.ok_or_else(|| absent(package, &version))?.files.iter().filter_map(
                        |(name, file)| {
                            Some((name.as_str(), Sums::Signed(&file.serves.as_ref()?.checksums)))
                        },
                    );
                allowed(package, locked, served)?
            }
        };
        let slot = |file| {
            let version = version.clone();
            Slot { locked, version, file, several, is_beside: false }
        };
        Ok(files.into_iter().map(slot).collect())
    }

    /// The normal version, and the name of its one file where the format fixes it.
    fn locked_version(
        &self,
        package: &PackageId,
        locked: &Locked,
    ) -> Result<(String, Option<String>), Error> {
        let version = self.normal_version(package, &locked.version)?;
        let rules = self.require_rules(&package.format)?;
        let fixed = rules.file_name.map(|name| name(&package.name, &version));
        Ok((version, fixed))
    }
}

/// What is known of a file's checksums.
enum Sums<'o> {
    Declared(&'o OutlineFile),
    Signed(&'o Checksums),
}

/// The files that fit the entry's checksums. Where none is known to, those of which no checksum is
/// known: their bytes are judged when they are here.
fn allowed<'f>(
    package: &PackageId,
    locked: &Locked,
    files: impl Iterator<Item = (&'f str, Sums<'f>)>,
) -> Result<Vec<String>, Error> {
    let demanded = locked.integrity.as_deref().and_then(Integrity::parse);
    let (mut fit, mut unknown, mut some) = (Vec::new(), Vec::new(), false);
    for (file, sums) in files {
        some = true;
        let agrees = demanded.as_ref().and_then(|demanded| match sums {
            Sums::Declared(file) => demanded.agrees_with(&file.declared),
            Sums::Signed(sums) => demanded.fits(sums),
        });
        match agrees {
            Some(true) => fit.push(file.to_owned()),
            Some(false) => {}
            None => unknown.push(file.to_owned()),
        }
    }
    let fit = if fit.is_empty() { unknown } else { fit };
    if some && fit.is_empty() {
        return Err(Error::invalid(format!(
            "no file of {}@{} has a checksum that the lockfile allows",
            package.name, locked.version
        )));
    }
    Ok(fit)
}
