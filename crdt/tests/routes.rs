//! The table of routes, row by row.

use crdt::realm::Claim;
use crdt::routes::{Ground, Rule, Source, Table, site_rules};
use crdt::statement::{Counter, Pattern, RouteSource};
use crdt::{Digest, PackageId, RealmId, Verified, origin};

use crate::world::World;

fn realm(byte: u8) -> RealmId {
    RealmId(Digest::from_bytes([byte; 32]))
}

const OWN: u8 = 1;
const SITE: u8 = 2;
const R: u8 = 3;
const S: u8 = 4;

fn to(byte: u8) -> RouteSource {
    RouteSource::Realm(realm(byte))
}

fn from(byte: u8) -> Source {
    Source::Realm { realm: realm(byte) }
}

fn upstream() -> RouteSource {
    upstream_at("https://up.test/")
}

fn upstream_at(url: &str) -> RouteSource {
    let (format, url) = ("npm".to_owned(), url.to_owned());
    RouteSource::Upstream { origin: origin_of(&url), format, url }
}

fn origin_of(url: &str) -> Digest {
    origin::id(&origin::normalise(url).unwrap())
}

fn rule(pattern: &str, source: RouteSource) -> Rule {
    let (format, pattern) = ("npm".to_owned(), Pattern::parse(pattern).unwrap());
    Rule { format, pattern, source, counter: Counter::default(), contested: false }
}

fn claim(realm_byte: u8, pattern: &str) -> (RealmId, Claim) {
    let pattern = Pattern::parse(pattern).unwrap();
    (realm(realm_byte), Claim { format: "npm".to_owned(), pattern })
}

fn table() -> Table {
    let (own_rules, site_rules, claims) = (vec![], vec![], vec![]);
    Table { own: realm(OWN), site: realm(SITE), own_rules, site_rules, claims }
}

fn npm(name: &str) -> PackageId {
    PackageId::new("npm", name)
}

fn decided(table: &Table, name: &str) -> (Source, Ground) {
    let decision = table.decide(&npm(name), &[], false, None);
    assert_eq!(decision.pending, None);
    (decision.source, decision.ground)
}

#[test]
fn a_name_without_any_rule_comes_from_the_upstream() {
    assert_eq!(decided(&table(), "foo"), (Source::Upstream { origin: None }, Ground::Default));
    assert_eq!(table().routed_realm(&npm("foo")), None);
}

#[test]
fn the_own_route_outranks_the_site_and_any_claim() {
    let mut table = table();
    table.claims = vec![claim(S, "foo")];
    assert_eq!(decided(&table, "foo"), (from(S), Ground::Claim));
    table.site_rules = vec![rule("foo", to(SITE))];
    assert_eq!(decided(&table, "foo"), (from(SITE), Ground::SiteRoute));
    table.own_rules = vec![rule("f*", to(R))];
    assert_eq!(decided(&table, "foo"), (from(R), Ground::OwnRoute));
    assert_eq!(table.routed_realm(&npm("foo")), Some(from(R)));
}

#[test]
fn exact_beats_the_longer_prefix_and_that_the_shorter() {
    let mut table = table();
    table.own_rules = vec![rule("@a/*", to(R)), rule("@a/ui", to(S)), rule("@a/u*", to(SITE))];
    assert_eq!(decided(&table, "@a/ui").0, from(S));
    assert_eq!(decided(&table, "@a/ux").0, from(SITE));
    assert_eq!(decided(&table, "@a/x").0, from(R));
    assert_eq!(decided(&table, "@b/x").0, Source::Upstream { origin: None });
}

#[test]
fn a_rule_of_the_format_beats_one_of_all_formats_with_the_same_pattern() {
    let mut table = table();
    table.own_rules = vec![rule("foo", to(R)), Rule { format: "*".into(), ..rule("foo", to(S)) }];
    assert_eq!(decided(&table, "foo").0, from(R));
    assert_eq!(table.routed_realm(&PackageId::new("pypi", "foo")), Some(from(S)));
}

