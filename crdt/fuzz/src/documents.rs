//! Statements in an automerge document: whatever they say, the document is one function of their
//! set, and what is saved loads again.
//!
//! A panic within automerge ends the fuzzer although `document` would catch it: no input of ours
//! may bring it so far.

use crdt::document::Document;
use crdt::{Body, Statement, StatementId, Verified};

use super::draw::Draw;
use super::world::{KINDS, WORLD, World};

/// Statements in one document; so many more would only be slower.
const STATEMENTS_MAX: usize = 24;

/// A pool of statements of one package: those of the world with bytes changed, or made up.
pub fn document(data: &[u8]) -> bool {
    let mut draw = Draw::new(data);
    let mut pool = Vec::new();
    while !draw.is_empty() && pool.len() < STATEMENTS_MAX {
        pool.extend(changed(&WORLD, &mut draw).map(|one| WORLD.signed_by_all(one)));
    }
    holds(&pool.iter().collect::<Vec<_>>());
    !pool.is_empty()
}

/// A statement of the world with up to seven of its bytes changed, if it is still one.
fn changed(world: &World, draw: &mut Draw<'_>) -> Option<Statement> {
    let template = draw.pick(&world.statements).statement();
    let mut payload = template.payload().to_vec();
    let head = draw.byte();
    for _ in 0..head % 8 {
        // Beyond version and realm, which would only move it to where no document is.
        let place = 38 + draw.below(payload.len() - 38);
        payload[place] = draw.byte();
    }
    let kind = if head & 0x80 == 0 { template.kind() } else { draw.pick(&KINDS) };
    Statement::decode(kind, &payload).ok()
}

/// At once, one by one and backwards: one document, which is read again as it was saved.
pub fn holds(statements: &[&Verified]) {
    let mut at_once = Document::new();
    let count = at_once.extend(statements.iter().copied()).expect("automerge takes statements");
    let mut one_by_one = Document::new();
    for one in statements.iter().rev() {
        one_by_one.extend([*one]).expect("automerge takes a statement");
    }
    assert_eq!(at_once.heads(), one_by_one.heads(), "the order of arrival decides the heads");
    assert_eq!(at_once.heads().len(), count, "a change depends on another");
    let values = at_once.values();
    assert_eq!(values, one_by_one.values());
    assert_eq!(values.len(), count, "a value was lost");
    for one in statements {
        assert_eq!(is_in(one, &values), belongs(one.statement()), "{:?}", one.statement());
    }
    let saved = at_once.save();
    assert_eq!(count == 0, one_by_one.heads().is_empty());
    let mut loaded = Document::load(&saved).expect("what was saved loads");
    assert_eq!((loaded.heads(), loaded.values()), (at_once.heads(), values));
    assert_eq!(loaded.extend(statements.iter().copied()), Ok(0), "it forgot what it holds");
}

fn is_in(one: &Verified, values: &[(String, Vec<u8>, StatementId)]) -> bool {
    let (id, payload) = (one.statement().id(), one.statement().payload());
    values.iter().any(|(_, value, by)| *by == id && value == payload)
}

fn belongs(statement: &Statement) -> bool {
    let of_package = matches!(
        statement.body(),
        Body::Release(_)
            | Body::Withdraw { .. }
            | Body::Yank { .. }
            | Body::Unyank { .. }
            | Body::Tag { .. }
    );
    of_package && statement.package().is_some()
}
