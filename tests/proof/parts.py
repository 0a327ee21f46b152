"""What the proofs start and stop: the daemon, the sink, the generators."""

import argparse
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def free_port():
    """Below those that the system gives to clients, so that it stays free while nobody listens."""
    while True:
        port = random.randrange(10_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
            return port
        except OSError:
            continue


class Failure(Exception):
    """The proof has failed; the text says what was found."""


class Daemon:
    """otlpd, started again and again on the same ports and the same configuration."""

    def __init__(self, program, folder, sections, environment=None):
        self.program = program
        self.folder = folder
        self.environment = {**os.environ, **(environment or {})}
        self.ports = {name: free_port() for name in ("grpc", "http", "admin")}
        self.child = None
        self.starts = 0
        self.slowest_start = 0.0
        self.peak = 0
        self.config = folder / "otlpd.toml"
        self.configure(sections)

    def configure(self, sections):
        text = (
            f'[admin]\nendpoint = "127.0.0.1:{self.ports["admin"]}"\n'
            '[receivers.apps]\ntype = "otlp"\n'
            f'grpc = {{ endpoint = "{self.address("grpc")}" }}\n'
            f'http = {{ endpoint = "{self.address("http")}" }}\n{sections}'
        )
        self.config.write_text(text)

    def address(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    def start(self, patience=300):
        self.starts += 1
        begun = time.monotonic()
        self.log = self.folder / f"otlpd.{self.starts}.log"
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(
                [str(self.program), "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
            )
        while self.ask("/readyz")[0] == 0:
            # Alive is enough: a full disk is not ready, and must be seen all the same.
            if self.child.poll() is not None:
                raise Failure(f"start {self.starts} ended with {self.child.returncode}:\n{self.tail()}")
            if time.monotonic() - begun > patience:
                raise Failure(f"start {self.starts} took more than {patience} s:\n{self.tail()}")
            time.sleep(0.01)
        self.slowest_start = max(self.slowest_start, time.monotonic() - begun)

    def ask(self, path, method="GET"):
        try:
            connection = http.client.HTTPConnection(self.address("admin"), timeout=30)
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""

    def status(self):
        code, body = self.ask("/status")
        if code != 200:
            if self.child.poll() is not None:
                raise Failure(f"it ended by itself with {self.child.returncode}:\n{self.tail()}")
            return None
        return json.loads(body)

    def alive(self):
        if self.child.poll() is not None:
            raise Failure(f"it ended by itself with {self.child.returncode}:\n{self.tail()}")

    def rss(self, key="VmRSS"):
        try:
            text = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        except OSError:
            return 0
        for line in text.splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) << 10
        return 0

    def kill(self):
        self.alive()
        self.peak = max(self.peak, self.rss("VmHWM"))
        self.child.kill()
        self.child.wait()

    def signal(self, name):
        self.alive()
        self.child.send_signal(name)

    def stop(self, patience=300):
        """SIGTERM: the exit code and the ledger of its last line."""
        self.alive()
        self.peak = max(self.peak, self.rss("VmHWM"))
        self.child.send_signal(signal.SIGTERM)
        try:
            code = self.child.wait(patience)
        except subprocess.TimeoutExpired:
            raise Failure(f"SIGTERM did not end it within {patience} s:\n{self.tail()}") from None
        text = self.log.read_text(errors="replace")
        if "ledger: " not in text:
            raise Failure(f"no ledger in the last words (exit code {code}):\n{self.tail()}")
        return code, json.loads(text.rsplit("ledger: ", 1)[1].splitlines()[0])

    def tail(self):
        return self.log.read_text(errors="replace")[-3000:]

    def end(self):
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def panics(self):
        found = []
        for log in self.folder.glob("otlpd.*.log"):
            for line in log.read_text(errors="replace").splitlines():
                if "panicked" in line:
                    found.append(f"{log.name}: {line}")
        return found


def accounts(ledger):
    for name, table in ledger.items():
        for exporter, account in table["exporters"].items():
            yield name, exporter, account


def imbalances(ledger):
    """A line for each account that does not add up, or that blames a bug."""
    found = []
    for name, exporter, account in accounts(ledger):
        have = account["received"]  # what was recovered at the start is a part of it
        gone = account["delivered"] + account["rejected"] + sum(account["dropped"].values())
        gone += account.get("kept", 0) + account["in_process"]
        if have != gone or account["dropped"].get("bug"):
            found.append(f"{name} {exporter}: {have} came, {gone} went: {account}")
    return found


def total(ledger, column):
    return sum(account.get(column, 0) for _, _, account in accounts(ledger))


def dropped(ledger):
    found = {}
    for _, _, account in accounts(ledger):
        for reason, count in account["dropped"].items():
            found[reason] = found.get(reason, 0) + count
    return {reason: count for reason, count in found.items() if count}


class Sink:
    def __init__(self, folder, direct=False):
        self.folder = folder / "sink"
        command = [sys.executable, HERE / "sink.py", "--folder", self.folder]
        self.child = subprocess.Popen(
            [str(part) for part in command + (["--direct"] if direct else [])],
            stdout=subprocess.PIPE,
            stderr=open(folder / "sink.log", "w"),
        )
        line = self.child.stdout.readline()
        if not line:
            raise Failure("the sink did not start:\n" + (folder / "sink.log").read_text())
        self.at = json.loads(line)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.at["control"], timeout=300)
        connection.request(method, path, json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise Failure(f"the sink says {answer}")
        return answer

    def mode(self, **lanes):
        self.ask("POST", "/mode", lanes)

    def state(self):
        return self.ask("GET", "/state")

    def dump(self):
        self.ask("POST", "/dump")

    def end(self):
        self.child.kill()
        self.child.wait()


class Generators:
    """Some processes that send, each with some threads."""

    def __init__(self, folder, daemon, processes=2, transports=("grpc", "http"), first=0, **options):
        self.logs = []
        self.children = []
        for index in range(first, first + processes):
            log = folder / f"told.{index}"
            command = [sys.executable, HERE / "generator.py", "--index", index, "--log", log]
            for transport in transports:
                command += [f"--{transport}", daemon.address(transport)]
            for key, value in options.items():
                command += ["--" + key.replace("_", "-"), value]
            self.children.append(
                subprocess.Popen(
                    [str(part) for part in command],
                    stdin=subprocess.PIPE,
                    stderr=open(folder / f"generator.{index}.log", "w"),
                )
            )
            self.logs.append(log)
        # Their first words come late: Python takes its time to start.
        while not all(log.exists() for log in self.logs):
            if any(child.poll() is not None for child in self.children):
                raise Failure(f"a generator ended; see {folder}/generator.*.log")
            time.sleep(0.02)

    def stop(self, patience=300):
        for child in self.children:
            child.stdin.write(b"stop\n")
            child.stdin.close()
        for child in self.children:
            if child.wait(patience) != 0:
                raise Failure("a generator has failed; see generator.*.log")

    def end(self):
        for child in self.children:
            child.kill()
            child.wait()


def wait_until(what, condition, patience, daemon=None):
    end = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"waited {patience} s in vain for {what}" + (f"\n{daemon.tail()}" if daemon else ""))
        time.sleep(0.1)


def drained(daemon, patience=300):
    """Waits until nothing is in process any more; the ledger then."""

    def empty():
        status = daemon.status()
        if status is None:
            return None
        return status["ledger"] if total(status["ledger"], "in_process") == 0 else None

    return wait_until("everything to be delivered", empty, patience, daemon)


def python_is_ready():
    """Whether the packages are there that generator and sink need."""
    try:
        import grpc  # noqa: F401
        import opentelemetry.proto.collector.trace.v1.trace_service_pb2  # noqa: F401
        from google.rpc import error_details_pb2  # noqa: F401
    except ImportError as error:
        print(f"SKIPPED: {error}; tests/sdks/install.sh python, then target/sdks/python/bin/python")
        return False
    return True


def verdict(name, failures, words):
    """The last line; ends the process."""
    for failure in failures:
        print(f"  {failure}")
    print(f"{name}: {'FAILED' if failures else 'PASSED'}: {words}", flush=True)
    sys.exit(1 if failures else 0)


def options(doc, more):
    """What every proof can be told, and what `more` adds; with a seed, told or drawn."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--otlpd", type=pathlib.Path, default=ROOT / "target/release/otlpd")
    add("--folder", type=pathlib.Path, help="where everything is kept (default: a new one, removed on success)")
    add("--seed", type=int, default=None)
    add("--acknowledge", default="stored", choices=["stored", "queued", "delivered"])
    add("--fsync", default="interval", choices=["interval", "always", "never"])
    add("--processes", type=int, default=2)
    add("--threads", type=int, default=4)
    more(add)
    given = parser.parse_args()
    if given.seed is None:
        given.seed = random.randrange(1 << 30)
    return given


def workplace(given):
    """The folder of a run."""
    folder = given.folder or pathlib.Path(tempfile.mkdtemp(prefix="otlpd-proof-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"  seed {given.seed}, folder {folder}", flush=True)
    return folder


def leave(given, folder, name, failures, words):
    """Clears the folder away where nobody asked for it and nothing failed; then the last line."""
    if not failures and given.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    verdict(name, failures, words)
