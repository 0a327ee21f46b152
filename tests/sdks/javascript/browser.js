// The script of a web page: it sends to the collector that the page's address names, with the
// stock exporters and by itself, and tells its own server how each attempt went.
//
//     http://PAGE/?collector=http://HOST:PORT
//
// The report is an object: an attempt's name, and how it ended; "blocked" where the browser kept
// the answer from the script.
'use strict';

const { ExportResultCode } = require('@opentelemetry/core');
const { OTLPLogExporter } = require('@opentelemetry/exporter-logs-otlp-http');
const { OTLPMetricExporter } = require('@opentelemetry/exporter-metrics-otlp-http');
const { OTLPTraceExporter: JsonSpans } = require('@opentelemetry/exporter-trace-otlp-http');
const { OTLPTraceExporter: BinarySpans } = require('@opentelemetry/exporter-trace-otlp-proto');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { LoggerProvider, SimpleLogRecordProcessor } = require('@opentelemetry/sdk-logs');
const { MeterProvider, PeriodicExportingMetricReader } = require('@opentelemetry/sdk-metrics');
const { BasicTracerProvider, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-base');

const collector = new URLSearchParams(location.search).get('collector');
// Makes the browser ask first; one of the names is one that OTLP does not need.
const headers = { 'x-team': 'checkout' };
// What the browser blocks, the exporters try again until then.
const timeoutMillis = 5000;
const resource = resourceFromAttributes({ 'service.name': 'page' });

/** Like `exporter`, and `outcome()` is a promise of how its export ended. */
function watched(exporter) {
  const original = exporter.export.bind(exporter);
  const ended = new Promise((resolve) => {
    exporter.export = (items, done) =>
      original(items, (result) => {
        resolve(result.code === ExportResultCode.SUCCESS ? 'sent' : 'failed');
        done(result);
      });
  });
  return { exporter, outcome: () => ended };
}

async function spans(Exporter) {
  const { exporter, outcome } = watched(new Exporter({ url: `${collector}/v1/traces`, headers, timeoutMillis }));
  const spanProcessors = [new SimpleSpanProcessor(exporter)];
  new BasicTracerProvider({ resource, spanProcessors }).getTracer('page').startSpan('click').end();
  return outcome();
}

async function logs() {
  const { exporter, outcome } = watched(
    new OTLPLogExporter({ url: `${collector}/v1/logs`, headers, timeoutMillis }),
  );
  const processors = [new SimpleLogRecordProcessor({ exporter })];
  new LoggerProvider({ resource, processors }).getLogger('page').emit({ body: 'clicked' });
  return outcome();
}

async function metrics() {
  const { exporter, outcome } = watched(
    new OTLPMetricExporter({ url: `${collector}/v1/metrics`, headers, timeoutMillis }),
  );
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 1e9 });
  const provider = new MeterProvider({ resource, readers: [reader] });
  provider.getMeter('page').createCounter('clicks').add(1);
  await provider.forceFlush();
  return outcome();
}

/** A POST by the page itself: the status, or "blocked". */
async function post(path, body, more) {
  const own = { 'content-type': 'application/json', ...more?.headers };
  try {
    const answer = await fetch(`${collector}${path}`, { method: 'POST', body, ...more, headers: own });
    return String(answer.status);
  } catch {
    return 'blocked';
  }
}

const ATTEMPTS = {
  spans_json: () => spans(JsonSpans),
  spans_protobuf: () => spans(BinarySpans),
  logs,
  metrics,
  fetch: () => post('/v1/logs', '{}'),
  // The status of a refusal must be readable as well.
  fetch_bad: () => post('/v1/logs', '{'),
  fetch_nowhere: () => post('/v1/nothing', '{}'),
  fetch_with_credentials: () => post('/v1/logs', '{}', { credentials: 'include' }),
  fetch_with_unknown_header: () => post('/v1/logs', '{}', { headers: { 'x-other': '1' } }),
};

async function main() {
  const endings = Object.entries(ATTEMPTS).map(async ([name, attempt]) => [name, await attempt()]);
  const report = Object.fromEntries(await Promise.all(endings));
  await fetch('/report', { method: 'POST', body: JSON.stringify(report) });
}

main();
