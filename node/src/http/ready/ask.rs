//! What a format says of a document: where it is kept, from what it is made, and how.
//!
//! A format gives a [`Look`]: look the package up, and say by a [`Seed`] what the bytes will be,
//! without making them. Only if nothing with that seed is held or stored are they made.

use std::sync::Arc;

use crdt::PackageId;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Label, Place, Plain, Read};
use crate::http::error::Error;
use crate::registry::{Registry, Stamp};

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Everything of the request that the bytes depend on, with the format in it.
    pub key: &'a str,
    /// Whose changes make it another one.
    pub package: &'a PackageId,
    /// Whether it is worth to be made again behind, when its package has changed.
    pub early: bool,
    /// What the client wishes beside.
    pub wish: Wish,
}

/// What does not change the bytes, but how they are looked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// The client asks for a check with the upstream.
    pub refresh: bool,
    /// Whether a miss becomes a want.
    pub wanted: bool,
}

/// Looks a document up as it is now. It must not hold the documents themselves: they hold it.
pub type Look = Arc<dyn Fn(Wish) -> BoxFuture<'static, Result<Looked, Error>> + Send + Sync>;
/// Makes the bytes.
pub type Render = Box<dyn FnOnce() -> BoxFuture<'static, Result<Made, Error>> + Send>;
/// Finds the bytes, so many as given, where they lie anyway.
pub type Lies = Box<dyn FnOnce(u64) -> BoxFuture<'static, Result<Plain, Error>> + Send>;

/// A document before it is made.
pub struct Looked {
    /// What it is made from.
    pub seed: Seed,
    /// What vouches for it later.
    pub stamp: Option<Stamp>,
    /// Seconds since its upstream confirmed it; absent for one of a realm.
    pub age: Option<u64>,
    /// Whether it is older than it may be, or its upstream is out of reach.
    pub stale: bool,
    /// Makes it, if no document with this seed is there.
    pub render: Render,
    /// For one whose bytes may lie in the store already: finds them for packed forms of before.
    pub lies: Option<Lies>,
}

/// What a format has rendered.
pub struct Made {
    /// What its headers say.
    pub label: Label,
    /// The bytes.
    pub plain: Plain,
    /// Where they are not held: writes them, to be packed.
    pub read: Option<Read>,
    /// Whether the store has these very bytes, so that they need not be stored again.
    pub lies: bool,
}

/// A hash of everything that the bytes, their type and their headers depend on: what was looked up,
/// what of the request counts, and the code that renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Of some parts. `renderer` names the code, with a number that its author raises when the same
    /// parts come out as other bytes; each release of this program counts as other code, too.
    #[must_use]
    pub fn of(renderer: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        let code = [env!("CARGO_PKG_VERSION").as_bytes(), renderer.as_bytes()];
        for part in code.iter().chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// As it is written down.
    pub(super) fn hex(self) -> String {
        crdt::digest::to_hex(&self.0)
    }
}

/// All that a look-up needs, whoever starts it.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) registry: Registry,
    pub(super) key: Arc<str>,
    pub(super) package: PackageId,
    pub(super) early: bool,
    pub(super) wish: Wish,
    pub(super) look: Look,
    /// Whether a client waits.
    pub(super) asked: bool,
}

impl Order {
    pub(super) fn of(registry: &Registry, ask: Ask<'_>, look: Look) -> Self {
        let Ask { key, package, early, wish } = ask;
        let (registry, key, package) = (registry.clone(), key.into(), package.clone());
        Self { registry, key, package, early, wish, look, asked: true }
    }

    /// What only those share who ask for the same with the same wishes before the next commit, even
    /// one that concerns no document that is kept: what has no stamp may hang on it.
    pub(super) fn flight(&self) -> String {
        let Wish { refresh, wanted } = self.wish;
        format!("{}\n{refresh} {wanted} {}", self.key, self.registry.store().commits())
    }

    /// Where it is kept, and how it is made again behind.
    pub(super) fn place(&self) -> Place {
        let again = self.early.then(|| {
            let early = Self { wish: Wish::default(), asked: false, ..self.clone() };
            let again: super::Again = Arc::new(move |ready| {
                let early = early.clone();
                // Whoever asks next is told why.
                async move { drop(ready.look(early).await) }.boxed()
            });
            again
        });
        let (key, package) = (Arc::clone(&self.key), self.package.clone());
        Place { key, package, again, asked: self.asked }
    }
}

impl std::fmt::Debug for Looked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Looked").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").field("label", &self.label).finish_non_exhaustive()
    }
}
