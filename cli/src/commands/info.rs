//! `griot info`: versions, files, signers and tags of a package.

use node::daemon::admin::packages::Named as Order;
use node::registry::{Info, InfoVersion};

use super::Context;
use crate::args::Named;
use crate::names;
use crate::output::{Code, Failure, plain, short, size};

/// More versions than these, of which an upstream has the only copy, are counted instead of listed.
const ELSEWHERE_SHOWN: usize = 5;

pub(super) async fn run(context: &Context, named: Named) -> Result<(), Failure> {
    let (name, version) = names::split(&named.package);
    let order = Order { name, version: None, format: named.format };
    let mut info: Info = context.node()?.post("info", &order).await?;
    if let Some(version) = version {
        only(&mut info, &version)?;
    }
    context.output.data(&info, lines)
}

/// Leaves one version, or says that it is not there.
pub(super) fn only(info: &mut Info, version: &str) -> Result<(), Failure> {
    info.versions.retain(|row| row.version == version);
    info.fallen.retain(|row| row.version == version);
    info.tags.retain(|_, tagged| tagged == version);
    if !info.versions.is_empty() || !info.fallen.is_empty() {
        return Ok(());
    }
    let (name, version) = (plain(&info.name), plain(version));
    Err(Failure::new(format!("{name} has no version {version}"))
        .hint(format!("griot info {name} --format {}", info.format))
        .code(Code::Lacks))
}

/// The lines of a package: also the second half of `why`.
pub(super) fn lines(info: &Info) -> Vec<String> {
    let mut out = vec![format!("{}:{}", info.format, plain(&info.name))];
    let elsewhere = info.versions.iter().filter(|row| is_elsewhere(row)).count();
    let folds = elsewhere > ELSEWHERE_SHOWN;
    for row in info.versions.iter().rev().filter(|row| !folds || !is_elsewhere(row)) {
        out.extend(version(row));
    }
    if folds {
        let name = plain(&info.name);
        out.push(format!(
            "{elsewhere} more in the upstream, not held here: griot info {name} --json"
        ));
    }
    if info.publishers.len() > 1 || info.need > 1 {
        let keys: Vec<String> = info.publishers.iter().map(short).collect();
        let need = if info.need > 1 { format!("{} of ", info.need) } else { String::new() };
        out.push(format!("publishers: {need}{}", keys.join(", ")));
    }
    out.extend(info.fallen.iter().map(|fallen| format!("does not stand: {}", plain(&fallen.note))));
    out.extend(info.notes.iter().map(|note| plain(note)));
    for (tag, version) in &info.tags {
        out.push(format!("tag {} → {}", plain(tag), plain(version)));
    }
    out
}

/// Known from an upstream's document alone, without a file here.
fn is_elsewhere(row: &InfoVersion) -> bool {
    row.signers.is_empty() && row.artifacts.iter().all(|file| !file.held && file.digest.is_none())
}

fn version(row: &InfoVersion) -> Vec<String> {
    let signers: Vec<String> = row.signers.iter().map(short).collect();
    let state = if row.state == "ok" { String::new() } else { format!("  {}", row.state) };
    let mut line = format!("{}{state}", plain(&row.version));
    if !row.published.is_empty() {
        line += &format!("  {}", plain(&row.published));
    }
    if !signers.is_empty() {
        line += &format!("  signed {}", signers.join(", "));
    }
    let mut out = vec![line];
    out.extend(row.note.iter().map(|note| format!("  {}", plain(note))));
    for artifact in &row.artifacts {
        let held = if artifact.held { "held" } else { "not held" };
        let bytes = artifact.size.map(size).unwrap_or_default();
        let digest = artifact.digest.map(|digest| digest.to_string()).unwrap_or_default();
        let parts = [plain(&artifact.filename), bytes, held.to_owned(), digest];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        out.push(format!("  {}", parts.join("  ")));
    }
    out
}
