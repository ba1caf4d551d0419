//! Verbs about what links may cost.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use node::mesh::PeerId;
use node::mesh::allowance::{Amount, Hours};
use node::mesh::calendar::Unit;

use crate::size;

#[derive(Debug, Subcommand)]
pub(crate) enum Budget {
    /// Set what some links may cost, in place of what was set for them before
    Set(BudgetSet),
    /// Show what is allowed, what was used, and what waits for that reason
    Show,
    /// Allow these links everything again
    Clear(Whose),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Sent and received bytes count together. Big files that nobody waits for stop at 80 % of the amount \
and outside the hours, those that somebody waits for at 95 %; who may publish, what is revoked and \
what there is never stop.")]
pub(crate) struct BudgetSet {
    /// Such as 300MB/month or 20MB/day; alone, hours and --metered limit no amount
    #[arg(value_name = "SIZE/month|day", value_parser = amount)]
    pub(crate) amount: Option<Amount>,
    /// When big files that nobody waits for may pass, such as 01:00-05:00
    #[arg(long, value_name = "HH:MM-HH:MM")]
    pub(crate) hours: Option<Hours>,
    /// Each byte is paid for: leave the links in peace while there is nothing to do
    #[arg(long)]
    pub(crate) metered: bool,
    #[command(flatten)]
    pub(crate) whose: Whose,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Whose {
    /// The links to one peer, by its whole id
    #[arg(long, value_name = "ID", conflicts_with = "link")]
    pub(crate) peer: Option<PeerId>,
    /// The links beyond this network, or within it
    #[arg(long, value_enum, default_value = "wan")]
    pub(crate) link: Link,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Link {
    /// Beyond this network
    Wan,
    /// Within it: private, link-local and loopback addresses
    Lan,
}

fn amount(text: &str) -> Result<Amount, String> {
    let wrong = || "write an amount such as 300MB/month or 20MB/day".to_owned();
    let (bytes, per) = text.split_once('/').ok_or_else(wrong)?;
    let per = match per {
        "day" => Unit::Day,
        "month" => Unit::Month,
        _ => return Err(wrong()),
    };
    match size::parse(bytes)? {
        0 => Err("a budget of nothing: nothing would ever come".to_owned()),
        bytes => Ok(Amount { bytes, per }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        let month = Amount { bytes: 300_000_000, per: Unit::Month };
        assert_eq!(amount("300MB/month"), Ok(month));
        assert_eq!(amount("20MB/day").map(|amount| amount.per), Ok(Unit::Day));
        for wrong in ["", "300MB", "/month", "0/day", "300MB/week", "many/month"] {
            assert!(amount(wrong).is_err(), "{wrong}");
        }
    }
}
