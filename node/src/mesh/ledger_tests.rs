//! The ledger over a real store: what is written, what survives, and what is forgotten.

use jiff::tz::TimeZone;
use libp2p::{Multiaddr, PeerId};
use tempfile::TempDir;

use super::*;

fn at(text: &str) -> Moment {
    Moment::at(text.parse().expect("a sound moment"), TimeZone::UTC)
}

fn address(number: usize) -> Multiaddr {
    format!("/ip4/203.0.113.9/tcp/{}", number + 1).parse().expect("a sound address")
}

/// So many bytes pass from a peer to us.
fn pass(meter: &Meter, peer: PeerId, bytes: usize, number: usize) {
    let tally = meter.open(&address(number));
    meter.is_of(&address(number), peer);
    tally.received(bytes);
}

fn open(home: &TempDir) -> (Ledger, Meter) {
    let meter = Meter::default();
    let store = Store::open(home.path()).expect("opens");
    (Ledger::open(store, meter.clone()).expect("reads"), meter)
}

fn all(ledger: &Ledger, moment: &Moment) -> u64 {
    ledger.used(Unit::Month, moment, |_, _| true).expect("reads").bytes()
}

#[tokio::test]
async fn counts_survive_a_restart_and_go_on() {
    let (home, peer) = (TempDir::new().expect("a folder"), PeerId::random());
    let (ledger, meter) = open(&home);
    pass(&meter, peer, 100, 1);
    ledger.write(&Moment::now()).await.expect("is written");
    drop((ledger, meter));
    let (ledger, meter) = open(&home);
    pass(&meter, peer, 11, 1);
    assert_eq!(all(&ledger, &Moment::now()), 111);
    let of_peer = |_, name: &str| name == peer.to_string();
    let used = ledger.used(Unit::Day, &Moment::now(), of_peer).expect("reads");
    assert_eq!(used, Count { sent: 0, received: 111 });
}

#[tokio::test]
async fn a_month_begins_at_nothing_and_the_last_one_is_remembered() {
    let home = TempDir::new().expect("a folder");
    let (ledger, meter) = open(&home);
    let (november, december) = (at("2026-11-30T12:00:00Z"), at("2026-12-01T00:00:00Z"));
    ledger.take(&november).expect("takes");
    pass(&meter, PeerId::random(), 100, 1);
    assert_eq!(all(&ledger, &november), 100);
    assert_eq!(all(&ledger, &december), 0);
    pass(&meter, PeerId::random(), 5, 1);
    assert_eq!(all(&ledger, &december), 5);
    ledger.write(&december).await.expect("is written");
    let row = |label: &str| counts_of(&ledger.store, label).expect("reads");
    let bytes = |label: &str| row(label).values().map(Count::bytes).sum::<u64>();
    assert_eq!((bytes("2026-11"), bytes("2026-12")), (100, 5), "nothing is lost at midnight");
    assert_eq!((bytes("2026-11-30"), bytes("2026-12-01")), (100, 5));
}

#[tokio::test]
async fn what_a_wrong_clock_counted_joins_the_month_that_it_was() {
    let home = TempDir::new().expect("a folder");
    let (ledger, meter) = open(&home);
    let (wrong, right) = (at("1970-01-01T00:00:09Z"), at("2026-11-22T10:00:00Z"));
    ledger.take(&wrong).expect("takes");
    pass(&meter, PeerId::random(), 100, 1);
    assert_eq!(all(&ledger, &wrong), 100);
    assert_eq!(all(&ledger, &right), 100);
    assert_eq!(all(&ledger, &wrong), 100, "and a boot in 1970 changes nothing");
}

#[tokio::test]
async fn very_many_peers_are_counted_together() {
    let home = TempDir::new().expect("a folder");
    let (ledger, meter) = open(&home);
    for number in 0..PEERS_MAX * 3 {
        pass(&meter, PeerId::random(), 1, number);
    }
    ledger.write(&Moment::now()).await.expect("is written");
    assert_eq!(all(&ledger, &Moment::now()), PEERS_MAX as u64 * 3);
    let rows = ledger.store.rows(TRAFFIC).expect("reads");
    assert!(rows.len() <= 2 * (PEERS_MAX + 1) + 1, "{}", rows.len());
}

#[tokio::test]
async fn old_days_and_months_go() {
    let home = TempDir::new().expect("a folder");
    let (ledger, meter) = open(&home);
    let row =
        |label: String| (format!("{label}/wan/unknown"), br#"{"sent":1,"received":1}"#.into());
    let days = (1..=30).flat_map(|day| [format!("2025-01-{day:02}"), format!("2025-03-{day:02}")]);
    let months = (1..=12).flat_map(|n| [2021, 2022, 2023].map(|year| format!("{year}-{n:02}")));
    let old: Vec<(String, Vec<u8>)> = days.chain(months).map(row).collect();
    ledger.store.put_rows(TRAFFIC, old).await.expect("is written");
    pass(&meter, PeerId::random(), 1, 1);
    ledger.write(&Moment::now()).await.expect("is written");
    let labels: BTreeSet<String> =
        ledger.history().expect("reads").into_iter().map(|row| row.label).collect();
    let count = |unit| labels.iter().filter(|label| unit_of(label) == Some(unit)).count();
    assert_eq!((count(Unit::Day), count(Unit::Month)), (DAYS_KEPT, MONTHS_KEPT));
    assert!(!labels.contains("2025-01-01") && labels.contains("2025-03-30"));
}
