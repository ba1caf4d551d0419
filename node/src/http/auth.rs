//! Token → Principal. (header to be written)
use axum::http::HeaderMap;
use crdt::RealmId;
use serde::{Deserialize, Serialize};
use crate::registry::{Error, Principal, Scope};
use crate::store::Store;
use crdt::statement::Pattern;

/// A token as it is shown once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct NewToken { pub token: String, pub id: String, pub scopes: Vec<Scope>, /// hours of the node's running time left; absent: never
    pub expires: Option<u64> }
/// What a token may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TokenScope { pub scopes: Vec<Scope>, pub realm: Option<RealmId>, pub patterns: Vec<(String, Pattern)>, pub expires_hours: Option<u64>, pub name: String }
/// All tokens of this node: rows of kind `token` in the store, secrets hashed. Ages by running time.
#[derive(Clone, Debug)] pub struct Tokens { _p: () }
#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Tokens {
    /// `admin`: the secret of node.json, which has every scope on loopback.
    pub fn open(store: Store, admin: String) -> Result<Self, Error> { todo!() }
    pub async fn create(&self, scope: TokenScope) -> Result<NewToken, Error> { todo!() }
    pub fn list(&self) -> Result<Vec<(String, TokenScope)>, Error> { todo!() }
    pub async fn revoke(&self, id: &str) -> Result<bool, Error> { todo!() }
    /// Bearer, Basic (password) or a raw token. No credential: anonymous (reads). A wrong one: Unauthenticated.
    pub fn principal(&self, headers: &HeaderMap) -> Result<Principal, Error> { todo!() }
    /// One more hour of running time; the daemon calls it.
    pub async fn tick_hour(&self) -> Result<(), Error> { todo!() }
}
