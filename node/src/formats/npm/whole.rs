//! `GET /{pkg}`: the whole packument, ready before it is asked for.
//!
//! The first who asks renders it, for everybody who asks at that time; then it is sent as it is
//! until something changes (`http::ready`). A realm's is rendered from its view, an upstream's is
//! its bytes in pieces; both have the same validators as ever, so clients' caches stay good.
//!
//! Source: formats/npm.md sections 1, 2, 3 and 5.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode, header};
use serde_json::json;

use super::FORMAT;
use super::asked::{self, Asked, What};
use super::attestation;
use super::metadata::{self, ABBREVIATED, Beside, Form};
use super::pieces::{Pieces, kind};
use super::upstream_rules::SHORT;
use crate::formats::Context;
use crate::http::body;
use crate::http::error::Error;
use crate::http::ready::{Looked, Wish};
use crate::registry::{Document, Metadata, Registry, UpstreamDocument};

/// The whole packument.
pub(super) async fn packument(
    context: &Context,
    head: &Parts,
    name: &str,
) -> Result<Response<Body>, Error> {
    let asked = Asked::of(context, head, name)?;
    let form = metadata::form(body::joined(&head.headers, header::ACCEPT).as_deref());
    // Who changes the document takes one without versions as well as any.
    let writing = context.path.parameter("write").is_some();
    let parts = ["whole", kind(form), if writing { "write" } else { "read" }];
    let what = What { parts: &parts, early: true };
    let look = move |asked: Asked, wish| look(asked, wish, form, writing);
    asked.answer(context, head, what, look).await
}

async fn look(asked: Asked, wish: Wish, form: Form, writing: bool) -> Result<Looked, Error> {
    match asked.document(form, wish).await? {
        Document::Hosted(metadata) => {
            let hidden = metadata.hidden.join(", ");
            if metadata.offered.is_empty() && !hidden.is_empty() && !writing {
                return Err(all_hidden(&asked.package.name, &hidden));
            }
            hosted(&asked, *metadata, form)
        }
        Document::Upstream(document) => {
            let (name, hidden) = (&asked.package.name, document.hidden());
            if hidden > 0 && document.offered.as_ref().is_some_and(|o| o.is_empty()) {
                return Err(all_hidden(name, &format!("all {hidden} versions")));
            }
            let shown = shown(&asked.registry, &document, form).await?;
            Ok(Pieces::whole(asked, *document, shown).looked())
        }
    }
}

fn hosted(asked: &Asked, metadata: Metadata, form: Form) -> Result<Looked, Error> {
    let attested = attestation::attested(&asked.registry, &asked.package)?;
    let (url, said) = (asked.url.clone(), json!(attested).to_string());
    let parts: [&[u8]; 5] =
        [b"whole", &metadata.seed()?, said.as_bytes(), url.as_bytes(), kind(form).as_bytes()];
    let (seed, stamp) = (asked::seed(&parts), metadata.stamp);
    let shown = (kind(form), metadata.hidden.len());
    let package = metadata;
    let make =
        move || metadata::packument(&package, Beside { door: &url, attested: &attested }, form);
    let render = asked::rendered(shown, make);
    Ok(Looked { seed, stamp, age: None, stale: false, render, lies: None })
}

/// A document without versions would read as "unpublished".
fn all_hidden(name: &str, known: &str) -> Error {
    let message = format!("{name}: {known} cannot be had now, neither here nor from a peer");
    Error::new(StatusCode::FAILED_DEPENDENCY, message)
        .with_hint(format!("griot info {name} --format npm"))
}

/// The form in which an upstream's bytes are shown, and its media type.
///
/// A client gets what the upstream itself would answer: npm 8 writes members of a full document
/// into its lockfile if it gets one. So the answer to the short ask stays as it is, and a full
/// document is shortened unless this upstream is known to answer the short ask in full.
async fn shown(
    registry: &Registry,
    document: &UpstreamDocument,
    asked: Form,
) -> Result<(Form, &'static str), Error> {
    if asked == Form::Full {
        return Ok((Form::Full, kind(Form::Full)));
    }
    let key = format!("full-alone/{}", document.base);
    let full_alone = registry.note(FORMAT.id, &key)?.is_some();
    if document.variant != SHORT {
        let form = if full_alone { Form::Full } else { Form::Abbreviated };
        return Ok((form, kind(form)));
    }
    let short = document.content_type.starts_with(ABBREVIATED);
    if !short && !full_alone {
        registry.put_note(FORMAT.id, &key, Vec::new()).await?;
    }
    Ok((Form::Full, kind(if short { Form::Abbreviated } else { Form::Full })))
}
