//! A port that can be closed and opened again, with a thread for each connection.
//!
//! What is read and answered on a connection is in `connection`.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Shared, connection};

/// How often a port that was ours is asked for again.
const BIND_TRIES: u32 = 200;

/// A free port of loopback.
pub(super) fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback has a free port")
}

#[derive(Debug, Default)]
struct Turn {
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Turn {
    /// Remembers a connection, so that closing the port ends it; `false` when it is closed already.
    fn remember(&self, stream: &TcpStream) -> bool {
        let mut open = self.open.lock().expect("no thread panics while it holds this lock");
        if self.closed.load(Ordering::SeqCst) {
            return false;
        }
        let Ok(copy) = stream.try_clone() else { return false };
        // A copy keeps a connection open: those that ended must not gather.
        open.retain(|stream| stream.peer_addr().is_ok());
        open.push(copy);
        true
    }
}

#[derive(Debug)]
struct Running {
    turn: Arc<Turn>,
    thread: JoinHandle<()>,
}

/// One port.
#[derive(Debug)]
pub(super) struct Listener {
    address: SocketAddr,
    other_host: bool,
    running: Mutex<Option<Running>>,
}

impl Listener {
    /// Accepts from now on.
    pub(super) fn start(socket: TcpListener, shared: &Arc<Shared>, other_host: bool) -> Self {
        let address = socket.local_addr().expect("a bound socket has an address");
        let running = Mutex::new(Some(run(socket, shared, other_host)));
        Self { address, other_host, running }
    }

    /// Closes the port and its connections; returns when it refuses.
    pub(super) fn stop(&self) {
        let mut running = self.running.lock().expect("no thread panics while it holds this lock");
        let Some(Running { turn, thread }) = running.take() else { return };
        let open = {
            let mut open = turn.open.lock().expect("no thread panics while it holds this lock");
            turn.closed.store(true, Ordering::SeqCst);
            std::mem::take(&mut *open)
        };
        // Wakes the thread that accepts, which then sees that it is closed.
        let _ = TcpStream::connect(self.address);
        thread.join().expect("accepting does not panic");
        for stream in open {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Opens the port again; it may still be open.
    pub(super) fn again(&self, shared: &Arc<Shared>) {
        let mut running = self.running.lock().expect("no thread panics while it holds this lock");
        if running.is_some() {
            return;
        }
        for _ in 0..BIND_TRIES {
            if let Ok(socket) = TcpListener::bind(self.address) {
                *running = Some(run(socket, shared, self.other_host));
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} could not be opened again", self.address);
    }
}

fn run(socket: TcpListener, shared: &Arc<Shared>, other_host: bool) -> Running {
    let turn = Arc::new(Turn::default());
    let (mine, shared) = (Arc::clone(&turn), Arc::clone(shared));
    let thread = std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            if mine.closed.load(Ordering::SeqCst) {
                return;
            }
            if mine.remember(&stream) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || connection::serve(stream, &shared, other_host));
            }
        }
    });
    Running { turn, thread }
}
