#!/bin/sh
# Installs the OpenTelemetry SDKs that tests/real_sdks.rs sends with, each through its own
# package manager, and builds the programs beside this script, below target/sdks/.
#
#     tests/sdks/install.sh [LANGUAGE...]
#
# Without arguments it installs all of python, javascript, go, java and rust. What is installed
# already, and not changed since, is left alone. A language whose tools are not on this machine
# is skipped, and said so; a language that cannot be installed makes the exit code 1.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
mkdir -p "$target/sdks"
out=$(cd "$target/sdks" && pwd)

tools_of() {
    case $1 in
        python) echo python3 ;;
        javascript) echo node npm ;;
        go) echo go ;;
        java) echo java javac mvn ;;
        rust) echo cargo ;;
        *) echo "there is no language $1 here" >&2; exit 2 ;;
    esac
}

install_python() {
    python3 -m venv --clear "$out/python"
    "$out/python/bin/pip" install --quiet --disable-pip-version-check \
        --requirement "$here/python/requirements.txt"
    # Another collector, which not every machine can have.
    "$out/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        rotel==0.0.1a15 || echo "python: SKIPPED, there is no package for this machine: rotel" >&2
}

install_javascript() {
    mkdir -p "$out/javascript"
    cp "$here/javascript/package.json" "$here/javascript/package-lock.json" "$out/javascript"
    cd "$out/javascript"
    npm ci --silent --no-audit --no-fund --ignore-scripts
    # Node looks for packages beside the file that asks.
    cp "$here/javascript/browser.js" .
    node_modules/.bin/esbuild browser.js --bundle --platform=browser --log-level=error \
        --outfile=page.js
}

install_go() {
    cd "$here/go"
    go build -o "$out/go/send" .
}

install_java() {
    rm -rf "$out/java"
    mvn --quiet --batch-mode --file "$here/java/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$out/java/lib"
    javac -cp "$out/java/lib/*" -d "$out/java/classes" "$here/java/Send.java"
}

install_rust() {
    cargo build --quiet --locked --manifest-path "$here/rust/Cargo.toml" --target-dir "$out/rust"
}

# Everything that an installation is made of; where that changes, it is made again.
fingerprint() {
    find "$here/$1" "$here/install.sh" -type f | LC_ALL=C sort | xargs cat | cksum
}

[ $# -gt 0 ] || set -- python javascript go java rust
failed=
for language in "$@"; do
    tools=$(tools_of "$language")
    missing=
    for tool in $tools; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    if [ -n "$missing" ]; then
        echo "$language: SKIPPED, not on this machine:$missing" >&2
        continue
    fi
    stamp=$out/$language.installed
    if [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint "$language")" ]; then
        echo "$language: installed already"
        continue
    fi
    echo "$language: installing"
    rm -f "$stamp"
    # Not as a condition: there, a shell goes on after what fails in a function.
    set +e
    (set -e; "install_$language")
    code=$?
    set -e
    if [ "$code" -eq 0 ]; then
        fingerprint "$language" >"$stamp"
    else
        echo "$language: FAILED" >&2
        failed="$failed $language"
    fi
done
[ -z "$failed" ]
