//! Months and days to count in, and the hours of the night: by the wall clock where it can be
//! trusted, else by the node's own running time.
//!
//! A board without a battery boots in 1970. Then nobody knows the hour, and a month is thirty days
//! of running. Once the clock is right, what was counted meanwhile joins the month that it is.
//! Wall time stays a label: it decides what is paid for, never what is true.
//!
//! Source: DESIGN section 4; product.md section 4.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

/// No clock that is right shows less: 2026-01-01, before this was built.
const FLOOR_SECONDS: i64 = 1_767_225_600;
/// A day of running.
const DAY_S: u64 = 24 * 60 * 60;
/// How long a time zone is believed.
const ZONE_KEPT: Duration = Duration::from_secs(60);
/// How labels of running time begin.
const RUNNING: &str = "run-";

/// What the wall clock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    local: Option<Zoned>,
}

impl Moment {
    /// Now, in the time zone of this machine.
    pub(super) fn now() -> Self {
        Self::at(Timestamp::now(), zone_now())
    }

    /// A moment; one before this was built is a clock that is not set.
    pub(super) fn at(time: Timestamp, zone: TimeZone) -> Self {
        let trusted = time.as_second() >= FLOOR_SECONDS;
        Self { local: trusted.then(|| time.to_zoned(zone)) }
    }

    /// Whether the clock can be right.
    pub(super) const fn is_trusted(&self) -> bool {
        self.local.is_some()
    }

    /// Minutes since midnight here.
    pub(super) fn minute(&self) -> Option<u16> {
        let local = self.local.as_ref()?;
        u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).ok()
    }

    fn label(&self, unit: Unit) -> Option<String> {
        let local = self.local.as_ref()?;
        let (year, month, day) = (local.year(), local.month(), local.day());
        Some(match unit {
            Unit::Month => format!("{year:04}-{month:02}"),
            Unit::Day => format!("{year:04}-{month:02}-{day:02}"),
        })
    }
}

/// The zone of this machine, looked up again now and then: a laptop travels.
fn zone_now() -> TimeZone {
    static LAST: Mutex<Option<(Instant, TimeZone)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some((at, zone)) if at.elapsed() < ZONE_KEPT => zone.clone(),
        _ => last.insert((Instant::now(), zone())).1.clone(),
    }
}

/// The zone that the machine is set to: `TZ`, then what it links to; else that of Greenwich.
fn zone() -> TimeZone {
    let named = std::env::var("TZ").ok().filter(|name| !name.is_empty());
    let file = match named.as_deref().map(|name| name.trim_start_matches(':')) {
        Some(name) if name.starts_with('/') => name.to_owned(),
        Some(name) => {
            let file = format!("/usr/share/zoneinfo/{name}");
            match (zone_file(&file), TimeZone::posix(name)) {
                (Some(zone), _) | (None, Ok(zone)) => return zone,
                (None, Err(_)) => return TimeZone::UTC,
            }
        }
        None => "/etc/localtime".to_owned(),
    };
    zone_file(&file).unwrap_or(TimeZone::UTC)
}

fn zone_file(file: &str) -> Option<TimeZone> {
    let bytes = fs_err::read(file).ok()?;
    TimeZone::tzif(file, &bytes).ok()
}

/// How long a stretch of counting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A day.
    Day,
    /// A month.
    Month,
}

impl Unit {
    const fn running_s(self) -> u64 {
        match self {
            Self::Day => DAY_S,
            Self::Month => 30 * DAY_S,
        }
    }

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// The stretch that is counted in now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stretch {
    /// `2026-11`, `2026-11-22`, or `run-3` by running time; empty before the first.
    pub(super) label: String,
    /// Seconds that the node has run in it.
    pub(super) ran_s: u64,
}

/// What became of a stretch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on.
    Same,
    /// Another one, counted apart.
    Next,
    /// It was that one all the time: the counts go along.
    Named,
}

impl Stretch {
    /// Lets time pass.
    pub(super) fn pass(&mut self, unit: Unit, moment: &Moment, ran: Duration) -> Turn {
        self.ran_s = self.ran_s.saturating_add(ran.as_secs());
        match moment.label(unit) {
            Some(label) if label == self.label => Turn::Same,
            Some(label) => {
                let was_unnamed = self.label.starts_with(RUNNING) && self.ran_s < unit.running_s();
                self.label = label;
                if was_unnamed {
                    return Turn::Named;
                }
                self.ran_s = 0;
                Turn::Next
            }
            None if !self.label.is_empty() && self.ran_s < unit.running_s() => Turn::Same,
            None => {
                let number = self.label.strip_prefix(RUNNING).and_then(|n| n.parse().ok());
                self.label = format!("{RUNNING}{}", number.unwrap_or(0_u64).saturating_add(1));
                self.ran_s = 0;
                Turn::Next
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Moment {
        Moment::at(text.parse().expect("a sound moment"), TimeZone::UTC)
    }

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn a_month_ends_with_the_month() {
        let mut month = Stretch::default();
        let turns = ["2026-11-22T10:00:00Z", "2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z"]
            .map(|time| month.pass(Unit::Month, &at(time), HOUR));
        assert_eq!(turns, [Turn::Next, Turn::Same, Turn::Next]);
        assert_eq!(month.label, "2026-12");
    }

    #[test]
    fn without_a_clock_a_month_is_thirty_days_of_running() {
        let (mut month, wrong) = (Stretch::default(), at("1970-01-01T00:01:00Z"));
        assert!(!wrong.is_trusted() && wrong.minute().is_none());
        assert_eq!(month.pass(Unit::Month, &wrong, HOUR), Turn::Next);
        assert_eq!(month.label, "run-1");
        assert_eq!(month.pass(Unit::Month, &wrong, 29 * 24 * HOUR), Turn::Same);
        assert_eq!(month.pass(Unit::Month, &wrong, 24 * HOUR), Turn::Next);
        assert_eq!(month.label, "run-2");
    }

    #[test]
    fn a_boot_in_1970_opens_no_new_month() {
        let mut month = Stretch { label: "2026-11".into(), ran_s: 0 };
        assert_eq!(month.pass(Unit::Month, &at("1970-01-01T00:00:09Z"), HOUR), Turn::Same);
        assert_eq!(month.pass(Unit::Month, &at("2026-11-23T08:00:00Z"), HOUR), Turn::Same);
        assert_eq!(month.label, "2026-11");
    }

    #[test]
    fn a_clock_that_comes_right_takes_along_what_was_counted() {
        let mut month = Stretch { label: "run-1".into(), ran_s: 3_600 };
        assert_eq!(month.pass(Unit::Month, &at("2026-11-23T08:00:00Z"), HOUR), Turn::Named);
        assert_eq!(month.label, "2026-11");
    }

    #[test]
    fn the_minute_is_that_of_the_zone() {
        let zone = TimeZone::posix("EAT-3").expect("a sound zone");
        let moment = Moment::at("2026-11-22T23:30:00Z".parse().expect("sound"), zone);
        assert_eq!(moment.minute(), Some(2 * 60 + 30));
    }
}
