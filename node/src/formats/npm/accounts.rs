//! What npm takes for accounts: who a token is, login, logout, owners, tokens.
//!
//! There are no accounts here: this node gives tokens, and realms grant keys. So npm is answered
//! in its own shapes where there is something to say (`whoami`, one's own user), and else with the
//! command that does what was meant. `POST /-/v1/login` is a plain 404, which makes npm fall back
//! to the PUT whose answer says it.
//!
//! Source: formats/npm.md section 2.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use serde_json::json;

use super::routes::answer;
use crate::formats::Context;
use crate::http::error::Error;

const USER: &str = "org.couchdb.user:";

pub(super) fn whoami(context: &Context) -> Result<Response<Body>, Error> {
    if context.who.is_anonymous() {
        return Err(Error::new(StatusCode::UNAUTHORIZED, "no token was sent")
            .with_hint("griot token create --scope publish"));
    }
    Ok(answer(StatusCode::OK, &json!({ "username": context.who.name })))
}

/// `npm logout`: whoever sends a token may give it up, and no other one.
pub(super) async fn logout(
    context: &Context,
    head: &Parts,
    token: &str,
) -> Result<Response<Body>, Error> {
    if context.who.is_anonymous() {
        return Err(Error::new(StatusCode::UNAUTHORIZED, "no token was sent"));
    }
    if !context.tokens.give_up(&head.headers, token).await? {
        let message = "npm logout gives up the token that it sends, and no other";
        return Err(Error::new(StatusCode::FORBIDDEN, message).with_hint("griot token revoke ID"));
    }
    Ok(answer(StatusCode::OK, &json!({ "ok": true })))
}

/// `GET /-/user/org.couchdb.user:NAME`: what `npm owner add` and `rm` look up first.
pub(super) fn user(context: &Context, id: &str) -> Result<Response<Body>, Error> {
    let name = id.strip_prefix(USER).unwrap_or(id);
    if !context.who.is_anonymous() && context.who.name == name {
        let id = format!("{USER}{name}");
        return Ok(answer(StatusCode::OK, &json!({ "_id": id, "name": name, "email": "" })));
    }
    let message =
        format!("{name:?} is no account: a package has no owners here, a realm grants keys");
    Err(Error::new(StatusCode::NOT_FOUND, message)
        .with_hint("griot realm grant --role publish FORMAT:PATTERN KEY"))
}

/// `PUT /-/user/…`: npm's login.
pub(super) fn no_login() -> Error {
    Error::new(StatusCode::FORBIDDEN, "accounts are not made over HTTP: this node gives tokens")
        .with_hint("griot token create --scope publish")
}

/// `npm token`, `npm profile`, `npm team`, `npm access`.
pub(super) fn elsewhere(what: &str) -> Error {
    let (message, hint) = match what {
        "tokens" => ("tokens are listed and made at the node itself", "griot token list"),
        "user" => ("there are no profiles here: a token has a name and scopes", "griot token list"),
        _ => ("there are no teams here: a realm grants keys", "griot realm show"),
    };
    Error::new(StatusCode::NOT_FOUND, message).with_hint(hint)
}
