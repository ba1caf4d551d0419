//! `griot route`: where a name comes from; this node's own word, or with `--site` the site's.

use crdt::statement::RouteSource;
use node::daemon::admin::Done;
use node::daemon::admin::realms::RealmInfo;
use node::daemon::admin::routes::{RouteName, RouteOrder, RouteRow};
use node::registry::UpstreamRow;
use reqwest::Method;

use super::{Context, segment};
use crate::args::{Route, Signing};
use crate::client::Node;
use crate::names;
use crate::output::{Code, Failure, plain, short};
use crate::sign::{self, Desk};

pub(super) async fn run(context: &Context, route: Route) -> Result<(), Failure> {
    let node = context.node()?;
    match route {
        Route::List => {
            let rows: Vec<RouteRow> = node.get("routes").await?;
            context.output.data(&rows, |rows| rows.iter().map(line).collect())
        }
        Route::Add { names, source, site: true, signing } => {
            for_site(context, &node, (&names, &source), &signing).await
        }
        Route::Add { names, source, .. } => {
            let (format, pattern) = names::pattern(&names)?;
            let body = RouteOrder { format, pattern, source };
            let done: Done = node.post("routes", &body).await?;
            context.output.data(&done, |_| vec![format!("{names} → {}", body.source)])
        }
        Route::Remove { names } => {
            let (format, pattern) = names::pattern(&names)?;
            let body = RouteName { format, pattern };
            let done: Done = node.call(Method::DELETE, "routes", Some(&body)).await?;
            context.output.data(&done, |done| {
                let word = if done.changed { "removed" } else { "there is no own rule" };
                vec![format!("{word} {names}")]
            })
        }
    }
}

/// The site's word: a statement of its roots.
async fn for_site(
    context: &Context,
    node: &Node,
    (names, source): (&str, &str),
    signing: &Signing,
) -> Result<(), Failure> {
    let (format, pattern) = names::pattern(names)?;
    let source = site_source(node, &format, source).await?;
    let mut desk = Desk::open_for_rules(context.output, node, signing)?;
    let handed = sign::add_route(&mut desk, "site", (&format, &pattern), source).await?;
    context.output.data(&handed, |handed| {
        let mut out = handed.says.clone();
        out.extend(handed.lines());
        out
    })
}

/// What a site's route names: it must mean the same on every node.
async fn site_source(node: &Node, format: &str, source: &str) -> Result<RouteSource, Failure> {
    if source == "deny" {
        return Ok(RouteSource::Deny);
    }
    let rows: Vec<UpstreamRow> = node.get("upstreams").await?;
    let mut of_format = rows.into_iter().filter(|row| row.format == format);
    let found = match source {
        "upstream" => of_format.find(|row| row.default),
        url if url.contains("://") => of_format.find(|row| row.url == url),
        realm => {
            let info: RealmInfo = node.get(&format!("realms/{}", segment(realm))).await?;
            return Ok(RouteSource::Realm(info.realm));
        }
    };
    let row = found.ok_or_else(|| {
        Failure::new(format!("this node has no such upstream for {format}"))
            .hint(format!("griot upstream add {format} URL --site"))
            .code(Code::Lacks)
    })?;
    Ok(RouteSource::Upstream { origin: row.origin, format: row.format, url: row.url })
}

fn line(row: &RouteRow) -> String {
    let rule = &row.rule;
    let source = match &rule.source {
        RouteSource::Realm(realm) => short(realm),
        RouteSource::Upstream { url, .. } => plain(url),
        RouteSource::Deny => "deny".into(),
    };
    let contested = if rule.contested { "  contested: nobody has it" } else { "" };
    let of = short(&row.of);
    format!("{of}  {}:{} → {source}{contested}", rule.format, plain(&rule.pattern.0))
}
