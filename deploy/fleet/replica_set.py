#!/usr/bin/env python3
"""Makes a replica set of the mongod servers on the given ports, and waits until it has a primary.

Speaks just enough of MongoDB's wire protocol (OP_MSG) to need no driver and no shell.
"""
import socket
import struct
import sys
import time

OP_MSG = 2013
WAIT_S = 30


def encode(document):
    """BSON of strings, 32-bit integers, lists and documents."""
    body = b""
    for name, value in document.items():
        key = name.encode() + b"\0"
        if isinstance(value, str):
            text = value.encode() + b"\0"
            body += b"\x02" + key + struct.pack("<i", len(text)) + text
        elif isinstance(value, int):
            body += b"\x10" + key + struct.pack("<i", value)
        elif isinstance(value, list):
            body += b"\x04" + key + encode({str(i): item for i, item in enumerate(value)})
        else:
            body += b"\x03" + key + encode(value)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def is_true(reply, name):
    """Whether a field of the answer is true, or the number 1."""
    key = name.encode() + b"\0"
    return b"\x08" + key + b"\x01" in reply or b"\x01" + key + struct.pack("<d", 1) in reply


def command(port, document):
    """One command to the `admin` database of the server at `port`; its answer, as bytes."""
    body = struct.pack("<i", 0) + b"\0" + encode({**document, "$db": "admin"})
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(struct.pack("<iiii", 16 + len(body), 1, 0, OP_MSG) + body)
        stream = connection.makefile("rb")
        (length,) = struct.unpack("<i", stream.read(4))
        return stream.read(length - 4)


def until(what, check):
    end = time.monotonic() + WAIT_S
    while True:
        try:
            if check():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            sys.exit(f"waited {WAIT_S} s for {what}")
        time.sleep(0.1)


def main(ports):
    for port in ports:
        until(f"mongod on port {port}", lambda port=port: is_true(command(port, {"ping": 1}), "ok"))
    config = {
        "_id": "rs",
        "members": [{"_id": i, "host": f"127.0.0.1:{port}"} for i, port in enumerate(ports)],
        # All on one machine: a dead primary is noticed within seconds.
        "settings": {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500, "heartbeatTimeoutSecs": 2},
    }
    if not is_true(command(ports[0], {"replSetInitiate": config}), "ok"):
        sys.exit("the replica set was refused")
    until("a primary", lambda: any(is_true(command(port, {"hello": 1}), "isWritablePrimary") for port in ports))


if __name__ == "__main__":
    main([int(port) for port in sys.argv[1:]])
