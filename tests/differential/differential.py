"""Sends the same requests through otlpd and through the OpenTelemetry Collector, and compares how
they were answered and what came out behind, field by field.

    differential.py --otlpd FILE --collector FILE --folder FOLDER [--count N] [--seed N]
                    [--encoding protobuf|json] [--forget NAME] [--report]

Each difference is one that differences.toml explains, or is shown, and the exit code is 1. The same
seed makes the same requests. `--forget` leaves one explanation out, to see that it is missed;
`--report` prints what each explanation explained.
"""

import argparse
import collections
import pathlib
import sys
import time

import compare
import sides
from cases import cases

HERE = pathlib.Path(__file__).resolve().parent
# Of findings of one kind, so many are shown.
SHOWN = 3


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--otlpd", type=pathlib.Path, required=True)
    parser.add_argument("--collector", type=pathlib.Path, required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--forget", action="append", default=[])
    parser.add_argument("--encoding", choices=("protobuf", "json"))
    parser.add_argument("--report", action="store_true")
    return parser.parse_args()


def outcomes(told, all_cases):
    otlpd, collector = sides.Otlpd(), sides.Collector()
    try:
        otlpd.start(told.otlpd, told.folder)
        collector.start(told.collector, told.folder)
        sides.send_both((otlpd, collector), all_cases)
        otlpd.stop()
        collector.stop()
    finally:
        otlpd.end()
        collector.end()
    panics = otlpd.daemon.panics()
    if panics:
        raise SystemExit("\n".join(panics))
    return list(zip(all_cases, otlpd.outcomes, collector.outcomes, strict=True))


def show(unexplained):
    groups = collections.defaultdict(list)
    for finding in unexplained:
        groups[finding.what, finding.detail, finding.case.trouble].append(finding)
    for (what, detail, trouble), found in sorted(groups.items()):
        print(f"UNEXPLAINED, {len(found)} times: {trouble or 'sound'}: {what}: {detail}")
        for finding in found[:SHOWN]:
            print(f"    {finding.case}\n        {finding.seen}")


def main():
    told = arguments()
    begun = time.monotonic()
    all_cases = cases(told.count, told.seed)
    all_cases = [case for case in all_cases if told.encoding in (None, case.encoding)]
    known = compare.Known(HERE / "differences.toml", told.forget)
    unexplained, kinds = [], collections.Counter()
    for case, otlpd, collector in outcomes(told, all_cases):
        kinds[otlpd[0].kind, collector[0].kind] += 1
        unexplained += [
            finding
            for finding in compare.findings(case, otlpd, collector)
            if known.explain(finding) is None
        ]
    show(unexplained)
    if told.report:
        for name, count in known.used.items():
            print(f"{count:6} {name}")
        for (ours, theirs), count in kinds.most_common():
            print(f"{count:6} otlpd {ours}, the Collector {theirs}")
    # Few requests need not show all of them.
    stale = known.unused() if len(all_cases) >= 2000 else []
    for name in stale:
        print(f"differences.toml explains {name}, which is no difference any more")
    took = time.monotonic() - begun
    print(f"{len(all_cases)} requests, {len(unexplained)} unexplained differences, {took:.0f} s")
    sys.exit(1 if unexplained or stale else 0)


main()
