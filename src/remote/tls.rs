//! Encryption of connections: what the modes of libpq mean, by rustls.

use super::connect::{Target, Trust};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_name, WebPkiServerVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// Files with certificates and keys, as in a connection string.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// Certificates of authorities (`sslrootcert`).
    pub root: Option<String>,
    /// Our certificate (`sslcert`).
    pub cert: Option<String>,
    /// Its key (`sslkey`).
    pub key: Option<String>,
    /// Certificates that authorities have revoked (`sslcrl`).
    pub crl: Option<String>,
    /// A directory of such files (`sslcrldir`).
    pub crl_dir: Option<String>,
}

/// Versions of the protocol that are allowed. Older ones than TLSv1.2 are never spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Versions {
    /// Not TLSv1.2 (`ssl_min_protocol_version`).
    pub not_12: bool,
    /// Not TLSv1.3 (`ssl_max_protocol_version`).
    pub not_13: bool,
}

impl Versions {
    fn list(self) -> Vec<&'static SupportedProtocolVersion> {
        let new = Some(&TLS13).filter(|_| !self.not_13);
        let old = Some(&TLS12).filter(|_| !self.not_12);
        new.into_iter().chain(old).collect()
    }
}

/// An encrypted connection about to begin; the error is what the user should read.
pub(super) fn client(target: &Target) -> Result<ClientConnection, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(target, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&target.versions.list())
        .map_err(|_| "ssl_min_protocol_version and ssl_max_protocol_version leave no version")?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&target.files.cert, &target.files.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            private(key, "private key file")?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| format!("could not read private key file \"{key}\": {}", plain(&e)))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| e.to_string())?
        }
        (None, None) => builder.with_no_client_auth(),
        (Some(_), None) => return Err("sslcert needs sslkey".into()),
        (None, Some(_)) => return Err("sslkey needs sslcert".into()),
    };
    // A name that is not one (a socket directory) is only acceptable where it is not verified.
    let name = match ServerName::try_from(target.host.clone()) {
        Ok(name) => name,
        Err(_) if target.trust != Trust::Full => {
            ServerName::try_from("node.invalid").map_err(|e| e.to_string())?
        }
        Err(e) => return Err(e.to_string()),
    };
    ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    read(file, "certificate")
}

/// All objects of a kind in a file.
fn read<T: PemObject>(file: &str, kind: &str) -> Result<Vec<T>, String> {
    let bad = |e| format!("could not read {kind} file \"{file}\": {}", plain(&e));
    let found = T::pem_file_iter(file).map_err(bad)?.collect::<Result<Vec<_>, _>>().map_err(bad)?;
    match found.is_empty() {
        true => Err(format!("there is no {kind} in file \"{file}\"")),
        false => Ok(found),
    }
}

/// The text of an error without the system's number.
fn plain(e: &impl std::fmt::Display) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Refuses a file with a secret that others on this machine can read, as libpq does.
pub(super) fn private(file: &str, kind: &str) -> Result<(), String> {
    let about = std::fs::metadata(file)
        .map_err(|e| format!("could not read {kind} \"{file}\": {}", plain(&e)))?;
    // What belongs to root may be readable for a group, in which only this server is.
    let others = if about.uid() == 0 { 0o037 } else { 0o077 };
    if !about.is_file() || about.mode() & others != 0 {
        return Err(format!(
            "{kind} \"{file}\" is not a plain file that only its owner can read (mode 0600)"
        ));
    }
    Ok(())
}

/// The lists of revoked certificates.
fn revoked(files: &Files) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    const KIND: &str = "certificate revocation list";
    let mut lists = match &files.crl {
        Some(file) => read(file, KIND)?,
        None => Vec::new(),
    };
    if let Some(dir) = &files.crl_dir {
        let bad = |e: std::io::Error| format!("could not read directory \"{dir}\": {}", plain(&e));
        for entry in std::fs::read_dir(dir).map_err(bad)? {
            let path = entry.map_err(bad)?.path();
            if path.is_file() {
                lists.extend(read(&path.to_string_lossy(), KIND)?);
            }
        }
        if lists.is_empty() {
            return Err(format!("there is no {KIND} in directory \"{dir}\""));
        }
    }
    Ok(lists)
}

fn verifier(
    target: &Target,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let revoked = revoked(&target.files)?;
    if target.trust == Trust::Any {
        if !revoked.is_empty() {
            return Err("sslcrl and sslcrldir need sslrootcert".into());
        }
        return Ok(Arc::new(Verifier { authority: None, full: false, provider: provider.clone() }));
    }
    let Some(root) = &target.files.root else {
        return Err("verifying the node's certificate needs sslrootcert".into());
    };
    let roots = certificates(root)?;
    let mut store = RootCertStore::empty();
    for cert in &roots {
        store.add(cert.clone()).map_err(|e| format!("certificate in \"{root}\": {e}"))?;
    }
    let mut chain = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
    if !revoked.is_empty() {
        // As libpq: each certificate's authority has to have said what it revoked, lately.
        chain = chain.with_crls(revoked).enforce_revocation_expiration();
    }
    let chain = chain.build().map_err(|e| e.to_string())?;
    Ok(Arc::new(Verifier {
        authority: Some((chain, roots)),
        full: target.trust == Trust::Full,
        provider: provider.clone(),
    }))
}

/// Verifies what the mode asks for: nothing (`require`), the chain (`verify-ca`), or also the
/// name (`verify-full`). Signatures of the handshake always have to be right.
#[derive(Debug)]
struct Verifier {
    authority: Option<(Arc<WebPkiServerVerifier>, Vec<CertificateDer<'static>>)>,
    full: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some((chain, roots)) = &self.authority else {
            return Ok(ServerCertVerified::assertion());
        };
        // A self-signed certificate that is trusted as it stands.
        if roots.iter().any(|r| r.as_ref() == end_entity.as_ref()) {
            if self.full {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.full => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
