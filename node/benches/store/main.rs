//! The index on a disk: `cargo bench -p griot-node --bench store`, one line a figure.
//!
//! Sections: `realm` (admission as a realm grows; the file, a node's start and memory when it is
//! large), `authority` (revocations of keys that have signed much; with `realm`, new roots when it
//! is large), `package` (admission as one package grows). All run unless some are named. `--
//! --full` grows the realm to a million statements, which takes half an hour; `-- --json` prints an
//! object a line; `-- --binary PATH` names the node to start, else it is the `griot` of the same
//! build, if there is one.
//!
//! Bytes written are what the process gave to the system to write, whatever came of it. Signatures
//! are not checked here: a store admits what was verified, and what that costs is measured in
//! `crdt/benches/index`. The home lies in the system's folder for temporary files.
//!
//! Source: index.md sections 2.4 and 4.2, DESIGN.md section 9.

#[path = "../../../crdt/benches/figures.rs"]
#[allow(dead_code, reason = "the benchmarks of the index use more of it")]
mod figures;
#[path = "../../../crdt/benches/made.rs"]
#[allow(dead_code, reason = "the benchmarks of the index use more of it")]
mod made;

mod cost;
mod daemon;
mod epoch;
mod package;
mod realm;
mod revoked;

use figures::{Options, Report};

/// What a measurement may end with.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let options = Options::read(std::env::args())?;
    let mut report = Report::begin("store", &options);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    runtime.block_on(async {
        if options.wants("realm") {
            realm::measure(&options, &mut report).await?;
        }
        if options.wants("authority") {
            revoked::measure(&options, &mut report).await?;
        }
        if options.wants("package") {
            package::measure(&options, &mut report).await?;
        }
        Outcome::Ok(())
    })?;
    report.end();
    Ok(())
}
