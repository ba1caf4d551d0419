//! `griot search`: what can be installed here, and what met peers show besides.

use node::daemon::admin::packages::{Found, SearchOrder};

use super::Context;
use crate::args::Search;
use crate::output::{Failure, plain, short};

pub(super) async fn run(context: &Context, search: Search) -> Result<(), Failure> {
    let order = SearchOrder {
        query: search.query,
        format: search.format,
        limit: search.limit,
        offset: search.offset,
        offered: true,
    };
    let found: Found = context.node()?.post("search", &order).await?;
    if context.output.is_human() && found.packages.is_empty() && found.offered.is_empty() {
        context.output.say("nothing here matches");
    }
    context.output.data(&found, lines)
}

fn lines(found: &Found) -> Vec<String> {
    let mut out = Vec::new();
    for row in &found.packages {
        let latest = row.latest.as_deref().unwrap_or("nothing offered now");
        let (name, about) = (plain(&row.package.name), plain(&row.description));
        let line = format!("{}:{name}  {}  {about}", row.package.format, plain(latest));
        out.push(line.trim_end().to_owned());
    }
    if found.total > found.packages.len() {
        out.push(format!("{} of {}: --offset N shows more", found.packages.len(), found.total));
    }
    for offered in &found.offered {
        out.push(format!(
            "{}:{}  in {} ({}), not followed: griot follow {}",
            offered.package.format,
            plain(&offered.package.name),
            short(&offered.realm),
            plain(&offered.title),
            offered.realm
        ));
    }
    out
}
