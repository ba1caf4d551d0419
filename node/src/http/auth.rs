//! Token → Principal: who asks, and what they may ask for.
//!
//! A token is 256 random bits, so a fast keyed hash is the right way to store it: rows of kind
//! `token` hold `BLAKE3(node secret, token's secret)`, never the token. The row's key is the front
//! of that hash, so that a look-up needs no scan; the whole is compared in constant time. Tokens
//! age by the node's own running time, a counter of hours in a row, so that no clock revives or
//! kills one. The admin secret of `node.json` has every scope; it is compared here and stored
//! nowhere.
//!
//! Clients send a credential in three dialects: `Bearer`, the password of `Basic`, or raw. None at
//! all is a reader; a wrong one is refused rather than taken for none.
//!
//! What survives a crash: the rows, each durable before its token is shown. What may be lost: the
//! running hour. Does not know what a request needs: see `Principal::require`.
//!
//! Source: trust.md section 15.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crdt::RealmId;
use crdt::statement::Pattern;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::token;
use crate::registry::{Error, Outcome, Principal, Scope};
use crate::store::Store;

/// Rows of tokens: id → [`Row`] as JSON.
const TOKENS: &str = "token";
/// Rows of this file's own: [`SECRET`] and [`HOURS`].
const STATE: &str = "token-state";
/// The key under which tokens are hashed, 32 bytes.
const SECRET: &str = "secret";
/// Hours that the node has run, as decimal text.
const HOURS: &str = "hours";
/// Bytes of a hash that name its row.
const ID_BYTES: usize = 6;

/// A token as it is shown once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewToken {
    /// The secret text that a client sends.
    pub token: String,
    /// What `list` and `revoke` call it.
    pub id: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Hours of the node's running time left; absent: never.
    pub expires: Option<u64>,
}

/// What a token may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenScope {
    /// What it may do; at least one.
    pub scopes: Vec<Scope>,
    /// The only realm that it publishes to.
    pub realm: Option<RealmId>,
    /// (format, pattern) pairs that limit it; empty: no limit.
    pub patterns: Vec<(String, Pattern)>,
    /// Hours of running time that it lasts (in a list: that are left).
    pub expires_hours: Option<u64>,
    /// What its owner calls it, as `npm whoami` shows.
    pub name: String,
}

/// Value of a row of kind `token`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    /// 64 hexadecimal digits.
    hash: String,
    /// As created.
    scope: TokenScope,
    /// The running hour at whose start it stops; absent: never.
    ends: Option<u64>,
}

/// All tokens of this node. A handle; clones are cheap.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    admin: blake3::Hash,
    key: OnceLock<Zeroizing<[u8; 32]>>,
    hours: AtomicU64,
    /// Serialises the first write of the key, and the hours.
    writing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("hours", &self.inner.hours).finish_non_exhaustive()
    }
}

