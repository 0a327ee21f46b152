"""The requests that both collectors are sent: a shape, perhaps a trouble, and a way to travel."""

import dataclasses
import random

import shapes
import troubles
from pairwise import pairwise
from writing import from_json, to_json

TRANSPORTS = (
    "grpc/protobuf/none", "grpc/protobuf/gzip", "http/protobuf/none", "http/protobuf/gzip",
    "http/json/none", "http/json/gzip",
)  # fmt: skip
TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}


@dataclasses.dataclass
class Case:
    number: int
    signal: str
    transport: str
    shape: dict
    trouble: str = ""
    # What goes over the wire, before it is packed.
    body: bytes = b""
    # What Google's parser reads from it; None where it refuses, or was not asked.
    message: object = None
    # How HTTP departs from what it should be.
    http: dict = dataclasses.field(default_factory=dict)

    @property
    def protocol(self):
        return self.transport.split("/")[0]

    @property
    def encoding(self):
        return self.transport.split("/")[1]

    @property
    def gzip(self):
        return self.transport.endswith("gzip")

    def __str__(self):
        shape = " ".join(f"{name}={value}" for name, value in self.shape.items())
        return (
            f"case {self.number}: {self.signal} {self.transport} {self.trouble or 'sound'}: {shape}"
        )


def sound(signal, dice):
    """Whole requests: every pair of values once."""
    dimensions = {**shapes.DIMENSIONS[signal], **shapes.COMMON, "transport": TRANSPORTS}
    for shape in pairwise(dimensions, dice):
        yield Case(0, signal, shape.pop("transport"), shape)


def troubled(signal, dice, turn):
    """Each trouble once, in one of the ways to travel in which there is such a thing; which one
    changes with `turn`."""
    plain = {**shapes.DIMENSIONS[signal], **shapes.COMMON}
    # Every trouble needs an item to show in.
    plain["spans"] = plain["points"] = plain["records"] = ("one", "two")
    plain["library"] = ("one", "two", "schema")
    plain["type"] = ("gauge_int", "sum_cumulative", "histogram", "exponential")
    plain["resource"] = ("machine", "kubernetes", "process")
    plain = {name: plain[name] for name in (*shapes.DIMENSIONS[signal], *shapes.COMMON)}
    kinds = (
        (troubles.MESSAGES, TRANSPORTS),
        (troubles.BYTES, [way for way in TRANSPORTS if "protobuf" in way]),
        (troubles.TEXT, [way for way in TRANSPORTS if "json" in way]),
        (troubles.HTTP, [way for way in TRANSPORTS if way.startswith("http") and "none" in way]),
        (dict.fromkeys(troubles.DESTINATION), TRANSPORTS),
    )
    for names, ways in kinds:
        for place, name in enumerate(names):
            only, _, rest = name.rpartition(":")
            if only in ("", signal):
                shape = {key: dice.choice(values) for key, values in plain.items()}
                yield Case(0, signal, ways[(place + turn) % len(ways)], shape, rest)


def cases(count, seed):
    """`count` of them, mixed, the same for the same seed."""
    dice = random.Random(seed)
    found, turn = [], 0
    while len(found) < count:
        for signal in shapes.REQUESTS:
            found += sound(signal, dice)
            # As many ways as there are of the commonest kind.
            for _ in range(2):
                found += troubled(signal, dice, turn)
                turn += 1
    dice.shuffle(found)
    for number, case in enumerate(found):
        case.number = number
        write(case, random.Random(f"{seed} {number}"))
    return found[:count]


def write(case, dice):
    """Fills in what goes over the wire."""
    request = shapes.build(case.signal, case.shape, dice)
    name = case.trouble
    table = {**troubles.MESSAGES, **troubles.BYTES, **troubles.TEXT, **troubles.HTTP}
    change = table.get(name) or table.get(f"{case.signal}:{name}")
    names = (name, f"{case.signal}:{name}")
    if any(one in troubles.MESSAGES for one in names):
        change(case.signal, request)
    elif any(one in troubles.HTTP for one in names):
        case.http = change
    elif any(one in troubles.BYTES for one in names):
        case.body = change(case.signal, request)
        case.message = parse(case.signal, case.body)
        return
    elif any(one in troubles.TEXT for one in names):
        text = change(case.signal, request)
        case.body = text if isinstance(text, bytes) else text.encode()
        case.message = parse_json(case.signal, case.body)
        return
    case.message = request
    if case.encoding == "json":
        # There is no way to say them.
        request.DiscardUnknownFields()
        case.body = to_json(request, case.shape["style"]).encode()
    else:
        case.body = request.SerializeToString()


def parse_json(signal, text):
    """The same, of JSON."""
    try:
        return from_json(shapes.REQUESTS[signal](), text)
    # ParseError, UnicodeError, JSONDecodeError, and what upb raises for what is no text.
    except Exception:
        return None


def parse(signal, body):
    """By Google's parser; None where it refuses."""
    try:
        return shapes.REQUESTS[signal].FromString(body)
    except Exception:  # google.protobuf.message.DecodeError, and one more for text not in UTF-8
        return None
