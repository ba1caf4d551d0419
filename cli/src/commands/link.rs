//! `griot link` and `griot unlink`: package managers pointed at this node, and back.
//!
//! What the client used before is adopted as the upstream, so that nothing else changes for it.
//! No success without proof: the client is asked again after its file was written.

use crdt::Digest;
use node::daemon::admin::Done;
use node::daemon::admin::upstreams::UpstreamOrder;
use node::formats::{Aim, Answer, Format, Settings, TokenUse};
use node::http::auth::{NewToken, TokenScope};
use node::registry::{Scope, UpstreamRow};
use reqwest::Method;
use serde::Serialize;

use super::Context;
use super::upstream::{Adoption, Tell, adopt, told_as};
use crate::args::{Link as LinkArgs, Unlink};
use crate::client::Node;
use crate::link::ask::{self, ask};
use crate::link::saved::{self, Saved};
use crate::link::{self, Place, credential, credential_in, is_node, project_file, shown, variable};
use crate::output::{Failure, plain};

/// The port of a node that was given none.
const USUAL_PORT: u16 = 7878;
/// Of a new file that a whole project reads.
const SHARED: u32 = 0o644;
/// Of a new file of the user, and of one with a token.
const PRIVATE: u32 = 0o600;

/// What `griot link CLIENT` did.
#[derive(Debug, Serialize)]
struct Linked {
    client: &'static str,
    file: String,
    registry: String,
    /// Whether the file was changed.
    changed: bool,
    /// Whether the client was asked and said that it uses the node; absent: it cannot be asked.
    proved: Option<bool>,
    /// What was adopted as an upstream.
    adopted: Vec<Adoption>,
    /// What it took packages from, where that cannot be adopted: it is not asked any more.
    left: Option<String>,
    /// What still goes past the node.
    past: Vec<String>,
    note: Option<&'static str>,
}

/// What `griot unlink CLIENT` did.
#[derive(Debug, Serialize)]
struct Unlinked {
    client: String,
    file: Option<String>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// The file has its former bytes again.
    Restored,
    /// It was changed in between: the block is out, the changes stay.
    Edited,
    /// Nothing of the link was in it any more.
    Absent,
    /// It was not linked.
    NotLinked,
}

/// A client as `griot link` alone lists it.
#[derive(Debug, Serialize)]
struct Row {
    client: &'static str,
    links: Vec<RowLink>,
}

#[derive(Debug, Serialize)]
struct RowLink {
    file: String,
    registry: String,
    /// Whether the file is as it was written.
    unchanged: bool,
}

/// What the links of one command have in common.
struct Run<'a> {
    node: &'a Node,
    /// What it has adopted already.
    upstreams: Vec<UpstreamRow>,
    place: Place,
    publish: bool,
    tell: Tell,
}

pub(super) async fn link(context: &Context, args: LinkArgs) -> Result<(), Failure> {
    if args.clients.is_empty() {
        return list(context);
    }
    let chosen =
        args.clients.iter().map(|client| link::find(client)).collect::<Result<Vec<_>, _>>()?;
    let node = context.node()?;
    // Nothing is written for a node that does not answer.
    let upstreams = node.get("upstreams").await?;
    let place = place(context, args.project.as_deref())?;
    let tell = if args.private { Tell::Nobody } else { Tell::WherePossible };
    let run = Run { node: &node, upstreams, place, publish: args.publish, tell };
    let mut all = Vec::new();
    for (format, link) in chosen {
        all.push(link_one(&run, format, link).await?);
    }
    context.output.data(&all, |all| {
        let mut lines: Vec<String> = all.iter().flat_map(lines).collect();
        lines.extend(address(node.base()));
        lines
    })
}

fn place(context: &Context, project: Option<&std::path::Path>) -> Result<Place, Failure> {
    let project = project.map(fs_err::canonicalize).transpose()?;
    if let Some(file) = project.as_ref().filter(|project| !project.is_dir()) {
        return Err(Failure::new(format!("{} is not a folder", file.display())));
    }
    Ok(Place { project, neutral: saved::neutral(&context.home)? })
}

