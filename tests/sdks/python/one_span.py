"""Sends one span with the stock SDK and shuts down. Where to and how the variables
OTEL_EXPORTER_OTLP_* say: the exporter under test of

    otlpd conform client -- python tests/sdks/python/one_span.py
"""

import os

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
with provider.get_tracer("conformance").start_as_current_span("one"):
    pass
provider.shutdown()
