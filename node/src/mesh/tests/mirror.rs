//! Cached documents and files between members of a site, and nothing of them for strangers.

use bytes::Bytes;
use crdt::statement::Subject;
use futures::AsyncWriteExt as _;

use super::super::mirror_frame::Frame;
use super::super::{frame, mirror_link, mirror_serve};
use super::puppet::Puppet;
use super::*;
use crate::mesh::FileHint;
use crate::store::cached::{CachedBy, CachedDocument, CachedFile};

/// Text that gets much smaller, and resembles what has another number of lines.
pub(super) fn document(lines: usize) -> Vec<u8> {
    let line = |at| format!("\"1.{at}.0\":{{\"name\":\"drum\",\"integrity\":\"{at:040}\"}},\n");
    (0..lines).flat_map(|at| line(at).into_bytes()).collect()
}

fn origin() -> Digest {
    Digest::of(b"https://packages.test/")
}

impl Node {
    /// Keeps bytes as those of a document of an upstream.
    pub(super) async fn cache(&self, name: &str, body: &[u8]) -> Digest {
        let digest = self.keep(body).await;
        let subject = Subject {
            origin: origin(),
            format: "npm".to_owned(),
            document: name.to_owned(),
            variant: "full".to_owned(),
        };
        let document = CachedDocument {
            subject,
            body: Some(digest),
            size: body.len() as u64,
            content_type: "application/json".to_owned(),
            etag: None,
            last_modified: None,
            moved: None,
            fetched_at: 1,
            checked_at: 1,
            by: CachedBy::Upstream,
            earlier: Vec::new(),
        };
        self.store.put_cached_document(document).await.expect("is kept");
        digest
    }

    async fn cache_file(&self, package: &str, version: &str, body: &[u8]) -> FileHint {
        let digest = self.keep(body).await;
        let (file, size) = (format!("{package}-{version}.tgz"), body.len() as u64);
        let cached = CachedFile {
            origin: origin(),
            format: "npm".to_owned(),
            package: package.to_owned(),
            version: version.to_owned(),
            file: file.clone(),
            digest,
            size,
            by: CachedBy::Upstream,
        };
        self.store.put_cached_file(cached).await.expect("is kept");
        FileHint { version: version.to_owned(), file, digest, size }
    }

    async fn files_of(&self, package: &str) -> Vec<FileHint> {
        let mut files = self.mesh.files_of(&origin(), "npm", package).await;
        files.sort_by(|one, other| one.version.cmp(&other.version));
        files
    }

    pub(super) async fn content(&self, digest: &Digest) -> Vec<u8> {
        use tokio::io::AsyncReadExt as _;

        let (_, mut file) = self.store.open_blob(digest).await.expect("opens").expect("is held");
        let mut content = Vec::new();
        file.read_to_end(&mut content).await.expect("reads");
        content
    }
}