async fn link_one(
    run: &Run<'_>,
    format: &Format,
    link: &'static node::formats::Link,
) -> Result<Linked, Failure> {
    let (node, place) = (run.node, &run.place);
    let asked = place.asked(link);
    let told = ask(link, &asked, node.base());
    let can_be_asked = told.is_some();
    let answer = told.clone().unwrap_or_default();
    let named = place.file(link, &answer)?;
    let name = named.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = saved::real(&named)?;
    let settings = place.settings(link, &answer)?;
    let before = Saved::load(node.home(), link.client, &file)?;
    let found = discover(run, (format, link), &answer, &settings)?;
    let adopted = adopt_all(run, format, &found, &settings).await?;
    let (token, token_id) = token(run, link, before.as_ref()).await?;
    let mut scopes: Vec<String> = found.scopes.into_iter().map(|(scope, _)| scope).collect();
    scopes.extend(before.iter().flat_map(|before| before.aim.scopes.clone()));
    scopes.sort();
    scopes.dedup();
    let registry = format!("{}/{}/{}", node.base(), format.mount, link.below);
    let aim = Aim { registry, token, scopes, file: name };
    let saved = Saved {
        client: link.client.to_owned(),
        file,
        project: place.project.clone(),
        aim,
        token_id,
        former: None,
        written: Digest::of(&[]),
    };
    let (saved, changed) = write(node, link, saved, before)?;
    let now = told.and_then(|_| ask(link, &asked, node.base()));
    let proved = prove(run, link, (can_be_asked, now.as_ref()), &saved)?;
    Ok(Linked {
        client: link.client,
        file: saved.file.display().to_string(),
        registry: saved.aim.registry,
        changed,
        proved,
        adopted,
        left: settings.unfit,
        past: past(run, link, now.as_ref())?,
        note: link.note,
    })
}

/// Where the client points that is not this node.
#[derive(Default)]
struct Found {
    registry: Option<String>,
    scopes: Vec<(String, String)>,
}

fn discover(
    run: &Run<'_>,
    (format, link): (&Format, &node::formats::Link),
    answer: &Answer,
    settings: &Settings,
) -> Result<Found, Failure> {
    if link.only_publishes {
        return Ok(Found::default());
    }
    let (base, home) = (run.node.base(), run.node.home());
    let written: Vec<_> = Saved::all(home)?.into_iter().map(|saved| saved.aim.registry).collect();
    // A link that an earlier port of this node is in is no upstream either.
    let ours = |url: &str| is_node(base, url) || written.iter().any(|known| is_node(known, url));
    let named = || link.variables.iter().find_map(|name| variable(name));
    let registry = answer.registry.clone().or_else(named).or(settings.registry.clone());
    let registry = registry.or_else(|| unsaid(run, format, link));
    // One that does not say its default is served all the same where the node knows an upstream.
    let adopted = |row: &UpstreamRow| row.default && row.format == format.id;
    let known = registry.is_some() || run.upstreams.iter().any(adopted);
    let registry = registry.filter(|url| !ours(url));
    let elsewhere = settings.scopes.iter().filter(|(_, url)| !ours(url));
    let scopes = elsewhere.map(|(scope, url)| (scope.clone(), url.clone())).collect();
    if known {
        return Ok(Found { registry, scopes });
    }
    let client = link.client;
    let mute = |link: &node::formats::Link| link.ask.is_empty() && link.builtin.is_none();
    let hint = if format.links.iter().all(mute) {
        format!("griot upstream add {} URL, with its index; then griot link {client}", format.id)
    } else {
        format!("install {client}, or name its registry in its settings, then link it")
    };
    let why = match &settings.unfit {
        Some(unfit) => format!("{client} takes packages from {}", plain(unfit)),
        None => format!("it is not known which registry {client} uses: it does not say"),
    };
    Err(Failure::new(why).hint(hint))
}

/// The registry that a client uses which no setting names.
fn unsaid(run: &Run<'_>, format: &Format, link: &node::formats::Link) -> Option<String> {
    let base = run.node.base();
    if let Some(url) = ask::builtin(link, &run.place.asked(link), base) {
        return Some(url);
    }
    // One that cannot be asked has the registry that the format's first client has.
    let first = format.links.first().filter(|_| link.ask.is_empty())?;
    let asked = run.place.asked(first);
    let told = ask(first, &asked, base).and_then(|answer| answer.registry);
    told.or_else(|| ask::builtin(first, &asked, base))
}

