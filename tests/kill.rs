//! kill -9 at random moments, again and again: what was acknowledged is there, whole; nothing
//! partial is served; what was cut can be done again.
//!
//! Moments are drawn from a seed: so many answers and milliseconds after the work began, or the
//! moment in which a file appears where half-done work lies. An ordinary run has some rounds of
//! each kind. A long one, which prints its rounds:
//!
//! ```text
//! GRIOT_KILL_ROUNDS=200 cargo test -p griot --test e2e kill:: -- --nocapture
//! ```
//!
//! `GRIOT_KILL_SEED` gives other moments. What a power cut does is in the node's own tests
//! (`crash_disk`); single worst moments are in `crash`.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::http::{Reply, Request};
use crate::harness::samples::{noise, npm_package, sha256};
use crate::harness::wait::wait_exit;
use crate::harness::{EVENTUALLY, Node, NodeOptions, SOON, World, disk, wait_for, wait_until};

/// Who uploads at the same time.
const UPLOADERS: u64 = 3;
/// The latest random moment after the last answer that is waited for.
const MOMENT_MAX_MS: u64 = 80;
/// The most answers that are waited for.
const ANSWERS_MAX: u64 = 12;

/// Rounds of a kind, `ordinary` if nobody says.
fn rounds(ordinary: u64) -> u64 {
    number("GRIOT_KILL_ROUNDS").unwrap_or(ordinary)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The same for the same seed and place.
fn draw(round: u64, place: u64) -> u64 {
    let seed = number("GRIOT_KILL_SEED").unwrap_or(1);
    let bytes = noise(seed ^ (round << 16) ^ (place << 48), 8);
    u64::from_le_bytes(bytes.try_into().expect("eight bytes were asked for"))
}

/// An upload, and whether somebody was told that it is done.
struct Upload {
    path: String,
    body: Vec<u8>,
    acknowledged: bool,
}

impl Upload {
    fn new(round: u64, uploader: u64, number: u64) -> Self {
        let place = uploader * 1000 + number;
        // Most are small, some fill several batches.
        let size = 1000 + draw(round, place) % if number % 3 == 2 { 3_000_000 } else { 50_000 };
        let path = format!("/generic/kill{uploader}/{round}.{number}.0/file.bin");
        let body = noise(place ^ (round << 32), usize::try_from(size).expect("it is small"));
        Self { path, body, acknowledged: false }
    }

    fn request(&self, token: &str) -> Request {
        Request::put(&self.path, self.body.clone()).token(token)
    }

    fn send(&self, address: &str, token: &str) -> Option<Reply> {
        self.request(token).send(address)
    }

    /// After a restart: it is there if it was promised, and never by halves.
    fn check(&self, node: &Node) {
        let reply = node.get(&self.path);
        match reply.status {
            200 => assert_eq!(sha256(&reply.body), sha256(&self.body), "{}", self.path),
            404 | 424 => assert!(!self.acknowledged, "{} was acknowledged and is lost", self.path),
            other => panic!("{}: {other}: {}", self.path, reply.text()),
        }
    }
}

/// Uploads one after another until the node is gone.
fn upload_until_gone(
    (round, uploader): (u64, u64),
    (address, token): (&str, &str),
    answers: &AtomicU64,
) -> Vec<Upload> {
    let mut sent = Vec::new();
    loop {
        let mut upload = Upload::new(round, uploader, sent.len() as u64);
        // The kill may come between two of them.
        let reply = upload.request(token).send_if_up(address);
        upload.acknowledged = reply.as_ref().is_some_and(|reply| reply.status == 201);
        let is_gone = !upload.acknowledged;
        sent.push(upload);
        if is_gone {
            return sent;
        }
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits for the moment of the round: a drawn one, or a file in one of the folders.
fn await_moment(round: u64, home: &Path, folder: &str, answers: Option<&AtomicU64>) {
    if let Some(answers) = answers {
        let enough = draw(round, 8) % ANSWERS_MAX;
        wait_until("some answers", EVENTUALLY, || answers.load(Ordering::Relaxed) >= enough);
    }
    if round.is_multiple_of(2) {
        std::thread::sleep(Duration::from_millis(draw(round, 7) % MOMENT_MAX_MS));
        return;
    }
    let begun = Instant::now();
    let folder = home.join(folder);
    // As fast as it can look: the file is there for some milliseconds.
    while disk::files(&folder).is_empty() && begun.elapsed() < SOON {
        std::hint::spin_loop();
    }
}

/// Where the store lies under a node's home.
fn store_folder(node: &Node) -> std::path::PathBuf {
    let found = disk::files(&node.home());
    let lock = found.iter().find(|path| path.file_name().is_some_and(|name| name == "lock"));
    lock.and_then(|lock| lock.parent()).expect("a node that ran has a store").to_path_buf()
}

/// Every file in `blobs/` has the bytes of its name, and nothing is left in `tmp/`.
fn check_files(node: &Node) {
    let store = store_folder(node);
    for file in disk::files(&store.join("blobs")) {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let bytes = fs_err::read(&file).expect("a blob can be read");
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), name, "{}", file.display());
    }
    let left = disk::files(&store.join("tmp"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_node_that_is_killed_again_and_again_keeps_what_it_acknowledged() {
    let world = World::new();
    let mut node = world.node("a");
    let token = node.token("publish");
    let (mut kept, mut cut): (Vec<Upload>, usize) = (Vec::new(), 0);
    for round in 0..rounds(5) {
        let name = format!("killed-{round}");
        let package = npm_package(&world.folder("sources"), &name, "1.0.0", "one");
        let mut publish = node.command(&["publish", package.to_str().expect("paths are UTF-8")]);
        let mut publish = publish
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("griot starts");
        let (address, store) = (node.address().to_owned(), store_folder(&node));
        let answers = AtomicU64::new(0);
        let sent: Vec<Upload> = std::thread::scope(|scope| {
            let uploaders: Vec<_> = (0..UPLOADERS)
                .map(|uploader| {
                    let (to, answers) = ((address.as_str(), token.as_str()), &answers);
                    scope.spawn(move || upload_until_gone((round, uploader), to, answers))
                })
                .collect();
            await_moment(round, &store, "tmp", Some(&answers));
            node.kill9();
            let done = uploaders.into_iter().map(|it| it.join().expect("an uploader ends"));
            done.flatten().collect()
        });
        let published = wait_exit(&mut publish, EVENTUALLY).expect("griot ends").success();

        node.up();
        check_files(&node);
        sent.iter().for_each(|upload| upload.check(&node));
        let tarball = format!("/npm/{name}/-/{name}-1.0.0.tgz");
        assert!(!published || node.get(&tarball).status == 200, "{name} was published and is lost");
        node.json(&["publish", package.to_str().expect("paths are UTF-8")]);
        assert_eq!(node.get(&tarball).status, 200);
        for upload in sent.iter().filter(|upload| !upload.acknowledged) {
            cut += 1;
            let reply = upload.send(node.address(), &token).expect("the node answers");
            assert!([200, 201].contains(&reply.status), "{}: {}", upload.path, reply.text());
            assert_eq!(sha256(&node.get(&upload.path).body), sha256(&upload.body));
        }
        println!("round {round}: {} uploads, publish acknowledged: {published}", sent.len());
        // Of each round some are looked at again at the end.
        kept.extend(sent.into_iter().take(4));
    }
    assert!(cut > 0, "no kill cut anything");
    assert!(kept.iter().any(|upload| upload.acknowledged), "no upload was acknowledged");
    kept.iter().for_each(|upload| assert_eq!(node.get(&upload.path).body, upload.body));
}

#[test]
fn a_transfer_whose_ends_are_killed_again_and_again_completes_whole() {
    let world = World::new();
    let mut a = world.node("a");
    a.json(&["realm", "grant", "generic:kill*", &a.publisher()]);
    let token = a.token("publish");
    let peers = vec![a.multiaddress()];
    let mut b = Node::start(&world, "b", NodeOptions { peers, ..NodeOptions::default() });
    let peer = a.peer();
    wait_until("b to meet a", SOON, || b.peers().contains(&peer));
    b.follow(&a);
    for round in 0..rounds(3) {
        let path = format!("/generic/kill/{round}.0.0/file.bin");
        let upload = Upload { path, body: noise(round, 12_000_000), acknowledged: true };
        let reply = upload.send(a.address(), &token).expect("the node answers");
        assert_eq!(reply.status, 201, "{}", reply.text());
        await_moment(round, &store_folder(&b), "partial", None);
        // Every third time it is the sender.
        let killed = if round % 3 == 2 { &mut a } else { &mut b };
        killed.kill9();
        killed.up();
        check_files(killed);
        wait_for("the transfer to complete", 2 * EVENTUALLY, || {
            let reply = b.get(&upload.path);
            match reply.status {
                200 => {
                    assert_eq!(sha256(&reply.body), sha256(&upload.body));
                    Ok(())
                }
                404 | 424 => Err(reply.text()),
                other => panic!("{other}: {}", reply.text()),
            }
        });
        upload.check(&a);
        println!("transfer {round}: whole");
    }
}
