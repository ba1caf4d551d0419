//! `griot key`: the public halves of this node's keys.

use node::daemon::admin::status::Keys;
use node::daemon::keys::{self, Role};

use super::Context;
use crate::args::Key;
use crate::output::{Code, Failure};

pub(super) async fn run(context: &Context, key: Key) -> Result<(), Failure> {
    let Key::Show = key;
    let keys = match context.node() {
        Ok(node) => match node.get("keys").await {
            Err(Failure { code: Code::Offline, .. }) => from_files(context)?,
            other => other?,
        },
        Err(Failure { code: Code::Offline, .. }) => from_files(context)?,
        Err(other) => return Err(other),
    };
    context.output.data(&keys, |keys| {
        let mut out =
            vec![format!("publisher  {}", keys.publisher), format!("node       {}", keys.node)];
        out.extend(keys.peer.iter().map(|peer| format!("peer       {peer}")));
        out.extend(keys.roots.iter().map(|root| format!("root       {root}")));
        out
    })
}

/// Without a running node: what the key files say. The peer id belongs to the mesh's own file.
fn from_files(context: &Context) -> Result<Keys, Failure> {
    let public = |role| -> Result<_, Failure> {
        Ok(keys::load(&context.home, role)?.map(|key| key.public()))
    };
    let lacking = || {
        Failure::new(format!("there are no keys in {} yet", keys::folder(&context.home).display()))
            .hint(format!(
                "the first start makes them: griot up{}",
                super::home_flag(&context.home)
            ))
            .code(Code::Lacks)
    };
    Ok(Keys {
        publisher: public(Role::Publisher)?.ok_or_else(lacking)?,
        node: public(Role::Node)?.ok_or_else(lacking)?,
        peer: None,
        roots: public(Role::Root)?.into_iter().collect(),
    })
}
