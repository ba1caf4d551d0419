//! Outlines of documents that were read lately, so that a big one is not parsed for each request.
//!
//! A cache by the digest of the bytes: it can never be out of date.

use std::collections::VecDeque;
use std::io::BufReader;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crdt::{Digest, PackageId};

use super::rules::UpstreamRules;
use super::sought::Sought;
use super::{Error, Outcome, Outline, OutlineFile, OutlineVersion, Registry};

/// Outlines kept at most.
const OUTLINES_MAX: usize = 256;
/// All of them: 20,000 versions need about a kibibyte each, and a hostile one has more to say.
const KEPT_MAX_BYTES: usize = 24 * 1024 * 1024;
/// Documents that are read at once: what is kept of one may be large.
const READERS: usize = 8;

/// What the outline of a document depends on: its bytes, and the package that it is read as.
pub(super) fn key(package: &PackageId, document: &Digest) -> Digest {
    Digest::of(format!("{package} {document}").as_bytes())
}

/// Newest use last.
#[derive(Debug, Default)]
pub(super) struct Outlines(Mutex<VecDeque<Kept>>);

/// With the memory that it takes, roughly.
type Kept = (Digest, usize, Arc<Outline>);

impl Outlines {
    fn get(&self, digest: &Digest) -> Option<Arc<Outline>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(of, ..)| of == digest)?;
        let found = kept.remove(at)?;
        kept.push_back(found);
        kept.back().map(|(.., outline)| Arc::clone(outline))
    }

    pub(super) fn put(&self, digest: Digest, outline: &Arc<Outline>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, ..)| *of != digest);
        kept.push_back((digest, weight(outline), Arc::clone(outline)));
        let mut bytes: usize = kept.iter().map(|(_, bytes, _)| bytes).sum();
        while kept.len() > 1 && (kept.len() > OUTLINES_MAX || bytes > KEPT_MAX_BYTES) {
            bytes -= kept.pop_front().map_or(0, |(_, bytes, _)| bytes);
        }
    }
}

fn weight(outline: &Outline) -> usize {
    let version = |found: &OutlineVersion| {
        let said = found.version.len() + found.written.len();
        let yanked = found.yanked.as_ref().map_or(0, String::len);
        let signed = found.signatures.iter().map(|(key, signature)| key.len() + signature.len());
        let files = found
            .files
            .iter()
            .map(|file| size_of::<OutlineFile>() + file.file.len() + file.url.len());
        size_of::<OutlineVersion>() + said + yanked + signed.sum::<usize>() + files.sum::<usize>()
    };
    let tag = |(tag, version): (&String, &String)| 64 + tag.len() + version.len();
    outline.versions.iter().map(version).sum::<usize>()
        + outline.tags.iter().map(tag).sum::<usize>()
}

/// Reads a document where blocking is allowed.
pub(super) async fn read(
    rules: UpstreamRules,
    name: &str,
    file: std::fs::File,
) -> Result<Outline, String> {
    let name = name.to_owned();
    let work = move || {
        // On the thread itself: a task that is not polled for a while must not keep a turn.
        let _turn = Turn::take();
        (rules.outline)(&name, &mut BufReader::new(file))
    };
    let read = tokio::task::spawn_blocking(work).await;
    read.unwrap_or_else(|_| Err("it could not be read".to_owned()))
}

/// One of the readers; it ends with the reading, also by a panic.
struct Turn;

static READING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Turn {
    fn take() -> Self {
        let (reading, ended) = &READING;
        let reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
        let all_taken = |reading: &mut usize| *reading >= READERS;
        let free = ended.wait_while(reading, all_taken);
        *free.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (reading, ended) = &READING;
        *reading.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ended.notify_one();
    }
}

impl Registry {
    /// What is in a document that is held.
    pub(super) async fn outline(
        &self,
        sought: &Sought,
        digest: &Digest,
    ) -> Result<Arc<Outline>, Error> {
        let key = key(&sought.package, digest);
        if let Some(outline) = self.inner.outlines.get(&key) {
            return Ok(outline);
        }
        let file = self.open_document(digest).await?.into_std().await;
        let outline = read(sought.rules, &sought.package.name, file).await;
        let outline = Arc::new(outline.map_err(|why| Error::new(Outcome::Corrupt, why))?);
        self.inner.outlines.put(key, &outline);
        Ok(outline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_make_room_by_what_they_say_and_not_by_their_number_alone() {
        let kept = Outlines::default();
        let tags = (0..2000).map(|n| (format!("{n}{}", "x".repeat(500)), "1.0.0".to_owned()));
        let wordy = Arc::new(Outline { tags: tags.collect(), ..Outline::default() });
        for number in 0..OUTLINES_MAX {
            kept.put(Digest::of(&number.to_be_bytes()), &wordy);
        }
        let held = kept.0.lock().unwrap().len();
        assert!((2..KEPT_MAX_BYTES / 1_000_000 + 1).contains(&held), "{held} megabytes of tags");
        assert!(kept.get(&Digest::of(&(OUTLINES_MAX - 1).to_be_bytes())).is_some());
    }

    #[tokio::test]
    async fn more_documents_than_readers_are_all_read() {
        let rules = UpstreamRules { outline: |_, _| Ok(Outline::default()), ..rules() };
        let file = || tempfile::tempfile().unwrap();
        let all = (0..4 * READERS).map(|_| read(rules, "pad", file()));
        assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
        let panics = UpstreamRules { outline: |_, _| panic!("a broken reader"), ..rules };
        let all = (0..2 * READERS).map(|_| read(panics, "pad", file()));
        assert!(futures::future::join_all(all).await.iter().all(Result::is_err));
        assert!(read(rules, "pad", file()).await.is_ok(), "a panic gives its turn back");
    }

    fn rules() -> UpstreamRules {
        UpstreamRules {
            variants: &[],
            document: |name| name.to_owned(),
            file: |_, file| file.to_owned(),
            locate: None,
            version_of: |_, _| None,
            outline: |_, _| Err("unused".to_owned()),
            document_bytes_max: 1,
            token_scheme: None,
            signatures: None,
            differs: |_, _| None,
        }
    }
}
