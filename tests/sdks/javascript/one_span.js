// Sends one span with the stock SDK and shuts down. Where to and how the variables
// OTEL_EXPORTER_OTLP_* say: the exporter under test of
//
//     otlpd conform client -- node tests/sdks/javascript/one_span.js
//
// with NODE_PATH at target/sdks/javascript/node_modules.
'use strict';

const { BasicTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-base');

const kind = process.env.OTEL_EXPORTER_OTLP_PROTOCOL === 'grpc' ? 'grpc' : 'proto';
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${kind}`);

const processor = new BatchSpanProcessor(new OTLPTraceExporter());
const provider = new BasicTracerProvider({ spanProcessors: [processor] });
provider.getTracer('conformance').startSpan('one').end();
provider.shutdown();
