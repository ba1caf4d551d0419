//! One test's folder: homes, projects and logs lie in it, and a failed test keeps it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::node::{Node, NodeOptions};

/// The folder of one test. Declare it before its nodes, so that they end before it goes.
#[derive(Debug)]
pub(crate) struct World {
    folder: Option<TempDir>,
    path: PathBuf,
}

impl World {
    /// A new empty folder, named after the test.
    pub(crate) fn new() -> Self {
        let test = super::client::test_name().replace("::", "-");
        let folder = tempfile::Builder::new()
            .prefix(&format!("griot-{test}-"))
            .tempdir()
            .expect("a temporary folder can be made");
        Self { path: folder.path().to_path_buf(), folder: Some(folder) }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it, made if it is not there.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs_err::create_dir_all(&path).expect("a folder can be made in the test's folder");
        path
    }

    /// Starts a node on loopback, without mDNS, and waits until it is ready.
    pub(crate) fn node(&self, name: &str) -> Node {
        Node::start(self, name, NodeOptions::default())
    }

    /// Starts a node that dials these addresses.
    pub(crate) fn node_dialling(&self, name: &str, peers: &[String]) -> Node {
        Node::start(self, name, NodeOptions { peers: peers.to_vec(), ..NodeOptions::default() })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            let path = folder.keep();
            super::client::shout(&format!("kept for a look: {}", path.display()));
        }
    }
}
