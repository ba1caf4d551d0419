//! What a person allows a link to cost, and what that says about one more transfer. Pure.
//!
//! ```text
//!  used ──────────────────────────▶ 80 %         95 %       100 %
//!  authority, index   go on         go on        go on      go on, told
//!  wanted             go on         go on        wait       wait
//!  bulk               by the hours  wait         wait       wait
//! ```
//!
//! Hours bind bulk alone: who waits for a package is not sent to bed. Without a clock nobody knows
//! the hour, and bulk waits until somebody does.
//!
//! Source: DESIGN section 6; product.md sections 3 and 11.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calendar::{Moment, Unit};
use super::lane::Lane;
use super::link::LinkClass;

/// When it is looked again.
const AGAIN: Duration = Duration::from_secs(10 * 60);
/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

/// The links that an allowance is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Links {
    /// Within this network.
    Lan,
    /// Beyond it, through third nodes too.
    Wan,
    /// Those to one peer, by its id.
    Peer(String),
}

impl Links {
    /// Whether a link is meant.
    #[must_use]
    pub fn means(&self, class: LinkClass, peer: &str) -> bool {
        match self {
            Self::Lan => class == LinkClass::Lan,
            Self::Wan => class != LinkClass::Lan,
            Self::Peer(id) => id == peer,
        }
    }
}

impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lan => f.write_str("lan"),
            Self::Wan => f.write_str("wan"),
            Self::Peer(id) => write!(f, "peer {id}"),
        }
    }
}

impl From<Links> for String {
    fn from(links: Links) -> Self {
        links.to_string()
    }
}

impl FromStr for Links {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "lan" => Ok(Self::Lan),
            "wan" => Ok(Self::Wan),
            _ => {
                let id = text.strip_prefix("peer ").unwrap_or_default();
                let id: Result<super::PeerId, _> = id.parse();
                id.map(|id| Self::Peer(id.to_string()))
                    .map_err(|_| "the links are `lan`, `wan`, or `peer` and its whole id".into())
            }
        }
    }
}

impl TryFrom<String> for Links {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Hours of the day, by the clock of this machine; they may pass midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hours {
    from: u16,
    to: u16,
}

impl Hours {
    const fn contain(self, minute: u16) -> bool {
        if self.from <= self.to {
            self.from <= minute && minute < self.to
        } else {
            minute >= self.from || minute < self.to
        }
    }

    /// Minutes until they begin.
    const fn begin_in(self, minute: u16) -> u16 {
        (self.from + DAY_MINUTES - minute) % DAY_MINUTES
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        hours.to_string()
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write hours such as 01:00-05:00".to_owned();
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (minute(from).ok_or_else(wrong)?, minute(to).ok_or_else(wrong)?);
        if from == to {
            return Err("these hours last no time at all, or all day: leave them out".into());
        }
        Ok(Self { from, to })
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |part: &str, most: u16| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|number: &u16| digits && *number <= most)
    };
    // 24:00 is midnight as people write the end of a day.
    let (hour, minute) = (number(hour, 24)?, number(minute, 59)?);
    match hour * 60 + minute {
        DAY_MINUTES => Some(0),
        all if all < DAY_MINUTES => Some(all),
        _ => None,
    }
}

/// So many bytes, sent and received together, in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Bytes.
    pub bytes: u64,
    /// In a day or a month.
    pub per: Unit,
}

/// What a person allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// For these links.
    pub links: Links,
    /// No limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// When bulk may pass; at any time if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// Each byte is paid for, so that the links are left in peace while nothing is to be done.
    #[serde(default)]
    pub metered: bool,
}

/// What is to be done with a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass.
    Now,
    /// It may be asked again after so long.
    Wait(Duration),
    /// It never fits, and why.
    Never(String),
}

impl Allowance {
    /// Bytes that a lane may use up to.
    const fn share(lane: Lane, all: u64) -> u64 {
        match lane {
            Lane::Authority | Lane::Index => u64::MAX,
            Lane::Wanted => all - all / 20,
            Lane::Bulk => all - all / 5,
        }
    }

    /// Whether `bytes` more may pass in a lane after `used`; and why not, for a person.
    pub(super) fn judge(
        &self,
        (lane, bytes): (Lane, u64),
        used: u64,
        moment: &Moment,
    ) -> (Verdict, String) {
        if lane < Lane::Wanted {
            return (Verdict::Now, String::new());
        }
        if let Some(amount) = self.amount {
            let share = Self::share(lane, amount.bytes);
            let per = amount.per.word();
            if bytes > share {
                let why = format!("larger than the budget of {} has for it in a {per}", self.links);
                return (Verdict::Never(why.clone()), why);
            }
            if used.saturating_add(bytes) > share {
                let why = format!("the budget of {} for this {per} has no room", self.links);
                return (Verdict::Wait(AGAIN), why);
            }
        }
        match self.hours.filter(|_| lane == Lane::Bulk) {
            Some(hours) => Self::judge_hours(hours, moment),
            None => (Verdict::Now, String::new()),
        }
    }

