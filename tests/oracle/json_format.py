"""What Google's parser of protobuf's JSON mapping makes of OTLP/JSON.

Each line of the input is {"signal": ..., "text": ...}, the text in base64; each line of the output
says what became of it: {"ok": ..., "quirk": ...}, the message in base64, or {"error": ...}.

OTLP's own exceptions are made here, before the parser sees the text: ids are hexadecimal, enums are
numbers, and names in snake_case are names that nobody knows. What only Python takes, because it is
Python, is a quirk, and named.
"""

import base64
import json
import re
import sys

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as Field
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
IDS = {"trace_id", "span_id", "parent_span_id", "profile_id"}
INTEGERS = {
    Field.CPPTYPE_INT32,
    Field.CPPTYPE_INT64,
    Field.CPPTYPE_UINT32,
    Field.CPPTYPE_UINT64,
}
# As deep as Google's binary parsers go; the parser of JSON would stop one level above.
DEPTH = 101


class Refused(Exception):
    """OTLP's own exceptions."""


class Text:
    """A text on its way to the parser, and what of it only Python takes."""

    def __init__(self, text, first=False):
        self.quirk = None
        self.again = False
        self.first = first
        self.value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=self.object,
            parse_constant=self.constant,
            parse_int=self.integer,
        )

    def object(self, pairs):
        """Of a key that comes again the last value, or the first."""
        value = dict(reversed(pairs) if self.first else pairs)
        self.again = self.again or len(value) < len(pairs)
        return value

    def constant(self, name):
        self.note(f"{name} without quotes is not JSON")
        return float(name.replace("Infinity", "inf"))

    def integer(self, digits):
        if digits == "-0":
            self.note("whole numbers have no negative zero, but doubles have")
        return int(digits)

    def note(self, quirk):
        self.quirk = self.quirk or quirk

    def message(self, value, descriptor):
        if not isinstance(value, dict):
            if value is not None and not isinstance(value, (bool, int, float)):
                self.note("a list or a string in the place of an object")
            return value
        fields = {field.json_name: field for field in descriptor.fields}
        known = {}
        for name, inner in value.items():
            if name in fields:
                known[name] = self.field(inner, fields[name])
        return known

    def field(self, value, field):
        if field.is_repeated and isinstance(value, list):
            return [self.single(one, field) for one in value]
        return value if field.is_repeated else self.single(value, field)

    def single(self, value, field):
        if value is None:
            return None
        if field.message_type is not None:
            return self.message(value, field.message_type)
        if field.name in IDS and field.type == Field.TYPE_BYTES:
            return identity(value)
        if field.type == Field.TYPE_BYTES and isinstance(value, str):
            if not re.fullmatch(r"[A-Za-z0-9+/_-]*=*", value):
                self.note("characters in base64 that do not belong there")
        elif field.cpp_type == Field.CPPTYPE_ENUM:
            self.enum(value)
        elif field.cpp_type in INTEGERS and isinstance(value, str):
            if not re.fullmatch(r"[0-9.eE+-]*", value, re.ASCII):
                self.note("white space, underscores and other digits in a whole number")
        elif field.cpp_type == Field.CPPTYPE_DOUBLE:
            self.double(value)
        return value

    def enum(self, value):
        if isinstance(value, bool):
            self.note("a truth value in the place of a number")
        elif isinstance(value, float) and not value.is_integer():
            self.note("a fraction of an enum")
        elif isinstance(value, str):
            if not re.fullmatch(r"[+-]?[0-9]+", value, re.ASCII):
                raise Refused("enums are numbers")
        elif isinstance(value, int) and not -(2**31) <= value < 2**31:
            self.note("an enum beyond 32 bits, of which Python takes one")

    def double(self, value):
        if isinstance(value, bool):
            self.note("a truth value in the place of a number")
        elif isinstance(value, str) and ("_" in value or not value.isascii()):
            self.note("underscores and other digits in a number")


def identity(value):
    if not isinstance(value, str) or not re.fullmatch(r"([0-9a-fA-F]{2})*", value):
        raise Refused("ids are hexadecimal")
    return base64.b64encode(bytes.fromhex(value)).decode()


def parse(text, request):
    value = text.message(text.value, request.DESCRIPTOR)
    if not isinstance(value, dict):
        raise Refused("a request is an object")
    json_format.ParseDict(value, request, ignore_unknown_fields=True, max_recursion_depth=DEPTH)


def is_bad(text, request):
    try:
        parse(text, request)
    except Exception:
        return True
    return text.quirk is not None


def answer(signal, raw):
    request = REQUESTS[signal]()
    try:
        text = Text(raw)
        parse(text, request)
        if text.again:
            if is_bad(Text(raw, first=True), REQUESTS[signal]()):
                text.note("of a key that comes again, a value that does not count is bad")
    except Exception as error:  # It has many ways to refuse.
        text = f"{type(error).__name__}: {error}"[:300]
        return {"error": text.encode("ascii", "replace").decode()}
    encoded = base64.b64encode(request.SerializeToString()).decode()
    return {"ok": encoded, "quirk": text.quirk}


def main():
    # Deep texts are refused by the parser, and not by Python.
    sys.setrecursionlimit(20_000)
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(answer(case["signal"], base64.b64decode(case["text"]))), flush=True)


main()
