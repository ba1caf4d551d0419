//! A CONNECT proxy between a node and the outside, that a test can turn into a black hole.
//!
//! A node that is started with it as `HTTPS_PROXY` reaches every upstream through it. A black hole
//! accepts and never answers, new connections and those that pass.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Tunnels until it is dropped.
#[derive(Debug)]
pub(crate) struct Tunnel {
    state: Arc<State>,
    address: SocketAddr,
}

#[derive(Debug, Default)]
struct State {
    black_hole: AtomicBool,
    ended: AtomicBool,
    opened: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Tunnel {
    /// Listens on a free port of loopback.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State::default());
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&accepting);
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Self { state, address }
    }

    /// What the variable `HTTPS_PROXY` has to say.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on nothing is answered, and what passed is over.
    pub(crate) fn black_hole(&self) {
        self.state.black_hole.store(true, Ordering::SeqCst);
        self.state.close_all();
    }

    /// Connections that were asked for so far, answered or not.
    pub(crate) fn opened(&self) -> u64 {
        self.state.opened.load(Ordering::SeqCst)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.state.close_all();
        // Wakes the thread that accepts, which then sees that it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn close_all(&self) {
        let mut open = self.open.lock().expect("no thread panics while it holds this lock");
        for stream in open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn serve(&self, mut client: TcpStream) {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let mut head = BufReader::new(client.try_clone().expect("a socket can be shared"));
        let mut line = String::new();
        let Ok(_) = head.read_line(&mut line) else { return };
        let target = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
        while line.trim_end() != "" {
            line.clear();
            if !matches!(head.read_line(&mut line), Ok(size) if size > 0) {
                return;
            }
        }
        if self.black_hole.load(Ordering::SeqCst) {
            self.keep([&client]);
            // Until the other side gives up.
            let _ = head.read_line(&mut line);
            return;
        }
        let Ok(server) = TcpStream::connect(&target) else { return };
        if client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").is_err() {
            return;
        }
        self.keep([&client, &server]);
        let back = (server.try_clone(), client.try_clone());
        let (Ok(from), Ok(to)) = back else { return };
        std::thread::spawn(move || carry(from, to));
        carry(client, server);
    }

    fn keep<const N: usize>(&self, streams: [&TcpStream; N]) {
        let mut open = self.open.lock().expect("no thread panics while it holds this lock");
        open.extend(streams.iter().filter_map(|stream| stream.try_clone().ok()));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