    fn judge_hours(hours: Hours, moment: &Moment) -> (Verdict, String) {
        match moment.minute() {
            None => {
                let why = format!("the clock is not set, so nobody knows when it is {hours}");
                (Verdict::Wait(AGAIN), why)
            }
            Some(minute) if hours.contain(minute) => (Verdict::Now, String::new()),
            Some(minute) => {
                let wait = Duration::from_secs(u64::from(hours.begin_in(minute)) * 60);
                (Verdict::Wait(wait), format!("until {hours}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn at(text: &str) -> Moment {
        Moment::at(text.parse().expect("a sound moment"), TimeZone::UTC)
    }

    fn month(bytes: u64) -> Allowance {
        let amount = Some(Amount { bytes, per: Unit::Month });
        Allowance { links: Links::Wan, amount, hours: None, metered: false }
    }

    fn verdict(allowance: &Allowance, lane: Lane, bytes: u64, used: u64) -> Verdict {
        allowance.judge((lane, bytes), used, &at("2026-11-22T12:00:00Z")).0
    }

    #[test]
    fn bulk_stops_first_then_what_is_wanted_and_the_index_never() {
        let all = month(1_000);
        for (used, bulk, wanted) in [(0, true, true), (790, false, true), (945, false, false)] {
            assert_eq!(verdict(&all, Lane::Bulk, 11, used) == Verdict::Now, bulk, "{used}");
            assert_eq!(verdict(&all, Lane::Wanted, 11, used) == Verdict::Now, wanted, "{used}");
            assert_eq!(verdict(&all, Lane::Index, 11, used), Verdict::Now);
        }
        assert_eq!(verdict(&all, Lane::Authority, 5_000, 9_000), Verdict::Now);
        assert!(matches!(verdict(&all, Lane::Bulk, 900, 0), Verdict::Never(_)));
        assert_eq!(verdict(&all, Lane::Wanted, 900, 0), Verdict::Now);
    }

    #[test]
    fn the_hours_bind_bulk_alone_and_may_pass_midnight() {
        let hours = Some("22:30-05:00".parse().expect("sound hours"));
        let night = Allowance { hours, amount: None, ..month(0) };
        let bulk = |time: &str| night.judge((Lane::Bulk, 9), 0, &at(time)).0;
        assert_eq!(bulk("2026-11-22T23:00:00Z"), Verdict::Now);
        assert_eq!(bulk("2026-11-22T04:59:00Z"), Verdict::Now);
        assert_eq!(bulk("2026-11-22T05:00:00Z"), Verdict::Wait(Duration::from_secs(63_000)));
        let wanted = night.judge((Lane::Wanted, 9), 0, &at("2026-11-22T12:00:00Z"));
        assert_eq!(wanted.0, Verdict::Now);
    }

    #[test]
    fn without_a_clock_bulk_waits_and_is_told_why() {
        let hours = Some("01:00-05:00".parse().expect("sound hours"));
        let night = Allowance { hours, ..month(1_000) };
        let (verdict, why) = night.judge((Lane::Bulk, 9), 0, &at("1970-01-01T02:00:00Z"));
        assert_eq!(verdict, Verdict::Wait(AGAIN));
        assert!(why.contains("clock is not set"), "{why}");
    }

    #[test]
    fn hours_and_links_are_read_as_they_are_written() {
        for text in ["01:00-05:00", "22:30-00:15"] {
            assert_eq!(text.parse::<Hours>().map(|hours| hours.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("20:00-24:00".parse::<Hours>(), "20:00-00:00".parse());
        for wrong in
            ["", "1-5", "01:00", "25:00-01:00", "01:60-02:00", "24:30-01:00", "03:00-03:00"]
        {
            assert!(wrong.parse::<Hours>().is_err(), "{wrong}");
        }
        let peer = Links::Peer(crate::mesh::PeerId::random().to_string());
        for links in [Links::Lan, Links::Wan, peer] {
            assert_eq!(links.to_string().parse(), Ok(links));
        }
        assert!("peer nobody".parse::<Links>().is_err() && "moon".parse::<Links>().is_err());
    }

    #[test]
    fn a_relayed_link_is_beyond_this_network() {
        assert!(Links::Wan.means(LinkClass::Relayed, "x"));
        assert!(!Links::Lan.means(LinkClass::Relayed, "x"));
        assert!(Links::Peer("x".into()).means(LinkClass::Lan, "x"));
    }
}