async fn adopt_all(
    run: &Run<'_>,
    format: &Format,
    found: &Found,
    settings: &Settings,
) -> Result<Vec<Adoption>, Failure> {
    let mut adopted = Vec::new();
    let default = found.registry.iter().map(|url| (None, url));
    let scoped = found.scopes.iter().map(|(scope, url)| (Some(format!("{scope}/*")), url));
    for (pattern, url) in default.chain(scoped) {
        let order = UpstreamOrder {
            format: format.id.to_owned(),
            url: shown(url),
            credential: credential_in(url).or_else(|| credential(settings, url)),
            pattern,
            ..UpstreamOrder::default()
        };
        adopted.push(adopt(run.node, &order, run.tell).await?);
    }
    Ok(adopted)
}

/// The token of the link: the one that it has, or a new one if the client is to publish.
async fn token(
    run: &Run<'_>,
    link: &node::formats::Link,
    before: Option<&Saved>,
) -> Result<(Option<String>, Option<String>), Failure> {
    if let Some(before) = before.filter(|before| before.aim.token.is_some()) {
        return Ok((before.aim.token.clone(), before.token_id.clone()));
    }
    let wanted = match link.token {
        TokenUse::Never => false,
        TokenUse::Asked => run.publish,
        TokenUse::Always => true,
    };
    if !wanted {
        return Ok((None, None));
    }
    let scope = TokenScope {
        scopes: vec![Scope::Read, Scope::Publish],
        realm: None,
        patterns: Vec::new(),
        expires_hours: None,
        name: format!("link {}", link.client),
    };
    let made: NewToken = run.node.post("tokens", &scope).await?;
    Ok((Some(made.token), Some(made.id)))
}

/// The record, then the file; whether the file was changed.
fn write(
    node: &Node,
    link: &node::formats::Link,
    mut saved: Saved,
    before: Option<Saved>,
) -> Result<(Saved, bool), Failure> {
    let _alone = saved::lock(node.home())?;
    let current = saved::text(&saved.file)?;
    let text = current.clone().unwrap_or_default();
    let marked = text.contains(&format!("# griot: begin {}", link.client));
    let former = match before {
        Some(before) if before.written == Digest::of(text.as_bytes()) => {
            before.former.is_some().then(|| before.former_text())
        }
        Some(before) => {
            (link.remove)(&text, &before.aim, &before.former_text()).or(current.clone())
        }
        None if marked => (link.remove)(&text, &saved.aim, "").or(current.clone()),
        None => current.clone(),
    };
    let written = (link.insert)(former.as_deref().unwrap_or_default(), &saved.aim);
    let written = written.map_err(|why| {
        let file = saved.file.display();
        Failure::new(format!("{file} is left as it is: {why}"))
            .hint(format!("set its registry to {} by hand", saved.aim.registry))
    })?;
    saved.former = Saved::encode(former.as_deref());
    saved.written = Digest::of(written.as_bytes());
    saved.keep(node.home())?;
    let changed = current.as_deref() != Some(&written);
    if changed {
        let open = saved.project.is_some() && saved.aim.token.is_none();
        let mode = if open { SHARED } else { PRIVATE };
        saved::write(&saved.file, current.as_deref(), &written, mode)?;
    }
    Ok((saved, changed))
}

/// Whether the client, asked again, says that it uses the node now.
fn prove(
    run: &Run<'_>,
    link: &node::formats::Link,
    (can_be_asked, now): (bool, Option<&Answer>),
    saved: &Saved,
) -> Result<Option<bool>, Failure> {
    if !can_be_asked {
        return Ok(None);
    }
    let uses = now.and_then(|answer| answer.registry.clone());
    let (client, file) = (link.client, saved.file.display());
    match uses {
        Some(url) if is_node(run.node.base(), &url) => Ok(Some(true)),
        Some(url) => {
            let why =
                format!("{file} was written, but {client} still uses {}", plain(&shown(&url)));
            let by = link.variables.iter().find(|name| variable(name).as_ref() == Some(&url));
            let hint = match by {
                Some(name) => format!("unset {name}, which comes before every file"),
                None => format!("another file comes before it; griot unlink {client} undoes this"),
            };
            Err(Failure::new(why).hint(hint))
        }
        None => Err(Failure::new(format!("{file} was written, and {client} cannot read it now"))
            .hint(format!("griot unlink {client}"))),
    }
}

