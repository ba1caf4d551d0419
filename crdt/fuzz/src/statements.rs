//! Bytes that claim to be a statement or an envelope: the one canonical form, or refused; and what
//! is read of them is the same in any order.

use crdt::derive::{self, AllPins, RealmView};
use crdt::realm::{ChainStatus, Lists};
use crdt::routes::{self, Rule, Table};
use crdt::statement::{IdList, MAX_COUNTER, MAX_PAYLOAD_BYTES, MAX_SIGNATURES};
use crdt::{Authority, Body, Collection, Envelope, PackageId, RealmId, Statement, Verified};

use super::documents;
use super::draw::Draw;
use super::world::{KINDS, WORLD, World};

/// A type (one byte chooses) and a payload.
pub fn statement(data: &[u8]) -> bool {
    let mut draw = Draw::new(data);
    let kind = draw.pick(&KINDS);
    let payload = draw.rest();
    list(payload);
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
    let latest = matches!(read.collection(), Collection::Receipts(..) | Collection::Beats(_));
    assert_eq!(read.subject().is_some(), latest, "its collection keeps the newest");
    let n = match read.body() {
        Body::Receipt(receipt) => Some(receipt.n),
        Body::Beat(beat) => Some(beat.counter.n),
        _ => None,
    };
    assert_eq!(read.rank().is_some(), n.is_some_and(|n| n <= MAX_COUNTER));
    let other = if kind == "later" { "latest" } else { "later" };
    if let Ok(other) = Statement::decode(other, payload) {
        assert_ne!(other.id(), read.id(), "two types share an id");
    }
}

/// Chain, packages and routes come out equal forwards, backwards and doubled.
fn judged(world: &World, new: &Verified) {
    let forwards: Vec<Verified> = world.statements.iter().chain([new]).cloned().collect();
    let backwards: Vec<Verified> = forwards.iter().rev().chain([new]).cloned().collect();
    for realm in [world.realm, new.statement().realm()] {
        let view = derive::realm(&forwards, realm, &AllPins::default(), &Lists::new());
        let other_way = derive::realm(&backwards, realm, &AllPins::default(), &Lists::new());
        assert_eq!(view, other_way, "the order of arrival decides the view");
        is_sound(&view);
        let rules = routes::site_rules(&view.authority, &forwards);
        assert_eq!(rules, routes::site_rules(&view.authority, &backwards));
        decides(realm, &view.authority, rules);
    }
}

fn is_sound(view: &RealmView) {
    let chain = &view.authority;
    let has_head = !matches!(chain.status, ChainStatus::Unknown | ChainStatus::Invalid);
    assert_eq!(chain.head.is_some(), has_head);
    assert_eq!(chain.epochs.len(), chain.path.len());
    for (name, package) in &view.packages {
        for grant in chain.matching("publish", &name.format, &name.name) {
            assert!(grant.pattern.matches(&name.name), "a grant reaches beyond its pattern");
        }
        for (tag, version) in &package.tags {
            assert!(package.versions.contains_key(version), "the tag {tag} points at nothing");
        }
        assert!(has_head || package.versions.is_empty(), "a version that nobody may publish");
    }
}

fn decides(realm: RealmId, chain: &Authority, site_rules: Vec<Rule>) {
    let claims = chain.claims().into_iter().map(|claim| (realm, claim)).collect();
    let table = Table { own: realm, site: realm, own_rules: Vec::new(), site_rules, claims };
    for name in ["x", "y", "@acme/a"] {
        let package = PackageId::new("npm", name);
        let decision = table.decide(&package, &[realm], false, None);
        let pinned = table.decide(&package, &[realm], true, Some(&decision.source));
        assert_eq!(pinned.source, decision.source, "a pin was moved");
    }
}

/// The blob of a list: ascending ids, or no list.
fn list(bytes: &[u8]) {
    let Ok(ids) = IdList::read(bytes) else { return };
    let (again, blob) = IdList::of(ids.clone()).expect("no more ids than bytes");
    let written = blob.unwrap_or_else(|| ids.iter().flat_map(|id| *id.0.as_bytes()).collect());
    assert_eq!(written, bytes, "a list has two encodings");
    assert_eq!(again.blob().is_none(), ids.len() <= 500);
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
