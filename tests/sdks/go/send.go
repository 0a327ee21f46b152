// Sends COUNT spans, COUNT log records and COUNT data points four times: over gRPC and over
// HTTP/protobuf, plain and gzipped, all at once, with the stock exporters and processors; and
// spans over HTTP/JSON, which the SDK has for no other signal.
//
//	send GRPC_URL HTTP_URL COUNT [SECONDS]
//
// Every item carries its number, from 0 up, in the attribute "n"; service.name tells which of
// them it belongs to. With SECONDS, spans and log records are spread over that time. Certificates
// and headers are those of the SDK's own environment variables. It says "ready" when all is set
// up, and begins when it reads a line.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Long enough for shutdown to be the only export of metrics, so that every point is sent once.
const never = 24 * time.Hour

// Between one item and the next.
var pause time.Duration

type exporters struct {
	spans   sdktrace.SpanExporter
	logs    sdklog.Exporter
	metrics sdkmetric.Exporter
}

func overGRPC(ctx context.Context, endpoint string, gzip bool) exporters {
	spans := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(endpoint)}
	logs := []otlploggrpc.Option{otlploggrpc.WithEndpointURL(endpoint)}
	metrics := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpointURL(endpoint)}
	if gzip {
		spans = append(spans, otlptracegrpc.WithCompressor("gzip"))
		logs = append(logs, otlploggrpc.WithCompressor("gzip"))
		metrics = append(metrics, otlpmetricgrpc.WithCompressor("gzip"))
	}
	return exporters{
		must(otlptracegrpc.New(ctx, spans...)),
		must(otlploggrpc.New(ctx, logs...)),
		must(otlpmetricgrpc.New(ctx, metrics...)),
	}
}

func overHTTP(ctx context.Context, endpoint string, gzip bool) exporters {
	spans := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(endpoint + "/v1/traces")}
	logs := []otlploghttp.Option{otlploghttp.WithEndpointURL(endpoint + "/v1/logs")}
	metrics := []otlpmetrichttp.Option{otlpmetrichttp.WithEndpointURL(endpoint + "/v1/metrics")}
	if gzip {
		spans = append(spans, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
		logs = append(logs, otlploghttp.WithCompression(otlploghttp.GzipCompression))
		metrics = append(metrics, otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
	}
	return exporters{
		must(otlptracehttp.New(ctx, spans...)),
		must(otlploghttp.New(ctx, logs...)),
		must(otlpmetrichttp.New(ctx, metrics...)),
	}
}

func overJSON(ctx context.Context, endpoint string, gzip bool) sdktrace.SpanExporter {
	spans := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(endpoint + "/v1/traces"),
		otlptracehttp.WithEncoding(otlptracehttp.EncodingJSON),
	}
	if gzip {
		spans = append(spans, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	}
	return must(otlptracehttp.New(ctx, spans...))
}

func sendSpans(ctx context.Context, of *resource.Resource, exporter sdktrace.SpanExporter, count int) {
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(of))
	tracer := provider.Tracer("send")
	number := func(n int) trace.SpanStartEventOption {
		return trace.WithAttributes(attribute.Int("n", n))
	}
	within, parent := tracer.Start(ctx, "parent", number(0))
	for n := 1; n < count; n++ {
		time.Sleep(pause)
		_, span := tracer.Start(within, fmt.Sprintf("child %d", n), number(n))
		span.AddEvent("reached", trace.WithAttributes(attribute.Int("step", n)))
		span.End()
	}
	parent.End()
	check(provider.Shutdown(ctx))
}

func sendLogs(ctx context.Context, of *resource.Resource, exporter sdklog.Exporter, count int) {
	processor := sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter))
	provider := sdklog.NewLoggerProvider(processor, sdklog.WithResource(of))
	logger := provider.Logger("send")
	for n := range count {
		time.Sleep(pause)
		var record log.Record
		record.SetSeverity(log.SeverityInfo)
		record.SetSeverityText("INFO")
		record.SetBody(attribute.StringValue(fmt.Sprintf("message %d, with an umlaut: \u00e4", n)))
		record.AddAttributes(attribute.Int("n", n))
		logger.Emit(ctx, record)
	}
	check(provider.Shutdown(ctx))
}

func sendPoints(ctx context.Context, of *resource.Resource, exporter sdkmetric.Exporter, count int) {
	reader := sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithInterval(never))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(of))
	meter := provider.Meter("send")
	counter := must(meter.Int64Counter("requests", metric.WithUnit("{request}")))
	histogram := must(meter.Float64Histogram("duration", metric.WithUnit("s")))
	for n := range count {
		number := metric.WithAttributes(attribute.Int("n", n))
		if n%2 == 0 {
			counter.Add(ctx, int64(n), number)
		} else {
			histogram.Record(ctx, float64(n)/7, number)
		}
	}
	check(provider.Shutdown(ctx))
}

func main() {
	ctx := context.Background()
	count := must(strconv.Atoi(os.Args[3]))
	if len(os.Args) > 4 {
		seconds := must(strconv.Atoi(os.Args[4]))
		pause = time.Duration(seconds) * time.Second / time.Duration(count)
	}
	var sends []func()
	for compression, gzip := range map[string]bool{"none": false, "gzip": true} {
		for protocol, over := range map[string]exporters{
			"grpc": overGRPC(ctx, os.Args[1], gzip),
			"http": overHTTP(ctx, os.Args[2], gzip),
		} {
			name := attribute.String("service.name", "go/"+protocol+"/"+compression)
			of := resource.NewSchemaless(name)
			sends = append(sends,
				func() { sendSpans(ctx, of, over.spans, count) },
				func() { sendLogs(ctx, of, over.logs, count) },
				func() { sendPoints(ctx, of, over.metrics, count) },
			)
		}
	}
	for compression, gzip := range map[string]bool{"none": false, "gzip": true} {
		of := resource.NewSchemaless(attribute.String("service.name", "go/json/"+compression))
		spans := overJSON(ctx, os.Args[2], gzip)
		sends = append(sends, func() { sendSpans(ctx, of, spans, count) })
	}
	fmt.Println("ready")
	must(bufio.NewReader(os.Stdin).ReadString('\n'))
	var sent sync.WaitGroup
	for _, send := range sends {
		sent.Go(send)
	}
	sent.Wait()
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