/// What the client still asks elsewhere.
fn past(
    run: &Run<'_>,
    link: &node::formats::Link,
    now: Option<&Answer>,
) -> Result<Vec<String>, Failure> {
    let base = run.node.base();
    let away = |url: &str| !is_node(base, url);
    let mut past = Vec::new();
    for name in link.variables {
        if let Some(url) = variable(name).filter(|url| away(url)) {
            past.push(format!("the variable {name} says {}, before every file", shown(&url)));
        }
    }
    let settings = run.place.settings(link, &now.cloned().unwrap_or_default())?;
    let mut scopes = match now {
        Some(answer) if !answer.scopes.is_empty() => answer.scopes.clone(),
        _ => settings.scopes,
    };
    scopes.retain(|_, url| away(url));
    past.extend(
        scopes.into_iter().map(|(scope, url)| format!("{scope} comes from {}", shown(&url))),
    );
    let mut beside = now.map_or(settings.beside, |answer| answer.beside.clone());
    beside.extend(
        link.beside_variables.iter().filter_map(|name| Some(((*name).to_owned(), variable(name)?))),
    );
    past.extend(beside.iter().filter(|(_, place)| away(place)).map(aside));
    past.extend(of_folder(run, link)?);
    let mut seen = std::collections::BTreeSet::new();
    past.retain(|line| seen.insert(line.clone()));
    Ok(past)
}

/// A place that is asked beside the node.
fn aside((what, place): &(String, String)) -> String {
    format!("{what} says {}", shown(place))
}

/// What a project says, which comes before the user's settings: the linked one, or the folder that
/// the command is typed in.
fn of_folder(run: &Run<'_>, link: &node::formats::Link) -> Result<Vec<String>, Failure> {
    let folder = match &run.place.project {
        Some(project) => project.clone(),
        None => std::env::current_dir()?,
    };
    let away = |url: &str| !is_node(run.node.base(), url);
    let read = |file: &std::path::Path| {
        let text = saved::text(file).ok().flatten()?;
        let mut read = (link.read)(&file.to_string_lossy(), &text, &variable).ok()?;
        (link.settle)(&mut read);
        Some(read)
    };
    let mut past = Vec::new();
    let own = project_file(link, &folder).filter(|_| run.place.project.is_none());
    if let Some((said, file)) = own.and_then(|own| Some((read(&own.file)?, own.file))) {
        let (file, client) = (file.display(), link.client);
        if let Some(url) = said.registry.filter(|url| away(url)) {
            past.push(format!("{file} says {}: griot link {client} --project", shown(&url)));
        }
        let beside = said.beside.iter().filter(|(_, place)| away(place));
        past.extend(beside.map(|place| format!("{file}: {}", aside(place))));
    }
    for name in link.also_says {
        let file = folder.join(name);
        let said = read(&file).map(|said| said.beside).unwrap_or_default();
        let beside = said.iter().filter(|(_, place)| away(place));
        past.extend(beside.map(|place| format!("{}: {}", file.display(), aside(place))));
    }
    Ok(past)
}

fn lines(linked: &Linked) -> Vec<String> {
    let Linked { client, file, registry, .. } = linked;
    let word = if linked.changed { "now uses" } else { "uses" };
    let proof = match linked.proved {
        Some(_) => "it says so itself",
        None => "it cannot be asked: its files say so",
    };
    let mut out = vec![format!("{client} {word} {registry}   {} · {proof}", plain(file))];
    for Adoption { upstream, told } in &linked.adopted {
        let names = match upstream.patterns.as_slice() {
            [] if upstream.default => "default".to_owned(),
            [] => "not the default".to_owned(),
            patterns => plain(&patterns.join(" ")),
        };
        out.push(format!("  upstream adopted: {} ({names})", plain(&upstream.url)));
        out.push(format!("  {}", told_as(*told)));
    }
    out.extend(
        linked
            .left
            .iter()
            .map(|left| format!("  not asked any more, nor adopted: {}", plain(left))),
    );
    out.extend(linked.past.iter().map(|past| format!("  past the node: {}", plain(past))));
    out.extend(linked.note.iter().map(|note| format!("  {note}")));
    out.push(format!("  back: griot unlink {client}"));
    out
}

/// A node on another port is not the one that was linked.
fn address(base: &str) -> Option<String> {
    let port = url::Url::parse(base).ok()?.port_or_known_default()?;
    (port != USUAL_PORT).then(|| {
        format!("the links are for {base} alone: griot up --listen with this port, or link again")
    })
}