#[test]
fn deny_gives_a_name_to_nobody() {
    let mut table = table();
    table.own_rules = vec![rule("foo", RouteSource::Deny)];
    let decision = table.decide(&npm("foo"), &[realm(SITE)], true, None);
    assert_eq!((decision.source, decision.ground), (Source::Deny, Ground::OwnRoute));
}

#[test]
fn a_contested_rule_denies() {
    let mut table = table();
    table.site_rules = vec![Rule { contested: true, ..rule("foo", to(R)) }];
    assert_eq!(decided(&table, "foo"), (Source::Deny, Ground::SiteRoute));
    table.site_rules = vec![rule("foo", to(R)), rule("foo", to(S))];
    assert_eq!(decided(&table, "foo"), (Source::Deny, Ground::SiteRoute));
}

#[test]
fn a_later_claim_that_overlaps_takes_nothing() {
    let mut table = table();
    table.claims = vec![claim(R, "@a/*"), claim(S, "@a/ui"), claim(S, "tool")];
    assert_eq!(decided(&table, "@a/ui"), (from(R), Ground::Claim));
    assert_eq!(decided(&table, "tool"), (from(S), Ground::Claim));
    table.claims = vec![claim(R, "@a/ui"), claim(S, "@a/*")];
    assert_eq!(decided(&table, "@a/ui").0, from(R));
    assert_eq!(decided(&table, "@a/x"), (Source::Upstream { origin: None }, Ground::Default));
}

#[test]
fn overlapping_claims_of_one_realm_both_take() {
    let mut table = table();
    table.claims = vec![claim(R, "@a/ui"), claim(R, "@a/*")];
    assert_eq!(decided(&table, "@a/x").0, from(R));
}

#[test]
fn a_claim_of_everything_takes_nothing_and_blocks_nothing() {
    let mut table = table();
    table.claims = vec![claim(R, "*"), claim(S, "foo")];
    assert_eq!(decided(&table, "foo").0, from(S));
    assert_eq!(decided(&table, "bar").0, Source::Upstream { origin: None });
}

#[test]
fn a_name_published_here_or_at_the_site_comes_from_there() {
    for publisher in [OWN, SITE] {
        let decision = table().decide(&npm("foo"), &[realm(publisher)], false, None);
        assert_eq!((decision.source, decision.ground), (from(publisher), Ground::Published));
    }
}

#[test]
fn a_followed_realm_that_publishes_without_a_claim_takes_nothing() {
    let decision = table().decide(&npm("foo"), &[realm(R)], false, None);
    assert_eq!(
        (decision.source, decision.ground),
        (Source::Upstream { origin: None }, Ground::Default)
    );
}

#[test]
fn a_published_name_that_the_upstream_is_known_to_have_is_unrouted() {
    let decision = table().decide(&npm("foo"), &[realm(SITE), realm(R)], true, None);
    let unrouted = Source::Unrouted { realms: vec![realm(SITE)], upstream: true };
    assert_eq!((decision.source, decision.ground), (unrouted, Ground::Published));
}

#[test]
fn a_name_in_both_the_own_and_the_site_realm_is_unrouted() {
    let decision = table().decide(&npm("foo"), &[realm(SITE), realm(OWN)], false, None);
    let unrouted = Source::Unrouted { realms: vec![realm(OWN), realm(SITE)], upstream: false };
    assert_eq!(decision.source, unrouted);
}

#[test]
fn a_node_without_a_site_counts_its_own_realm_once() {
    let table = Table { site: realm(OWN), ..table() };
    let decision = table.decide(&npm("foo"), &[realm(OWN), realm(OWN)], false, None);
    assert_eq!(decision.source, from(OWN));
}

#[test]
fn a_claim_outranks_a_publication_and_an_upstream_answer() {
    let mut table = table();
    table.claims = vec![claim(R, "foo")];
    let decision = table.decide(&npm("foo"), &[realm(SITE)], true, None);
    assert_eq!((decision.source, decision.ground), (from(R), Ground::Claim));
}

