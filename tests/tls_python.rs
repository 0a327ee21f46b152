//! The stock Python SDK (grpcio, and requests for HTTP) sends by TLS, and shows a certificate.
//! Skipped where `tests/sdks/install.sh python` has not been run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and say what it could not do"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/process.rs"]
mod process;
#[path = "support/secure.rs"]
mod secure;

use std::path::Path;
use std::process::Command;

use pki::{Authority, folder};
use process::until;
use secure::start;

const SEND: &str = r#"
import sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
if sys.argv[1] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
for n in range(100):
    provider.get_tracer("send").start_span(str(n)).end()
provider.shutdown()
"#;

#[test]
fn the_python_sdk_sends_by_tls_and_shows_a_certificate() {
    let sdks = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = sdks.join("sdks/python/bin/python");
    if !python.exists() {
        println!("SKIPPED: run tests/sdks/install.sh python");
        return;
    }
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let at = |name: &str| files.path().join(name);
    let asks = format!(", client_ca_file = \"{}\"", at("ca.crt").display());
    let daemon = start(files.path(), &asks);
    let mut expected = 0;
    for protocol in ["grpc", "http"] {
        let endpoint = format!("https://localhost:{}", daemon.address(protocol).port());
        let sent = Command::new(&python)
            .args(["-c", SEND, protocol])
            // Where a machine sets these, they go before what the SDK is told.
            .env_remove("REQUESTS_CA_BUNDLE")
            .env_remove("CURL_CA_BUNDLE")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", at("ca.crt"))
            .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", at("client.crt"))
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", at("client.key"))
            .output()
            .unwrap();
        assert!(sent.status.success(), "{sent:?}");
        expected += 100;
        until("all has arrived", || {
            daemon.account("traces", "out")["delivered"] == expected
        });
    }
}
