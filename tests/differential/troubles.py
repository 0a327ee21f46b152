"""What can be wrong, or at least unusual, in a request: each trouble by its name.

There are four kinds: those of messages are done to Google's message before it is written, in
whatever encoding; those of bytes to its protobuf form; those of text to its JSON form; those of
HTTP to what goes over the wire. Names before a colon are those of the only signal that has it.
All of them expect a request with at least one item, in a metric that has exemplars.
"""

import gzip
import json
import random
import zlib

import shapes
from writing import to_json

# So as to be found again in the written form.
MARK = "the-name-to-be-spoilt"


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


# A varint, eight bytes, four bytes, a group and a string: fields 2000 to 2004.
UNKNOWN = (
    varint(2000 << 3) + b"\x96\x01"
    + varint(2001 << 3 | 1) + b"12345678"
    + varint(2002 << 3 | 5) + b"1234"
    + varint(2003 << 3 | 3) + b"\x08\x01" + varint(2003 << 3 | 4)
    + field(2004, b"from the future")
)  # fmt: skip


def first(signal, request):
    return shapes.items(signal, request)[0]


def every_message(message):
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_MESSAGE:
            for inner in value if descriptor.is_repeated else (value,):
                yield from every_message(inner)


# Of messages -----------------------------------------------------------------------------------


def unknown_fields(signal, request):
    for message in list(every_message(request)):
        message.MergeFromString(UNKNOWN)


def old_library_field(signal, request):
    """Field 1000 of ResourceX was InstrumentationLibraryX, until 2022."""
    library = field(1, field(1, b"old library"))
    for resource in shapes.resources(signal, request):
        resource.MergeFromString(field(1000, library))


def _ids(**ids):
    def change(signal, request):
        for name, value in ids.items():
            setattr(first(signal, request), name, value)

    return change


def _link_id(signal, request):
    first(signal, request).links.add(trace_id=b"short", span_id=b"12345678")


def _exemplar_id(signal, request):
    first(signal, request).exemplars.add(trace_id=b"1" * 16, span_id=b"short")


def _everything_bad(signal, request):
    for item in shapes.items(signal, request):
        item.trace_id = b"short"


def empty_envelopes(signal, request):
    shapes.resources(signal, request).add()
    for resource in shapes.resources(signal, request):
        scopes = {"traces": "scope_spans", "metrics": "scope_metrics", "logs": "scope_logs"}
        getattr(resource, scopes[signal]).add()


def null_metric(signal, request):
    shapes.scopes(signal, request)[0].metrics.add()


def _histogram(bounds, counts):
    def change(signal, request):
        metric = shapes.scopes(signal, request)[0].metrics.add(name="odd")
        metric.histogram.data_points.add(
            time_unix_nano=shapes.NOW, count=1, explicit_bounds=bounds, bucket_counts=counts,
            sum=float("nan"), min=5, max=-5,
        )  # fmt: skip

    return change


def too_large(signal, request):
    shapes.put(first(signal, request).attributes, "large", "x" * (5 << 18))


MESSAGES = {
    "unknown_fields": unknown_fields,
    "old_library_field": old_library_field,
    "empty_envelopes": empty_envelopes,
    "too_large": too_large,
    "traces:trace_id_short": _ids(trace_id=b"short"),
    "traces:trace_id_long": _ids(trace_id=b"1" * 17),
    "traces:trace_id_absent": _ids(trace_id=b""),
    "traces:trace_id_zero": _ids(trace_id=bytes(16)),
    "traces:span_id_short": _ids(span_id=b"short"),
    "traces:span_id_zero": _ids(span_id=bytes(8)),
    "traces:span_id_absent": _ids(span_id=b""),
    "traces:parent_id_long": _ids(parent_span_id=b"1" * 9),
    "traces:parent_id_zero": _ids(parent_span_id=bytes(8)),
    "traces:link_id_short": _link_id,
    "traces:all_ids_short": _everything_bad,
    "logs:trace_id_short": _ids(trace_id=b"short"),
    "logs:trace_id_zero": _ids(trace_id=bytes(16)),
    "logs:span_id_short": _ids(trace_id=b"1" * 16, span_id=b"short"),
    "metrics:exemplar_id_short": _exemplar_id,
    "metrics:empty_metric": null_metric,
    "metrics:buckets_mismatch": _histogram([1, 2, 3], [1]),
    "metrics:buckets_disorder": _histogram([3, 1, 2], [0, 1, 0, 0]),
}


# Of protobuf bytes: (signal, request) -> bytes --------------------------------------------------