#[test]
fn a_pin_outranks_the_rules_and_shows_what_they_say() {
    let table = table();
    let pinned =
        table.decide(&npm("foo"), &[realm(SITE)], false, Some(&Source::Upstream { origin: None }));
    assert_eq!((pinned.source, pinned.ground), (Source::Upstream { origin: None }, Ground::Pin));
    assert_eq!(pinned.pending, Some(from(SITE)));
    let agreed = table.decide(&npm("bar"), &[], false, Some(&Source::Upstream { origin: None }));
    assert_eq!((agreed.ground, agreed.pending), (Ground::Pin, None));
}

#[test]
fn a_pin_to_the_default_waits_where_a_route_names_an_origin() {
    let mut table = table();
    let default = Source::Upstream { origin: None };
    let named = Source::from(&upstream());
    // The site's default is no route: the name stays with whatever the default is.
    table.site_rules = vec![rule("*", upstream())];
    let decision = table.decide(&npm("foo"), &[], false, Some(&default));
    assert_eq!((decision.source, decision.pending), (default.clone(), None));
    table.site_rules = vec![rule("foo", upstream())];
    let decision = table.decide(&npm("foo"), &[], false, Some(&default));
    assert_eq!((decision.source, decision.pending), (default.clone(), Some(named.clone())));
    let decision = table.decide(&npm("foo"), &[], false, Some(&named));
    assert_eq!((decision.source, decision.pending), (named.clone(), None));
    // Another origin, or none, is another place.
    table.site_rules = vec![rule("foo", upstream_at("https://other.test/"))];
    let decision = table.decide(&npm("foo"), &[], false, Some(&named));
    let other = Source::Upstream { origin: Some(origin_of("https://other.test/")) };
    assert_eq!((decision.source, decision.pending), (named.clone(), Some(other)));
    table.site_rules.clear();
    let decision = table.decide(&npm("foo"), &[], false, Some(&named));
    assert_eq!((decision.source, decision.pending), (named, Some(default)));
}

#[test]
fn the_site_says_which_upstream_is_the_default_of_a_format() {
    let mut table = table();
    assert_eq!(table.default_upstream("npm"), None);
    table.own_rules = vec![rule("*", upstream())];
    assert_eq!(table.default_upstream("npm"), None, "an own route is a route");
    table.site_rules = vec![
        rule("foo", upstream_at("https://foo.test/")),
        Rule { format: "*".into(), ..rule("*", upstream_at("https://any.test/")) },
    ];
    assert_eq!(table.default_upstream("npm"), Some(&upstream_at("https://any.test/")));
    assert_eq!(table.default_upstream("pypi"), None, "it speaks npm");
    table.site_rules.push(rule("*", upstream()));
    assert_eq!(table.default_upstream("npm"), Some(&upstream()), "the format's own goes first");
    table.site_rules.push(rule("*", upstream_at("https://rival.test/")));
    assert_eq!(table.default_upstream("npm"), None, "the site is at odds with itself");
}

#[test]
fn a_contested_or_denied_default_is_none() {
    let mut table = table();
    table.site_rules = vec![Rule { contested: true, ..rule("*", upstream()) }];
    assert_eq!(table.default_upstream("npm"), None);
    table.site_rules = vec![rule("*", RouteSource::Deny)];
    assert_eq!(table.default_upstream("npm"), None);
}

#[test]
fn an_origin_has_the_url_of_a_route_that_names_it_rightly() {
    let mut table = table();
    let origin = origin_of("https://up.test/");
    assert_eq!(table.upstream_url(&origin), None);
    let url = "https://evil.test/".to_owned();
    let lie = RouteSource::Upstream { origin, format: "npm".into(), url };
    table.own_rules = vec![rule("a*", lie.clone())];
    table.site_rules = vec![rule("@b/*", upstream_at("https://UP.test"))];
    assert_eq!(table.upstream_url(&origin), Some("https://UP.test"));
    assert_eq!(table.upstream_url(&origin_of("https://evil.test/")), None);
    table.own_rules = vec![rule("a*", upstream())];
    assert_eq!(table.upstream_url(&origin), Some("https://up.test/"), "the own rule goes first");
}

#[test]
fn an_own_route_outranks_a_pin_because_a_person_typed_it() {
    let mut table = table();
    table.own_rules = vec![rule("foo", RouteSource::Deny)];
    let decision = table.decide(&npm("foo"), &[realm(SITE)], false, Some(&from(SITE)));
    assert_eq!((decision.source, decision.ground), (Source::Deny, Ground::OwnRoute));
    assert_eq!(decision.pending, None);
}

