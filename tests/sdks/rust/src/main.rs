//! Sends COUNT spans, COUNT log records and COUNT data points six times: over gRPC, over
//! HTTP/protobuf and over HTTP/JSON, plain and gzipped, all at once, with the stock exporters and
//! processors.
//!
//! ```text
//! send GRPC_URL HTTP_URL COUNT
//! ```
//!
//! Every item carries its number, from 0 up, in the attribute "n"; service.name tells which of
//! the six it belongs to. Headers are those of the SDK's own environment variable. It says "ready" when all is set up, and begins when it reads a line.

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

const PATIENCE: Duration = Duration::from_secs(180);

/// The exporter builders of the three signals share methods, but no trait with all of them.
macro_rules! exporter {
    ($exporter:ident, $how:expr, $path:literal) => {
        if $how.protocol == "grpc" {
            let builder = $exporter::builder()
                .with_tonic()
                .with_endpoint($how.endpoint.clone());
            match $how.gzip {
                true => builder.with_compression(Compression::Gzip).build(),
                false => builder.build(),
            }
        } else {
            let builder = $exporter::builder()
                .with_http()
                .with_protocol(match $how.protocol {
                    "json" => Protocol::HttpJson,
                    _ => Protocol::HttpBinary,
                })
                .with_endpoint(format!("{}/v1/{}", $how.endpoint, $path));
            match $how.gzip {
                true => builder.with_compression(Compression::Gzip).build(),
                false => builder.build(),
            }
        }
    };
}

#[derive(Clone)]
struct How {
    protocol: &'static str,
    gzip: bool,
    endpoint: String,
    count: i64,
}

impl How {
    fn resource(&self) -> Resource {
        let compression = if self.gzip { "gzip" } else { "none" };
        let name = format!("rust/{}/{compression}", self.protocol);
        Resource::builder().with_service_name(name).build()
    }

    fn send_spans(self, begin: &Barrier) -> Outcome {
        let provider = SdkTracerProvider::builder()
            .with_resource(self.resource())
            .with_batch_exporter(exporter!(SpanExporter, self, "traces")?)
            .build();
        begin.wait();
        let tracer = provider.tracer("send");
        let parent = tracer
            .span_builder("parent")
            .with_attributes([KeyValue::new("n", 0)]);
        let parent = Context::new().with_span(parent.start(&tracer));
        for n in 1..self.count {
            let child = tracer.span_builder(format!("child {n}"));
            let child = child.with_attributes([KeyValue::new("n", n)]);
            let mut child = child.start_with_context(&tracer, &parent);
            child.add_event("reached", vec![KeyValue::new("step", n)]);
            child.end();
        }
        parent.span().end();
        Ok(provider.shutdown_with_timeout(PATIENCE)?)
    }

    fn send_logs(self, begin: &Barrier) -> Outcome {
        let provider = SdkLoggerProvider::builder()
            .with_resource(self.resource())
            .with_batch_exporter(exporter!(LogExporter, self, "logs")?)
            .build();
        begin.wait();
        let logger = provider.logger("send");
        for n in 0..self.count {
            let mut record = logger.create_log_record();
            record.set_severity_number(Severity::Info);
            record.set_severity_text("INFO");
            let text = format!("message {n}, with an umlaut: \u{e4}");
            record.set_body(AnyValue::String(text.into()));
            record.add_attribute("n", n);
            logger.emit(record);
        }
        Ok(provider.shutdown_with_timeout(PATIENCE)?)
    }

    /// The shutdown of metrics waits for 5 s whatever it is told, and it exports once more. So
    /// they are flushed, and the provider is left to the end of the process.
    fn send_points(self, begin: &Barrier) -> Outcome {
        let provider = SdkMeterProvider::builder()
            .with_resource(self.resource())
            .with_periodic_exporter(exporter!(MetricExporter, self, "metrics")?)
            .build();
        begin.wait();
        let meter = provider.meter("send");
        let counter = meter.u64_counter("requests").with_unit("{request}").build();
        let histogram = meter.f64_histogram("duration").with_unit("s").build();
        for n in 0..self.count {
            let number = [KeyValue::new("n", n)];
            match n % 2 {
                0 => counter.add(n as u64, &number),
                _ => histogram.record(n as f64 / 7.0, &number),
            }
        }
        provider.force_flush()?;
        std::mem::forget(provider);
        Ok(())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, grpc, http, count] = arguments.as_slice() else {
        eprintln!("usage: send GRPC_URL HTTP_URL COUNT");
        return ExitCode::from(2);
    };
    let count = count.parse().expect("COUNT is a number");
    // What tonic's exporters are made in; the processors have threads of their own.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let begin = Arc::new(Barrier::new(2 * 3 * 3 + 1));
    let mut sent = Vec::new();
    for gzip in [false, true] {
        for (protocol, endpoint) in [("grpc", grpc), ("http", http), ("json", http)] {
            let how = How {
                protocol,
                gzip,
                endpoint: endpoint.clone(),
                count,
            };
            for send in [How::send_spans, How::send_logs, How::send_points] {
                let how = how.clone();
                let (handle, begin) = (runtime.handle().clone(), Arc::clone(&begin));
                sent.push(thread::spawn(move || {
                    let _inside = (how.protocol == "grpc").then(|| handle.enter());
                    send(how, &begin)
                }));
            }
        }
    }
    println!("ready");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .expect("standard input can be read");
    begin.wait();
    let mut code = ExitCode::SUCCESS;
    for thread in sent {
        if let Err(problem) = thread.join().expect("no thread panics") {
            eprintln!("{problem}");
            code = ExitCode::FAILURE;
        }
    }
    code
}
