//! Servers that speak no proper HTTP, or never come to an end.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::super::{Ask, Reach};
use super::bodies::gzip;
use super::{Answer, Endpoint, Error, Progress, SOON, World, endpoint, wrong};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n\r\n";

/// A server that reads one request a connection and then does as it is told.
struct Rude {
    endpoint: Endpoint,
    _open: JoinSet<()>,
}

impl Rude {
    async fn does<F>(then: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(&format!("http://{}/", listener.local_addr().unwrap()));
        let mut open = JoinSet::new();
        open.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                if stream.read(&mut head).await.is_ok() {
                    served.spawn(then(stream));
                }
            }
        });
        Self { endpoint, _open: open }
    }

    /// Says this, and closes.
    async fn says(bytes: &'static [u8]) -> Self {
        Self::does(move |mut stream| async move {
            let _ = stream.write_all(bytes).await;
        })
        .await
    }

    /// Says this, and then that again and again.
    async fn repeats(first: Vec<u8>, again: Vec<u8>) -> Self {
        Self::does(move |mut stream| {
            let (first, again) = (first.clone(), again.clone());
            async move {
                let _ = stream.write_all(&first).await;
                while stream.write_all(&again).await.is_ok() {}
            }
        })
        .await
    }

    async fn get(&self, world: &World, ask: Ask) -> Result<Answer, Error> {
        let ask = Ask { url: format!("{}left-pad", self.endpoint.url), ..ask };
        let answer = world.upstream.get(&self.endpoint, &ask);
        tokio::time::timeout(SOON, answer).await.expect("it ends")
    }
}

/// What was being written when it was given up goes in its own time.
async fn nothing_stays(world: &World) {
    let begun = Instant::now();
    let count = |folder| std::fs::read_dir(world.home.path().join(folder)).unwrap().count();
    while count("tmp") + count("blobs") > 0 {
        assert!(begun.elapsed() < SOON, "something of it was kept");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_hangs_up_without_an_answer_is_as_good_as_away() {
    let said: [&[u8]; 5] =
        [b"", b"HTTP/1.1 20", b"SSH-2.0-village\r\n", b"HTTP/1.1 200 OK\r\nx: y", b"\0\xff\n\n"];
    for bytes in said {
        let (world, rude) = (World::new(), Rude::says(bytes).await);
        let answer = rude.get(&world, world.ask("left-pad")).await;
        assert!(matches!(answer, Err(Error::Unreachable { .. })), "{bytes:?}: {answer:?}");
        assert_eq!(world.upstream.reach(&rude.endpoint.origin), Reach::Down, "{bytes:?}");
        let begun = Instant::now();
        world.upstream.patience(&rude.endpoint, &Progress::default()).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits for it any more");
        nothing_stays(&world).await;
    }
}

#[tokio::test]
async fn a_head_without_an_end_is_given_up() {
    let world = World::new();
    let rude = Rude::repeats(HEAD.to_vec(), b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".to_vec());
    let answer = rude.await.get(&world, world.ask("left-pad")).await;
    assert!(matches!(answer, Err(Error::Unreachable { .. })), "{answer:?}");
    nothing_stays(&world).await;
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_at_the_limit_encoded_or_not() {
    let chunk = |bytes: &[u8]| {
        let size = format!("{:x}\r\n", bytes.len()).into_bytes();
        [&size[..], bytes, b"\r\n"].concat()
    };
    let empty = gzip(b"").repeat(1000);
    let spoken: [(&[u8], Vec<u8>); 2] =
        [(b"", chunk(&[b' '; 4096])), (b"content-encoding: GZIP\r\n", chunk(&empty))];
    for (header, again) in spoken {
        let world = World::new();
        let rude = Rude::repeats([HEAD, header, CHUNKED].concat(), again).await;
        let ask = Ask { limit: 1 << 20, ..world.ask("left-pad") };
        assert!(wrong(rude.get(&world, ask).await).contains("larger than"));
        nothing_stays(&world).await;
    }
}

#[tokio::test]
async fn more_or_fewer_bytes_than_were_declared_never_count() {
    for said in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}",
    ] {
        let (world, rude) = (World::new(), Rude::says(said).await);
        let answer = rude.get(&world, world.ask("left-pad")).await;
        assert!(answer.is_err(), "{}", String::from_utf8_lossy(said));
        nothing_stays(&world).await;
    }
}

#[tokio::test]
async fn a_refusal_whose_words_never_end_is_told_all_the_same() {
    let world = World::new();
    let rude = Rude::does(|mut stream| async move {
        let head = b"HTTP/1.1 503 Busy\r\nretry-after: 30\r\ncontent-length: 900\r\n\r\nlater";
        let _ = stream.write_all(head).await;
        std::future::pending::<()>().await;
    });
    let answer = rude.await.get(&world, world.ask("left-pad")).await;
    let Err(Error::Status { status: 503, why }) = answer else { panic!("{answer:?}") };
    assert_eq!(why, "later; it asks to wait 30 s");
}

#[tokio::test]
async fn who_waits_for_a_turn_is_let_go_when_the_origin_is_down() {
    let world = World::new();
    world.stub.switch(|s| s.black_hole = true);
    let asks: Vec<_> = (0..60).map(|n| world.ask(&format!("p{n}"))).collect();
    let mut flights: futures::stream::FuturesUnordered<_> =
        asks.iter().map(|ask| world.upstream.get(&world.endpoint, ask)).collect();
    let mut ended = 0;
    let let_go = async {
        let all = async {
            while let Some(answer) = futures::StreamExt::next(&mut flights).await {
                assert!(matches!(answer, Err(Error::Unreachable { .. })), "{answer:?}");
                ended += 1;
                if ended == 44 {
                    return;
                }
            }
        };
        tokio::join!(all, world.upstream.patience(&world.endpoint, &asks[0].progress));
    };
    // Sixteen hold a turn until their silence is over; that is later than this.
    tokio::time::timeout(SOON, let_go).await.expect("the others do not wait for them");
}
