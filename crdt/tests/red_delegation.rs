//! 17 of the red team's list where a grant names another realm: it ends, and widens nothing.

use std::collections::BTreeSet;

use crdt::derive::{self, AllPins};
use crdt::realm::{Lists, MAX_DELEGATION_DEPTH};
use crdt::statement::{Grant, Grantee};
use crdt::{PackageId, PublicKey, RealmId, SecretKey, Verified};

use crate::world::{H1, World, grant, key, publish, x};

/// A realm that grants this.
fn team(title: &str, grants: Vec<Grant>) -> World {
    World::with(|root| (root.title, root.grants) = (title.to_owned(), grants))
}

fn to(pattern: &str, realm: RealmId) -> Grant {
    grant("publish", pattern, Grantee::Realm(realm))
}

/// Who of these keys can make a release of the package stand in the realm.
fn can(of: &World, said: &[&Verified], package: &str, keys: &[&SecretKey]) -> BTreeSet<PublicKey> {
    let package = PackageId::new("pypi", package);
    let may = |key: &&&SecretKey| {
        let body =
            crdt::Body::Release(crate::world::release("1.0", vec![crate::world::file("f", H1)]));
        let one = of.sign(Some(package.clone()), body, &[key]);
        let all: Vec<Verified> = said.iter().copied().chain([&one]).cloned().collect();
        let view = derive::realm(&all, of.realm, &AllPins::default(), &Lists::new());
        view.packages.get(&package).is_some_and(|package| !package.versions.is_empty())
    };
    keys.iter().filter(may).map(|key| key.public()).collect()
}

fn only(keys: &[&SecretKey]) -> BTreeSet<PublicKey> {
    keys.iter().map(|key| key.public()).collect()
}

#[test]
fn red_17_a_circle_of_realms_ends_and_adds_nobody() {
    let (m, n, z) = (key(6), key(7), key(8));
    let (one, two) = (team("one", vec![publish("*", &m)]), team("two", vec![publish("*", &n)]));
    let to_two =
        one.successor(&one.genesis, &[&one.a, &one.b], |root| root.grants.push(to("*", two.realm)));
    let to_one =
        two.successor(&two.genesis, &[&two.a, &two.b], |root| root.grants.push(to("*", one.realm)));
    let said = [&one.genesis, &two.genesis, &to_two, &to_one];
    for realm in [&one, &two] {
        assert_eq!(can(realm, &said, "x", &[&m, &n, &z]), only(&[&m, &n]));
    }
}

#[test]
fn red_17_ten_realms_deep_the_fourth_is_not_reached() {
    let keys: Vec<SecretKey> = (30..41).map(key).collect();
    let mut chain = vec![team("10", vec![publish("*", &keys[10])])];
    for depth in (0..10).rev() {
        let below = chain.last().unwrap().realm;
        chain.push(team(&depth.to_string(), vec![publish("*", &keys[depth]), to("*", below)]));
    }
    let said: Vec<&Verified> = chain.iter().map(|realm| &realm.genesis).collect();
    let all: Vec<&SecretKey> = keys.iter().collect();
    let reached: Vec<&SecretKey> = keys[..=MAX_DELEGATION_DEPTH].iter().collect();
    assert_eq!(can(chain.last().unwrap(), &said, "x", &all), only(&reached));
}

#[test]
fn red_17_a_delegate_that_claims_everything_gets_what_it_was_given() {
    let (m, n, z) = (key(6), key(7), key(8));
    let eager =
        team("eager", vec![publish("*", &z), grant("admin", "*", Grantee::Key(n.public()))]);
    let company = team("company", vec![publish("*", &m), to("team-*", eager.realm)]);
    let said = [&company.genesis, &eager.genesis];
    let all = [&m, &n, &z];
    assert_eq!(can(&company, &said, "x", &all), only(&[&m]));
    assert_eq!(can(&company, &said, "team-a", &all), only(&[&m, &z]));
    // And no more than it gives its own: the patterns of both must match.
    let narrow = team("narrow", vec![publish("team-b", &z)]);
    let company = team("company", vec![to("team-*", narrow.realm)]);
    let said = [&company.genesis, &narrow.genesis];
    assert_eq!(can(&company, &said, "team-a", &all), only(&[]));
    assert_eq!(can(&company, &said, "team-b", &all), only(&[&z]));
}

#[test]
fn red_17_a_delegates_low_need_and_exclusive_grants_change_nothing_above() {
    let (m, z) = (key(6), key(8));
    let mut alone = publish("*", &z);
    alone.exclusive = true;
    let team_realm = team("team", vec![alone]);
    let mut strict = to("*", team_realm.realm);
    strict.need = 2;
    let company = team("company", vec![publish("*", &m), strict]);
    let said = [&company.genesis, &team_realm.genesis];
    assert_eq!(can(&company, &said, "x", &[&m, &z]), only(&[]), "two are needed, whoever they are");
    let both = company.release("1.0", H1, &[&m, &z]);
    let all: Vec<Verified> = said.into_iter().chain([&both]).cloned().collect();
    let view = derive::realm(&all, company.realm, &AllPins::default(), &Lists::new());
    assert_eq!(view.packages[&x()].versions.len(), 1, "the exclusive one keeps nobody out above");
}

#[test]
fn red_17_a_realm_that_is_not_held_or_has_forked_away_yields_nobody() {
    let (m, z) = (key(6), key(8));
    let other = team("other", vec![publish("*", &z)]);
    let company = team("company", vec![publish("*", &m), to("*", other.realm)]);
    assert_eq!(can(&company, &[&company.genesis], "x", &[&m, &z]), only(&[&m]));
    let unsigned = Verified::sign(other.genesis.statement().clone(), &[&other.a]);
    let said = [&company.genesis, &unsigned];
    assert_eq!(can(&company, &said, "x", &[&m, &z]), only(&[&m]), "a genesis by a minority");
    let said = [&company.genesis, &other.genesis];
    assert_eq!(can(&company, &said, "x", &[&m, &z]), only(&[&m, &z]));
}

#[test]
fn red_17_a_role_for_a_realm_that_is_not_publish_lends_no_names() {
    let (m, z) = (key(6), key(8));
    let other = team("other", vec![publish("*", &z)]);
    let roles = ["owner", "mirror", "admin", "beat", "member", "read"];
    let mut grants: Vec<Grant> =
        roles.map(|role| grant(role, "*", Grantee::Realm(other.realm))).to_vec();
    grants.push(publish("*", &m));
    let company = team("company", grants);
    let said = [&company.genesis, &other.genesis];
    assert_eq!(can(&company, &said, "x", &[&m, &z]), only(&[&m]));
}
