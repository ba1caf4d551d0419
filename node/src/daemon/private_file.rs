//! Writing a small file that only its owner may read: whole or not at all.
//!
//! Used for the key files and for `node.json`. The bytes go to a temporary file of mode 0600 beside
//! the target, are synced, and are renamed over it; then the folder is synced. A crash leaves the
//! old file, or the new one, and at worst a temporary file that the next write replaces.

use std::io::{self, Write as _};
use std::path::Path;

/// Replaces `path` by a file of mode 0600 with these bytes.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match fs_err::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs_err::rename(&temporary, path)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        fs_err::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
