//! The command's side of the admin API.
//!
//! `node.json` in the home says where the running node listens and holds its token. It is left
//! behind by a node that was killed, so an address at which nobody answers, or another node, is the
//! same as no file.
//! Requests go past any proxy of the environment: the node is on this machine.

use std::path::{Path, PathBuf};

use node::daemon::admin::ErrorBody;
use node::daemon::node_json::NodeJson;
use reqwest::{Body, Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commands;
use crate::output::{Code, Failure};

/// The node that runs on a home.
#[derive(Debug)]
pub(crate) struct Node {
    found: NodeJson,
    http: reqwest::Client,
    home: PathBuf,
}

impl Node {
    /// Finds the running node of a home.
    pub(crate) fn find(home: &Path) -> Result<Self, Failure> {
        let read = NodeJson::read(home);
        let found = read.map_err(|error| {
            Failure::new(format!("the file of the running node cannot be read: {error}"))
                .hint(format!("start the node anew: griot up{}", commands::home_flag(home)))
        })?;
        let found = found.ok_or_else(|| nobody(home))?;
        // TLS is not spoken here, but no client is made without a provider of it. One for the
        // process: the second of two would be refused, and is the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(std::time::Duration::from_secs(5))
            .build()
            .map_err(|error| Failure::new(format!("no HTTP client: {error}")))?;
        Ok(Self { found, http, home: home.to_owned() })
    }

    /// Where it listens, such as `http://127.0.0.1:7878`.
    pub(crate) fn base(&self) -> &str {
        &self.found.http
    }

    /// Folder of the node.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, None::<&()>).await
    }

    pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// A call of the admin API, with a JSON body if there is one.
    pub(crate) async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, Failure> {
        let mut request = self.request(method, &format!("/api/admin/{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        read(self.send(request).await?).await
    }

    /// Posts JSON and hands out each line of JSON that comes back, as it comes.
    pub(crate) async fn post_lines<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        mut line: impl FnMut(T),
    ) -> Result<(), Failure> {
        let request = self.request(Method::POST, &format!("/api/admin/{path}")).json(body);
        let mut response = refuse(self.send(request).await?).await?;
        let mut waiting: Vec<u8> = Vec::new();
        let broke = |error: reqwest::Error| {
            Failure::new(format!("the node's answer broke off: {}", root(&error)))
                .hint("type it again: what has come is kept")
        };
        while let Some(chunk) = response.chunk().await.map_err(broke)? {
            waiting.extend_from_slice(&chunk);
            while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
                let one: Vec<u8> = waiting.drain(..=end).collect();
                line(serde_json::from_slice(&one).map_err(|error| unreadable(&error))?);
            }
        }
        Ok(())
    }

    /// Posts bytes as they are, such as an envelope.
    pub(crate) async fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<T, Failure> {
        let request = self.request(Method::POST, &format!("/api/admin/{path}"));
        let request = request.header("content-type", "application/octet-stream").body(bytes);
        read(self.send(request).await?).await
    }

    /// Uploads a multipart body whose length is known, and reads the native API's `data`.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        boundary: &str,
        length: u64,
        body: Body,
    ) -> Result<T, Failure> {
        #[derive(serde::Deserialize)]
        struct Success<T> {
            data: T,
        }
        let request = self
            .request(Method::POST, "/api/packages/publish")
            .header("content-type", format!("multipart/form-data; boundary={boundary}"))
            .header("content-length", length)
            .body(body);
        Ok(read::<Success<T>>(self.send(request).await?).await?.data)
    }

    /// Opens a blob for reading.
    pub(crate) async fn blob(&self, digest: &crdt::Digest) -> Result<Response, Failure> {
        let request = self.request(Method::GET, &format!("/api/blobs/{digest}"));
        refuse(self.send(request).await?).await
    }

    /// A request to any path, with the node's token.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.found.http);
        self.http.request(method, url).bearer_auth(&self.found.token)
    }

    /// Sends a request; what the node answers may still be a refusal.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| {
            if error.is_connect() {
                nobody(&self.home)
            } else {
                Failure::new(format!("the node at {} broke off: {}", self.found.http, root(&error)))
            }
        })?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // The token came from the file: who does not know it has not written it.
            return Err(nobody(&self.home));
        }
        Ok(response)
    }
}

fn nobody(home: &Path) -> Failure {
    let flag = commands::home_flag(home);
    Failure::new(format!("no node is running on {}", home.display()))
        .hint(format!("start one in another window: griot up{flag}"))
        .code(Code::Offline)
}

/// Reads a success as JSON.
pub(crate) async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Failure> {
    let response = refuse(response).await?;
    response.json().await.map_err(|error| unreadable(&error))
}

fn unreadable(error: &dyn std::error::Error) -> Failure {
    Failure::new(format!("the node's answer cannot be read: {}", root(error)))
        .hint("is the node of the same version? griot --version; griot status")
}

/// Passes a success, and makes an error of anything else.
pub(crate) async fn refuse(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let bytes = response.bytes().await.unwrap_or_default();
    let Ok(ErrorBody { error }) = serde_json::from_slice(&bytes) else {
        return Err(of_a_format(status, &bytes).code(code(status)));
    };
    let code = if error.code == "corrupt" { Code::Refused } else { code(status) };
    Err(Failure { hint: error.hint, ..Failure::new(error.message) }.code(code))
}

/// The refusal of a format's own route, whose sentence ends with its hint.
fn of_a_format(status: StatusCode, bytes: &[u8]) -> Failure {
    #[derive(serde::Deserialize)]
    struct Flat {
        message: String,
        hint: Option<String>,
    }
    let Ok(Flat { message, hint }) = serde_json::from_slice(bytes) else {
        return Failure::new(format!("the node answered {status} without saying why"));
    };
    let end = hint.as_ref().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    let message = message.strip_suffix(&end).unwrap_or(&message).to_owned();
    Failure { hint, ..Failure::new(message) }
}

/// Exit code for what the node says.
const fn code(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::Usage,
        StatusCode::NOT_FOUND | StatusCode::FAILED_DEPENDENCY => Code::Lacks,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Code::Refused,
        _ => Code::Failed,
    }
}

fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_node_the_error_says_what_to_type() {
        let home = tempfile::tempdir().unwrap();
        let failure = Node::find(home.path()).unwrap_err();
        assert_eq!(failure.code, Code::Offline);
        assert!(failure.hint.unwrap().contains("griot up"));
    }

    #[test]
    fn what_the_node_says_has_its_exit_code() {
        assert_eq!(code(StatusCode::BAD_REQUEST), Code::Usage);
        assert_eq!(code(StatusCode::NOT_FOUND), Code::Lacks);
        assert_eq!(code(StatusCode::FORBIDDEN), Code::Refused);
        assert_eq!(code(StatusCode::CONFLICT), Code::Failed);
    }

    #[tokio::test]
    async fn a_node_that_was_killed_is_no_node() {
        let home = tempfile::tempdir().unwrap();
        let left_behind = NodeJson {
            pid: 1,
            http: "http://127.0.0.1:1".into(),
            token: "t".into(),
            version: "0".into(),
        };
        left_behind.write(home.path()).unwrap();
        let node = Node::find(home.path()).unwrap();
        let failure = node.get::<serde_json::Value>("status").await.unwrap_err();
        assert_eq!(failure.code, Code::Offline);
    }
}
