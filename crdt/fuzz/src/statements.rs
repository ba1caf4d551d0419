//! Bytes that claim to be a statement or an envelope: the one canonical form, or refused; and what
//! is read of them is the same in any order.

use crdt::derive::{self, Pins};
use crdt::realm::{self, ChainStatus};
use crdt::routes::{self, Table};
use crdt::statement::{MAX_COUNTER, MAX_PAYLOAD_BYTES, MAX_SIGNATURES};
use crdt::{Authority, Body, Collection, Envelope, PackageId, RealmId, Statement, Verified};

use super::documents;
use super::draw::Draw;
use super::world::{KINDS, WORLD, World};

/// A type (one byte chooses) and a payload.
pub fn statement(data: &[u8]) -> bool {
    let mut draw = Draw::new(data);
    let kind = draw.pick(&KINDS);
    let payload = draw.rest();
    let Ok(read) = Statement::decode(kind, payload) else { return false };
    is_canonical(&read, kind, payload);
    let signed = WORLD.signed_by_all(read);
    judged(&WORLD, &signed);
    documents::holds(&[&signed]);
    true
}

/// What was decoded says exactly what the bytes said, and nothing else has its id.
fn is_canonical(read: &Statement, kind: &str, payload: &[u8]) {
    assert_eq!((read.kind(), read.payload()), (kind, payload));
    assert!(payload.len() <= MAX_PAYLOAD_BYTES);
    let again = match read.body() {
        Body::Unknown => Statement::decode(kind, payload),
        Body::Root(root) if root.epoch == 0 => Statement::genesis(root.clone()),
        body => Statement::new(read.realm(), read.package().cloned(), body.clone()),
    };
    assert_eq!(again.as_ref(), Ok(read), "written again it is another");
    assert_eq!(read.collection().realm(), read.realm());
    let text = read.realm().to_string();
    assert_eq!(text.parse::<RealmId>().as_ref(), Ok(&read.realm()));
    if let Some(receipt) = read.receipt() {
        assert_eq!(receipt.rank(read.id()).is_some(), receipt.n <= MAX_COUNTER);
        assert!(matches!(read.collection(), Collection::Receipts(..)));
    }
    let other = if kind == "later" { "latest" } else { "later" };
    if let Ok(other) = Statement::decode(other, payload) {
        assert_ne!(other.id(), read.id(), "two types share an id");
    }
}

/// Chain, package and routes come out equal forwards, backwards and doubled.
fn judged(world: &World, new: &Verified) {
    let forwards: Vec<&Verified> = world.statements.iter().chain([new]).collect();
    let backwards: Vec<&Verified> = forwards.iter().rev().copied().chain([new]).collect();
    for realm in [world.realm, new.statement().realm()] {
        let chain = chain_of(realm, &forwards);
        assert_eq!(chain, chain_of(realm, &backwards), "the order of arrival decides the chain");
        for package in new.statement().package().into_iter().chain([&super::world::package()]) {
            same_view(&chain, package, [&forwards, &backwards]);
        }
        let rules = routes::site_rules(&chain, forwards.iter().copied());
        assert_eq!(rules, routes::site_rules(&chain, backwards.iter().copied()));
        let table = Table {
            own: realm,
            site: realm,
            own_rules: Vec::new(),
            site_rules: rules,
            claims: chain.claims().into_iter().map(|claim| (realm, claim)).collect(),
        };
        for name in ["x", "y", "@acme/a"] {
            let package = PackageId::new("npm", name);
            assert_eq!(
                table.decide(&package, &[realm], false, None),
                table.decide(&package, &[realm], false, None)
            );
        }
    }
}

fn chain_of(realm: RealmId, statements: &[&Verified]) -> Authority {
    let chain = realm::authority(realm, statements.iter().copied(), &[]);
    let has_head = !matches!(chain.status, ChainStatus::Unknown | ChainStatus::Invalid);
    assert_eq!(chain.head.is_some(), has_head);
    for grant in chain.matching("publish", "npm", "x") {
        assert!(grant.pattern.matches("x"), "a grant reaches further than its pattern");
    }
    chain
}

fn same_view(chain: &Authority, package: &PackageId, [one, two]: [&[&Verified]; 2]) {
    let pins = Pins::new();
    let view = derive::package(chain, package, one.iter().copied(), &pins);
    assert_eq!(view, derive::package(chain, package, two.iter().copied(), &pins));
    for (tag, version) in &view.tags {
        assert!(view.versions.contains_key(version), "the tag {tag} points at nothing");
    }
}

/// An envelope with its signatures.
pub fn envelope(data: &[u8]) -> bool {
    let Ok(read) = Envelope::decode(data) else { return false };
    assert_eq!(read.encode(), data, "two encodings of one envelope");
    assert!((1..=MAX_SIGNATURES).contains(&read.signatures.len()));
    let (statement, count) = (read.statement.clone(), read.signatures.len());
    let honest = WORLD.statements.iter().find(|held| held.statement() == &statement);
    let Ok(verified) = read.clone().verify() else { return true };
    assert_eq!(verified.items().count(), count);
    // Nobody holds another key than these six, and they sign one way.
    for (key, signature) in verified.signatures() {
        let known = WORLD.keys.iter().find(|known| known.public() == *key);
        let signed = known.map(|known| known.sign(statement.kind(), statement.payload()));
        assert_eq!(signed.as_ref(), Some(signature), "a signature out of nowhere");
    }
    let mut joined = honest.cloned().unwrap_or_else(|| verified.clone());
    joined.merge(&verified);
    let mut other_way = verified.clone();
    other_way.merge(honest.unwrap_or(&verified));
    assert_eq!(joined, other_way, "the order of arrival decides the signatures");
    true
}
