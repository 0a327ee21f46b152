"""What is different between two outcomes of one case, and which of it is known."""

import dataclasses
import json
import re
import struct
import tomllib

import cases
import shapes
import troubles
from writing import to_json


@dataclasses.dataclass
class Finding:
    """`what` is "answer" (`detail`: otlpd's kind/the Collector's), "content" (the path of the
    field), or the name of a collector that broke a promise by itself."""

    case: cases.Case
    what: str
    detail: str
    seen: str


def findings(case, otlpd, collector):
    """All that is not as it would be if both were the same, and did what they say."""
    (said, taken, texts), (said_there, taken_there, texts_there) = otlpd, collector
    here, there = _merged(case.signal, taken), _merged(case.signal, taken_there)
    seen = f"otlpd {said}; the Collector {said_there}"
    if said.kind != said_there.kind:
        yield Finding(case, "answer", f"{said.kind}/{said_there.kind}", seen)
    elif said.kind in ("taken", "partial") and here is not None and there is not None:
        yield from (
            Finding(case, "content", path, f"otlpd {left}; the Collector {right}")
            for path, left, right in differences(here, there)
        )
    for promise in _broken(case, said, taken, here):
        yield Finding(case, "otlpd", promise, seen)
    for promise in _broken(case, said_there, taken_there, there):
        yield Finding(case, "collector", promise, seen)
    for wrong in _unfaithful(case, said, taken, here):
        yield Finding(case, "otlpd", wrong, seen)
    for name, content, written in (("otlpd", here, texts), ("collector", there, texts_there)):
        if content is not None:
            yield from (
                Finding(case, name, *wrong) for wrong in _json(case.signal, content, written)
            )
    if here is not None and len(texts) == 1:
        # Those of the Collector are in other words where doubles are large, and no less right.
        yield from _wording(case, here, texts[0][2])


def _merged(signal, bodies):
    """What arrived, as one message; None where Google's parser refuses any of it."""
    read = [cases.parse(signal, body) for body in bodies]
    if None in read:
        return None
    merged = shapes.REQUESTS[signal]()
    for message in read:
        merged.MergeFrom(message)
    return merged


def _broken(case, said, taken, content):
    """What one collector did against its own answer."""
    if said.kind in ("permanent", "retryable", "broken"):
        if taken:
            yield "refused, but forwarded"
        return
    if content is None:
        yield "forwards what Google's parser refuses"
        return
    arrived = len(shapes.items(case.signal, content))
    if case.message is not None and arrived + said.rejected != _sent(case):
        yield "answered for other items than arrived"


def _sent(case):
    if case.http.get("pack") and not case.http["pack"](case.body):
        return 0
    return len(shapes.items(case.signal, case.message))


def _unfaithful(case, said, taken, content):
    """What only otlpd is held to: to say no more and no less than came."""
    names = (case.trouble, f"{case.signal}:{case.trouble}")
    judged = any(name in troubles.BYTES or name in troubles.TEXT for name in names)
    # Ids of a wrong length are none of Google's business, and UTF-8 is; both are partial.
    if judged and said.kind != "partial" and (case.message is None) == (said.kind == "taken"):
        yield "takes what Google's parser refuses, or the other way round"
    if said.kind != "taken" or None in (case.message, content) or case.trouble == "body_empty":
        return
    if case.encoding == "protobuf" and taken != ([case.body] if case.body else []):
        if any(shapes.items(case.signal, case.message)):
            yield "other bytes left than came"
    elif case.encoding == "json" and any(differences(content, case.message)):
        yield "another message left than came"


def _json(signal, content, texts):
    """(promise, what was seen) of what a collector sent as JSON, beside what it sent over gRPC."""
    content.DiscardUnknownFields()
    if any(text[:2] != ("/v1/" + signal, "application/json") for text in texts):
        yield "sends JSON elsewhere", repr([text[:2] for text in texts])
    read = [cases.parse_json(signal, text[2]) for text in texts]
    if None in read:
        yield "sends JSON that Google's parser refuses", _short(texts)
        return
    merged = shapes.REQUESTS[signal]()
    for message in read:
        merged.MergeFrom(message)
    for path, left, right in differences(merged, content):
        yield f"JSON says something else: {path}", f"as JSON {left}; over gRPC {right}"


def _wording(case, content, text):
    google = to_json(content)
    if json.loads(text) != json.loads(google):
        yield Finding(case, "otlpd", "JSON in other words than Google's", f"{text}\n{google}")


def differences(left, right, path=""):
    """(path, left, right) of every field that differs; unknown fields are one field "?"."""
    if _unknown(left) != _unknown(right):
        yield f"{path}?", _short(_unknown(left)), _short(_unknown(right))
    for descriptor in left.DESCRIPTOR.fields:
        name = f"{path}{descriptor.name}"
        if descriptor.is_repeated:
            yield from _repeated(
                descriptor, getattr(left, descriptor.name), getattr(right, descriptor.name), name
            )
            continue
        if descriptor.has_presence:
            has = left.HasField(descriptor.name), right.HasField(descriptor.name)
            if has[0] != has[1]:
                yield f"{name}!", *("there" if one else "not there" for one in has)
                continue
            if not has[0]:
                continue
        yield from _single(
            descriptor, getattr(left, descriptor.name), getattr(right, descriptor.name), name
        )


def _repeated(descriptor, left, right, name):
    if len(left) != len(right):
        yield f"{name}#", len(left), len(right)
        return
    for one, other in zip(left, right):
        yield from _single(descriptor, one, other, f"{name}[]")


def _single(descriptor, left, right, name):
    if descriptor.type == descriptor.TYPE_MESSAGE:
        yield from differences(left, right, name + ".")
    elif isinstance(left, float):
        # By their bits, for -0.0 is not 0.0; but NaN is NaN, whatever its bits: JSON has none.
        if struct.pack("<d", left) != struct.pack("<d", right) and (left == left or right == right):
            yield name, left, right
    elif left != right:
        yield name, _short(left), _short(right)


def _unknown(message):
    """The bytes of a message's own unknown fields."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    return [(one.field_number, one.wire_type) for one in UnknownFieldSet(message)]


def _short(value):
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


class Known:
    """The differences that are written down, each with its reason."""

    def __init__(self, path, without=()):
        with open(path, "rb") as file:
            rules = tomllib.load(file)["difference"]
        self.rules = [rule for rule in rules if rule["name"] not in without]
        self.used = {rule["name"]: 0 for rule in self.rules}

    def explain(self, finding):
        """The name of the difference that this is an instance of."""
        for rule in self.rules:
            if _fits(rule, finding):
                self.used[rule["name"]] += 1
                return rule["name"]
        return None

    def unused(self):
        return [name for name, count in self.used.items() if not count]


def _fits(rule, finding):
    case = finding.case
    if not re.fullmatch(rule.get("trouble", ".*"), case.trouble):
        return False
    if not re.fullmatch(rule.get("way", ".*"), f"{case.signal}/{case.transport}"):
        return False
    if not re.fullmatch(rule.get("seen", ".*"), finding.seen):
        return False
    if any(case.shape.get(name) not in values for name, values in rule.get("shape", {}).items()):
        return False
    return finding.what in rule and any(
        re.fullmatch(pattern, finding.detail) for pattern in rule[finding.what]
    )
