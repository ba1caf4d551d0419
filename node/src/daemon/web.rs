//! The page at `/`: what can be installed here, and the line to copy for it.
//!
//! Plain HTML without script, pictures or anything from elsewhere: it works in an old phone's
//! browser with the cable out. It says, too, which upstreams answer, what was asked for in vain,
//! and what contradicts itself; the commands tell more. Everything that came from a package is
//! escaped; the content security policy allows the one style sheet inside the page by its hash,
//! and nothing else.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{Response, header};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crdt::PackageId;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};

use crate::formats;
use crate::registry::{Alarm, Door, Principal, Registry, UpstreamRow};
use crate::store::PackageSummary;

/// Packages on one page.
const ROWS_MAX: usize = 200;
/// Letters of a search that are looked at.
const QUERY_CHARS_MAX: usize = 200;
/// Alarms that are shown: the newest.
const ALARMS_SHOWN: usize = 3;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;\
padding:0 1rem;color:#222;background:#fdfbf7}h1{font-size:1.5rem}input{font:inherit;padding:.3rem;\
width:60%}button{font:inherit;padding:.3rem .8rem}li{margin:.8rem 0}ul{list-style:none;padding:0}\
code{display:block;background:#efe9dd;padding:.2rem .4rem;overflow-wrap:anywhere;\
font-size:.9rem;user-select:all}small{color:#666}p{overflow-wrap:anywhere}\
.bad{color:#a11}";

/// What a page says.
struct Page<'a> {
    base: &'a str,
    search: &'a str,
    rows: &'a [PackageSummary],
    total: usize,
    error: Option<&'a str>,
    around: &'a Around,
}

/// How the node stands with the world outside.
#[derive(Default)]
struct Around {
    /// It asks nobody.
    offline: bool,
    upstreams: Vec<UpstreamRow>,
    wants: usize,
    /// The newest last.
    alarms: Vec<Alarm>,
}

/// Reads what is outside of the index; what cannot be read now is left out.
fn around(registry: &Registry) -> Around {
    let anybody = Principal::anonymous();
    let mut alarms = registry.alarms().unwrap_or_default();
    alarms.retain(|it| registry.check_read(&anybody, Door::Virtual, &it.package).is_ok());
    Around {
        offline: registry.is_offline(),
        upstreams: registry.upstream_list().unwrap_or_default(),
        wants: registry.wants().map_or(0, |wants| wants.len()),
        alarms,
    }
}

/// Answers `GET /`, with our own address and the query string as they came.
pub(super) async fn page(registry: &Registry, base: &str, query: &str) -> Response<Body> {
    let search = parameter(query, "q");
    let anybody = Principal::anonymous();
    let found = registry.search(&anybody, &search, None, (ROWS_MAX, 0)).await;
    let (rows, total, error) = match found {
        Ok((rows, total)) => (rows, total, None),
        Err(error) => (Vec::new(), 0, Some(error.message)),
    };
    let error = error.as_deref();
    let around = around(registry);
    let html = render(&Page { base, search: &search, rows: &rows, total, error, around: &around });
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (headers, html).into_response()
}

fn policy() -> String {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
}

fn render(page: &Page<'_>) -> String {
    let Page { base, search, rows, total, error, around } = *page;
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>griot</title>\
         <style>{STYLE}</style></head><body><h1>What you can install here</h1>\
         <form><input name=\"q\" value=\"{}\" aria-label=\"search\"> \
         <button>search</button></form>",
        escape(search)
    );
    if let Some(error) = error {
        push(&mut out, &format!("<p>The index cannot be read now: {}</p>", escape(error)));
    } else if rows.is_empty() && search.is_empty() {
        out.push_str(
            "<p>No realm has released anything here yet. In a folder with a package:</p>\
             <code>griot publish</code>",
        );
    } else if rows.is_empty() {
        out.push_str("<p>Nothing here matches. <a href=\"/\">Show all</a></p>");
    } else {
        let things = if total == 1 { "package" } else { "packages" };
        let shown = if rows.len() < total { format!("{} of ", rows.len()) } else { String::new() };
        push(&mut out, &format!("<p><small>{shown}{total} {things}</small></p><ul>"));
        rows.iter().for_each(|row| push(&mut out, &item(base, row)));
        out.push_str("</ul>");
    }
    push(&mut out, &outside(around));
    let titles: Vec<&str> = formats::ALL.iter().map(|format| format.title).collect();
    let footer = format!("<p><small>This node speaks: {}.</small></p>", escape(&titles.join(", ")));
    push(&mut out, &footer);
    out.push_str("</body></html>\n");
    out
}

/// A line for each upstream, one for the wants, and one for each of the newest alarms.
fn outside(around: &Around) -> String {
    let mut out = String::new();
    for row in &around.upstreams {
        let (format, url) = (escape(&row.format), escape(&row.url));
        let state = match (around.offline, row.reachable) {
            (true, _) => "not asked: this node runs offline",
            (false, true) => "reachable",
            (false, false) => "<b class=\"bad\">does not answer</b>: what is held installs",
        };
        push(&mut out, &format!("<p>Upstream of {format}: {url} <small>{state}</small></p>"));
    }
    if around.upstreams.is_empty() {
        push(&mut out, "<p>No upstream:</p><code>griot link npm</code>");
    }
    if around.wants > 0 {
        let things = if around.wants == 1 { "thing was" } else { "things were" };
        let line = format!("{} {things} asked for in vain", around.wants);
        push(&mut out, &format!("<p>{line}:</p><code>griot want list</code>"));
    }
    for alarm in around.alarms.iter().rev().take(ALARMS_SHOWN) {
        push(&mut out, &format!("<p class=\"bad\">{}</p>", escape(&alarm.sentence())));
    }
    out
}

