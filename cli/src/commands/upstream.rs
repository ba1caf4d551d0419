//! `griot upstream`: the outside registries that names come from.
//!
//! Where this node's own realm is its site and the root key is at hand, the choice is also signed
//! as the realm's `route`, so that who joins asks the same upstream without copying anything.

use std::io::Read as _;
use std::path::Path;

use crdt::statement::RouteSource;
use node::daemon::admin::Done;
use node::daemon::admin::realms::RealmInfo;
use node::daemon::admin::upstreams::{UpstreamName, UpstreamOrder};
use node::registry::UpstreamRow;
use reqwest::Method;
use serde::Serialize;

use super::Context;
use crate::args::{Upstream, UpstreamAdd};
use crate::client::Node;
use crate::output::{Code, Failure, plain, short};
use crate::sign;

/// Bytes of a file with a token.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// Whether who joins is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// If it can be, and the URL is not on this machine.
    WherePossible,
    /// `--private`.
    Nobody,
    /// `--site`: else it is a failure.
    Site,
}

/// What became of telling who joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Told {
    /// A `route` was signed.
    Signed,
    /// The realm says so already.
    Before,
    /// `--private`.
    Private,
    /// The URL is on this machine.
    ThisMachine,
    /// The root key is not here.
    NoRootKey,
    /// This node has joined a site, which has routes of its own.
    OtherSite,
    /// It is neither the default nor for some names.
    NotDefault,
}

/// An adopted upstream, with what became of telling who joins.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Adoption {
    #[serde(flatten)]
    pub(super) upstream: UpstreamRow,
    pub(super) told: Told,
}

pub(super) async fn run(context: &Context, upstream: Upstream) -> Result<(), Failure> {
    let node = context.node()?;
    match upstream {
        Upstream::Add(order) => add(context, &node, order).await,
        Upstream::List => {
            let rows: Vec<UpstreamRow> = node.get("upstreams").await?;
            if context.output.is_human() && rows.is_empty() {
                context.output.say("no upstream: names come from realms alone");
                context.output.say("next: griot link npm, or griot upstream add FORMAT URL");
            }
            context.output.data(&rows, |rows| rows.iter().map(line).collect())
        }
        Upstream::Remove { format, which } => {
            let name = UpstreamName { format, which };
            remove(context, &node, &name).await
        }
    }
}

async fn add(context: &Context, node: &Node, order: UpstreamAdd) -> Result<(), Failure> {
    let credential = order.token_file.as_deref().map(token).transpose()?;
    let tell = match (order.private, order.site) {
        (true, _) => Tell::Nobody,
        (_, true) => Tell::Site,
        _ => Tell::WherePossible,
    };
    let order = UpstreamOrder {
        format: order.format,
        url: order.url,
        credential,
        same_as: order.same_as,
        pattern: order.names,
        default: order.default,
    };
    let adoption = adopt(node, &order, tell).await?;
    context.output.data(&adoption, |adoption| follows(adoption, order.pattern.as_deref()))
}

/// Adopts an upstream, and tells who joins.
pub(super) async fn adopt(
    node: &Node,
    order: &UpstreamOrder,
    tell: Tell,
) -> Result<Adoption, Failure> {
    let upstream: UpstreamRow = node.post("upstreams", order).await?;
    let names = order.pattern.as_deref().or(upstream.default.then_some("*"));
    let told = match (tell, names) {
        (Tell::Nobody, _) => Told::Private,
        (_, None) => Told::NotDefault,
        (_, Some(names)) => sign_route(node, &upstream, names, tell).await?,
    };
    let refused = match told {
        Told::NotDefault => "it is not the default, and --names does not say what it is for",
        Told::NoRootKey => "the root key is not here",
        Told::OtherSite => "this node has joined a site, whose root key decides",
        _ => return Ok(Adoption { upstream, told }),
    };
    if tell == Tell::Site {
        let why = format!("the upstream is adopted here, but nobody else is told: {refused}");
        return Err(Failure::new(why)
            .hint("without --site it is this node's alone; griot realm show site")
            .code(Code::Refused));
    }
    Ok(Adoption { upstream, told })
}