def _spoil_utf8(place):
    def change(signal, request):
        place(signal, request)
        return request.SerializeToString().replace(MARK.encode(), b"\xff" * len(MARK))

    return change


def _mark_item(signal, request):
    item = first(signal, request)
    if signal == "traces":
        item.name = MARK
    else:
        shapes.put(item.attributes, "key", MARK)


def _mark_key(signal, request):
    shapes.put(first(signal, request).attributes, MARK, 1)


def _mark_resource(signal, request):
    shapes.put(shapes.resources(signal, request)[0].resource.attributes, "key", MARK)


def _mark_scope(signal, request):
    shapes.scopes(signal, request)[0].scope.name = MARK


def _around(tail):
    return lambda _, request: request.SerializeToString() + tail


def _in_item(tail):
    """Puts bytes behind those of the first item, the lengths around it being right."""

    def change(signal, request):
        request = type(request).FromString(request.SerializeToString())
        # An unknown field holds the place: its header becomes one of the same size, with a value
        # of its own, and its content the bytes.
        place = field(3000, b"place"[: len(tail)])
        first(signal, request).MergeFromString(place)
        body = request.SerializeToString()
        assert body.count(place) == 1
        return body.replace(place, varint(3000 << 3) + b"\x00" + tail)

    return change


def nested(levels):
    """A request in which so many messages lie within each other, the request included."""

    def change(signal, _):
        item = {"traces": field(1, b"1" * 16) + field(2, b"1" * 8), "metrics": b"\x19" + b"1" * 8}
        above = {"traces": 6, "logs": 6, "metrics": 8}[signal]
        value = field(1, b"leaf")
        # Each round is an ArrayValue in an AnyValue, and the value itself is one more.
        for _ in range((levels - above) // 2):
            value = field(5, field(1, value))
        key = {"traces": 9, "logs": 6, "metrics": 7}[signal]
        body = item.get(signal, b"") + field(key, field(1, b"deep") + field(2, value))
        if signal == "metrics":
            body = field(1, b"gauge") + field(5, field(1, body))
        return field(1, field(2, field(2, body)))

    return change


def _reversed_fields(_, request):
    """The fields of the envelopes in descending order, which is as good as any."""
    out = b""
    for resource in getattr(request, request.DESCRIPTOR.fields[0].name):
        parts = []
        for descriptor, value in resource.ListFields():
            values = value if descriptor.is_repeated else [value]
            parts += [(descriptor.number, one) for one in values]
        body = b""
        for number, one in sorted(parts, key=lambda part: -part[0]):
            body += field(number, one.encode() if isinstance(one, str) else one.SerializeToString())
        out += field(1, body)
    return out


def _twice_resource(signal, request):
    """A message that is there twice is merged by protobuf's rules."""
    more = type(shapes.resources(signal, request)[0].resource)()
    shapes.put(more.attributes, "second.half", True)
    whole = b""
    for resource in shapes.resources(signal, request):
        whole += field(1, resource.SerializeToString() + field(1, more.SerializeToString()))
    return whole


def _twice_scalar(signal, request):
    """Of a scalar that is there twice the last counts."""
    whole = b""
    for resource in shapes.resources(signal, request):
        whole += field(1, resource.SerializeToString() + field(3, b"first") + field(3, b"last"))
    return whole


def _long_varint(_, request):
    body = request.SerializeToString()
    # The tag of field 1 in two bytes instead of one.
    return b"\x8a\x00" + body[1:]


def _truncated(_, request):
    return request.SerializeToString()[:-1]


def _random_bytes(_, request):
    return bytes(range(1, 200))


BYTES = {
    "utf8_in_item": _spoil_utf8(_mark_item),
    "utf8_in_key": _spoil_utf8(_mark_key),
    "utf8_in_resource": _spoil_utf8(_mark_resource),
    "utf8_in_scope": _spoil_utf8(_mark_scope),
    "truncated": _truncated,
    "random_bytes": _random_bytes,
    "length_of_2_GiB": _around(b"\x0a\xff\xff\xff\xff\x07"),
    "length_beyond_the_end": _around(b"\x0a\x05abc"),
    "length_of_64_bits": _around(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
    "varint_of_11_bytes": _around(b"\x10" + b"\xff" * 10 + b"\x01"),
    "field_number_0": _around(b"\x02\x01a"),
    "field_number_too_large": _around(b"\x82\x80\x80\x80\x80\x01\x01a"),
    "wire_type_6": _around(b"\x16"),
    "wire_type_7": _around(b"\x17"),
    "wrong_wire_type": _around(b"\x08\x01"),
    "group_without_end": _around(b"\x1b\x08\x01"),
    "group_end_alone": _around(b"\x1c"),
    "group_end_of_another": _around(b"\x1b\x08\x01\x24"),
    "unknown_group": _around(b"\x1b\x08\x01\x1c"),
    "item_wrong_wire_type": _in_item(b"\x08\x01"),
    "item_cut": _in_item(b"\x0a\x7f"),
    "fields_reversed": _reversed_fields,
    "message_twice": _twice_resource,
    "scalar_twice": _twice_scalar,
    "long_varint": _long_varint,
    "nested_60": nested(60),
    "nested_100": nested(100),
    "nested_102": nested(102),
    "nested_300": nested(300),
}


def _valueless_oneof(_, request):
    """Two members of a oneof: the last counts."""
    point = request.resource_metrics[0].scope_metrics[0].metrics[0]
    point.MergeFromString(field(9, field(1, b"\x19" + b"12345678")))
    return request.SerializeToString()


BYTES["metrics:oneof_twice"] = _valueless_oneof


def _unpacked(_, request):
    """The buckets of a histogram one by one, as proto2 writes them."""
    point = b"\x19" + b"1" * 8
    point += b"".join(b"\x31" + bytes([n]) + bytes(7) for n in range(3))
    point += b"".join(b"\x39" + bytes(6) + b"\xf0\x3f" for _ in range(2))
    metric = field(1, b"unpacked") + field(9, field(1, point) + b"\x10\x02")
    return field(1, field(2, field(2, metric)))


BYTES["metrics:unpacked"] = _unpacked


# How often chance has its way with one shape.
CHANCES = 8


def _dice(body, number):
    """The same for the same request."""
    return random.Random(zlib.crc32(body) + number)


def _flipped(number):
    """A few bytes are others, or some are missing, or there twice."""

    def change(_, request):
        body = bytearray(request.SerializeToString())
        dice = _dice(bytes(body), number)
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            at = dice.randrange(len(body))
            piece = body[at : at + dice.choice((1, 1, 2, 5, 30))]
            what = dice.choice(("bit", "bit", "byte", "cut", "twice"))
            if what == "bit":
                body[at] ^= 1 << dice.randrange(8)
            elif what == "byte":
                body[at] = dice.randrange(256)
            elif what == "cut" and len(piece) < len(body):
                del body[at : at + len(piece)]
            else:
                body[at:at] = piece
        return bytes(body)

    return change


BYTES.update({f"flipped_{number}": _flipped(number) for number in range(CHANCES)})


# Of JSON text: (signal, request) -> text or bytes -----------------------------------------------


def _canonical(request):
    return json.loads(to_json(request))


def _in_first_item(change):
    """Changes the JSON object of the first item."""

    def spoil(signal, request):
        value = _canonical(request)
        change(_first_object(signal, value))
        return json.dumps(value)

    return spoil


def _first_object(signal, value):
    names = {
        "traces": ("resourceSpans", "scopeSpans", "spans"),
        "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
        "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    }[signal]
    for name in names:
        value = value[name][0]
    if signal == "metrics":
        return next(x for x in value.values() if isinstance(x, dict))["dataPoints"][0]
    return value


def _set(**members):
    return _in_first_item(lambda item: item.update(members))


def _attribute(value):
    return _in_first_item(
        lambda item: item.setdefault("attributes", []).append({"key": "odd", "value": value})
    )


def _literal(value, text):
    """Like `_attribute`, with a text that Python's JSON would not write."""

    def spoil(signal, request):
        return _attribute({value: "LITERAL"})(signal, request).replace('"LITERAL"', text)

    return spoil


def _nulls(signal, request):
    def fill(value):
        if isinstance(value, dict):
            for inner in value.values():
                fill(inner)
            value["notKnown"] = None
        elif isinstance(value, list):
            for inner in value:
                fill(inner)

    value = _canonical(request)
    fill(value)
    item = _first_object(signal, value)
    item.setdefault("attributes", None)
    item.setdefault("flags", None)
    item.setdefault("droppedAttributesCount", None)
    return json.dumps(value)


def _time_text(text):
    def spoil(signal, request):
        name = "startTimeUnixNano" if signal != "logs" else "timeUnixNano"
        return _set(**{name: "LITERAL"})(signal, request).replace('"LITERAL"', text)

    return spoil


TEXT = {
    "nulls": _nulls,
    "unknown_keys": _set(fromTheFuture={"a": [1, {"b": None}], "c": "d"}),
    "snake_case": lambda _, request: to_json(request, snake_case=True),
    "enum_names": lambda _, request: to_json(request, enum_names=True),
    "byte_order_mark": lambda _, request: b"\xef\xbb\xbf" + to_json(request).encode(),
    "text_behind": lambda _, request: to_json(request) + " {}",
    "white_space_around": lambda _, request: " \r\n\t" + to_json(request) + "\n ",
    "json_truncated": lambda _, request: to_json(request)[:-1],
    "json_of_nothing": lambda *_: b"",
    "json_array": lambda *_: "[]",
    "json_null": lambda *_: "null",
    "json_string": lambda *_: '"a"',
    "json_empty_object": lambda *_: "{}",
    "json_utf8": lambda s, r: _attribute({"stringValue": MARK})(s, r)
    .encode()
    .replace(MARK.encode(), b"\xff"),
    "json_lone_surrogate": _literal("stringValue", '"\\ud800"'),
    "json_surrogate_pair": _literal("stringValue", '"\\ud83d\\ude00"'),
    "json_control_character": _literal("stringValue", '"a\nb"'),
    "json_comma_behind": lambda _, request: to_json(request)[:-1] + ",}",
    "json_comment": lambda _, request: "/* */" + to_json(request),
    "int_as_number": _literal("intValue", "42"),
    "int_as_string": _literal("intValue", '"42"'),
    "int_whole_double": _literal("intValue", "42.0"),
    "int_exponent": _literal("intValue", "1e3"),
    "int_exponent_string": _literal("intValue", '"1e3"'),
    "int_fraction": _literal("intValue", "4.5"),
    "int_too_large": _literal("intValue", "9223372036854775808"),
    "int_leading_zero": _literal("intValue", "007"),
    "int_plus": _literal("intValue", '"+7"'),
    "int_blank": _literal("intValue", '" 7"'),
    "int_empty_string": _literal("intValue", '""'),
    "int_boolean": _literal("intValue", "true"),
    "double_as_string": _literal("doubleValue", '"1.5"'),
    "double_as_int": _literal("doubleValue", "2"),
    "double_nan": _literal("doubleValue", '"NaN"'),
    "double_nan_bare": _literal("doubleValue", "NaN"),
    "double_infinity": _literal("doubleValue", '"-Infinity"'),
    "double_inf": _literal("doubleValue", '"inf"'),
    "double_too_large": _literal("doubleValue", "1e999"),
    "bool_as_string": _literal("boolValue", '"true"'),
    "string_as_number": _literal("stringValue", "7"),
    "bytes_base64": _literal("bytesValue", '"+/8="'),
    "bytes_base64url": _literal("bytesValue", '"-_8="'),
    "bytes_unpadded": _literal("bytesValue", '"+/8"'),
    "bytes_damaged": _literal("bytesValue", '"+/8!"'),
    "value_null": _literal("stringValue", "null"),
    "value_empty_array": _attribute({"arrayValue": {}}),
    "value_empty_map": _attribute({"kvlistValue": {}}),
    "value_two_members": _attribute({"stringValue": "a", "intValue": 1}),
    "attributes_object": _set(attributes={"a": "b"}),
    "time_as_number": _time_text("1790000000000000000"),
    "time_as_string": _time_text('"1790000000000000000"'),
    "time_exponent": _time_text("1.79e18"),
    "time_negative": _time_text("-1"),
    "time_date": _time_text('"2026-09-20T00:00:00Z"'),
    "flags_too_large": _set(flags=1 << 32),
    "flags_as_string": _set(flags="1"),
    "traces:id_base64": _set(traceId="AAECAwQFBgcICQoLDA0ODw=="),
    "traces:id_odd_digits": _set(traceId="0" * 31),
    "traces:id_not_hex": _set(traceId="g" * 32),
    "traces:id_short": _set(traceId="0af7"),
    "traces:id_empty": _set(parentSpanId=""),
    "traces:id_null": _set(parentSpanId=None),
    "traces:kind_name": _set(kind="SPAN_KIND_SERVER"),
    "traces:kind_unknown": _set(kind=99),
    "traces:kind_wrong_name": _set(kind="SERVER"),
    "logs:severity_name": _set(severityNumber="SEVERITY_NUMBER_INFO"),
    "logs:body_null": _set(body=None),
    "metrics:double_null": _set(asDouble=None),
}


# What stands where something else was, as it is written.
ANYTHING = (
    "null", "true", "false", "0", "1", "-1", "-0", "2.0", "1e2", "1E2", "1.5e1", "0.5", "1e-1",
    "1e400", "-1e400", "4294967295", "4294967296", "2147483648", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
    "18446744073709551616", "123456789012345678901234567890", "01", "+1", ".5", "1.", "0x10",
    "NaN", "Infinity", "-Infinity", '"NaN"', '"-NaN"', '"Infinity"', '"+Infinity"', '"-Infinity"',
    '"nan"', '"1"', '"-1"', '"01"', '"1.0"', '"1.5"', '"1e2"', '" 1"', '"1 "', '"0x10"', '""',
    '"true"', '"a"', '"AQI="', '"AQI"', '"-_8"', '"A"', '"AQ\\n=="', '"\\u0000"',
    '"\\ud83d\\ude00"', '"\\ud83d"', '"\\x41"', '"\\/"', '"\t"', '"\u00e4"', "'a'", "[]", "{}",
    "[null]", "[{}]", "[[]]", '[""]', '{"": null}', "[1,]", "[,]", '{"a": 1,}',
    '{"a": 1, "a": 2}', '{"values": []}', '{"stringValue": "a"}', '{"values": null}', "True",
    "undefined", "",
)  # fmt: skip


def _chance(number):
    """One value anywhere is another, or is there twice, or has another name."""

    def spoil(signal, request):
        value = _canonical(request)
        dice = _dice(json.dumps(value).encode(), number)
        places = list(_places(value))
        holder, key = dice.choice(places)
        if dice.random() < 0.1 and isinstance(holder, dict):
            name = dice.choice((key.upper(), key + "s", " " + key, "", "resource"))
            holder[name] = holder.pop(key)
            return json.dumps(value)
        holder[key] = "REPLACED"
        return json.dumps(value).replace('"REPLACED"', dice.choice(ANYTHING))

    return spoil


def _places(value):
    """(object or array, key or index) of every value below this one."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(entries):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


TEXT.update({f"chance_{number}": _chance(number) for number in range(2 * CHANCES)})


def _json_nested(levels):
    """So many arrays, each in the value of the one around it."""

    def spoil(signal, request):
        value = '{"arrayValue":{"values":[' * levels + "{}" + "]}}" * levels
        return _attribute({"stringValue": "LITERAL"})(signal, request).replace(
            '{"stringValue": "LITERAL"}', value
        )

    return spoil


TEXT.update({f"json_nested_{levels}": _json_nested(levels) for levels in (20, 44, 60, 5000)})


def _key_twice(signal, request):
    return to_json(request)[:-1] + ',"resourceSpans":[],"resourceMetrics":[],"resourceLogs":[]}'


TEXT["key_twice"] = _key_twice
TEXT["key_escaped"] = lambda _, request: to_json(request).replace('"resource', '"\\u0072esource')
TEXT["utf16"] = lambda _, request: to_json(request).encode("utf-16")


# Of HTTP: what is put into the exchange ---------------------------------------------------------


def _half(body):
    return gzip.compress(body[: len(body) // 2]) + gzip.compress(body[len(body) // 2 :])


def _bad_sum(body):
    packed = bytearray(gzip.compress(body))
    packed[-5] ^= 0xFF
    return bytes(packed)


HTTP = {
    "gzip_members": {"pack": _half},
    "gzip_truncated": {"pack": lambda body: gzip.compress(body)[:-9]},
    "gzip_sum": {"pack": _bad_sum},
    "gzip_trailing": {"pack": lambda body: gzip.compress(body) + b"garbage"},
    "gzip_not": {"pack": lambda body: body},
    "gzip_of_nothing": {"pack": lambda _: b""},
    "gzip_bomb": {"pack": lambda _: gzip.compress(bytes(64 << 20), 9)},
    "x_gzip": {"pack": gzip.compress, "encoding": "x-gzip"},
    "gzip_upper_case": {"pack": gzip.compress, "encoding": "GZIP"},
    "encoding_br": {"pack": lambda body: body, "encoding": "br"},
    "encoding_twice": {"pack": lambda b: gzip.compress(gzip.compress(b)), "encoding": "gzip, gzip"},
    "encoding_identity": {"pack": lambda body: body, "encoding": "identity"},
    "type_none": {"type": None},
    "type_text": {"type": "text/plain"},
    "type_protobuf": {"type": "application/protobuf"},
    "type_charset": {"type": "{}; charset=utf-8"},
    "type_upper_case": {"type": "{}", "upper": True},
    "type_of_the_other": {"other": True},
    "path_unknown": {"path": "/v1/nothing"},
    "path_slash_behind": {"path": "{}/"},
    "path_slash_before": {"path": "/{}"},
    "path_query": {"path": "{}?a=b"},
    "method_get": {"method": "GET"},
    "method_put": {"method": "PUT"},
    "chunked": {"chunked": True},
    "body_empty": {"pack": lambda _: b"", "encoding": None},
}
# What the destination says to either collector.
DESTINATION = ("destination_partial", "destination_refuses")
