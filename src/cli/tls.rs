//! What commands that connect to others take about TLS.

use std::path::PathBuf;

use clap::Args;

use crate::net::tls::ClientTlsConfig;

#[derive(Args, Clone, Debug, Default)]
pub(super) struct TlsArgs {
    /// Over https: the CAs that the server is believed by, in place of those of the system; PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Over https: the certificate that is shown to the server; PEM
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Its private key; PEM
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Over https: the name that the server's certificate must have, in place of the host
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Over https: believe whoever answers
    #[arg(long)]
    insecure_skip_verify: bool,
}

impl TlsArgs {
    /// What was said, if anything was.
    pub(super) fn config(&self) -> Option<ClientTlsConfig> {
        let config = ClientTlsConfig {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            server_name_override: self.server_name.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
            ..ClientTlsConfig::default()
        };
        (config != ClientTlsConfig::default()).then_some(config)
    }
}
