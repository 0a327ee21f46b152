#!/bin/sh
# Builds the OpenTelemetry Collector (the one in Go) that tests/differential.rs compares otlpd
# with, out of the modules in collector.yaml beside this script.
#
#     tests/differential/install.sh
#
# It goes to $OTLPD_COLLECTOR_CACHE if that names a folder, else to target/collector; one that is
# there already, of the same modules, is left alone. It takes two to four minutes on two cores.
# Without Go it is skipped, and said so; where it cannot be built the exit code is 1.
set -eu

builder=v0.165.0

here=$(cd "$(dirname "$0")" && pwd)
cache=${OTLPD_COLLECTOR_CACHE:-${CARGO_TARGET_DIR:-$here/../../target}/collector}

if ! command -v go >/dev/null; then
    echo "the Collector: SKIPPED, not on this machine: go" >&2
    exit 0
fi
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# Everything that it is made of; where that changes, it is made again.
fingerprint=$( (cat "$here/collector.yaml" && echo "$builder") | cksum)
if [ "$(cat "$cache/installed" 2>/dev/null)" = "$fingerprint" ]; then
    echo "the Collector: built already"
    exit 0
fi
echo "the Collector: building"
rm -rf "$cache/installed" "$cache/source"
mkdir -p "$cache/source"
cd "$cache/source"
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
# Its temporary folders go with the sources.
export TMPDIR="$cache/source"
if GOBIN=$cache/source go install "go.opentelemetry.io/collector/cmd/builder@$builder" >build.log 2>&1 &&
    sed "s|^dist:|dist:\n  output_path: $cache/source/otelcol|" "$here/collector.yaml" >manifest.yaml &&
    ./builder --config manifest.yaml --skip-strict-versioning --ldflags="-s -w" >>build.log 2>&1; then
    mv otelcol/otelcol "$cache/otelcol"
    cd "$cache"
    rm -rf source
    echo "$fingerprint" >installed
else
    tail -n 20 build.log >&2
    echo "the Collector: FAILED" >&2
    exit 1
fi
