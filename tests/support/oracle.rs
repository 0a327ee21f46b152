//! What prost and opentelemetry-proto make of a request.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use otlpd::otlp::Signal;
use prost::{DecodeError, Message};

/// A decoded request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decoded {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Logs(ExportLogsServiceRequest),
    Profiles(ExportProfilesServiceRequest),
}

pub(crate) fn decode(signal: Signal, body: &[u8]) -> Result<Decoded, DecodeError> {
    Ok(match signal {
        Signal::Traces => Decoded::Traces(Message::decode(body)?),
        Signal::Metrics => Decoded::Metrics(Message::decode(body)?),
        Signal::Logs => Decoded::Logs(Message::decode(body)?),
        Signal::Profiles => Decoded::Profiles(Message::decode(body)?),
    })
}

impl Decoded {
    pub(crate) fn encoded(&self) -> Vec<u8> {
        match self {
            Self::Traces(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
            Self::Logs(request) => request.encode_to_vec(),
            Self::Profiles(request) => request.encode_to_vec(),
        }
    }

    /// Every item by itself, encoded, in order.
    pub(crate) fn items(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Traces(request) => {
                let scopes = request
                    .resource_spans
                    .iter()
                    .flat_map(|one| &one.scope_spans);
                each(scopes.flat_map(|scope| &scope.spans))
            }
            Self::Logs(request) => {
                let scopes = request.resource_logs.iter().flat_map(|one| &one.scope_logs);
                each(scopes.flat_map(|scope| &scope.log_records))
            }
            Self::Profiles(request) => {
                let resources = request.resource_profiles.iter();
                let scopes = resources.flat_map(|one| &one.scope_profiles);
                each(scopes.flat_map(|scope| &scope.profiles))
            }
            Self::Metrics(request) => {
                let scopes = request
                    .resource_metrics
                    .iter()
                    .flat_map(|one| &one.scope_metrics);
                let metrics = scopes.flat_map(|scope| &scope.metrics);
                metrics
                    .flat_map(|metric| match &metric.data {
                        None => Vec::new(),
                        Some(Data::Gauge(data)) => each(&data.data_points),
                        Some(Data::Sum(data)) => each(&data.data_points),
                        Some(Data::Histogram(data)) => each(&data.data_points),
                        Some(Data::ExponentialHistogram(data)) => each(&data.data_points),
                        Some(Data::Summary(data)) => each(&data.data_points),
                    })
                    .collect()
            }
        }
    }
}

fn each<'a, M: Message + 'a>(items: impl IntoIterator<Item = &'a M>) -> Vec<Vec<u8>> {
    items.into_iter().map(Message::encode_to_vec).collect()
}