#[test]
fn a_sites_default_upstream_takes_no_name_from_the_site() {
    let mut table = table();
    table.site_rules = vec![rule("*", upstream())];
    let published = table.decide(&npm("foo"), &[realm(SITE)], false, None);
    assert_eq!(published.source, from(SITE));
    assert_eq!(decided(&table, "bar"), (Source::Upstream { origin: None }, Ground::Default));
    table.own_rules = vec![rule("*", upstream())];
    let own = table.decide(&npm("foo"), &[realm(SITE)], false, None);
    let named = Source::Upstream { origin: Some(origin_of("https://up.test/")) };
    assert_eq!((own.source, own.ground), (named, Ground::OwnRoute));
}

fn rules(w: &World, routes: &[&Verified]) -> Vec<Rule> {
    site_rules(&w.authority(&[&w.genesis]), routes.iter().copied())
}

#[test]
fn a_site_rule_needs_k_of_the_current_roots() {
    let w = World::new();
    let by = |keys: &[&crdt::SecretKey]| w.route("foo", to(R), (0, 1), keys);
    assert!(rules(&w, &[&by(&[&w.a])]).is_empty());
    assert!(rules(&w, &[&by(&[&w.a, &w.m, &w.z])]).is_empty());
    assert_eq!(rules(&w, &[&by(&[&w.a, &w.c])]).len(), 1);
    assert_eq!(rules(&w, &[&by(&[&w.a]), &by(&[&w.b])]).len(), 1, "signatures of copies join");
}

#[test]
fn the_newest_site_rule_counts_for_each_pattern() {
    let w = World::new();
    let roots = [&w.a, &w.b];
    let old = w.route("foo", to(R), (0, 1), &roots);
    let new = w.route("foo", to(S), (0, 2), &roots);
    let other = w.route("f*", to(R), (0, 1), &roots);
    let found = rules(&w, &[&new, &old, &other, &new]);
    let sources: Vec<_> =
        found.iter().map(|rule| (rule.pattern.0.as_str(), &rule.source)).collect();
    assert_eq!(sources, [("f*", &to(R)), ("foo", &to(S))]);
}

#[test]
fn equal_counters_with_different_sources_are_contested() {
    let w = World::new();
    let roots = [&w.a, &w.b];
    let (one, two) = (w.route("foo", to(R), (0, 2), &roots), w.route("foo", to(S), (0, 2), &roots));
    let found = rules(&w, &[&one, &two]);
    assert_eq!((found[0].contested, &found[0].source), (true, &RouteSource::Deny));
    let newer = w.route("foo", to(S), (0, 3), &roots);
    assert!(!rules(&w, &[&one, &two, &newer])[0].contested);
}

#[test]
fn routes_of_another_realm_make_no_site_rule() {
    let w = World::new();
    let other = World::with(|root| root.title = "other".to_owned());
    let foreign = other.route("foo", to(R), (0, 1), &[&w.a, &w.b]);
    assert!(rules(&w, &[&foreign]).is_empty());
}

#[test]
fn a_site_rule_to_an_upstream_that_is_not_at_its_url_is_absent() {
    let w = World::new();
    let roots = [&w.a, &w.b];
    let honest = w.route("foo", upstream(), (0, 1), &roots);
    let lie = |url: &str| RouteSource::Upstream {
        origin: origin_of("https://up.test/"),
        format: "npm".to_owned(),
        url: url.to_owned(),
    };
    for url in ["https://evil.test/", "https://up.test/deeper/", "file:///etc", "", "up.test"] {
        let newer = w.route("foo", lie(url), (0, 2), &roots);
        let found = rules(&w, &[&honest, &newer]);
        assert_eq!((found.len(), &found[0].source), (1, &upstream()), "{url}");
    }
    let spelt = w.route("foo", lie("HTTPS://Up.test:443"), (0, 2), &roots);
    let found = rules(&w, &[&honest, &spelt]);
    assert_eq!(found[0].counter.n, 2, "another spelling of the same URL is the same origin");
}