impl Tokens {
    /// `admin`: the secret of node.json, which has every scope on loopback.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: Store, admin: String) -> Result<Self, Error> {
        let admin = Zeroizing::new(admin);
        let hours =
            store.row(STATE, HOURS)?.and_then(|row| String::from_utf8(row).ok()?.parse().ok());
        let key = OnceLock::new();
        if let Some(secret) = store.row(STATE, SECRET)?.and_then(|row| row.try_into().ok()) {
            key.get_or_init(|| Zeroizing::new(secret));
        }
        let inner = Inner {
            store,
            admin: blake3::hash(admin.as_bytes()),
            key,
            hours: AtomicU64::new(hours.unwrap_or(0)),
            writing: tokio::sync::Mutex::new(()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Draws a token and stores its hash.
    ///
    /// # Errors
    /// Invalid without a scope; Unavailable when the store fails.
    pub async fn create(&self, scope: TokenScope) -> Result<NewToken, Error> {
        if scope.scopes.is_empty() {
            return Err(Error::invalid("a token needs at least one scope")
                .with_hint("griot token create --scope publish"));
        }
        let bound = scope.realm.is_some() || !scope.patterns.is_empty();
        if bound && scope.scopes.contains(&Scope::Admin) {
            // It could make itself another without bounds.
            let message = "the scope admin is everything on this node, so it takes no bounds";
            return Err(Error::invalid(message)
                .with_hint("griot token create --scope publish,yank --names FORMAT:PATTERN"));
        }
        let text = token::draw().map_err(no_entropy)?;
        let secret = token::read(&text).expect("a token that was just written can be read");
        let key = self.key().await?;
        let hash = blake3::keyed_hash(&key, secret.as_slice());
        let id = id_of(&hash);
        let ends = scope.expires_hours.map(|hours| self.hours().saturating_add(hours));
        let row = Row { hash: hash.to_hex().to_string(), scope, ends };
        let value = serde_json::to_vec(&row).expect("a row of plain fields is JSON");
        self.inner.store.put_row(TOKENS, &id, value).await?;
        let TokenScope { scopes, expires_hours, .. } = row.scope;
        Ok(NewToken { token: text.to_string(), id, scopes, expires: expires_hours })
    }

    /// Every token that has not expired: id and scope, with the hours that are left.
    ///
    /// # Errors
    /// Unavailable when the store fails.
    pub fn list(&self) -> Result<Vec<(String, TokenScope)>, Error> {
        let mut list = Vec::new();
        for (id, value) in self.inner.store.rows(TOKENS)? {
            let Ok(row) = serde_json::from_slice::<Row>(&value) else { continue };
            if let Ok(scope) = self.alive(row) {
                list.push((id, scope));
            }
        }
        Ok(list)
    }

    /// Forgets a token; whether it was there.
    ///
    /// # Errors
    /// Unavailable when the store fails.
    pub async fn revoke(&self, id: &str) -> Result<bool, Error> {
        Ok(self.inner.store.delete_row(TOKENS, id).await?)
    }

    /// Forgets the token that a request carries, if it is `text`; whether that was done. The admin
    /// token stays.
    ///
    /// # Errors
    /// Unauthenticated when the request's own token is unknown; Unavailable when the store fails.
    pub async fn give_up(&self, headers: &HeaderMap, text: &str) -> Result<bool, Error> {
        self.principal(headers)?;
        let sent = credential(headers)?;
        let same =
            sent.is_some_and(|sent| blake3::hash(sent.as_bytes()) == blake3::hash(text.as_bytes()));
        let (Some(secret), Some(key), true) = (token::read(text), self.inner.key.get(), same)
        else {
            return Ok(false);
        };
        self.revoke(&id_of(&blake3::keyed_hash(key, secret.as_slice()))).await
    }

    /// Bearer, Basic (password) or a raw token. No credential: a reader.
    ///
    /// # Errors
    /// Unauthenticated for a wrong or expired one.
    pub fn principal(&self, headers: &HeaderMap) -> Result<Principal, Error> {
        let Some(credential) = credential(headers)? else { return Ok(Principal::anonymous()) };
        if blake3::hash(credential.as_bytes()) == self.inner.admin {
            return Ok(Principal::admin());
        }
        let (Some(secret), Some(key)) = (token::read(&credential), self.inner.key.get()) else {
            return Err(unknown());
        };
        let hash = blake3::keyed_hash(key, secret.as_slice());
        let id = id_of(&hash);
        let row = self.inner.store.row(TOKENS, &id)?.ok_or_else(unknown)?;
        let row: Row = serde_json::from_slice(&row).map_err(|_| unknown())?;
        let stored = blake3::Hash::from_hex(&row.hash).map_err(|_| unknown())?;
        // `Hash` compares in constant time.
        if stored != hash {
            return Err(unknown());
        }
        let TokenScope { scopes, realm, patterns, name, .. } = self.alive(row)?;
        let name = if name.is_empty() { id } else { name };
        Ok(Principal { name, scopes, realm, patterns })
    }

    /// One more hour of running time; the daemon calls it.
    ///
    /// # Errors
    /// Unavailable when the store fails; the hour then counts until the next restart alone.
    pub async fn tick_hour(&self) -> Result<(), Error> {
        let _one_at_a_time = self.inner.writing.lock().await;
        let hours = self.inner.hours.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(self.inner.store.put_row(STATE, HOURS, hours.to_string().into_bytes()).await?)
    }

    fn hours(&self) -> u64 {
        self.inner.hours.load(Ordering::Relaxed)
    }

    /// The scope with the hours that are left.
    fn alive(&self, row: Row) -> Result<TokenScope, Error> {
        let left = row.ends.map(|ends| ends.saturating_sub(self.hours()));
        if left == Some(0) {
            return Err(unauthenticated("the token has expired"));
        }
        Ok(TokenScope { expires_hours: left, ..row.scope })
    }

    /// The key under which tokens are hashed; drawn and stored at the first token.
    async fn key(&self) -> Result<Zeroizing<[u8; 32]>, Error> {
        let _one_at_a_time = self.inner.writing.lock().await;
        if let Some(key) = self.inner.key.get() {
            return Ok(key.clone());
        }
        let mut key = Zeroizing::new([0_u8; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(no_entropy)?;
        self.inner.store.put_row(STATE, SECRET, key.to_vec()).await?;
        Ok(self.inner.key.get_or_init(|| key).clone())
    }
}

/// The credential of a request, in whichever dialect.
fn credential(headers: &HeaderMap) -> Result<Option<Zeroizing<String>>, Error> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(unauthenticated("the request has several Authorization headers"));
    }
    let value = value.to_str().map_err(|_| unknown())?.trim();
    let Some((scheme, rest)) = value.split_once(' ') else {
        return Ok(Some(Zeroizing::new(value.to_owned())));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => Ok(Some(Zeroizing::new(rest.trim().to_owned()))),
        "basic" => basic(rest.trim()).map(Some),
        _ => Err(unauthenticated("the Authorization header is neither Bearer nor Basic")),
    }
}

/// The password of `user:password`; some clients put the token before the colon and nothing after.
fn basic(encoded: &str) -> Result<Zeroizing<String>, Error> {
    let decoded = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| unknown())?);
    let text = std::str::from_utf8(&decoded).map_err(|_| unknown())?;
    let (user, password) = text.split_once(':').ok_or_else(unknown)?;
    let token = if password.is_empty() { user } else { password };
    Ok(Zeroizing::new(token.to_owned()))
}

fn id_of(hash: &blake3::Hash) -> String {
    crdt::digest::to_hex(&hash.as_bytes()[..ID_BYTES])
}

fn unknown() -> Error {
    unauthenticated("the token is not one of this node's")
}

fn unauthenticated(message: &str) -> Error {
    Error::new(Outcome::Unauthenticated, message).with_hint("griot token create --scope publish")
}

fn no_entropy(error: getrandom::Error) -> Error {
    Error::new(Outcome::Unavailable, format!("no random bytes could be had: {error}"))
}
