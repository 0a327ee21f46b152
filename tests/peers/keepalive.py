"""A stock gRPC client that pings all the time, as channels are told to that must notice a dead peer
early; through a relay that reads the frames.

    keepalive.py GRPC_HOST:PORT

A server may answer pings that it finds too many with GOAWAY, too_many_pings, and many do. The exit
code is 0 if none was sent, pings there were, without a request under way as well, and requests
before and after went over one connection.
"""

import socket
import sys
import threading
import time

import grpc

PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PING, GOAWAY, ACK = 6, 7, 1
# Enough for every server of the kind: they count in single digits.
PINGS = 7


class Relay:
    """Counts connections, the client's pings, and what the server says against them."""

    def __init__(self, target):
        self.target = target
        self.connections, self.pings, self.farewells = 0, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            self.connections += 1
            server = socket.create_connection(self.target)
            for ends in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.carry, args=ends, daemon=True).start()

    def carry(self, source, target, from_client):
        unread = b""
        skip = len(PREFACE) if from_client else 0
        while data := source.recv(65536):
            target.sendall(data)
            unread += data
            while len(unread) >= skip + 9:
                head = unread[skip : skip + 9]
                end = skip + 9 + int.from_bytes(head[:3], "big")
                if len(unread) < end:
                    break
                unread, skip = unread[end:], 0
                self.seen(head[3], head[4], from_client)
        target.close()

    def seen(self, kind, flags, from_client):
        if from_client and kind == PING and not flags & ACK:
            self.pings += 1
        if not from_client and kind == GOAWAY:
            self.farewells += 1


def main():
    host, port = sys.argv[1].split(":")
    relay = Relay((host, int(port)))
    channel = grpc.insecure_channel(
        relay.address,
        options=[
            ("grpc.keepalive_time_ms", 100),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ],
    )
    export = channel.unary_unary(PATH)
    export(b"", timeout=20)
    # The pings that follow have no request beside them.
    deadline = time.monotonic() + 60
    while relay.pings < PINGS and not relay.farewells and time.monotonic() < deadline:
        time.sleep(0.05)
    export(b"", timeout=20)
    channel.close()
    found = f"{relay.pings} pings, {relay.connections} connections, {relay.farewells} GOAWAY"
    print(found)
    sys.exit(relay.pings < PINGS or relay.connections != 1 or relay.farewells != 0)


main()
