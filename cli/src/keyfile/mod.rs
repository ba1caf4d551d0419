//! Key files: in a home, on a stick, open or under a passphrase.
//!
//! An open one holds the 64 hexadecimal digits of a seed, as the node's own keys do. A sealed one
//! says its public key, so that nobody is asked for the passphrase of a key that cannot help; see
//! `sealed`. Either is one small text of mode 0600, written whole or not at all, and never over
//! another file: a lost key cannot be made again.
//!
//! Source: trust.md section 17.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crdt::digest::{from_hex, to_hex};
use crdt::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::output::{Code, Failure};
use crate::prompt;

mod sealed;
pub(crate) mod words;

use sealed::Sealed;

/// Bytes of the largest key file.
const FILE_BYTES_MAX: u64 = 4 * 1024;

/// A key file that was read.
pub(crate) struct KeyFile {
    path: PathBuf,
    content: Content,
}

enum Content {
    Open(SecretKey),
    Sealed(Sealed),
}

impl KeyFile {
    /// Reads a key file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let text = match read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let why = format!("the key file {} cannot be read: {error}", path.display());
                return Err(Failure::new(why));
            }
        };
        let content = if sealed::is_one(&text) {
            Sealed::parse(&text).map(Content::Sealed)
        } else {
            let seed = from_hex::<32>(text.trim()).map(Zeroizing::new);
            seed.map(|seed| Content::Open(SecretKey::from_seed(&seed)))
        };
        let content = content.ok_or_else(|| {
            Failure::new(format!("{} is not a key file", path.display()))
                .hint("griot key new --to FILE makes one; griot key import --words reads paper")
                .code(Code::Refused)
        })?;
        Ok(Some(Self { path: path.to_owned(), content }))
    }

    /// The public half, which needs no passphrase.
    pub(crate) fn public(&self) -> PublicKey {
        match &self.content {
            Content::Open(key) => key.public(),
            Content::Sealed(sealed) => sealed.public,
        }
    }

    /// Whether a passphrase is needed.
    pub(crate) const fn is_sealed(&self) -> bool {
        matches!(self.content, Content::Sealed(_))
    }

    /// The key itself; asks for the passphrase if there is one.
    pub(crate) fn unlock(&self) -> Result<SecretKey, Failure> {
        let sealed = match &self.content {
            Content::Open(key) => return Ok(SecretKey::from_seed(&Zeroizing::new(key.seed()))),
            Content::Sealed(sealed) => sealed,
        };
        let name = self.path.display().to_string();
        let passphrase = prompt::passphrase(&name)?;
        sealed.open(&passphrase).ok_or_else(|| {
            Failure::new(format!("this passphrase does not open {name}; nothing was signed"))
                .hint("type the command again; the words on paper open it without one")
                .code(Code::Refused)
        })
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    use std::io::Read as _;
    let mut text = Zeroizing::new(String::new());
    fs_err::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Draws a key from the operating system.
pub(crate) fn draw() -> Result<SecretKey, Failure> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut())
        .map_err(|error| Failure::new(format!("the system gives no random bytes: {error}")))?;
    Ok(SecretKey::from_seed(&seed))
}

/// Writes a key to a file that is not there yet, under the passphrase if there is one.
pub(crate) fn write(path: &Path, key: &SecretKey, passphrase: Option<&str>) -> Result<(), Failure> {
    let text = match passphrase {
        Some(passphrase) => Sealed::seal(key, passphrase)?.text(),
        None => Zeroizing::new(format!("{}\n", to_hex(Zeroizing::new(key.seed()).as_ref()))),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            Failure::new(format!("{} is there already; it was not touched", path.display()))
                .hint("choose another file: --to FILE")
        } else {
            Failure::new(format!("{} cannot be written: {}", path.display(), error.error))
        }
    })?;
    #[cfg(unix)]
    fs_err::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stick/root");
        let key = draw().unwrap();
        write(&path, &key, None).unwrap();
        let read = KeyFile::read(&path).unwrap().unwrap();
        assert_eq!(read.public(), key.public());
        assert_eq!(read.unlock().unwrap().seed(), key.seed());
        let failure = write(&path, &draw().unwrap(), None).unwrap_err();
        assert!(failure.message.contains("not touched"), "{failure:?}");
        assert_eq!(KeyFile::read(&path).unwrap().unwrap().public(), key.public());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs_err::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_what_is_not_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(KeyFile::read(&path).unwrap().is_none());
        for text in ["", "abc", "griot key v1\n", &"0".repeat(5_000)] {
            fs_err::write(&path, text).unwrap();
            let failure = KeyFile::read(&path).err().unwrap();
            assert_eq!(failure.code, Code::Refused, "{text:.20}");
        }
    }
}
