//! Encryption of connections: what the modes of libpq mean, by rustls.

use super::connect::{Target, Trust};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_name, WebPkiServerVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
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
}

/// An encrypted connection about to begin; the error is what the user should read.
pub(super) fn client(target: &Target) -> Result<ClientConnection, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(target, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&target.files.cert, &target.files.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| format!("could not read private key file \"{key}\": {e}"))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| e.to_string())?
        }
        _ => builder.with_no_client_auth(),
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
    let bad = |e| format!("could not read certificate file \"{file}\": {e}");
    CertificateDer::pem_file_iter(file).map_err(bad)?.collect::<Result<Vec<_>, _>>().map_err(bad)
}

fn verifier(
    target: &Target,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if target.trust == Trust::Any {
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
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
        .build()
        .map_err(|e| e.to_string())?;
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
