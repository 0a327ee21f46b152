import static io.opentelemetry.api.common.AttributeKey.longKey;
import static io.opentelemetry.api.common.AttributeKey.stringKey;

import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.metrics.OtlpHttpMetricExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.logs.OtlpGrpcLogRecordExporter;
import io.opentelemetry.exporter.otlp.metrics.OtlpGrpcMetricExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.logs.SdkLoggerProvider;
import io.opentelemetry.sdk.logs.export.BatchLogRecordProcessor;
import io.opentelemetry.sdk.logs.export.LogRecordExporter;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import io.opentelemetry.sdk.metrics.export.MetricExporter;
import io.opentelemetry.sdk.metrics.export.PeriodicMetricReader;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.io.IOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Sends COUNT spans, COUNT log records and COUNT data points four times: over gRPC and over
 * HTTP/protobuf, plain and gzipped, all at once, with the stock exporters and processors.
 *
 * <pre>java Send GRPC_URL HTTP_URL COUNT</pre>
 *
 * Every item carries its number, from 0 up, in the attribute "n"; service.name tells which of the
 * four it belongs to. It says "ready" when all is set up, and begins when it reads a line.
 */
final class Send {
  /** Long enough for the last to be the only export of metrics: every point is sent once. */
  private static final Duration NEVER = Duration.ofDays(1);

  private final Resource resource;
  private final int count;

  private Send(String name, int count) {
    this.resource = Resource.create(Attributes.of(stringKey("service.name"), name));
    this.count = count;
  }

  CompletableResultCode spans(SpanExporter exporter) {
    var provider =
        SdkTracerProvider.builder()
            .setResource(resource)
            .addSpanProcessor(BatchSpanProcessor.builder(exporter).build())
            .build();
    var tracer = provider.get("send");
    var parent = tracer.spanBuilder("parent").setAttribute("n", 0).startSpan();
    var within = Context.root().with(parent);
    for (int n = 1; n < count; n++) {
      var span = tracer.spanBuilder("child " + n).setParent(within).setAttribute("n", n).startSpan();
      span.addEvent("reached", Attributes.of(longKey("step"), (long) n));
      span.end();
    }
    parent.end();
    return provider.shutdown();
  }

  CompletableResultCode logs(LogRecordExporter exporter) {
    var provider =
        SdkLoggerProvider.builder()
            .setResource(resource)
            .addLogRecordProcessor(BatchLogRecordProcessor.builder(exporter).build())
            .build();
    var logger = provider.get("send");
    for (int n = 0; n < count; n++) {
      logger
          .logRecordBuilder()
          .setSeverity(Severity.INFO)
          .setSeverityText("INFO")
          .setBody("message " + n + ", with an umlaut: \u00e4")
          .setAllAttributes(Attributes.of(longKey("n"), (long) n))
          .emit();
    }
    return provider.shutdown();
  }

  /**
   * The shutdown of metrics waits for 5 s, then cancels the export. So they are flushed, and the
   * provider is left to the end of the process.
   */
  CompletableResultCode points(MetricExporter exporter) {
    var provider =
        SdkMeterProvider.builder()
            .setResource(resource)
            .registerMetricReader(
                PeriodicMetricReader.builder(exporter).setInterval(NEVER).build())
            .build();
    var meter = provider.get("send");
    var counter = meter.counterBuilder("requests").setUnit("{request}").build();
    var histogram = meter.histogramBuilder("duration").setUnit("s").build();
    for (int n = 0; n < count; n++) {
      var number = Attributes.of(longKey("n"), (long) n);
      if (n % 2 == 0) {
        counter.add(n, number);
      } else {
        histogram.record(n / 7.0, number);
      }
    }
    return provider.forceFlush();
  }

  /** What the environment variable says; only the autoconfigured SDK reads it by itself. */
  static Map<String, String> headers() {
    var text = System.getenv().getOrDefault("OTEL_EXPORTER_OTLP_HEADERS", "");
    return Stream.of(text.split(","))
        .map(header -> header.split("=", 2))
        .filter(header -> header.length == 2)
        .collect(
            Collectors.toMap(
                header -> header[0],
                header -> URLDecoder.decode(header[1], StandardCharsets.UTF_8)));
  }

  /** The same of how long an answer may take, in milliseconds. */
  static Duration timeout() {
    var text = System.getenv().getOrDefault("OTEL_EXPORTER_OTLP_TIMEOUT", "10000");
    return Duration.ofMillis(Long.parseLong(text));
  }

  public static void main(String[] arguments) throws IOException {
    String grpc = arguments[0];
    String http = arguments[1] + "/v1/";
    int count = Integer.parseInt(arguments[2]);
    List<Supplier<CompletableResultCode>> sends = new ArrayList<>();
    for (String compression : List.of("none", "gzip")) {
      var overGrpc = new Send("java/grpc/" + compression, count);
      var grpcSpans =
          OtlpGrpcSpanExporter.builder()
              .setEndpoint(grpc)
              .setCompression(compression)
              .setHeaders(Send::headers)
              .setTimeout(timeout())
              .build();
      sends.add(() -> overGrpc.spans(grpcSpans));
      var grpcLogs =
          OtlpGrpcLogRecordExporter.builder()
              .setEndpoint(grpc)
              .setCompression(compression)
              .setHeaders(Send::headers)
              .setTimeout(timeout())
              .build();
      sends.add(() -> overGrpc.logs(grpcLogs));
      var grpcPoints =
          OtlpGrpcMetricExporter.builder()
              .setEndpoint(grpc)
              .setCompression(compression)
              .setHeaders(Send::headers)
              .setTimeout(timeout())
              .build();
      sends.add(() -> overGrpc.points(grpcPoints));
      var overHttp = new Send("java/http/" + compression, count);
      var httpSpans =
          OtlpHttpSpanExporter.builder()
              .setEndpoint(http + "traces")
              .setCompression(compression)
              .setHeaders(Send::headers)
              .setTimeout(timeout())
              .build();
      sends.add(() -> overHttp.spans(httpSpans));
      var httpLogs =
          OtlpHttpLogRecordExporter.builder()
              .setEndpoint(http + "logs")
              .setCompression(compression)
              .setHeaders(Send::headers)
              .setTimeout(timeout())
              .build();
      sends.add(() -> overHttp.logs(httpLogs));
      var httpPoints =
          OtlpHttpMetricExporter.builder()
              .setEndpoint(http + "metrics")
              .setCompression(compression)
              .setHeaders(Send::headers)
              .setTimeout(timeout())
              .build();
      sends.add(() -> overHttp.points(httpPoints));
    }
    System.out.println("ready");
    System.in.read();
    List<CompletableResultCode> sent = sends.stream().map(Supplier::get).toList();
    var all = CompletableResultCode.ofAll(sent).join(180, TimeUnit.SECONDS);
    System.exit(all.isSuccess() ? 0 : 1);
  }
}
