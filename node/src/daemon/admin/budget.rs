//! `budget`: what links may cost, what they have cost, and what waits for that reason.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::{Admin, Done, Failure, Json, Read};
use crate::mesh;
use crate::mesh::allowance::{Allowance, Links};
use crate::mesh::budget::Budgets;
use crate::mesh::ledger::Traffic;

/// `griot budget show --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// What is allowed, how far it is used, and what waits.
    #[serde(flatten)]
    pub now: Budgets,
    /// Bytes of each kind of link and peer, by day and by month.
    pub traffic: Vec<Traffic>,
}

/// Whose budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinksName {
    /// `lan`, `wan`, or `peer` and its id.
    pub links: Links,
}

pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Result<Json<BudgetReport>, Failure> {
    let budget = admin.mesh.budget();
    Ok(Json(BudgetReport { now: budget.show()?, traffic: budget.traffic()? }))
}

pub(super) async fn set(
    State(admin): State<Arc<Admin>>,
    Read(allowance): Read<Allowance>,
) -> Result<Json<Budgets>, Failure> {
    if allowance.amount.is_none() && allowance.hours.is_none() && !allowance.metered {
        return Err(Failure::invalid("a budget that allows everything is none")
            .hint("griot budget set 300MB/month; griot budget clear"));
    }
    if allowance.amount.is_some_and(|amount| amount.bytes == 0) {
        return Err(Failure::invalid("a budget of nothing: nothing would ever come")
            .hint("griot peer remove ADDRESS ends a link"));
    }
    match admin.mesh.budget().set(allowance).await {
        Err(mesh::Error::Refused(why)) => Err(Failure::invalid(why).hint("griot budget show")),
        set => {
            set?;
            Ok(Json(admin.mesh.budget().show()?))
        }
    }
}

pub(super) async fn clear(
    State(admin): State<Arc<Admin>>,
    Read(of): Read<LinksName>,
) -> Result<Json<Done>, Failure> {
    Ok(Json(Done { changed: admin.mesh.budget().clear(&of.links).await? }))
}
