//! `tokens`: credentials for clients that publish.
//!
//! A token is shown once. What it may do is at most what this node's publisher key may do.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};

use super::{Admin, Done, Failure, Json, Read};
use crate::http::auth::{NewToken, TokenScope};

/// A token without its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenRow {
    /// Name to revoke it by.
    pub id: String,
    /// What it may do.
    #[serde(flatten)]
    pub scope: TokenScope,
}

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<TokenRow>>, Failure> {
    let tokens = admin.tokens.list()?;
    Ok(Json(tokens.into_iter().map(|(id, scope)| TokenRow { id, scope }).collect()))
}

pub(super) async fn create(
    State(admin): State<Arc<Admin>>,
    Read(scope): Read<TokenScope>,
) -> Result<Json<NewToken>, Failure> {
    if scope.scopes.is_empty() {
        return Err(
            Failure::invalid("a token needs a scope").hint("griot token create --scope publish")
        );
    }
    Ok(Json(admin.tokens.create(scope).await?))
}

pub(super) async fn revoke(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Result<Json<Done>, Failure> {
    Ok(Json(Done { changed: admin.tokens.revoke(&id).await? }))
}
