//! `griot invite` where somebody must answer it: it runs until the grant is signed.

use std::process::{Child, Stdio};

use serde_json::Value;

use super::node::text;
use super::{Node, SOON, World, wait_for};

/// A running `griot invite`; ended with this value.
pub(crate) struct Waiting {
    pub(crate) child: Child,
    pub(crate) invite: String,
}

impl Waiting {
    /// Starts `griot invite` with these words, and waits until it has printed the invite.
    pub(crate) fn start(world: &World, node: &Node, words: &[&str]) -> Self {
        let file = world.path().join("invite.json");
        let out = std::fs::File::create(&file).expect("a file can be made in the test's folder");
        let mut command = node.command(&[&["invite"], words, &["--json"]].concat());
        command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
        let child = command.spawn().expect("the binary under test starts");
        let invite = wait_for("the invite to be printed", SOON, || {
            let line = fs_err::read_to_string(&file).unwrap_or_default();
            let value: Value = serde_json::from_str(&line).map_err(|_| line)?;
            Ok(text(&value, "invite"))
        });
        Self { child, invite }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
