//! Whom the child trusts: whom the user trusted before, and the certificate of this run.
//!
//! Clients replace their own list by the file that a variable names, so the file must hold all. It
//! lies in the folder for temporary files, readable by the user alone, and goes with the run.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use node::formats::TrustSetting;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::NamedTempFile;

use crate::output::Failure;

const PEM_COLUMNS: usize = 64;
/// Bytes of a file of settings that may name a bundle.
const SETTINGS_MAX: u64 = 256 * 1024;

/// Bundles that the user's own settings name: our variables outrank them. Those of a project are
/// left out, or a project could make every program of the run trust whom it likes.
pub(crate) fn of_settings(home: &Path) -> Vec<PathBuf> {
    let known = node::formats::ALL.iter().flat_map(|format| format.through.variables.settings);
    let named = known.filter_map(|TrustSetting { file, key, sign }| {
        let path = home.join(file);
        let size = fs_err::metadata(&path).ok()?.len();
        let text = fs_err::read_to_string(&path).ok().filter(|_| size <= SETTINGS_MAX)?;
        let value = text.lines().find_map(|line| {
            let (name, value) = line.trim().split_once(*sign)?;
            (name.trim() == *key).then_some(value)
        })?;
        Some(home.join(value.trim().trim_matches(['"', '\''])))
    });
    named.collect()
}

/// Writes the bundle; it vanishes when it is dropped.
///
/// # Errors
/// A file cannot be made in the folder for temporary files.
pub(crate) fn bundle(ours: &str, former: &[PathBuf]) -> Result<NamedTempFile, Failure> {
    let mut all: BTreeSet<Vec<u8>> = BTreeSet::new();
    // The system's list, or what SSL_CERT_FILE and SSL_CERT_DIR name; a certificate that cannot be
    // read is one that no client could use either.
    let system = rustls_native_certs::load_native_certs();
    if system.certs.is_empty() {
        tracing::warn!("this machine has no list of certificates: only opened hosts are trusted");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    fn count(path: &Path) -> usize {
        CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).count()
    }

    #[test]
    fn a_bundle_holds_ours_first_and_each_former_one_once() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let (a, b) = (certificate("a.test"), certificate("b.test"));
        fs_err::write(&one, format!("{a}{b}")).unwrap();
        fs_err::write(&two, format!("words\n{b}")).unwrap();
        let missing = folder.path().join("missing");
        let ours = certificate("ours.test");
        let alone = bundle(&ours, &[]).unwrap();
        let all = bundle(&ours, &[one, two, missing]).unwrap();
        assert_eq!(count(all.path()), count(alone.path()) + 2);
        let first = CertificateDer::from_pem_file(all.path()).unwrap();
        assert_eq!(first, CertificateDer::from_pem_slice(ours.as_bytes()).unwrap());
    }

    #[test]
    fn bundles_of_the_users_settings_are_found() {
        let home = tempfile::tempdir().unwrap();
        for (file, text) in [
            (".npmrc", "registry=https://packages.test/\n; cafile=no\ncafile = /etc/own.pem\n"),
            (".yarnrc", "cafile \"own.pem\"\n"),
            (".yarnrc.yml", "httpsCaFilePath: './yarn.pem'\n"),
            (".config/pip/pip.conf", "[global]\ncert = /etc/pip.pem\n"),
        ] {
            let file = home.path().join(file);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, text).unwrap();
        }
        let at = |name: &str| home.path().join(name);
        assert_eq!(
            of_settings(home.path()),
            [at("/etc/own.pem"), at("own.pem"), at("./yarn.pem"), at("/etc/pip.pem")]
        );
        assert!(of_settings(&at("nowhere")).is_empty());
    }
}
