//! A real S3 server: a process of its own, with its objects as files in a folder of the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::client::skip;
use super::wait::wait_for;
use super::{NodeOptions, TlsFront, World};

const START: Duration = Duration::from_secs(30);
const KEY: &str = "griot-tests";
const SECRET: &str = "a-secret-that-no-log-may-show";

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct BucketServer {
    folder: PathBuf,
    port: String,
    child: Option<Child>,
}

impl BucketServer {
    /// Starts it with an empty bucket `blobs`. Skips where `tests/run` has not installed it.
    pub(crate) fn start(world: &World) -> Option<Self> {
        let Some(_) = program() else {
            skip("needs s3s-fs, which tests/run installs");
            return None;
        };
        let folder = world.folder("bucket");
        fs_err::create_dir_all(folder.join("root/blobs")).expect("a folder can be made");
        let mut server = Self { folder, port: "0".to_owned(), child: None };
        server.up();
        Some(server)
    }

    /// Starts it again where it was.
    pub(crate) fn up(&mut self) {
        let log = self.folder.join("log");
        let out = std::fs::File::create(&log).expect("a log can be made");
        let errors = out.try_clone().expect("a log has a second handle");
        let program = program().expect("it was there a moment ago");
        let child = Command::new(program)
            .arg(self.folder.join("root"))
            .args(["--host", "127.0.0.1", "--port", &self.port])
            .args(["--access-key", KEY, "--secret-key", SECRET])
            .env("RUST_LOG", "info")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn();
        self.child = Some(child.expect("the server starts"));
        self.port = wait_for("the bucket to be served", START, || {
            let said = fs_err::read_to_string(&log).unwrap_or_default();
            let port = said
                .split("http://127.0.0.1:")
                .nth(1)
                .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
            port.filter(|port| !port.is_empty()).ok_or(said)
        });
    }

    /// Pulls the plug; what it holds stays.
    pub(crate) fn down(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("a child of this process can be killed");
        child.wait().expect("a child of this process can be waited for");
    }

    /// A node whose blobs are in it.
    pub(crate) fn options(&self) -> NodeOptions {
        let environment = [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ];
        NodeOptions {
            arguments: vec!["--blobs".to_owned(), "s3://blobs/village".to_owned()],
            environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            ..NodeOptions::default()
        }
    }

    /// A node that reaches it by way of TLS, and believes no authority but that one's.
    pub(crate) fn options_over(&self, front: &TlsFront) -> NodeOptions {
        let mut options = self.options();
        let url = front.url();
        for (name, value) in &mut options.environment {
            match name.as_str() {
                "AWS_ENDPOINT_URL" => url.trim_end_matches('/').clone_into(value),
                "AWS_ALLOW_HTTP" => "false".clone_into(value),
                "NO_PROXY" => "localhost".clone_into(value),
                _ => {}
            }
        }
        let authority = front.authority().display().to_string();
        options.environment.push(("AWS_CA_BUNDLE".to_owned(), authority));
        options
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        format!("127.0.0.1:{}", self.port).parse().expect("its port is a number")
    }

    /// Its objects.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.join("root/blobs/village")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found.retain(|path| path.file_name().is_some_and(|name| name.len() == 64));
        found
    }

    /// Puts a blob there that no node knows of.
    pub(crate) fn put_object(&self, bytes: &[u8]) -> PathBuf {
        let name = blake3::hash(bytes).to_hex();
        let folder = self.folder.join("root/blobs/village").join(&name[..2]);
        fs_err::create_dir_all(&folder).expect("a folder can be made");
        let path = folder.join(name.as_str());
        fs_err::write(&path, bytes).expect("a file can be written");
        path
    }

    /// What no log may show.
    pub(crate) const fn secret() -> &'static str {
        SECRET
    }
}

impl Drop for BucketServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/s3/bin/s3s-fs");
    program.is_file().then_some(program)
}
