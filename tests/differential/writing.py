"""A message as OTLP/JSON, as different clients write it, and what Google's parser reads."""

import base64
import json
import math

from google.protobuf import json_format

IDS = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")
# What JavaScript's numbers hold exactly.
SAFE = 1 << 53


def to_json(message, style="canonical", snake_case=False, enum_names=False):
    """Text. `style`: "canonical" writes 64-bit integers as strings, "javascript" as numbers where
    they fit, "pretty" over many lines, "upper_case" has ids in upper case."""
    value = json_format.MessageToDict(
        message,
        preserving_proto_field_name=snake_case,
        use_integers_for_enums=not enum_names,
    )
    value = _convert(value, None, style)
    if style == "pretty":
        return json.dumps(value, indent=2, ensure_ascii=False)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=style == "canonical")


def _convert(value, key, style):
    if isinstance(value, dict):
        return {name: _convert(inner, name, style) for name, inner in value.items()}
    if isinstance(value, list):
        return [_convert(inner, key, style) for inner in value]
    if key in IDS:
        digits = base64.b64decode(value).hex()
        return digits.upper() if style == "upper_case" else digits
    if (
        style == "javascript"
        and isinstance(value, str)
        and key not in ("stringValue", "bytesValue")
    ):
        return _number(value, key)
    return value


def from_json(message, text):
    """Reads `text` into a message of the type of `message`, by Google's parser and OTLP's rules on
    top of it. ValueError, or one of Google's errors, where it is not to be read."""
    value = json.loads(text.decode())
    value = _by_otlp(value, message.DESCRIPTOR)
    read = json_format.ParseDict(value, type(message)(), ignore_unknown_fields=True)
    return read.FromString(read.SerializeToString())


def _by_otlp(value, descriptor):
    """An object as Google's parser wants it: ids, which OTLP has in hexadecimal digits, in base64;
    without keys in snake case, which are unknown ones. Names of enumerations are refused, and what
    is no object where a message is, which this parser would take for an empty one."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    known = {field.json_name: field for field in descriptor.fields}
    return {
        name: _field_by_otlp(inner, known[name], name)
        for name, inner in value.items()
        if name in known
    }


def _field_by_otlp(value, field, name):
    if value is None:
        return None
    if field.is_repeated and isinstance(value, list):
        return [_single_by_otlp(one, field, name) for one in value]
    return value if field.is_repeated else _single_by_otlp(value, field, name)


def _single_by_otlp(value, field, name):
    if field.type == field.TYPE_MESSAGE:
        return _by_otlp(value, field.message_type)
    if field.type == field.TYPE_ENUM and isinstance(value, str | bool):
        # A number in quotes is let pass, as it is for other integers; a name is none.
        return _whole(value)
    if name in IDS and isinstance(value, str):
        return base64.b64encode(bytes.fromhex(value)).decode()
    return value


def _whole(value):
    number = float(value) if isinstance(value, str) else math.nan
    if not number.is_integer():
        raise ValueError("an enumeration is given by its number")
    return int(number)


def _number(text, key):
    """64-bit integers are strings in ProtoJSON; those of names are not touched."""
    integral = key in ("intValue", "asInt", "count", "zeroCount", "bucketCounts") or (
        key or ""
    ).endswith("UnixNano")
    if integral and abs(int(text)) < SAFE:
        return int(text)
    return text
