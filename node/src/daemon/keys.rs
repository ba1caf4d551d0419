//! The key files of a home: `keys/root`, `keys/publisher`, `keys/node`.
//!
//! Each holds the 64 hexadecimal digits of one ed25519 seed and a line end, mode 0600, in a folder
//! of mode 0700. They are not encrypted: a node must start after a power cut with nobody there, and
//! whoever can read them already runs as the user. `keys/peer` beside them belongs to the mesh.
//!
//! The running node reads `publisher` and `node` alone. `root` is made at the first start, and from
//! then on only the verbs `realm`, `invite` and `publish` of the command open it; it may be moved
//! to a stick. One key never serves as another.
//!
//! After a crash a key file is absent or complete: it is written beside, synced and renamed.
//!
//! Source: trust.md sections 3 and 17.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crdt::SecretKey;
use crdt::digest::{from_hex, to_hex};
use zeroize::Zeroizing;

/// Which key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Signs the realm's authority: root epochs and routes. Never loaded by the running node.
    Root,
    /// Signs releases, yanks and tags.
    Publisher,
    /// Signs what this node itself says, such as receipts.
    Node,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Publisher => "publisher",
            Self::Node => "node",
        })
    }
}

/// Where the keys of a home lie.
#[must_use]
pub fn folder(home: &Path) -> PathBuf {
    home.join("keys")
}

/// The file of one key.
#[must_use]
pub fn file(home: &Path, role: Role) -> PathBuf {
    folder(home).join(role.to_string())
}

/// Reads a key; `None` if this home has no such file.
///
/// # Errors
/// The file cannot be read, or is not a key.
pub fn load(home: &Path, role: Role) -> io::Result<Option<SecretKey>> {
    let path = file(home, role);
    let text = match fs_err::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let seed = from_hex::<32>(text.trim()).map(Zeroizing::new).ok_or_else(|| {
        let why = format!("{} is not a key: it should hold 64 hexadecimal digits", path.display());
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    Ok(Some(SecretKey::from_seed(&seed)))
}

/// Reads a key, or draws a new one from the operating system and writes it down first.
///
/// # Errors
/// As [`load`]; or the file cannot be written, or there is no entropy.
pub fn load_or_create(home: &Path, role: Role) -> io::Result<SecretKey> {
    if let Some(key) = load(home, role)? {
        return Ok(key);
    }
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(io::Error::other)?;
    create_folder(home)?;
    let text = Zeroizing::new(format!("{}\n", to_hex(seed.as_ref())));
    super::private_file::replace(&file(home, role), text.as_bytes())?;
    Ok(SecretKey::from_seed(&seed))
}

/// Makes `keys/` with mode 0700, and narrows one that is wider.
///
/// # Errors
/// The folder cannot be made.
pub fn create_folder(home: &Path) -> io::Result<()> {
    let folder = folder(home);
    fs_err::create_dir_all(&folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_drawn_once_and_read_again() {
        let home = tempfile::tempdir().unwrap();
        assert!(load(home.path(), Role::Root).unwrap().is_none());
        let first = load_or_create(home.path(), Role::Root).unwrap();
        let again = load_or_create(home.path(), Role::Root).unwrap();
        assert_eq!(first.seed(), again.seed());
        let other = load_or_create(home.path(), Role::Publisher).unwrap();
        assert_ne!(first.seed(), other.seed());
    }

    #[test]
    fn a_damaged_key_file_is_an_error_that_names_it() {
        let home = tempfile::tempdir().unwrap();
        load_or_create(home.path(), Role::Node).unwrap();
        fs_err::write(file(home.path(), Role::Node), "short").unwrap();
        let error = load(home.path(), Role::Node).unwrap_err().to_string();
        assert!(error.contains("keys/node"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn key_files_are_0600_in_a_folder_0700() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        load_or_create(home.path(), Role::Root).unwrap();
        let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder(home.path())), 0o700);
        assert_eq!(mode(&file(home.path(), Role::Root)), 0o600);
    }
}
