//! What one statement costs before a store sees it: made, signed, read, verified.

use crdt::{Envelope, Statement};

use crate::figures::{Options, Report, median, timed};
use crate::made::Realm;

/// Statements a round.
const COUNT: u64 = 1_000;

/// Sign, verify, decode, each a second of one core.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    let rounds = options.size(1, 7, 15);
    let realm = Realm::new(1);
    let statements: Vec<Statement> = (0..COUNT).map(|number| realm.statement(number, 0)).collect();
    let signed: Vec<_> = (0..COUNT).map(|number| realm.release(number, 0)).collect();
    let wire: Vec<Vec<u8>> = signed.iter().map(|one| one.envelope().encode()).collect();
    let bytes = wire.iter().map(Vec::len).sum::<usize>() as f64 / COUNT as f64;
    report.line("statement: envelope of a release with inline meta", (bytes, "bytes"), &[]);
    let mut each = |name: &str, work: &dyn Fn()| {
        let taken = median((0..rounds).map(|_| timed(work).0).collect());
        let name = format!("statement: {name}");
        report.line(&name, (COUNT as f64 / taken, "a second"), &[]);
        report.line(&format!("{name}, each"), (taken / COUNT as f64 * 1e6, "CPU-µs"), &[]);
    };
    each("sign", &|| {
        for one in &statements {
            std::hint::black_box(realm.key.sign(one.kind(), one.payload()));
        }
    });
    each("verify an envelope of one signature", &|| {
        for one in &signed {
            let verified = one.envelope().clone().verify();
            std::hint::black_box(verified.expect("it was signed"));
        }
    });
    each("canonical decode of a payload", &|| {
        for one in &statements {
            let read = Statement::decode(one.kind(), one.payload());
            std::hint::black_box(read.expect("it was encoded"));
        }
    });
    each("canonical decode of an envelope", &|| {
        for one in &wire {
            std::hint::black_box(Envelope::decode(one).expect("it was encoded"));
        }
    });
    each("encode an envelope", &|| {
        for one in &signed {
            std::hint::black_box(one.envelope().encode());
        }
    });
}
