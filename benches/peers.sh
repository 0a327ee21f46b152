#!/bin/sh
# Gets the collectors that BENCHMARKS.md compares with, from the package registries of Go and
# Python: the OpenTelemetry Collector (built from its own modules, with the OTLP receiver and
# exporters) and Rotel. Needs go 1.25 or later and python3 with pip.
#
#   benches/peers.sh [FOLDER]      (default: target/peers)
#
# Afterwards FOLDER/collector and FOLDER/rotel are the two programs.
set -eu

folder=${1:-target/peers}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

collector_version=v0.162.0
providers_version=v1.68.0
rotel_version=0.0.1a15

if [ ! -x "$folder/collector" ]; then
    core=go.opentelemetry.io/collector
    # Any recent builder makes any version; --skip-strict-versioning says so.
    GOBIN="$folder/bin" go install "$core/cmd/builder@$collector_version"
    cat > "$folder/manifest.yaml" <<MANIFEST
dist:
  name: collector
  output_path: $folder/collector-source
receivers:
  - gomod: $core/receiver/otlpreceiver $collector_version
processors:
  - gomod: $core/processor/batchprocessor $collector_version
  - gomod: $core/processor/memorylimiterprocessor $collector_version
exporters:
  - gomod: $core/exporter/otlpexporter $collector_version
  - gomod: $core/exporter/otlphttpexporter $collector_version
  - gomod: $core/exporter/debugexporter $collector_version
  - gomod: $core/exporter/nopexporter $collector_version
providers:
  - gomod: $core/confmap/provider/envprovider $providers_version
  - gomod: $core/confmap/provider/fileprovider $providers_version
  - gomod: $core/confmap/provider/yamlprovider $providers_version
MANIFEST
    "$folder/bin/builder" --config "$folder/manifest.yaml" \
        --skip-strict-versioning --ldflags="-s -w"
    mv "$folder/collector-source/collector" "$folder/collector"
fi

if [ ! -x "$folder/rotel" ]; then
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet "rotel==$rotel_version"
    agent=$(find "$folder/venv" -name rotel-agent -type f | head -n 1)
    [ -n "$agent" ] || { echo "the rotel package carries no rotel-agent" >&2; exit 1; }
    ln -sf "$agent" "$folder/rotel"
fi

echo "$folder/collector $collector_version"
echo "$folder/rotel $rotel_version"
