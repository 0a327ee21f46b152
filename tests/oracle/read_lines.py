"""What Google's parser makes of a file of OTLP/JSON lines: each line in binary protobuf, behind its
length in four bytes.

Usage: read_lines.py SIGNAL FILE. OTLP's own exception is made before the parser sees a line: ids
are hexadecimal.
"""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
    "profiles": ExportProfilesServiceRequest,
}
IDS = {"traceId", "spanId", "parentSpanId", "profileId"}


def hexadecimal(pairs):
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode() if key in IDS else value
        for key, value in pairs
    }


def main():
    signal, path = sys.argv[1:]
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            assert line.endswith("\n")
            message = REQUESTS[signal]()
            json_format.ParseDict(json.loads(line, object_pairs_hook=hexadecimal), message)
            binary = message.SerializeToString()
            sys.stdout.buffer.write(len(binary).to_bytes(4, "big") + binary)


main()
