//! A link between two nodes that a test can slow down, cut and heal.
//!
//! It forwards TCP connections to a fixed address. A cut ends the connections that pass and
//! refuses new ones; a rate makes a transfer long enough to be interrupted in its middle.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The longest sleep between two pieces: what a cut waits for at most.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Link {
    target: SocketAddr,
    /// Bytes per second in each direction; 0: as fast as it goes.
    rate: u64,
    cut: AtomicBool,
    ended: AtomicBool,
    carried: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

/// Forwards until it is dropped.
#[derive(Debug)]
pub(crate) struct Forwarder {
    link: Arc<Link>,
    address: SocketAddr,
}

impl Forwarder {
    /// Listens on a free port of loopback and forwards to `target`, at most `rate` bytes a second.
    pub(crate) fn to(target: SocketAddr, rate: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let link = Arc::new(Link {
            target,
            rate,
            cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            carried: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&link);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { link, address }
    }

    /// Where to dial it, as a multiaddress that names the peer behind it.
    pub(crate) fn multiaddress(&self, peer: &str) -> String {
        format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", self.address.port())
    }

    /// Ends what passes and refuses what comes.
    pub(crate) fn cut(&self) {
        self.link.cut.store(true, Ordering::SeqCst);
        self.link.close_all();
    }

    /// Lets connections through again.
    pub(crate) fn heal(&self) {
        self.link.cut.store(false, Ordering::SeqCst);
    }

    /// Bytes that went through, both directions together.
    pub(crate) fn carried(&self) -> u64 {
        self.link.carried.load(Ordering::SeqCst)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.link.ended.store(true, Ordering::SeqCst);
        self.link.close_all();
        // Wakes the thread that accepts, which then sees that it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

impl Link {
    fn close_all(&self) {
        let mut open = self.open.lock().expect("no thread panics while it holds this lock");
        for stream in open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn join(self: &Arc<Self>, inbound: TcpStream) -> std::io::Result<()> {
        let outbound = TcpStream::connect(self.target)?;
        let mut open = self.open.lock().expect("no thread panics while it holds this lock");
        open.push(inbound.try_clone()?);
        open.push(outbound.try_clone()?);
        drop(open);
        let pairs = [(inbound.try_clone()?, outbound.try_clone()?), (outbound, inbound)];
        for (from, to) in pairs {
            let link = Arc::clone(self);
            std::thread::spawn(move || link.carry(from, to));
        }
        Ok(())
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let piece = match self.rate {
            0 => 64 * 1024,
            rate => (rate / 100).clamp(1, 64 * 1024),
        };
        let mut buffer = vec![0_u8; usize::try_from(piece).expect("64 KiB fit")];
        while let Ok(size) = from.read(&mut buffer) {
            if size == 0 || to.write_all(&buffer[..size]).is_err() {
                break;
            }
            self.carried.fetch_add(size as u64, Ordering::SeqCst);
            if self.rate > 0 {
                std::thread::sleep(TICK);
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

fn accept(listener: &TcpListener, link: &Arc<Link>) {
    for stream in listener.incoming().flatten() {
        if link.ended.load(Ordering::SeqCst) {
            return;
        }
        if link.cut.load(Ordering::SeqCst) || link.join(stream).is_err() {
            // Dropped: the dialler sees a connection that ends at once.
        }
    }
}
