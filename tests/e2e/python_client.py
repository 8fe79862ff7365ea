"""A second, independent client: python-socketio talks through a node to itself.

Usage: python_client.py URL TOKEN_A TOKEN_B CONVERSATION_ID TRANSPORT
Prints one JSON line with what was heard; exits 1 with the reason if anything is missing.
"""

import json
import sys
import threading

import socketio


def connect(url, token, transport, heard, ready):
    client = socketio.Client(reconnection=False)

    @client.on("*")
    def note(event, *args):
        heard.append((event, args))
        if event == "authenticated":
            ready.set()

    client.connect(url, auth={"token": token}, transports=transport, wait_timeout=10)
    if not ready.wait(10):
        raise SystemExit("not authenticated within 10 s")
    return client


def main():
    url, token_a, token_b, conversation, transport = sys.argv[1:]
    transports = {"upgrade": None}.get(transport, [transport])
    heard_a, heard_b = [], []
    a = connect(url, token_a, transports, heard_a, threading.Event())
    b = connect(url, token_b, transports, heard_b, threading.Event())
    acks = [
        a.call("send_msg", {"conversationId": conversation, "content": f"from python {i}"}, timeout=10)
        for i in range(20)
    ]
    deadline = threading.Event()
    for _ in range(200):
        received = [args[0] for event, args in heard_b if event == "receive_msg"]
        if len(received) >= 20:
            break
        deadline.wait(0.05)
    refused = a.call("send_msg", {"conversationId": conversation, "content": ""}, timeout=10)
    transport_used = a.transport()
    a.disconnect()
    b.disconnect()
    print(
        json.dumps(
            {
                "acked": [ack["message"]["seq"] for ack in acks],
                "received": [message["seq"] for message in received],
                "refused": refused["error"]["code"],
                "transport": transport_used,
            }
        )
    )


main()
