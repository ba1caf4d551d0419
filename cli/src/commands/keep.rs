//! `griot keep` and `griot unkeep`: packages that are never let go for room.

use node::daemon::admin::packages::Named;
use node::registry::{Kept, KeptRow};
use reqwest::Method;

use super::Context;
use crate::args::{Keep, Unkeep};
use crate::names;
use crate::output::{Failure, count, plain, size};

pub(super) async fn keep(context: &Context, keep: Keep) -> Result<(), Failure> {
    let node = context.node()?;
    let Some(package) = keep.package else {
        let rows: Vec<KeptRow> = node.get("kept").await?;
        return context.output.data(&rows, |rows| {
            let none = || vec!["nothing is pinned: griot keep NAME".to_owned()];
            if rows.is_empty() { none() } else { rows.iter().map(line).collect() }
        });
    };
    let (name, version) = names::split(&package);
    let row: KeptRow = node.post("kept", &Named { name, version, format: keep.format }).await?;
    context.output.data(&row, |row| {
        let mut said = vec![format!("kept {}", line(row))];
        said.extend(row.lacks.iter().map(|why| format!("  wanted still: {}", plain(why))));
        said
    })
}

pub(super) async fn unkeep(context: &Context, unkeep: Unkeep) -> Result<(), Failure> {
    let node = context.node()?;
    let (name, version) = names::split(&unkeep.package);
    let named = Named { name, version, format: unkeep.format };
    let gone: Vec<Kept> = node.call(Method::DELETE, "kept", Some(&named)).await?;
    context.output.data(&gone, |gone| {
        let line = |kept: &Kept| {
            let title = title(kept);
            format!("{title} is pinned no longer: what can be had again of it goes for room")
        };
        gone.iter().map(line).collect()
    })
}

fn title(kept: &Kept) -> String {
    let range = kept.range.as_ref().map(|range| format!("@{range}")).unwrap_or_default();
    plain(&format!("{}{range}", kept.package.name))
}

fn line(row: &KeptRow) -> String {
    let held = match row.versions.as_slice() {
        [] => "no version is held yet".to_owned(),
        [one] => plain(one),
        [first, .., last] => {
            let versions = count(row.versions.len() as u64, "version");
            plain(&format!("{versions}, {first} to {last}"))
        }
    };
    let files = count(row.files, "file");
    format!(
        "{} {}   {held}   {files}, {}",
        row.kept.package.format,
        title(&row.kept),
        size(row.bytes)
    )
}
