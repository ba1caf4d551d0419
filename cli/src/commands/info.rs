//! `griot info`: versions, files, signers and tags of a package.

use node::daemon::admin::packages::Named as Order;
use node::registry::{Info, InfoVersion};

use super::Context;
use crate::args::Named;
use crate::names;
use crate::output::{Failure, plain, short, size};

pub(super) async fn run(context: &Context, named: Named) -> Result<(), Failure> {
    let (name, version) = names::split(&named.package);
    let order = Order { name, version: None, format: named.format };
    let mut info: Info = context.node()?.post("info", &order).await?;
    if let Some(version) = version {
        info.versions.retain(|row| row.version == version);
    }
    context.output.data(&info, lines)
}

/// The lines of a package: also the second half of `why`.
pub(super) fn lines(info: &Info) -> Vec<String> {
    let mut out = vec![format!("{}:{}", info.format, plain(&info.name))];
    for row in info.versions.iter().rev() {
        out.extend(version(row));
    }
    for (tag, version) in &info.tags {
        out.push(format!("tag {} → {}", plain(tag), plain(version)));
    }
    out
}

fn version(row: &InfoVersion) -> Vec<String> {
    let signers: Vec<String> = row.signers.iter().map(short).collect();
    let state = if row.state == "ok" { String::new() } else { format!("  {}", row.state) };
    let mut out = vec![format!(
        "{}{state}  {}  signed {}",
        plain(&row.version),
        plain(&row.published),
        signers.join(", ")
    )];
    out.extend(row.note.iter().map(|note| format!("  {}", plain(note))));
    for artifact in &row.artifacts {
        let held = if artifact.held { "held" } else { "not held" };
        let (name, bytes) = (plain(&artifact.filename), size(artifact.size));
        out.push(format!("  {name}  {bytes}  {held}  {}", artifact.digest));
    }
    out
}
