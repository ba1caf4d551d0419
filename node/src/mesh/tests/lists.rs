//! The list of a seal travels with the realm.

use crdt::statement::IdList;

use super::*;

/// A seal whose list is a blob, and a release that hangs on it alone: whatever `keep` starts must
/// bring the list, and it counts then.
pub(crate) async fn the_list_of_a_seal_comes_with_the_realm<K>(keep: impl FnOnce(Store, Mesh) -> K)
where
    K: Future<Output = ()> + Send + 'static,
{
    let (owner, follower) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    owner.own(&realm).await;
    let release = realm.release("drum", "1.0.0", b"drum");
    // By nobody whom the realm knows.
    let stranger = SecretKey::from_seed(&[93; 32]);
    let release = Verified::sign(release.statement().clone(), &[&stranger]);
    let filler = (0..501_u64).map(|n| StatementId(Digest::of(&n.to_le_bytes())));
    let ids = filler.chain([release.statement().id()]).collect();
    let (list, content) = IdList::of(ids).expect("not too many");
    let content = content.expect("too many for a statement");
    let seal = Statement::new(realm.id, None, Body::Seal { releases: list }).expect("is one");
    let seal = Verified::sign(seal, &[&realm.key]);
    owner.admit(&release).await;
    owner.admit(&seal).await;
    owner.keep(&content).await;
    follower.follow(&realm, FollowKind::Followed).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(keep(follower.store.clone(), follower.mesh.clone()));
    follower.meet(&owner).await;
    follower.gets(&seal).await;
    let package = release.statement().package().expect("of a package").clone();
    eventually("what the list seals stands", async || {
        follower.store.package(&realm.id, &package).expect("reads").is_some()
    })
    .await;
    assert!(follower.store.missing_lists(&realm.id).expect("reads").is_empty());
}
