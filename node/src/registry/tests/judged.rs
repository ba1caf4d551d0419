//! What stands, what falls and what a person is told: need, endorsements, revocations, seals.

use crdt::statement::IdList;
use crdt::{PublicKey, StatementId};

use super::*;

/// Two nodes of one realm (key 60) whose grants ask for so many signatures.
async fn two_publishers(need: u32) -> (Node, Node, RealmId, Verified) {
    let (m, n) = (Node::start(1).await, Node::start(2).await);
    let keys = [key(101), key(102)];
    let grants = keys.iter().map(|key| Grant { need, ..publish_grant("*", key) }).collect();
    let genesis = genesis(&key(60), grants);
    let realm = genesis.statement().realm();
    for node in [&m, &n] {
        let follow = node.registry.follow(realm, FollowKind::Site, Vec::new(), Vec::new());
        follow.await.unwrap();
        node.registry.admit(vec![genesis.clone()]).await.unwrap();
    }
    (m, n, realm, genesis)
}

/// What one node holds of a package, as sync would bring it to the other.
async fn tell(from: &Node, to: &Node, realm: RealmId) {
    let statements = from.registry.store().package_statements(&realm, &strict("pad")).unwrap();
    let _known = to.registry.admit(statements).await;
}

async fn roots_say(node: &Node, realm: RealmId, body: Body) -> StatementId {
    let signed = Verified::sign(Statement::new(realm, None, body).unwrap(), &[&key(60)]);
    let id = signed.statement().id();
    node.registry.admit(vec![signed]).await.unwrap();
    id
}

fn revoke(key: PublicKey, keep: Vec<StatementId>) -> Body {
    Body::Revoke { key, keep: IdList::Inline(keep), reason: "stolen".to_owned() }
}