/// A node with a realm, and one that joined it; they are connected.
pub(super) async fn site() -> (Node, Node, Realm) {
    let (keeper, guest, realm) = (Node::start(), Node::start(), Realm::new("village"));
    keeper.own(&realm).await;
    keeper.admit_member(&realm, &guest).await;
    guest.meet(&keeper).await;
    (keeper, guest, realm)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_give_each_other_documents_packed_and_once_for_all_who_ask() {
    let (keeper, guest, _) = site().await;
    for lines in [0, 1, 50_000] {
        let body = document(lines);
        let (digest, size) = (keeper.cache("drum", &body).await, body.len() as u64);
        let (one, two) = tokio::join!(
            guest.mesh.fetch_document(digest, size, &[]),
            guest.mesh.fetch_document(digest, size, &[]),
        );
        one.expect("the first caller has it");
        two.expect("the second caller has it");
        assert!(guest.content(&digest).await == body, "{lines} lines");
        guest.mesh.fetch_document(digest, size, &[]).await.expect("is held");
    }
    // The other way, too.
    let body = document(77);
    let digest = guest.cache("horn", &body).await;
    keeper.mesh.fetch_document(digest, body.len() as u64, &[]).await.expect("is given");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_told_of_nothing_cached_and_a_member_of_everything() {
    let (keeper, guest, realm) = site().await;
    let stranger = Node::start();
    // It believes that it is one; the keeper knows better.
    stranger.joined(&realm, keeper.mesh.local_peer()).await;
    stranger.meet(&keeper).await;
    let body = document(3_000);
    let (document, size) = (keeper.cache("drum", &body).await, body.len() as u64);
    let hint = keeper.cache_file("drum", "1.0.0", b"a tarball").await;
    let absent = Digest::of(b"never made");
    for digest in [document, hint.digest, absent] {
        assert_eq!(stranger.mesh.held_by_peers(&[digest]).await, [false]);
        let fetched = stranger.mesh.fetch(digest, size).await;
        assert!(matches!(fetched, Err(Error::Nowhere(_))), "{fetched:?}");
        let fetched = stranger.mesh.fetch_document(digest, size, &[]).await;
        assert!(matches!(fetched, Err(Error::Nowhere(_))), "{fetched:?}");
    }
    assert!(stranger.files_of("drum").await.is_empty());
    assert_eq!(guest.mesh.held_by_peers(&[document, hint.digest]).await, [true, true]);
    guest.mesh.fetch(hint.digest, hint.size).await.expect("a member gets files");
    let blob = guest.store.blob(&hint.digest).expect("reads").expect("is held");
    assert!(blob.checksums.sha512.is_some() && blob.checksums.sha1.is_some());
    assert_eq!(guest.files_of("drum").await, [hint]);
    guest.mesh.fetch_document(document, size, &[]).await.expect("a member gets documents");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_kept_and_neither_cached_nor_published_is_not_given_to_a_member_either() {
    let (keeper, guest, _) = site().await;
    let private = keeper.keep(&document(9)).await;
    let size = document(9).len() as u64;
    assert_eq!(guest.mesh.held_by_peers(&[private]).await, [false]);
    let fetched = guest.mesh.fetch_document(private, size, &[]).await;
    assert!(matches!(fetched, Err(Error::Nowhere(_))), "{fetched:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_document_comes_as_a_patch_of_one_that_both_hold() {
    let (keeper, guest, _) = site().await;
    let (old, new) = (document(40_000), document(40_003));
    let old_digest = keeper.cache("drum", &old).await;
    let (new_digest, size) = (keeper.cache("drum-next", &new).await, new.len() as u64);
    guest.keep(&old).await;
    let bases = [Digest::of(b"held by nobody"), old_digest];
    guest.mesh.fetch_document(new_digest, size, &bases).await.expect("is given");
    assert!(guest.content(&new_digest).await == new);

    let puppet = Puppet::start();
    let id = puppet.id.to_string();
    let member = super::super::members::MEMBER_ROW;
    keeper.store.put_row(member, &id, Vec::new()).await.expect("is written");
    puppet.meet(&keeper).await;
    let ask = async |bases: &[Digest]| {
        let mut stream = puppet.open(&keeper, mirror_serve::PROTOCOL).await;
        let bases = bases.to_vec();
        let question = Frame::Document { id: 1, digest: new_digest, size, bases };
        let bytes = [Frame::HELLO.encode(), question.encode()].concat();
        frame::send(&mut stream, &bytes, DEADLINE).await.expect("somebody listens");
        mirror_link::receive(&mut stream, DEADLINE).await.expect("greets");
        mirror_link::receive(&mut stream, DEADLINE).await.expect("answers")
    };
    let patch = ask(&bases).await;
    let Frame::Packed { length, base, .. } = patch else { panic!("{patch:?}") };
    assert_eq!(base, Some(old_digest));
    assert!(length < 4 * 1024, "{length}");
    let plain = ask(&[Digest::of(b"held by nobody"), new_digest]).await;
    assert!(matches!(plain, Frame::Packed { base: None, .. }), "{plain:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_size_is_refused_without_blame_and_what_does_not_pack_comes_as_a_blob() {
    let (keeper, guest, _) = site().await;
    let body = document(100);
    let digest = keeper.cache("drum", &body).await;
    for size in [body.len() as u64 - 1, body.len() as u64 + 1] {
        let wrong = guest.mesh.fetch_document(digest, size, &[]).await;
        assert!(matches!(wrong, Err(Error::Failed(..))), "{wrong:?}");
    }
    assert!(guest.sees(keeper.mesh.local_peer()).await, "the peer did nothing wrong");
    let noise = bytes(9 * 1024 * 1024, 1);
    let digest = keeper.cache("noise", &noise).await;
    guest.mesh.fetch_document(digest, noise.len() as u64, &[]).await.expect("comes as a blob");
    assert!(guest.content(&digest).await == noise);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_members_hold_is_merged_and_a_silent_one_costs_a_second_once() {
    let (keeper, guest, realm) = site().await;
    let other = Node::start();
    keeper.admit_member(&realm, &other).await;
    let member = super::super::members::MEMBER_ROW;
    let id = other.mesh.local_peer().to_string();
    guest.store.put_row(member, &id, Vec::new()).await.expect("is written");
    let id = guest.mesh.local_peer().to_string();
    other.store.put_row(member, &id, Vec::new()).await.expect("is written");
    guest.meet(&other).await;
    let first = keeper.cache_file("drum", "1.0.0", b"one").await;
    let both = keeper.cache_file("drum", "1.5.0", b"both").await;
    other.cache_file("drum", "1.5.0", b"both").await;
    let second = other.cache_file("drum", "2.0.0", b"two").await;
    assert_eq!(guest.files_of("drum").await, [first.clone(), both.clone(), second.clone()]);
    assert!(guest.files_of("horn").await.is_empty());

    let silent = Puppet::start();
    let id = silent.id.to_string();
    guest.store.put_row(member, &id, Vec::new()).await.expect("is written");
    silent.meet(&guest).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(silent.keep_silent());
    let began = Instant::now();
    assert_eq!(guest.files_of("drum").await, [first, both, second]);
    for at in 0..20 {
        guest.files_of(&at.to_string()).await;
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_member_holds_up_the_first_documents_and_not_each_of_them() {
    let (keeper, guest, _) = site().await;
    let silent = Puppet::start();
    let id = silent.id.to_string();
    let member = super::super::members::MEMBER_ROW;
    guest.store.put_row(member, &id, Vec::new()).await.expect("is written");
    silent.meet(&guest).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(silent.keep_silent());
    let began = Instant::now();
    // Of sixty about half would ask the silent one first, and wait three seconds each.
    for lines in 1..=60 {
        let body = document(lines);
        let digest = keeper.cache(&lines.to_string(), &body).await;
        guest.mesh.fetch_document(digest, body.len() as u64, &[]).await.expect("is given");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_packages_are_asked_for_on_one_stream() {
    let (keeper, guest, _) = site().await;
    let mut held = Vec::new();
    for at in 0..20 {
        held.push(keeper.cache_file(&at.to_string(), "1.0.0", &[at; 9]).await);
    }
    let names: Vec<String> = (0..800).map(|at| at.to_string()).collect();
    let origin = origin();
    let asked = names.iter().map(|name| guest.mesh.files_of(&origin, "npm", name));
    let began = Instant::now();
    let answers = futures::future::join_all(asked).await;
    eprintln!("{} packages asked for in {:?}", names.len(), began.elapsed());
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.as_slice(), held.get(at).map_or(&[][..], std::slice::from_ref));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_mirror_protocol_ends_the_stream_and_nothing_else() {
    let (node, puppet) = (Node::start(), Puppet::start());
    puppet.meet(&node).await;
    let hello = Frame::HELLO.encode();
    let answer = Frame::Bytes { id: 1, bytes: Bytes::from_static(b"unasked") }.encode();
    let again = [&hello[..], &hello[..]].concat();
    let unasked = [&hello[..], &answer[..]].concat();
    for bytes in [&[0xff; 64][..], &[1, 0, 0, 0, 2], &answer, &again, &unasked] {
        puppet.say(&node, mirror_serve::PROTOCOL, bytes).await;
    }
    assert!(node.sees(puppet.id).await, "five pieces of garbage are not yet a ban");
    let mut stream = puppet.open(&node, mirror_serve::PROTOCOL).await;
    stream.write_all(&hello).await.expect("somebody listens");
    let greeting = mirror_link::receive(&mut stream, DEADLINE).await.expect("greets");
    assert_eq!(greeting, Frame::HELLO);
}
