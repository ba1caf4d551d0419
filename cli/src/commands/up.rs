//! `griot up`: runs the node in the foreground until it is told to stop.

use node::daemon::{self, Config, Daemon, Upkeep};
use node::registry::Scrub;
use node::store::{Blobs, Bucket, Recovered};
use serde::Serialize;

use super::{Context, home_flag};
use crate::args::Up;
use crate::output::{Failure, count, short};

#[derive(Serialize)]
struct Ready {
    ready: String,
    node: String,
    realm: String,
    mesh: Vec<String>,
    recovered: Recovered,
}

pub(super) async fn run(context: Context, up: Up) -> Result<(), Failure> {
    let blobs = match &up.blobs {
        None => Blobs::Here,
        Some(address) => {
            Bucket::s3(address, up.blobs_cache).map(Blobs::Bucket).map_err(|error| {
                Failure::new(error.to_string()).hint(
                    "griot up --blobs s3://BUCKET/PREFIX, with AWS_ENDPOINT_URL and credentials",
                )
            })?
        }
    };
    let config = Config {
        home: context.home.clone(),
        listen: up.listen,
        mesh_listen: up.mesh_listen,
        peers: up.peer,
        mdns: !up.no_mdns,
        introductions: !up.no_introductions,
        members_only: (up.members_only || up.open).then_some(up.members_only),
        offline: up.offline,
        blobs,
        metadata_memory: usize::try_from(up.metadata_memory).unwrap_or(usize::MAX),
        metadata_disk: up.metadata_disk,
        upkeep: Upkeep {
            quota: up.quota,
            reserve: up.reserve,
            gc_every: Some(up.gc_every),
            beat_every: Some(up.beat_every),
            scrub: up.scrub.map(|rate| Scrub { rate, every: up.scrub_every }),
        },
    };
    // Signals are watched from the first moment, so that one during the start is not lost.
    let stop = daemon::until_signal();
    tokio::pin!(stop);
    let daemon = tokio::select! {
        started = daemon::start(config) => started.map_err(|error| failure(&error))?,
        () = &mut stop => return Ok(()),
    };
    announce(&context, &daemon).await?;
    daemon.run(stop).await.map_err(|error| failure(&error))?;
    context.output.say("stopped");
    Ok(())
}

async fn announce(context: &Context, daemon: &Daemon) -> Result<(), Failure> {
    let mesh = daemon.mesh_addresses().await;
    let ready = Ready {
        ready: daemon.http().to_owned(),
        node: daemon.peer().to_string(),
        realm: daemon.realm().to_string(),
        mesh: mesh.iter().map(ToString::to_string).collect(),
        recovered: daemon.recovered(),
    };
    let home = context.home.display();
    let flag = home_flag(&context.home);
    context.output.data(&ready, |ready| {
        let http = &ready.ready;
        let mut said = vec![format!("ready {http}")];
        said.extend(recovered(&ready.recovered));
        said.extend([
            String::new(),
            format!(
                "griot {}   node {}   realm {}",
                version(),
                short(&ready.node),
                short(&ready.realm)
            ),
            format!("data {home}   page {http}/"),
            String::new(),
            "next, in another window:".into(),
            format!(
                "  griot{flag} link npm      installs go through this node, which keeps it all"
            ),
            format!("  griot{flag} publish       in a folder with a package.json"),
            format!("  griot{flag} invite        a line that lets another node join"),
        ]);
        said
    })
}

/// What the run before was in the middle of.
fn recovered(recovered: &Recovered) -> Option<String> {
    if recovered.is_nothing() {
        return None;
    }
    let Recovered { halves, uploads, unfinished, taken_back } = recovered;
    let parts = [
        (halves.resumable.count, "half download", "goes on", "go on"),
        (halves.lost.count, "half download", "begins anew", "begin anew"),
        (uploads.count, "upload", "goes on", "go on"),
        (unfinished.count, "unfinished file", "removed", "removed"),
        (*taken_back, "file without a record", "removed", "removed"),
    ];
    let there = parts.into_iter().filter(|(number, ..)| *number > 0);
    let words: Vec<String> = there
        .map(|(number, thing, one, many)| {
            format!("{} {}", count(number, thing), if number == 1 { one } else { many })
        })
        .collect();
    Some(format!("recovered: {}", words.join(", ")))
}

const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

fn failure(error: &daemon::Error) -> Failure {
    let failure = Failure::new(format!("the node cannot run: {error}"));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure.hint("GRIOT_LOG=debug griot up tells more"),
    }
}
