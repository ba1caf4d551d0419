//! `node.json`: where the running node of a home listens, and the token of its admin API.
//!
//! Written with mode 0600 once the node serves, removed at a clean stop. The command reads it to
//! find the node; whoever can read it is the user that runs the node. After `kill -9` it stays
//! behind, and the next start replaces it: a reader must expect that nobody answers.
//!
//! Source: DESIGN section 8.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The content of `node.json`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeJson {
    /// Process id.
    pub pid: u32,
    /// Base address, such as `http://127.0.0.1:7878`.
    pub http: String,
    /// Secret of the admin API, new at every start.
    pub token: String,
    /// Version of the program.
    pub version: String,
}

impl std::fmt::Debug for NodeJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeJson").field("pid", &self.pid).field("http", &self.http).finish()
    }
}

/// Where the file lies.
#[must_use]
pub fn path(home: &Path) -> PathBuf {
    home.join("node.json")
}

impl NodeJson {
    /// Reads the file of a home; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not such a file.
    pub fn read(home: &Path) -> io::Result<Option<Self>> {
        match fs_err::read(path(home)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, home: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        bytes.push(b'\n');
        super::private_file::replace(&path(home), &bytes)
    }

    /// Removes the file at a clean stop; one that is gone already is no error.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(home: &Path) -> io::Result<()> {
        match fs_err::remove_file(path(home)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> NodeJson {
        NodeJson {
            pid: 7,
            http: "http://127.0.0.1:7878".into(),
            token: "secret".into(),
            version: "0.1.0".into(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_replaced() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(NodeJson::read(home.path()).unwrap(), None);
        example().write(home.path()).unwrap();
        let second = NodeJson { pid: 8, ..example() };
        second.write(home.path()).unwrap();
        assert_eq!(NodeJson::read(home.path()).unwrap(), Some(second));
        NodeJson::remove(home.path()).unwrap();
        NodeJson::remove(home.path()).unwrap();
        assert_eq!(NodeJson::read(home.path()).unwrap(), None);
    }

    #[test]
    fn the_token_is_not_in_the_debug_text() {
        assert!(!format!("{:?}", example()).contains("secret"));
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_0600_even_over_a_wider_one() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        fs_err::write(path(home.path()), "{}").unwrap();
        example().write(home.path()).unwrap();
        let mode = fs_err::metadata(path(home.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
