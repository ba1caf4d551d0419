//! The certificate authority of `griot run`: one key of the user's, never known to the system.
//!
//! `ca/key.pem` in the node's home (mode 0600) is made at the first use. The certificate over it is
//! made anew for each run: it is constrained to the hosts that this run opens, and is handed to the
//! child alone. So a copy of it can vouch for no other host, and nothing has to be taken out of a
//! trust store afterwards. It begins long ago and ends ten years from this machine's now, so that
//! a wrong clock does not stop an install. Leaf certificates are made on demand, in memory.
//!
//! Source: formats/README.md section 3.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::scope::Site;
use crate::output::Failure;

/// How long a certificate lasts from now.
const YEARS: i32 = 10;
const SECONDS_OF_A_YEAR: u64 = 31_556_952;
/// A host below which nothing can be, for a run without hosts that have names.
const NO_HOST: &str = "griot.invalid";

/// Signs for the hosts of one run.
#[derive(Debug)]
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// One for all leaves of the run.
    leaf_key: KeyPair,
    served: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl Authority {
    /// Reads the key of a home, or makes it, and certifies it for these hosts.
    ///
    /// # Errors
    /// The key cannot be read, made or used.
    pub(crate) fn open(home: &Path, sites: &[&Site]) -> Result<Self, Failure> {
        let key = key_of(&home.join("ca"))?;
        let params = authority_params(sites, &key);
        let certificate = params.self_signed(&key).map_err(cannot)?;
        let leaf_key = KeyPair::generate().map_err(cannot)?;
        let issuer = Issuer::new(params, key);
        Ok(Self { pem: certificate.pem(), issuer, leaf_key, served: Mutex::default() })
    }

    /// The certificate that the child is to trust.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// What a server needs in order to speak for this host: HTTP/1.1 over TLS.
    ///
    /// # Errors
    /// The host's name cannot stand in a certificate.
    pub(crate) fn speak_for(&self, host: &str) -> Result<Arc<ServerConfig>, String> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = served.get(host) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.leaf(host)?);
        served.insert(host.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    fn leaf(&self, host: &str) -> Result<ServerConfig, String> {
        let name = bare(host);
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(text)?;
        params.distinguished_name.push(DnType::CommonName, "griot run");
        params.serial_number = Some(serial(name, &self.leaf_key));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) =
            (date_time_ymd(1970, 1, 1), date_time_ymd(last_year(), 1, 1));
        let leaf = params.signed_by(&self.leaf_key, &self.issuer).map_err(text)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(text)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .map_err(text)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn authority_params(sites: &[&Site], key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "griot run, for its child alone");
    params.serial_number = Some(serial("authority", key));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(constraints(sites));
    (params.not_before, params.not_after) =
        (date_time_ymd(1970, 1, 1), date_time_ymd(last_year(), 1, 1));
    params
}

/// These hosts and nothing else. A kind of name that no host has would be free without its line.
fn constraints(sites: &[&Site]) -> NameConstraints {
    let mut permitted = Vec::new();
    let mut excluded = Vec::new();
    let (mut names, mut addresses) = (false, false);
    for site in sites {
        let host = bare(&site.host);
        if let Ok(address) = host.parse::<IpAddr>() {
            addresses = true;
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let subnet = CidrSubnet::from_addr_prefix(address, bits);
            permitted.push(GeneralSubtree::IpAddress(subnet));
        } else {
            names = true;
            permitted.push(GeneralSubtree::DnsName(host.to_owned()));
        }
    }
    if !names {
        permitted.push(GeneralSubtree::DnsName(NO_HOST.to_owned()));
    }
    if !addresses {
        let all = [CidrSubnet::V4([0; 4], [0; 4]), CidrSubnet::V6([0; 16], [0; 16])];
        excluded.extend(all.map(GeneralSubtree::IpAddress));
    }
    NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded }
}

/// The host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn last_year() -> i32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let year = i32::try_from(1970 + since / SECONDS_OF_A_YEAR).unwrap_or(9_000).min(9_000);
    year + YEARS
}

/// Differs for each name and key; positive, as a serial number must be.
fn serial(name: &str, key: &KeyPair) -> SerialNumber {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(key.public_key_raw());
    let mut bytes = hasher.finalize().as_bytes()[..16].to_vec();
    bytes[0] &= 0x7f;
    SerialNumber::from(bytes)
}

/// Reads `key.pem` of the folder, or makes it: whole or not at all, readable by the user alone.
fn key_of(folder: &Path) -> Result<KeyPair, Failure> {
    let path = folder.join("key.pem");
    match fs_err::read_to_string(&path) {
        Ok(pem) => KeyPair::from_pem(&pem).map_err(|error| {
            Failure::new(format!("{} is no key: {error}", path.display()))
                .hint("remove the file; the next griot run makes another one")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_key(folder, &path)?;
            let pem = fs_err::read_to_string(&path)?;
            KeyPair::from_pem(&pem).map_err(cannot)
        }
        Err(error) => Err(error.into()),
    }
}

fn make_key(folder: &Path, path: &Path) -> Result<(), Failure> {
    create_folder(folder)?;
    let key = KeyPair::generate().map_err(cannot)?;
    // Temporary files have mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(key.serialize_pem().as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        // Another run was faster; its key is as good.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error.into()),
    }
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn cannot(error: rcgen::Error) -> Failure {
    Failure::new(format!("no certificate can be made for this run: {error}"))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;

    fn site(host: &str) -> Site {
        Site { tls: true, host: host.into(), port: 443 }
    }

    fn authority(home: &Path, hosts: &[&str]) -> Authority {
        let sites: Vec<Site> = hosts.iter().map(|host| site(host)).collect();
        Authority::open(home, &sites.iter().collect::<Vec<_>>()).unwrap()
    }

    /// Shakes hands in memory; `Err` is what the client has against the certificate.
    fn meet(authority: &Authority, speaks: &str, wanted: &'static str) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(wanted).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = ServerConnection::new(authority.speak_for(speaks)?).unwrap();
        while client.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets().map_err(text)?;
            let mut bytes = Vec::new();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets().map_err(text)?;
        }
        Ok(())
    }

    #[test]
    fn it_speaks_for_the_hosts_of_the_run() {
        let home = tempfile::tempdir().unwrap();
        let authority = authority(home.path(), &["packages.test", "127.0.0.1", "[::1]"]);
        assert_eq!(meet(&authority, "packages.test", "packages.test"), Ok(()));
        assert_eq!(meet(&authority, "127.0.0.1", "127.0.0.1"), Ok(()));
        assert_eq!(meet(&authority, "[::1]", "::1"), Ok(()));
        assert!(meet(&authority, "packages.test", "other.test").is_err());
    }

    #[test]
    fn its_certificate_vouches_for_no_other_host() {
        let home = tempfile::tempdir().unwrap();
        for hosts in [&["packages.test"][..], &["10.0.0.1"]] {
            let authority = authority(home.path(), hosts);
            for other in ["other.test", "127.0.0.1", "::1"] {
                let refused = meet(&authority, other, other).unwrap_err();
                assert!(refused.contains("NameConstraint"), "{other}: {refused}");
            }
        }
    }

    #[test]
    fn a_run_without_tls_hosts_vouches_for_nobody() {
        let home = tempfile::tempdir().unwrap();
        let authority = authority(home.path(), &[]);
        assert!(meet(&authority, "packages.test", "packages.test").is_err());
    }
}