pub(super) async fn unlink(context: &Context, args: Unlink) -> Result<(), Failure> {
    let chosen =
        args.clients.iter().map(|client| link::find(client)).collect::<Result<Vec<_>, _>>()?;
    let place = place(context, args.project.as_deref())?;
    let mut all = Vec::new();
    // Two may share a file: the later block first, so that each finds what it wrote.
    for (_, link) in chosen.into_iter().rev() {
        all.extend(unlink_one(context, link, &place).await?);
    }
    all.reverse();
    context.output.data(&all, |all| all.iter().map(unlinked_line).collect())
}

async fn unlink_one(
    context: &Context,
    link: &node::formats::Link,
    place: &Place,
) -> Result<Vec<Unlinked>, Failure> {
    let alone = saved::lock(&context.home)?;
    let records = Saved::all(&context.home)?.into_iter();
    let records: Vec<_> = records
        .filter(|saved| saved.client == link.client && saved.project == place.project)
        .collect();
    let client = link.client.to_owned();
    if records.is_empty() {
        return Ok(vec![Unlinked { client, file: None, state: State::NotLinked }]);
    }
    let mut restored = Vec::new();
    for saved in records {
        let state = restore(link, &saved)?;
        saved.forget(&context.home)?;
        restored.push((saved, state));
    }
    drop(alone);
    let mut all = Vec::new();
    for (saved, state) in restored {
        if let Some(id) = &saved.token_id {
            revoke(context, id).await;
        }
        let file = Some(saved.file.display().to_string());
        all.push(Unlinked { client: client.clone(), file, state });
    }
    Ok(all)
}

fn restore(link: &node::formats::Link, saved: &Saved) -> Result<State, Failure> {
    let Some(text) = saved::text(&saved.file)? else { return Ok(State::Absent) };
    let (rest, state) = if Digest::of(text.as_bytes()) == saved.written {
        (saved.former_text(), State::Restored)
    } else {
        match (link.remove)(&text, &saved.aim, &saved.former_text()) {
            Some(rest) => (rest, State::Edited),
            None => return Ok(State::Absent),
        }
    };
    if saved.former.is_none() && rest.trim().is_empty() {
        saved::remove(&saved.file)?;
    } else {
        saved::write(&saved.file, Some(&text), &rest, PRIVATE)?;
    }
    Ok(state)
}

/// Ends the token of a link. Without a node it stays, and is listed.
async fn revoke(context: &Context, id: &str) {
    let ended = async {
        let path = format!("tokens/{id}");
        context.node()?.call::<(), Done>(Method::DELETE, &path, None).await
    };
    if ended.await.is_err() {
        context.output.say(format!("its token is still good: griot token revoke {id}"));
    }
}

fn unlinked_line(unlinked: &Unlinked) -> String {
    let Unlinked { client, file, state } = unlinked;
    let file = plain(file.as_deref().unwrap_or_default());
    match state {
        State::Restored => format!("{client} is as it was: {file} has its former bytes"),
        State::Edited => format!(
            "{client} is as it was: {file} was changed since, so only griot's lines were taken out"
        ),
        State::Absent => format!("nothing of griot was in {file} any more: it is left alone"),
        State::NotLinked => format!("{client} is not linked"),
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let saved = Saved::all(&context.home)?;
    let mut rows = Vec::new();
    for (_, link) in link::all() {
        let of = saved.iter().filter(|saved| saved.client == link.client);
        let links = of.map(|saved| {
            let text = saved::text(&saved.file).ok().flatten().unwrap_or_default();
            RowLink {
                file: saved.file.display().to_string(),
                registry: saved.aim.registry.clone(),
                unchanged: Digest::of(text.as_bytes()) == saved.written,
            }
        });
        rows.push(Row { client: link.client, links: links.collect() });
    }
    context.output.data(&rows, |rows| rows.iter().flat_map(row_lines).collect())
}

fn row_lines(row: &Row) -> Vec<String> {
    if row.links.is_empty() {
        return vec![format!("{:6} not linked   griot link {}", row.client, row.client)];
    }
    let line = |link: &RowLink| {
        let since = if link.unchanged { "" } else { "   changed since" };
        format!("{:6} {} → {}{since}", row.client, plain(&link.file), link.registry)
    };
    row.links.iter().map(line).collect()
}
