//! What the registry must know of a format, handed down as data.
//!
//! The registry fetches without a request in hand (wants, new releases, sync), so it needs each
//! ecosystem's rules; it may not import `formats`, so the daemon passes these values in. All of
//! them are pure functions.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::ops::Range;

use crate::store::Hashes;

/// The rules of one format.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The format's id, as in `PackageId.format`.
    pub format: &'static str,
    /// Normal form of a name, or why it is not one.
    pub canonical_name: fn(&str) -> Result<String, String>,
    /// Why a new package may not have a normal name, if so: an upstream may know older names than
    /// may be published today.
    pub publishable: fn(&str) -> Result<(), String>,
    /// Normal form of a version (the slot key), or why it is not one.
    pub canonical_version: fn(&str) -> Result<String, String>,
    /// Order of two normal versions.
    pub compare_versions: fn(&str, &str) -> Ordering,
    /// Whether new resolution passes over the version unless it is named.
    pub is_prerelease: fn(&str) -> bool,
    /// Highest of `versions` that satisfies `range`; an error says why the range is not one.
    pub resolve: fn(range: &str, versions: &[String]) -> Result<Option<String>, String>,
    /// Checksums that its files need beside BLAKE3 and SHA-256.
    pub hashes: Hashes,
    /// Whether files may join a version after its first publish.
    pub files_may_join: bool,
    /// The one file name that a version may have, where the format fixes it.
    pub file_name: Option<fn(name: &str, version: &str) -> String>,
    /// Extracts the meta of a file, deterministically: run at publish and when bytes arrive.
    pub extract: Option<Extract>,
    /// Why a version with this meta may not be published, if so: upstreams have older ones.
    pub admits: fn(meta: &[u8]) -> Result<(), String>,
    /// The name as a meta writes it, where all versions of a package must write it alike.
    pub spelling: Option<Spelling>,
    /// Why a tag may not be called so, if so.
    pub tag_name: fn(&str) -> Result<(), String>,
    /// How its upstreams are asked and read; `None` where the format has no upstreams.
    pub upstream: Option<UpstreamRules>,
    /// One line for search, from the inline meta.
    pub describe: fn(meta: &[u8]) -> String,
    /// Other normal names that clients cannot tell from this one: where one of them is taken, a new
    /// package may not have the name.
    pub twins: fn(&str) -> Vec<String>,
}

/// The name as a meta writes it; none of one that cannot be read.
pub type Spelling = fn(meta: &[u8]) -> Option<String>;

/// An extractor: the file, positioned at its start, and its name; an error says what is wrong.
pub type Extract = fn(file: &mut std::fs::File, name: &str) -> Result<Extracted, String>;

/// What an archive says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// The package's name as the archive writes it.
    pub name: String,
    /// The version as the archive writes it.
    pub version: String,
    /// All that rendering and resolving need, in the format's own form.
    pub meta: Vec<u8>,
    /// Raised whenever the extractor makes other bytes of the same archive.
    pub extractor_version: u32,
    /// Descriptive text that decides nothing.
    pub readme: Option<Vec<u8>>,
}

/// How an upstream of a format is asked, and how its answers are read.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamRules {
    /// Forms in which a package's document is given, the fullest first.
    pub variants: &'static [Variant],
    /// Path of a package's document below the base URL, escaped.
    pub document: fn(name: &str) -> String,
    /// Path of a file below the base URL, escaped: used where no document says its URL.
    pub file: fn(name: &str, file: &str) -> String,
    /// Where files are, if a document of the whole registry says it, and the package's does not.
    pub locate: Option<LocateRules>,
    /// The version that a file name belongs to, if it is one of the package's.
    pub version_of: fn(name: &str, file: &str) -> Option<String>,
    /// Reads a document of any variant, without holding it. The normal name is that of the package
    /// which was asked for: documents need not say it.
    pub outline: fn(name: &str, &mut dyn BufRead) -> Result<Outline, String>,
    /// The largest document, in bytes.
    pub document_bytes_max: u64,
    /// What stands before a bare token in `Authorization`; `None`: nothing does.
    pub token_scheme: Option<&'static str>,
    /// The upstream's own signatures over versions, where the format has them.
    pub signatures: Option<SignatureRules>,
    /// How what a document declares of a version differs from the meta of its bytes, in words.
    pub differs: fn(declared: &[u8], meta: &[u8]) -> Option<String>,
}

