//! Whom the child trusts: whom the user trusted before, and the certificate of this run.
//!
//! Clients replace their own list by the file that a variable names, so the file must hold all. It
//! lies in the folder for temporary files, readable by the user alone, and goes with the run.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::NamedTempFile;

use crate::output::Failure;

const PEM_COLUMNS: usize = 64;

/// Writes the bundle; it vanishes when it is dropped.
///
/// # Errors
/// A file cannot be made in the folder for temporary files.
pub(crate) fn bundle<'p>(
    ours: &str,
    former: impl IntoIterator<Item = &'p Path>,
) -> Result<NamedTempFile, Failure> {
    let mut all: BTreeSet<Vec<u8>> = BTreeSet::new();
    // The system's list, or what SSL_CERT_FILE and SSL_CERT_DIR name; a certificate that cannot be
    // read is one that no client could use either.
    let system = rustls_native_certs::load_native_certs();
    all.extend(system.certs.into_iter().map(|certificate| certificate.to_vec()));
    for path in former {
        let Ok(found) = CertificateDer::pem_file_iter(path) else {
            tracing::warn!(path = %path.display(), "a bundle of the environment cannot be read");
            continue;
        };
        all.extend(found.flatten().map(|certificate| certificate.to_vec()));
    }
    let mut file = tempfile::Builder::new().prefix("griot-run-").suffix(".pem").tempfile()?;
    // Ours first: clients that read a single certificate get the one that matters.
    let mut text = ours.trim_end().to_owned() + "\n";
    all.iter().for_each(|certificate| pem(&mut text, certificate));
    file.write_all(text.as_bytes())?;
    file.flush()?;
    Ok(file)
}

fn pem(text: &mut String, certificate: &[u8]) {
    let encoded = STANDARD.encode(certificate);
    text.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(PEM_COLUMNS) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
}
