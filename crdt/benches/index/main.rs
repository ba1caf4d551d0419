//! The index without a disk: `cargo bench -p griot-crdt`, one line a figure.
//!
//! Sections: `statement`, `derive`, `sketch`, `session`, `catch-up`; those that are named run, all
//! if none is. `-- --full` takes the sizes of the promises (a million ids, a million statements),
//! `-- --json` prints an object a line. What a store costs is measured in `node/benches/store`.
//!
//! Source: index.md sections 4, 6 and 7, DESIGN.md section 9.

#[path = "../figures.rs"]
mod figures;
#[path = "../made.rs"]
mod made;

mod derive;
mod link;
mod negentropy;
mod session;
mod shelf;
mod sketch;
mod statement;

use figures::{Options, Report};

/// A section: its name, and what it measures.
type Section = (&'static str, fn(&Options, &mut Report));

const SECTIONS: [Section; 5] = [
    ("statement", statement::measure),
    ("derive", derive::measure),
    ("sketch", sketch::measure),
    ("session", session::measure),
    ("catch-up", session::catch_up),
];

fn main() -> Result<(), String> {
    let options = Options::read(std::env::args())?;
    let mut report = Report::begin("index", &options);
    for (name, measure) in SECTIONS {
        if options.wants(name) {
            measure(&options, &mut report);
        }
    }
    report.end();
    Ok(())
}
