//! Which form of a page a client takes: `Accept` with its q-values, or `?format=`.
//!
//! The most specific range that fits a form decides how much it is wanted. Who names nothing, or
//! anything, gets HTML as ever; between forms that are named and wanted alike, JSON comes first.
//!
//! Source: PEP 691 "Content negotiation"; RFC 9110 section 12.5.1.

/// A form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON of PEP 691.
    Json,
    /// HTML under its own media type.
    Html,
    /// The same as `text/html`.
    PlainHtml,
}

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "application/vnd.pypi.simple.v1+html";
/// In the order in which they are preferred.
const FORMS: [Form; 3] = [Form::Json, Form::Html, Form::PlainHtml];

impl Form {
    /// The header `Content-Type`.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Html => HTML,
            Self::PlainHtml => "text/html; charset=utf-8",
        }
    }

    /// The names by which it is asked for.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Json => &[JSON, "application/vnd.pypi.simple.latest+json"],
            Self::Html => &[HTML, "application/vnd.pypi.simple.latest+html"],
            Self::PlainHtml => &["text/html"],
        }
    }
}

/// What the request's own headers change of a page.
pub(super) const VARY: &str = "Accept, Accept-Encoding";

/// The form to answer with; `None`: none that is taken. Lines of the header are joined.
pub(super) fn form(accept: Option<&str>, format: Option<&str>) -> Option<Form> {
    if let Some(format) = format {
        // A plus sign in a query is a space, and few clients escape it.
        let format = format.replace(' ', "+");
        let named =
            |form: &Form| form.names().iter().any(|name| name.eq_ignore_ascii_case(&format));
        return FORMS.into_iter().find(named);
    }
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return Some(Form::PlainHtml);
    };
    let ranges: Vec<_> = accept.split(',').filter_map(range).collect();
    let mut best: Option<((u16, u8), Form)> = None;
    for form in FORMS {
        let (precise, weight) = wanted(&ranges, form);
        // Nobody who takes anything is surprised by what browsers get.
        let named = if precise == 3 { 3 } else { u8::from(form == Form::PlainHtml) };
        if weight > 0 && best.is_none_or(|(so_far, _)| (weight, named) > so_far) {
            best = Some(((weight, named), form));
        }
    }
    best.map(|(_, form)| form)
}

/// How precisely a form is named (3: itself, 2: its type, 1: anything), and how much it is wanted.
fn wanted(ranges: &[(String, u16)], form: Form) -> (u8, u16) {
    let precise = |range: &str| match range {
        "*/*" => 1,
        range if form.names().contains(&range) => 3,
        range => match range.strip_suffix("/*") {
            Some(kind) if form.media_type().split('/').next() == Some(kind) => 2,
            _ => 0,
        },
    };
    let fitting = ranges.iter().map(|(range, weight)| (precise(range), *weight));
    fitting.filter(|(precise, _)| *precise > 0).max().unwrap_or((0, 0))
}

/// `type/name;q=0.5` in thousandths; other parameters mean nothing.
fn range(item: &str) -> Option<(String, u16)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((name, q.map_or(1000, quality)))
}

/// At most three digits behind the point; anything else is a refusal.
fn quality(text: &str) -> u16 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if digits => format!("{rest:0<3}").parse().unwrap_or(0),
        "1" if digits && rest.bytes().all(|byte| byte == b'0') => 1000,
        _ => 0,
    }
}
