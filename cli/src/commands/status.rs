//! `griot status`: what the running node is, whom it is connected to, and what it holds.

use node::daemon::admin::status::Status;
use node::registry::{Finding, LastVerify, Mended, News, Storage, WantRow};
use node::store::BucketStatus;

use super::{Context, budget, want};
use crate::output::{Failure, count, plain, short, size};

/// Wants that are named.
const WANTS_SHOWN: usize = 3;

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let node = context.node()?;
    let status: Status = node.get("status").await?;
    let mut wants: Vec<WantRow> = Vec::new();
    if status.wants > 0 && context.output.is_human() {
        wants = node.get("wants").await?;
    }
    context.output.data(&status, |status| lines(status, &wants))
}

/// The number of wants, and the first of them.
fn wanted(number: u64, wants: &[WantRow]) -> Vec<String> {
    let mut out = vec![format!("{}: griot want list", count(number, "want"))];
    out.extend(wants.iter().take(WANTS_SHOWN).map(|row| format!("  {}", want::title(&row.want))));
    out
}

/// Where the files are, what of them is here, and what is wrong with the bucket.
fn bucket_lines(bucket: &BucketStatus) -> Vec<String> {
    let (held, room) = (size(bucket.cached_bytes), size(bucket.cache_bytes));
    let mut out = vec![format!("files are in {}   copies here {held} of {room}", bucket.url)];
    out.push(format!("  there this node is {}", plain(&bucket.node)));
    if bucket.unsent > 0 {
        out.push(format!("  {} not sent there yet", count(bucket.unsent, "file")));
    }
    if let Some(why) = &bucket.trouble {
        out.push(format!("  it did not answer when last asked: {}", plain(why)));
    }
    out
}

/// Why files are held, and how much room there is.
fn storage(storage: &Storage) -> Vec<String> {
    let kinds = &storage.kinds;
    let parts = [
        ("published here", kinds.published),
        ("pinned", kinds.pinned),
        ("of others", kinds.mirrored),
        ("cached", kinds.cached),
        ("unused", kinds.unnamed),
        ("half downloaded", storage.partial.resumable),
        ("damaged, put aside", storage.quarantined),
        ("let go for room", storage.evicted),
    ];
    let there = parts.into_iter().filter(|(_, amount)| amount.count > 0);
    let words: Vec<String> =
        there.map(|(word, amount)| format!("{word} {}", size(amount.bytes))).collect();
    let mut out = Vec::new();
    if !words.is_empty() {
        out.push(format!("  {}", words.join("   ")));
    }
    if kinds.cached_packages > 0 {
        out.push(format!("  {} of upstreams", count(kinds.cached_packages, "package")));
    }
    let quota = storage.quota.map(|quota| format!("   quota {}", size(quota))).unwrap_or_default();
    out.push(format!("  {} free on the disk{quota}", size(storage.free)));
    if let Some(advice) = &storage.advice {
        out.push(format!("  too little room: {advice}"));
    }
    out.extend(storage.verified.as_ref().filter(|last| !last.findings.is_empty()).map(rotted));
    out
}

/// What verifications found.
fn rotted(last: &LastVerify) -> String {
    let is_missing = |found: &&Finding| found.end == Mended::Missing;
    let missing = last.findings.iter().filter(is_missing).count() as u64;
    let end = match missing {
        0 => "nothing of it lacks now".to_owned(),
        some => format!("{some} MISSING: griot want list"),
    };
    let rotten = count(last.findings.len() as u64, "file");
    format!("  {rotten} rotted on the disk within 30 days, {end}")
}

/// How old the news of a realm are, and what is odd about them.
fn fresh(news: &News) -> Option<String> {
    let of = format!("{} {}", plain(&news.title), short(&news.realm));
    match (&news.note, &news.ago) {
        (Some(note), _) => Some(format!("{of}: {}", plain(note))),
        (None, Some(ago)) => Some(format!("{of}: last heard {} ago", plain(ago))),
        (None, None) => None,
    }
}

fn lines(status: &Status, wants: &[WantRow]) -> Vec<String> {
    let site = if status.site == status.realm {
        String::new()
    } else {
        format!("   site {}", short(&status.site))
    };
    let index = &status.index;
    let mut out = vec![
        format!("node {}   {}   {}", short(&status.node), plain(&status.title), status.http),
        format!("realm {}{site}", short(&status.realm)),
        format!(
            "{}   {}   {}   {}",
            count(index.packages, "package"),
            count(index.releases, "release"),
            count(index.statements, "statement"),
            count(index.realms, "realm")
        ),
        format!("{}   {}", count(status.blobs.count, "file"), size(status.blobs.bytes)),
    ];
    if let Some(bucket) = &status.bucket {
        out.extend(bucket_lines(bucket));
    }
    out.extend(storage(&status.storage));
    if status.restored {
        out.push(
            "restored from a backup: roles of the realm stay as they are until a member of".into(),
        );
        out.push("  the site is in sync, or, if there is none: griot restore --up-to-date".into());
    }
    out.extend(status.news.iter().filter_map(fresh));
    if !status.online {
        out.push("offline: no upstream is asked".into());
    }
    out.extend(budget::lines(&status.budget));
    if status.wants > 0 {
        out.extend(wanted(status.wants, wants));
    }
    for alarm in &status.alarms {
        out.push(plain(&alarm.sentence()));
        let name = plain(&alarm.package.name);
        out.push(format!("  griot why {name}, and once it is read: griot accept {name} --alarms"));
    }
    if status.requests > 0 {
        let asked = count(status.requests, "request");
        out.push(format!("{asked} for a role: griot realm requests"));
    }
    out.push(match status.peers.len() {
        0 => "no peers are connected".into(),
        peers => count(peers as u64, "peer"),
    });
    out.extend(status.peers.iter().map(|peer| {
        let behind = match peer.behind {
            0 => "in sync".into(),
            behind => format!("{} to come", count(behind, "statement")),
        };
        let transport = plain(&peer.transport);
        format!("  {}   {}   {transport}   {behind}", short(&peer.id), peer.address)
    }));
    out
}
