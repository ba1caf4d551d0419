//! `GET /simple/`: the names of all projects, sent while they are read.
//!
//! Those that realms publish, and those of which a document of an upstream is held here: what the
//! upstream has beside is its own list. Names of private realms are shown to their readers alone.
//!
//! Source: PEP 503, PEP 691; formats/pypi.md section 8, case 12.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, header};
use futures::stream::{self, Stream};

use super::accept::{Form, VARY};
use super::page::list;
use super::{FORMAT, simple};
use crate::formats::Context;
use crate::http::error::Error;
use crate::registry::{Door, Error as RegistryError, Principal, Registry};

/// Names that are read at once.
const PAGE: usize = 1000;

/// The list in the form that is asked for.
pub(super) async fn serve(context: &Context, head: &Parts) -> Result<Response<Body>, Error> {
    let form = simple::form(context, head)?;
    let registry = context.registry.clone();
    let held = match context.door {
        Door::Hosted => BTreeSet::new(),
        _ => held(&registry).await?,
    };
    let mut names = Names {
        registry,
        who: context.who.clone(),
        after: (context.door != Door::Upstream).then(String::new),
        held,
        in_json: form == Form::Json,
        first: true,
    };
    // What goes wrong at once is answered with its status.
    let (begin, page) = (list::begin(names.in_json), names.next()?);
    let body = if head.method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(names.into_stream(begin + &page.unwrap_or_default()))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    headers.insert(header::VARY, HeaderValue::from_static(VARY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Projects of upstreams of which this node holds a document.
async fn held(registry: &Registry) -> Result<BTreeSet<String>, Error> {
    let registry = registry.clone();
    let read = tokio::task::spawn_blocking(move || {
        let documents = registry.store().cached_documents(FORMAT.id)?;
        let held = documents.into_iter().filter(|held| held.body.is_some());
        let names = held.filter(|held| held.subject.variant != "side");
        Ok::<_, RegistryError>(names.map(|held| held.subject.document).collect())
    });
    Ok(read.await.map_err(|_| RegistryError::not_here("the list could not be read"))??)
}

struct Names {
    registry: Registry,
    who: Principal,
    /// The last name of a realm that was read; absent when all were.
    after: Option<String>,
    /// Names of upstreams' documents that are still to come.
    held: BTreeSet<String>,
    in_json: bool,
    first: bool,
}

impl Names {
    /// The next piece of the list, in the order of names.
    fn next(&mut self) -> Result<Option<String>, Error> {
        let page = match &self.after {
            Some(after) => self.registry.names(&self.who, FORMAT.id, after, PAGE)?,
            None if self.held.is_empty() => return Ok(None),
            None => Vec::new(),
        };
        self.after = page.last().filter(|_| page.len() == PAGE).cloned();
        let later = match &self.after {
            Some(last) => self.held.split_off(&format!("{last}\0")),
            None => BTreeSet::new(),
        };
        let mut names = std::mem::replace(&mut self.held, later);
        names.extend(page);
        let mut piece = String::new();
        for name in names {
            piece.push_str(&list::project(self.in_json, self.first, &name));
            self.first = false;
        }
        Ok(Some(piece))
    }

    fn into_stream(self, begin: String) -> impl Stream<Item = Result<String, Error>> + Send {
        stream::try_unfold((Some(self), Some(begin)), |(names, begin)| async move {
            let Some(mut names) = names else { return Ok(None) };
            if let Some(begin) = begin {
                return Ok(Some((begin, (Some(names), None))));
            }
            match names.next()? {
                Some(piece) => Ok(Some((piece, (Some(names), None)))),
                None => Ok(Some((list::end(names.in_json).to_owned(), (None, None)))),
            }
        })
    }
}
