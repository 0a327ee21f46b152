"""A message as OTLP/JSON, as different clients write it, and what Google's parser reads."""

import base64
import json

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
    if style == "javascript" and isinstance(value, str) and key not in ("stringValue", "bytesValue"):
        return _number(value, key)
    return value


def from_json(message, text):
    """Reads `text` into a message of the type of `message`, by Google's parser; ids, which OTLP has
    as hexadecimal digits, are put for it as it wants them. ValueError where it refuses."""
    value = json.loads(text.decode(), object_pairs_hook=_no_key_twice)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    read = json_format.ParseDict(_ids_for_google(value), type(message)(), ignore_unknown_fields=True)
    return read.FromString(read.SerializeToString())


def _no_key_twice(pairs):
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _ids_for_google(value, key=None):
    if isinstance(value, dict):
        return {name: _ids_for_google(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_ids_for_google(inner, key) for inner in value]
    if key in IDS and isinstance(value, str):
        return base64.b64encode(bytes.fromhex(value)).decode()
    return value


def _number(text, key):
    """64-bit integers are strings in ProtoJSON; those of names are not touched."""
    integral = key in ("intValue", "asInt", "count", "zeroCount", "bucketCounts") or (
        key or ""
    ).endswith("UnixNano")
    if integral and abs(int(text)) < SAFE:
        return int(text)
    return text