fn item(base: &str, row: &PackageSummary) -> String {
    let (name, format) = (escape(&row.package.name), escape(&row.package.format));
    let Some(latest) = &row.latest else {
        return format!("<li><b>{name}</b> <small>{format}: nothing offered now</small></li>");
    };
    let mut out = format!("<li><b>{name}</b> {} <small>{format}</small>", escape(latest));
    if !row.description.is_empty() {
        out.push_str(&format!("<br>{}", escape(&row.description)));
    }
    if let Some(line) = install(base, &row.package, latest) {
        out.push_str(&format!("<code>{}</code>", escape(&line)));
    }
    out.push_str("</li>");
    out
}

/// The line to copy. Somebody will paste it into a shell, so there is none for a name or version
/// that is not in the format's normal form.
fn install(base: &str, package: &PackageId, version: &str) -> Option<String> {
    let format = formats::ALL.iter().find(|format| format.id == package.format)?;
    let name = (format.rules.canonical_name)(&package.name).ok()?;
    let normal = (format.rules.canonical_version)(version).ok()?;
    (name == package.name && normal == version).then(|| (format.install)(base, &name, &normal))
}

fn push(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes all that is written to it");
}

/// One value of a query string, decoded; empty if it is not there.
fn parameter(query: &str, name: &str) -> String {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
    let spaced = value.replace('+', " ");
    let text = percent_decode_str(&spaced).decode_utf8_lossy();
    text.chars().filter(|c| !c.is_control()).take(QUERY_CHARS_MAX).collect()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::{Digest, RealmId};

    fn row(name: &str, description: &str) -> PackageSummary {
        PackageSummary {
            realm: RealmId(Digest::of(b"r")),
            package: PackageId::new("npm", name),
            latest: Some("1.0.0".into()),
            versions: 1,
            description: description.into(),
        }
    }

    fn shown(search: &str, rows: &[PackageSummary]) -> String {
        let base = "http://127.0.0.1:7878";
        let around = &Around::default();
        render(&Page { base, search, rows, total: rows.len(), error: None, around })
    }

    #[test]
    fn what_packages_say_cannot_become_markup() {
        let html = shown("\"><script>", &[row("a", "<script>alert('x')</script>")]);
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)"));
        assert!(html.contains("<small>1 package</small>"));
    }

    #[test]
    fn each_format_has_its_line_to_copy() {
        let html = shown("", &[row("@a/b", "")]);
        let line = "npm install @a/b@1.0.0 --registry http://127.0.0.1:7878/npm/";
        assert!(html.contains(line), "{html}");
        assert!(html.contains("<small>npm</small><code>"), "an empty line: {html}");
        let any = PackageId::new("generic", "acme/map");
        let line = install("http://h", &any, "1 0;x").unwrap();
        let path = "http://h/api/packages/acme%2Fmap/1%200%3Bx/download?format=generic";
        assert_eq!(line, format!("curl -OJ '{path}'"));
    }

    #[test]
    fn upstreams_wants_and_alarms_have_a_line_each() {
        let upstream = |url: &str, reachable| UpstreamRow {
            of: "own".into(),
            site: false,
            format: "npm".into(),
            origin: Digest::of(url.as_bytes()),
            url: url.into(),
            default: true,
            patterns: Vec::new(),
            same_as: Vec::new(),
            credential: false,
            reachable,
        };
        let package = PackageId::new("npm", "a");
        let (kind, text) = ("receipt".into(), "<b>two words".into());
        let mut around = Around {
            offline: false,
            upstreams: vec![upstream("https://a.test/", true), upstream("https://b.test/", false)],
            wants: 2,
            alarms: vec![Alarm { package, kind, text, at: 0, evidence: None, read: false }],
        };
        let html = outside(&around);
        assert!(html.contains("https://a.test/ <small>reachable"), "{html}");
        assert!(html.contains("https://b.test/ <small><b class=\"bad\">does not"), "{html}");
        assert!(html.contains("2 things were asked for in vain"), "{html}");
        assert!(html.contains("alarm: &lt;b&gt;two words"), "{html}");
        around.offline = true;
        assert!(!outside(&around).contains("reachable"));
        assert!(outside(&Around::default()).contains("griot link npm"));
    }

    #[test]
    fn a_name_that_a_shell_would_run_has_no_line() {
        for (name, version) in [("a;reboot", "1.0.0"), ("$(reboot)", "1.0.0"), ("a", "1.0.0;x")] {
            assert_eq!(install("http://h", &PackageId::new("npm", name), version), None, "{name}");
        }
        assert!(shown("", &[row("a;reboot", "")]).contains("<b>a;reboot</b>"));
    }

    #[test]
    fn a_search_in_vain_says_so() {
        assert!(shown("zzz", &[]).contains("Nothing here matches"));
        assert!(shown("", &[]).contains("griot publish"));
    }

    #[test]
    fn the_search_word_is_decoded_once_and_bounded() {
        assert_eq!(parameter("q=left+pad%21&x=1", "q"), "left pad!");
        assert_eq!(parameter("q=%2541", "q"), "%41");
        assert_eq!(parameter("p=1", "q"), "");
        assert_eq!(parameter(&format!("q={}", "a".repeat(900)), "q").len(), 200);
    }

    #[test]
    fn the_policy_allows_the_one_style_and_no_script() {
        assert!(policy().starts_with("default-src 'none'; style-src 'sha256-"));
    }
}
