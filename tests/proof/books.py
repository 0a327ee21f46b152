"""Who has what: counts by number, what clients were told, and what must be where in the end."""

import pathlib

# A number is a generator's, in the upper bits, and one of its own.
SHIFT = 32


class Counts:
    """How often each number was seen, up to 255."""

    def __init__(self):
        self.parts = {}

    def add(self, number):
        part = self.parts.setdefault(number >> SHIFT, bytearray())
        at = number & (1 << SHIFT) - 1
        if at >= len(part):
            part.extend(bytes(at + 1 - len(part) + (1 << 16)))
        if part[at] < 255:
            part[at] += 1
        return part[at]

    def get(self, number):
        part = self.parts.get(number >> SHIFT, b"")
        at = number & (1 << SHIFT) - 1
        return part[at] if at < len(part) else 0

    def different(self):
        return sum(len(part) - part.count(0) for part in self.parts.values())

    def write(self, path):
        for old in path.parent.glob(path.name + ".*"):
            old.unlink()
        for name, part in self.parts.items():
            pathlib.Path(f"{path}.{name}").write_bytes(part)

    @classmethod
    def read(cls, path):
        counts = cls()
        for found in path.parent.glob(path.name + ".*"):
            counts.parts[int(found.suffix[1:])] = bytearray(found.read_bytes())
        return counts


class Request:
    """What a generator says of one of its requests."""

    __slots__ = ("first", "count", "signal", "tenant", "transport", "attempts", "sent", "answered")

    def __init__(self, words):
        self.first, self.count = int(words[1]), int(words[2])
        self.signal, self.tenant, self.transport = words[3:6]
        self.attempts = int(words[6])
        self.sent, self.answered = float(words[7]), float(words[8])


class Told:
    """The log of the generators: which requests were answered, and how."""

    def __init__(self, paths):
        self.acknowledged, self.unanswered, self.refused = [], [], []
        # {reason: how many attempts}
        self.attempts = {}
        for path in paths:
            for line in pathlib.Path(path).read_text().splitlines():
                words = line.split()
                if words[0] == "acknowledged":
                    self.acknowledged.append(Request(words))
                elif words[0] == "unanswered":
                    self.unanswered.append(Request(words))
                elif words[0] == "refused":
                    self.refused.append((Request(words), " ".join(words[9:])))
                elif words[0] == "attempts":
                    self.attempts[words[2]] = self.attempts.get(words[2], 0) + int(words[1])

    def items(self):
        return sum(request.count for request in self.acknowledged)


class Account:
    """What one destination lacks, and what it has twice."""

    def __init__(self, told, folder, lane, bad_tenant=None):
        taken = Counts.read(folder / f"{lane}.taken")
        rejected = Counts.read(folder / f"{lane}.rejected")
        refused = Counts.read(folder / f"{lane}.refused")
        self.lane = lane
        self.acknowledged = told.items()
        self.taken = taken.different()
        # Requests of which something is missing, with the numbers.
        self.missing = []
        self.rejected = 0
        # Acknowledged, refused by the destination for good, and not taken: dead letters.
        self.dead = []
        for request in told.acknowledged:
            lacking = []
            for number in range(request.first, request.first + request.count):
                if taken.get(number):
                    continue
                if rejected.get(number):
                    self.rejected += 1
                elif request.tenant == bad_tenant and refused.get(number):
                    self.dead.append(number)
                else:
                    lacking.append(number)
            if lacking:
                self.missing.append((request, lacking))
        self.twice_by_clients = 0
        self.twice = 0
        for requests in (told.acknowledged, told.unanswered):
            for request in requests:
                for number in range(request.first, request.first + request.count):
                    again = taken.get(number) - 1
                    if again > 0 and request.attempts > 1:
                        self.twice_by_clients += again
                    elif again > 0:
                        self.twice += again

    def missing_items(self):
        return sum(len(numbers) for _, numbers in self.missing)

    def words(self):
        return (
            f"{self.lane}: acknowledged {self.acknowledged}, taken {self.taken}, "
            f"rejected {self.rejected}, dead {len(self.dead)}, MISSING {self.missing_items()}, "
            f"twice {self.twice} (and {self.twice_by_clients} of requests that clients sent again)"
        )
