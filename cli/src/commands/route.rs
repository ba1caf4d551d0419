//! `griot route`: this node's own word on where a name comes from.

use crdt::statement::RouteSource;
use node::daemon::admin::Done;
use node::daemon::admin::routes::{RouteName, RouteOrder, RouteRow};
use reqwest::Method;

use super::Context;
use crate::args::Route;
use crate::names;
use crate::output::{Failure, plain, short};

pub(super) async fn run(context: &Context, route: Route) -> Result<(), Failure> {
    let node = context.node()?;
    match route {
        Route::List => {
            let rows: Vec<RouteRow> = node.get("routes").await?;
            context.output.data(&rows, |rows| rows.iter().map(line).collect())
        }
        Route::Add { names, source } => {
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