/// A document of the whole registry that says where its files are.
#[derive(Debug, Clone, Copy)]
pub struct LocateRules {
    /// Path of the document below the base URL.
    pub document: &'static str,
    /// Bytes that it has at most: it is read into memory.
    pub bytes_max: u64,
    /// Absolute URL of a file of the package, whose name is given as its own document writes it;
    /// the error says what is wrong with the document.
    pub url: fn(document: &[u8], name: &str, of: &OutlineVersion, file: &OutlineFile) -> Located,
}

/// An absolute URL, or why there is none.
pub type Located = Result<String, String>;

/// One form of a package's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// As in a receipt's subject.
    pub name: &'static str,
    /// The header `Accept` that asks for it.
    pub accept: &'static str,
}

/// The upstream's own signatures.
#[derive(Debug, Clone, Copy)]
pub struct SignatureRules {
    /// Path of the document with the upstream's keys, below the base URL.
    pub keys: &'static str,
    /// Whether the version is signed by one of the keys; the error says what is wrong.
    pub verify: fn(name: &str, version: &OutlineVersion, keys: &[u8]) -> Result<(), String>,
}

/// What resolving and fetching need of an upstream's document. Everything in it is the upstream's
/// word, and as hostile as any input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The package's name as the document says.
    pub name: String,
    /// Tag → normal version.
    pub tags: BTreeMap<String, String>,
    /// In the document's order; those whose number is no version are left out.
    pub versions: Vec<OutlineVersion>,
}

/// One version of an [`Outline`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutlineVersion {
    /// In its normal form.
    pub version: String,
    /// As the document writes it.
    pub written: String,
    /// Why new resolution should pass over it, if it should: a deprecation, a yank.
    pub yanked: Option<String>,
    /// Its files.
    pub files: Vec<OutlineFile>,
    /// (key id, signature) as the document has them.
    pub signatures: Vec<(String, String)>,
    /// Where in the document the version is declared, in bytes.
    pub declared: Range<u64>,
}

/// One file of an [`OutlineVersion`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutlineFile {
    /// Its name as this node's URLs have it.
    pub file: String,
    /// Where the upstream has it: absolute, or relative to the document's own URL. Empty where the
    /// document does not say.
    pub url: String,
    /// Bytes, where the document says.
    pub size: Option<u64>,
    /// What the document says of its bytes.
    pub declared: Declared,
    /// Where in the document the file is declared, in bytes; empty where its version's place says
    /// it, or where nothing of it can be compared with the file.
    pub place: Range<u64>,
}

/// Checksums that somebody declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// SHA-512.
    pub sha512: Option<[u8; 64]>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// SHA-1: too weak to let bytes come from anybody.
    pub sha1: Option<[u8; 20]>,
    /// MD5: too weak as well.
    pub md5: Option<[u8; 16]>,
}

impl Declared {
    /// Whether bytes may be taken from anybody under it.
    #[must_use]
    pub const fn is_strong(&self) -> bool {
        self.sha512.is_some() || self.sha256.is_some()
    }

    /// Whether the bytes of a blob are those; false if nothing at all is declared, or if a declared
    /// checksum was not computed.
    #[must_use]
    pub fn fits(&self, checksums: &crdt::Checksums) -> bool {
        let agrees = |ok: Option<bool>| ok.unwrap_or(true);
        let some = self.is_strong() || self.sha1.is_some() || self.md5.is_some();
        some && agrees(self.sha256.map(|sum| sum == checksums.sha256))
            && agrees(self.sha512.map(|sum| Some(sum) == checksums.sha512))
            && agrees(self.sha1.map(|sum| Some(sum) == checksums.sha1))
            && agrees(self.md5.map(|sum| Some(sum) == checksums.md5))
    }
}