async fn notes(node: &Node) -> String {
    let info = node.registry.info(&strict("pad")).await.unwrap();
    info.fallen
        .into_iter()
        .map(|fallen| fallen.note)
        .chain(info.notes)
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn a_release_of_two_publishers_waits_for_the_second() {
    let (m, n, realm, _) = two_publishers(2).await;
    let first = m.publish("pad 1.0.0 x").await.unwrap();
    assert_eq!((first.realm, first.new, first.needs), (realm, true, 1));
    assert!(m.read("pad", "1.0.0").await.is_err(), "it does not stand yet");
    assert_eq!(m.registry.formats_of("pad").await.unwrap(), ["strict"], "found by its name");
    assert!(notes(&m).await.contains("1.0.0 needs 1 more signature (2 in all)"));
    assert!(notes(&m).await.contains("griot endorse pad@1.0.0 --format strict"));
    assert_eq!(m.registry.store().pins(&realm, &strict("pad")).unwrap().len(), 0);
    let again = m.publish("pad 1.0.0 x").await.unwrap();
    assert_eq!((again.release, again.needs), (first.release, 1), "one key is one signature");
    assert_eq!(m.registry.store().pins(&realm, &strict("pad")).unwrap().len(), 0);
    tell(&m, &n, realm).await;
    let endorsed = n.registry.endorse(&admin(), &strict("pad"), "1.0.0").await.unwrap();
    assert_eq!((endorsed.releases, endorsed.lacking), (vec![first.release], Vec::new()));
    let again = n.registry.endorse(&admin(), &strict("pad"), "1.0.0").await;
    assert_eq!(outcome(again), Outcome::Conflict);
    tell(&n, &m, realm).await;
    assert_eq!(m.text("pad", "1.0.0").await.unwrap(), "pad 1.0.0 x");
}

#[tokio::test]
async fn the_same_bytes_by_the_second_publisher_are_the_second_signature() {
    let (m, n, realm, _) = two_publishers(2).await;
    let first = m.publish("pad 1.0.0 x").await.unwrap();
    tell(&m, &n, realm).await;
    let second = n.publish("pad 1.0.0 x").await.unwrap();
    assert_eq!((second.release, second.needs), (first.release, 0));
    assert_eq!(n.text("pad", "1.0.0").await.unwrap(), "pad 1.0.0 x");
}

#[tokio::test]
async fn a_revoked_keys_release_falls_with_the_reason_until_it_is_endorsed() {
    let (m, n, realm, _) = two_publishers(1).await;
    let kept = m.publish("pad 1.0.0 x").await.unwrap();
    m.publish("pad 1.1.0 y").await.unwrap();
    tell(&m, &n, realm).await;
    let stolen = m.registry.publisher_key();
    roots_say(&n, realm, revoke(stolen, vec![kept.release])).await;
    assert_eq!(n.metadata("pad").await.unwrap().view.versions.len(), 1);
    assert!(notes(&n).await.contains("1.1.0 was signed by a revoked key"));
    let refused = n.read("pad", "1.1.0").await.unwrap_err();
    assert!(refused.message.contains("revoked key"), "{}", refused.message);
    n.registry.endorse(&admin(), &strict("pad"), "1.1.0").await.unwrap();
    assert_eq!(n.metadata("pad").await.unwrap().view.versions.len(), 2);
    roots_say(&m, realm, revoke(stolen, vec![kept.release])).await;
    assert_eq!(
        outcome(m.publish("pad 1.2.0 z").await),
        Outcome::Forbidden,
        "its own key is revoked"
    );
    assert_eq!(m.text("pad", "1.1.0").await.unwrap(), "pad 1.1.0 y", "who has it keeps it");
}

#[tokio::test]
async fn a_dispute_names_file_signers_and_what_is_used_instead() {
    let (m, n, realm, _) = two_publishers(1).await;
    let neutral = Node::start(3).await;
    let follow = neutral.registry.follow(realm, FollowKind::Site, Vec::new(), Vec::new());
    follow.await.unwrap();
    let roots = m.registry.store().authority_statements(&realm).unwrap();
    neutral.registry.admit(roots).await.unwrap();
    m.publish("pad 1.0.0 x").await.unwrap();
    m.publish("pad 1.1.0 one").await.unwrap();
    n.publish("pad 1.1.0 two").await.unwrap();
    tell(&m, &neutral, realm).await;
    tell(&n, &neutral, realm).await;
    let info = neutral.registry.info(&strict("pad")).await.unwrap();
    let disputed = info.versions.iter().find(|row| row.state == "disputed").unwrap();
    let note = disputed.note.as_ref().unwrap();
    for part in
        ["pad-1.1.0.txt was signed by", " and by ", "Using 1.0.0.", "griot accept pad@1.1.0"]
    {
        assert!(note.contains(part), "{part}: {note}");
    }
    tell(&n, &m, realm).await;
    let kept = m.registry.info(&strict("pad")).await.unwrap();
    let kept = kept.versions.iter().find(|row| row.version == "1.1.0").unwrap();
    assert_eq!(kept.state, "disputed-pinned");
    assert!(kept.note.as_ref().unwrap().contains("keeping the one you have"));
    let theirs = n.registry.store().package_statements(&realm, &strict("pad")).unwrap();
    let theirs = theirs.iter().map(|one| one.statement().id()).next().unwrap();
    roots_say(&neutral, realm, Body::Seal { releases: IdList::Inline(vec![theirs]) }).await;
    assert_eq!(neutral.text_of_view("pad", "1.1.0").await, "ok", "the sealed one");
}

impl Node {
    async fn text_of_view(&self, name: &str, version: &str) -> &'static str {
        let view = self.metadata(name).await.unwrap().view;
        match view.versions[version].state {
            SlotState::Ok => "ok",
            SlotState::Disputed => "disputed",
            _ => "pinned",
        }
    }
}

#[tokio::test]
async fn a_fork_and_a_recovery_are_told_with_what_to_type() {
    let (m, _, realm, genesis) = two_publishers(1).await;
    m.publish("pad 1.0.0 x").await.unwrap();
    let Body::Root(root) = genesis.statement().body().clone() else { panic!("not a root") };
    for title in ["one", "two"] {
        let next = Root {
            epoch: 1,
            prev: Some(genesis.statement().id()),
            title: title.to_owned(),
            ..root.clone()
        };
        roots_say(&m, realm, Body::Root(next)).await;
    }
    let why = m.registry.why(&strict("pad")).await.unwrap().join("\n");
    assert!(why.contains("signed several successors"), "{why}");
    assert!(why.contains("stays on the one"), "{why}");
    assert_eq!(m.text("pad", "1.0.0").await.unwrap(), "pad 1.0.0 x", "releases go on");
}
