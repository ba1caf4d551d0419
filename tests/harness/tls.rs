//! TLS in front of a plain server on loopback, with an authority of its own that nobody trusts
//! unless told so: an upstream as it is outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Speaks TLS as `localhost` until it is dropped.
#[derive(Debug)]
pub(crate) struct TlsFront {
    runtime: Option<Runtime>,
    port: u16,
    authority: PathBuf,
}

impl TlsFront {
    /// Passes what is inside TLS to `target`; writes the authority's certificate to `authority`.
    pub(crate) fn to(target: SocketAddr, authority: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can start");
        let acceptor = TlsAcceptor::from(Arc::new(configuration(authority)));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        runtime.spawn(accept(listener, acceptor, target));
        Self { runtime: Some(runtime), port, authority: authority.to_owned() }
    }

    /// The base URL, with the slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/", self.port)
    }

    /// The port on loopback.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The certificate to trust, as a file.
    pub(crate) fn authority(&self) -> &Path {
        &self.authority
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn configuration(authority: &Path) -> ServerConfig {
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "outside");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("an authority can be made");
    fs_err::write(authority, certificate.pem()).expect("a certificate can be written");
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().expect("a key can be made");
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])
        .and_then(|params| params.signed_by(&leaf_key, &issuer))
        .expect("a leaf can be made");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the usual versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("the key fits the certificate")
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, target: SocketAddr) {
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        open.spawn(async move {
            // Who does not trust the certificate breaks off: that is what some tests are about.
            let Ok(mut inside) = acceptor.accept(stream).await else { return };
            if let Ok(mut outbound) = TcpStream::connect(target).await {
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outbound).await;
            }
        });
        while open.try_join_next().is_some() {}
    }
}
