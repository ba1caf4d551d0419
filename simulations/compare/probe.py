#!/usr/bin/env python3
"""What a link gives to one plain TCP connection, and what becomes of single packets on it.

    probe.py serve ADDRESS PORT                answers TCP with bytes without end, UDP with an echo
    probe.py pull ADDRESS PORT SECONDS         → {"bytes", "seconds", "mbit", "first_ms"}
    probe.py ring ADDRESS PORT COUNT           → {"sent", "came", "median_ms", "least_ms"}

`serve --congestion NAME` sets how the sender keeps from flooding the link (cubic, bbr, reno); a name
that the kernel lacks ends it with 77. Prints `ready` before it serves, and ends with its input.
"""

import argparse
import json
import select
import socket
import statistics
import sys
import threading
import time

PIECE = bytes(256 * 1024)
# A packet that has not come back after this is lost.
PATIENCE = 3.0
PAUSE = 0.02


def pour(connection):
    with connection:
        try:
            while True:
                connection.sendall(PIECE)
        except OSError:
            return


def serve(given):
    listener = socket.create_server((given.address, given.port))
    if given.congestion:
        try:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION,
                                given.congestion.encode())
        except OSError as why:
            print(f"probe: {given.congestion}: {why}", file=sys.stderr)
            return 77
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind((given.address, given.port))
    print("ready", flush=True)
    while True:
        for one in select.select([listener, echo, sys.stdin], [], [])[0]:
            if one is listener:
                connection, _ = listener.accept()
                threading.Thread(target=pour, args=(connection,), daemon=True).start()
            elif one is echo:
                packet, sender = echo.recvfrom(2048)
                echo.sendto(packet, sender)
            elif not sys.stdin.read(1):
                return 0


def pull(given):
    began = time.monotonic()
    end, total, first = began + given.amount, 0, None
    with socket.create_connection((given.address, given.port), timeout=20) as connection:
        while (now := time.monotonic()) < end:
            connection.settimeout(max(0.001, end - now))
            try:
                got = len(connection.recv(1 << 20))
            except TimeoutError:
                break
            if not got:
                break
            first = first or time.monotonic() - began
            total += got
    seconds = time.monotonic() - began
    print(json.dumps({"bytes": total, "seconds": round(seconds, 3),
                      "mbit": round(total * 8 / seconds / 1e6, 3),
                      "first_ms": first and round(first * 1000, 1)}))
    return 0


def ring(given):
    bell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bell.connect((given.address, given.port))
    bell.setblocking(False)
    sent, times = {}, []
    count, end = int(given.amount), None
    while end is None or (len(times) < count and time.monotonic() < end):
        if len(sent) < count:
            sent[len(sent)] = time.monotonic()
            bell.send(str(len(sent) - 1).encode())
            if len(sent) == count:
                end = time.monotonic() + PATIENCE
        if select.select([bell], [], [], PAUSE)[0]:
            times.append((time.monotonic() - sent[int(bell.recv(100))]) * 1000)
    print(json.dumps({"sent": count, "came": len(times),
                      "median_ms": times and round(statistics.median(times), 2),
                      "least_ms": times and round(min(times), 2)}))
    return 0


def main():
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("what", choices=["serve", "pull", "ring"])
    words.add_argument("address")
    words.add_argument("port", type=int)
    words.add_argument("amount", type=float, nargs="?", default=0)
    words.add_argument("--congestion", metavar="NAME")
    given = words.parse_args()
    return {"serve": serve, "pull": pull, "ring": ring}[given.what](given)


if __name__ == "__main__":
    sys.exit(main())
