//! The automerge document of a package: what it is a function of. What the library would do with
//! the changes of a peer: see `red_automerge`.

use crdt::document::Document;
use crdt::statement::Counter;
use crdt::{Body, SecretKey, Verified};
use proptest::prelude::*;

use crate::network::{Realm, release_body};

/// Releases, an equivocation, a tag, a yank and a withdrawal of one package.
fn package() -> Vec<Verified> {
    let realm = Realm::new(1);
    let mut all: Vec<Verified> = (0..12).map(|n| realm.release("a", &format!("1.0.{n}"))).collect();
    // The same version with other bytes.
    let mut other = release_body("other", "1.0.0");
    if let Body::Release(release) = &mut other {
        release.claimed_time = 77;
    }
    all.push(realm.statement("npm", "a", other));
    let release = all[0].statement().id();
    let counter = Counter { epoch: 0, n: 1 };
    let reason = String::new();
    for body in [
        Body::Tag { tag: "latest".to_owned(), release: Some(release), counter },
        Body::Yank { release, counter, reason: reason.clone() },
        Body::Unyank { release, counter, reason: reason.clone() },
        Body::Withdraw { release, reason },
    ] {
        all.push(realm.statement("npm", "a", body));
    }
    all
}

fn built(statements: &[Verified]) -> Document {
    let mut document = Document::new();
    document.extend(statements).unwrap();
    document
}

#[test]
fn concurrent_values_of_one_key_stand_side_by_side() {
    let all = package();
    let values = built(&all).values();
    assert_eq!(values.len(), all.len());
    let rivals: Vec<_> = values.iter().filter(|(key, ..)| key == "release/1.0.0").collect();
    assert_eq!(rivals.len(), 2);
    for (key, payload, id) in &values {
        let kind = key.split('/').next().unwrap();
        let statement = crdt::Statement::decode(kind, payload).unwrap();
        assert_eq!(statement.id(), *id, "key and payload give the id again");
    }
    let first = all[0].statement().id();
    for key in [
        "tag/latest".to_owned(),
        format!("yank/{first}"),
        format!("unyank/{first}"),
        format!("withdraw/{first}"),
    ] {
        assert_eq!(values.iter().filter(|(held, ..)| *held == key).count(), 1, "{key}");
    }
}

#[test]
fn heads_do_not_depend_on_signatures() {
    let all = package();
    let second = SecretKey::from_seed(&[8; 32]);
    let endorsed: Vec<Verified> =
        all.iter().map(|held| Verified::sign(held.statement().clone(), &[&second])).collect();
    let mut document = built(&all);
    assert_eq!(document.heads(), built(&endorsed).heads());
    assert_eq!(document.extend(&endorsed).unwrap(), 0);
}

#[test]
fn authority_stays_out_of_the_document() {
    let realm = Realm::new(1);
    let mut document = Document::new();
    assert_eq!(document.extend([&realm.genesis]).unwrap(), 0);
    assert!(document.values().is_empty());
}

#[test]
fn a_cache_that_does_not_load_is_an_error() {
    let mut document = built(&package());
    let saved = document.save();
    assert!(Document::load(&[]).is_err());
    assert!(Document::load(b"not a document").is_err());
    assert!(Document::load(&saved[..saved.len() / 2]).is_err());
    // A document that statements did not make is no cache of ours.
    let mut foreign = automerge::AutoCommit::new();
    automerge::transaction::Transactable::put(&mut foreign, automerge::ROOT, "release/1", 5)
        .unwrap();
    assert!(Document::load(&foreign.save()).is_err());
}

proptest! {
    #![proptest_config(crate::network::cases(24))]

    #[test]
    fn equal_sets_give_equal_heads(
        shuffled in Just(package()).prop_shuffle(), split in 0_usize..17, by_one in any::<bool>(),
    ) {
        let mut whole = built(&package());
        let mut parts = built(&shuffled[..split]);
        let mut parts = Document::load(&parts.save()).unwrap();
        if by_one {
            for held in &shuffled {
                parts.extend([held]).unwrap();
            }
        } else {
            prop_assert_eq!(parts.extend(&shuffled).unwrap(), shuffled.len() - split);
        }
        prop_assert_eq!(parts.heads(), whole.heads());
        prop_assert_eq!(parts.values(), whole.values());
        let mut again = Document::load(&parts.save()).unwrap();
        prop_assert_eq!(again.heads(), whole.heads());
        // Built at once, the saved bytes are equal too.
        prop_assert_eq!(built(&shuffled).save(), whole.save());
    }

    #[test]
    fn a_damaged_cache_never_panics(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut saved = built(&package()).save();
        let place = place.index(saved.len());
        saved[place] = byte;
        if let Ok(mut loaded) = Document::load(&saved) {
            let _ = loaded.values();
            let _ = loaded.save();
        }
    }
}
