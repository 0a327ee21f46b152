// Sends COUNT spans, COUNT log records and COUNT data points six times: over gRPC, over
// HTTP/protobuf and over HTTP/JSON, plain and gzipped, all at once, with the stock exporters and
// processors.
//
//     node send.js GRPC_URL HTTP_URL COUNT [SECONDS]
//
// Every item carries its number, from 0 up, in the attribute "n"; service.name tells which of
// the six it belongs to. With SECONDS, spans and log records are spread over that time.
// Certificates and headers are those of the SDK's own environment variables. It says "ready" when
// all is set up, and begins when it reads a line.
'use strict';

const { writeSync } = require('node:fs');
const { once } = require('node:events');
const { setTimeout } = require('node:timers/promises');

const { ROOT_CONTEXT, trace } = require('@opentelemetry/api');
const { CompressionAlgorithm } = require('@opentelemetry/otlp-exporter-base');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { BasicTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-base');
const { BatchLogRecordProcessor, LoggerProvider } = require('@opentelemetry/sdk-logs');
const { MeterProvider, PeriodicExportingMetricReader } = require('@opentelemetry/sdk-metrics');

// Long enough for shutdown to be the only export of metrics, so that every point is sent once.
const NEVER_MS = 1e9;
const PACKAGES = { grpc: 'grpc', http: 'proto', json: 'http' };

const [, , grpcEndpoint, httpEndpoint, countText, secondsText] = process.argv;
const count = Number(countText);

// Between one item and the next.
async function pause() {
  if (secondsText) {
    await setTimeout((Number(secondsText) * 1000) / count);
  }
}

function exporters(protocol, compression) {
  const signal = (name, type, path) => {
    const exporter = require(`@opentelemetry/exporter-${name}-otlp-${PACKAGES[protocol]}`)[type];
    const url = protocol === 'grpc' ? grpcEndpoint : `${httpEndpoint}/v1/${path}`;
    const gzip = compression === 'gzip';
    return new exporter({
      url,
      compression: gzip ? CompressionAlgorithm.GZIP : CompressionAlgorithm.NONE,
    });
  };
  return {
    spans: signal('trace', 'OTLPTraceExporter', 'traces'),
    logs: signal('logs', 'OTLPLogExporter', 'logs'),
    metrics: signal('metrics', 'OTLPMetricExporter', 'metrics'),
  };
}

async function sendSpans(resource, exporter) {
  const provider = new BasicTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  const tracer = provider.getTracer('send', '1.0');
  const parent = tracer.startSpan('parent', { attributes: { n: 0 } }, ROOT_CONTEXT);
  const within = trace.setSpan(ROOT_CONTEXT, parent);
  for (let n = 1; n < count; n++) {
    await pause();
    const span = tracer.startSpan(`child ${n}`, { attributes: { n } }, within);
    span.addEvent('reached', { step: n });
    span.end();
  }
  parent.end();
  await provider.shutdown();
}

async function sendLogs(resource, exporter) {
  const processors = [new BatchLogRecordProcessor({ exporter })];
  const provider = new LoggerProvider({ resource, processors });
  const logger = provider.getLogger('send');
  for (let n = 0; n < count; n++) {
    await pause();
    logger.emit({
      severityNumber: 9,
      severityText: 'INFO',
      body: `message ${n}, with an umlaut: \u00e4`,
      attributes: { n },
    });
  }
  await provider.shutdown();
}

async function sendPoints(resource, exporter) {
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: NEVER_MS });
  const provider = new MeterProvider({ resource, readers: [reader] });
  const meter = provider.getMeter('send');
  const counter = meter.createCounter('requests', { unit: '{request}' });
  const histogram = meter.createHistogram('duration', { unit: 's' });
  for (let n = 0; n < count; n++) {
    if (n % 2 === 0) {
      counter.add(n, { n });
    } else {
      histogram.record(n / 7, { n });
    }
  }
  await provider.shutdown();
}

async function main() {
  const sends = [];
  for (const protocol of ['grpc', 'http', 'json']) {
    for (const compression of ['none', 'gzip']) {
      const name = `javascript/${protocol}/${compression}`;
      const resource = resourceFromAttributes({ 'service.name': name });
      const { spans, logs, metrics } = exporters(protocol, compression);
      sends.push(
        () => sendSpans(resource, spans),
        () => sendLogs(resource, logs),
        () => sendPoints(resource, metrics),
      );
    }
  }
  writeSync(1, 'ready\n');
  await once(process.stdin, 'data');
  process.stdin.destroy();
  await Promise.all(sends.map((send) => send()));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
