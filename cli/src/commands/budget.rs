//! `griot budget`: what links may cost, what they have cost, and what waits for that reason.

use node::daemon::admin::Done;
use node::daemon::admin::budget::{BudgetReport, LinksName};
use node::mesh::allowance::{Allowance, Links};
use node::mesh::budget::{Budgets, Used, Waits};
use node::mesh::ledger::Traffic;
use reqwest::Method;

use super::Context;
use crate::args::{Budget, BudgetSet, LinkKind, Whose};
use crate::output::{Code, Failure, count, plain, short, size};

pub(super) async fn run(context: &Context, budget: Budget) -> Result<(), Failure> {
    match budget {
        Budget::Set(order) => set(context, order).await,
        Budget::Show => {
            let report: BudgetReport = context.node()?.get("budget").await?;
            context.output.data(&report, |report| {
                let mut out = lines(&report.now);
                if report.now.budgets.is_empty() {
                    out.push("no budget is set: griot budget set 300MB/month".into());
                }
                out.extend(report.traffic.iter().map(passed));
                out
            })
        }
        Budget::Clear(whose) => {
            let links = links(whose);
            let body = LinksName { links: links.clone() };
            let done: Done = context.node()?.call(Method::DELETE, "budget", Some(&body)).await?;
            context.output.data(&done, |done| {
                let word = if done.changed { "has no budget any more" } else { "had no budget" };
                vec![format!("{} {word}", title(&links))]
            })
        }
    }
}

async fn set(context: &Context, order: BudgetSet) -> Result<(), Failure> {
    let BudgetSet { amount, hours, metered, whose } = order;
    if amount.is_none() && hours.is_none() && !metered {
        return Err(Failure::new("a budget needs an amount, hours or --metered")
            .hint("griot budget set 300MB/month --hours 01:00-05:00")
            .code(Code::Usage));
    }
    let body = Allowance { links: links(whose), amount, hours, metered };
    let now: Budgets = context.node()?.post("budget", &body).await?;
    context.output.data(&now, lines)
}

fn links(whose: Whose) -> Links {
    match (whose.peer, whose.link) {
        (Some(peer), _) => Links::Peer(peer.to_string()),
        (None, LinkKind::Wan) => Links::Wan,
        (None, LinkKind::Lan) => Links::Lan,
    }
}

fn title(links: &Links) -> String {
    match links {
        Links::Wan => "beyond this network".to_owned(),
        Links::Lan => "within this network".to_owned(),
        Links::Peer(id) => format!("peer {}", short(id)),
    }
}

/// What is allowed and used, and what waits: also a part of `griot status`.
pub(super) fn lines(now: &Budgets) -> Vec<String> {
    let mut out: Vec<String> = now.budgets.iter().map(used).collect();
    let is_timed = |used: &Used| used.allowance.hours.is_some() || used.allowance.amount.is_some();
    if !now.clock && now.budgets.iter().any(is_timed) {
        out.push(
            "  the clock is not set (1970): a month is thirty days of running, and hours are \
             not known"
                .into(),
        );
    }
    if now.system {
        out.push("links beyond this network are metered: the system says so".into());
    }
    out.extend(now.waiting.iter().map(waits));
    out
}

fn used(used: &Used) -> String {
    let Used { allowance, used } = used;
    let mut parts = vec![match allowance.amount {
        Some(amount) => {
            let (bytes, per) = (size(amount.bytes), amount.per.word());
            format!("used {} of {bytes} this {per}", size(used.bytes()))
        }
        None => format!("used {} this month", size(used.bytes())),
    }];
    if let Some(hours) = allowance.hours {
        parts.push(format!("big files {hours}"));
    }
    if allowance.metered {
        parts.push("metered".to_owned());
    }
    format!("budget {}: {}", title(&allowance.links), parts.join("   "))
}

fn waits(waits: &Waits) -> String {
    let (files, bytes) = (count(waits.files, "file"), size(waits.bytes));
    let verb = if waits.files == 1 { "waits" } else { "wait" };
    format!("  {files} ({bytes}, {}) {verb}: {}", waits.lane.word(), plain(&waits.why))
}

fn passed(row: &Traffic) -> String {
    let (sent, received) = (size(row.count.sent), size(row.count.received));
    let (label, peer) = (plain(&row.label), plain(&row.peer));
    format!("{label}  {}  {peer}  sent {sent}  received {received}", row.link)
}

#[cfg(test)]
mod tests {
    use node::mesh::allowance::Amount;
    use node::mesh::calendar::Unit;
    use node::mesh::lane::Lane;
    use node::mesh::meter::Count;

    use super::*;

    #[test]
    fn a_budget_says_what_is_used_and_what_waits() {
        let allowance = Allowance {
            links: Links::Wan,
            amount: Some(Amount { bytes: 200_000_000, per: Unit::Month }),
            hours: Some("01:00-05:00".parse().expect("sound hours")),
            metered: false,
        };
        let count = Count { sent: 1_000_000, received: 60_000_000 };
        let why = "until 01:00-05:00".to_owned();
        let waiting = vec![Waits { lane: Lane::Bulk, files: 2, bytes: 90_000_000, why }];
        let budgets = vec![Used { allowance, used: count }];
        let said = lines(&Budgets { budgets, waiting, clock: false, system: false });
        let first = "budget beyond this network: used 61.0 MB of 200.0 MB this month   \
                     big files 01:00-05:00";
        assert_eq!(said[0], first);
        assert!(said[1].contains("1970"), "{said:?}");
        assert_eq!(said[2], "  2 files (90.0 MB, bulk) wait: until 01:00-05:00");
    }
}
