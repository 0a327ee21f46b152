"""Asks for gRPC health v1 with the stock client.

    health.py GRPC_HOST:PORT [SERVICE...]

Prints a line of JSON for each service, "" being the server itself: what Check says, and the first
thing that Watch says. Then it watches "", prints "watching" and each status that comes, until there
is one that is not SERVING, or the stream ends.
"""

import json
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

NAMES = health_pb2.HealthCheckResponse.ServingStatus


def check(stub, request):
    try:
        return NAMES.Name(stub.Check(request, timeout=20).status)
    except grpc.RpcError as error:
        return error.code().name


def first(stub, request):
    stream = stub.Watch(request, timeout=20)
    try:
        return NAMES.Name(next(stream).status)
    except grpc.RpcError as error:
        return error.code().name
    finally:
        stream.cancel()


def main():
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(sys.argv[1]))
    for service in ("", *sys.argv[2:]):
        request = health_pb2.HealthCheckRequest(service=service)
        said = {"service": service, "check": check(stub, request), "watch": first(stub, request)}
        print(json.dumps(said), flush=True)
    print("watching", flush=True)
    try:
        for response in stub.Watch(health_pb2.HealthCheckRequest(service="")):
            print(NAMES.Name(response.status), flush=True)
            if response.status != health_pb2.HealthCheckResponse.SERVING:
                break
    except grpc.RpcError as error:
        print(error.code().name, flush=True)


main()