async fn sign_route(
    node: &Node,
    upstream: &UpstreamRow,
    names: &str,
    tell: Tell,
) -> Result<Told, Failure> {
    let site: RealmInfo = node.get("realms/site").await?;
    let own: RealmInfo = node.get("realms/own").await?;
    if site.realm != own.realm {
        return Ok(Told::OtherSite);
    }
    let source = RouteSource::Upstream {
        origin: upstream.origin,
        format: upstream.format.clone(),
        url: upstream.url.clone(),
    };
    let says_so = own.routes.iter().any(|rule| {
        rule.format == upstream.format
            && rule.pattern.0 == names
            && rule.source == source
            && !rule.contested
    });
    if says_so {
        return Ok(Told::Before);
    }
    if tell != Tell::Site && is_on_this_machine(&upstream.url) {
        return Ok(Told::ThisMachine);
    }
    if !sign::has_open_root_key(node.home())? {
        return Ok(Told::NoRootKey);
    }
    sign::add_own_route(node, (&upstream.format, names), source).await?;
    Ok(Told::Signed)
}

/// Whether only this machine can reach the URL.
fn is_on_this_machine(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(url::Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// What the person reads after an adoption.
fn follows(adoption: &Adoption, names: Option<&str>) -> Vec<String> {
    let Adoption { upstream, told } = adoption;
    let (format, url) = (&upstream.format, plain(&upstream.url));
    let what = match names {
        Some(names) => format!("{format}:{} comes from {url}", plain(names)),
        None if upstream.default => format!("{format} names that no realm has come from {url}"),
        None => format!("{url} is known for {format}; another one is the default (--default)"),
    };
    vec![what, told_as(*told).to_owned()]
}

/// What became of telling who joins, for people.
pub(super) const fn told_as(told: Told) -> &'static str {
    match told {
        Told::Signed => "signed as a route of your realm: who joins asks it, too",
        Told::Before => "your realm's route says so already",
        Told::Private => "this node's alone: who joins is not told",
        Told::ThisMachine => "it is on this machine: who joins is not told (--site tells anyway)",
        Told::NoRootKey => "this node's alone: the root key is not here to sign a route",
        Told::OtherSite => {
            "this node's alone: the routes of a site are signed where its root key is"
        }
        Told::NotDefault => "nothing is asked of it until it is the default or has --names",
    }
}

async fn remove(context: &Context, node: &Node, name: &UpstreamName) -> Result<(), Failure> {
    let UpstreamName { format, which } = name;
    let done: Done = node.call(Method::DELETE, "upstreams", Some(name)).await?;
    if !done.changed {
        let which = plain(which);
        return Err(Failure::new(format!("{which} is no upstream of {format} adopted here"))
            .hint("griot upstream list")
            .code(Code::Lacks));
    }
    let rows: Vec<UpstreamRow> = node.get("upstreams").await?;
    let default = rows.iter().find(|row| row.default && row.format == *format);
    let then = match default {
        Some(row) if row.of == "site" => {
            format!("{format} names come from {} now, by the site's route", plain(&row.url))
        }
        Some(row) => format!("{format} names come from {}", plain(&row.url)),
        None => format!("{format} has no default upstream now: griot upstream add {format} URL"),
    };
    context.output.data(&done, |_| vec![format!("removed {}", plain(which)), then])
}

fn token(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
    } else {
        fs_err::File::open(file)?.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
    }
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::new(format!("there is no token in {}", file.display()))
            .hint("a file with the token alone, or with the value of the header Authorization")
            .code(Code::Usage));
    }
    Ok(text.to_owned())
}

fn line(row: &UpstreamRow) -> String {
    let mut notes = Vec::new();
    if row.default {
        notes.push("default".to_owned());
    }
    notes.extend(row.patterns.iter().filter(|names| *names != "*").map(|names| plain(names)));
    if row.of == "own" && row.site {
        notes.push("told to who joins".to_owned());
    }
    if row.credential {
        notes.push("with a token".to_owned());
    }
    if !row.reachable {
        notes.push("unreachable".to_owned());
    }
    notes.extend(row.same_as.iter().map(|id| format!("same as {}", short(id))));
    let (of, id) = (plain(&row.of), short(&row.origin));
    format!("{of}  {}  {}  {id}  {}", row.format, plain(&row.url), notes.join(", "))
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_cannot_reach_is_on_this_machine() {
        for url in ["http://127.0.0.1:1/", "http://[::1]/", "http://localhost:9/npm/"] {
            assert!(is_on_this_machine(url), "{url}");
        }
        for url in ["https://packages.test/", "http://192.168.4.1/npm/"] {
            assert!(!is_on_this_machine(url), "{url}");
        }
    }
}
