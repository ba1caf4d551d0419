#!/usr/bin/env python3
"""Two hosts on one machine, and between them a link with delay, rate, queue, loss and cuts.

    shaper.py A B [--delay MS] [--jitter MS] [--rate KBIT] [--queue MS] [--loss PERCENT] [--seed N]
                  [--back-rate KBIT] [--back-loss PERCENT] [--net NUMBER]

makes the network namespaces A (10.232.NET.1) and B (10.232.NET.2), each with a TUN device, and moves
IP packets between the two: what is lost here is lost for the sender's congestion control, and the
kernel needs no netem. Every figure holds for each direction; `--back-…` sets that of B to A apart.
The dice are seeded: the same packets meet the same fate. Jitter never reorders.

Prints `ready` when the link is up. Then it takes lines: `cut`, `heal`, `loss PERCENT`, `rate KBIT`,
`delay MS` (each holds for both directions) and `count`, and answers each with one line of JSON, the
counters of both directions since the start: packets and bytes that came, were lost by the dice,
did not fit the queue, fell into a cut, and were delivered. Ends with its input, and removes what it
made. 77 without root, `ip` or /dev/net/tun.
"""

import argparse
import collections
import fcntl
import json
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
MTU = 1500
# Packets that are moved before the other direction and the clock are looked at again.
BATCH = 32


class Direction:
    """One way over the link."""

    def __init__(self, reads, writes, given, rate, loss):
        self.reads, self.writes = reads, writes
        self.delay, self.jitter = given.delay / 1000, given.jitter / 1000
        self.rate, self.queue, self.loss = rate * 1000 / 8, given.queue / 1000, loss / 100
        self.dice = random.Random(given.seed * 2 + (reads > writes))
        self.free = self.latest = 0.0
        self.flying = collections.deque()
        self.cut = False
        names = ("came", "lost", "full", "cut", "delivered")
        self.counts = {name: [0, 0] for name in names}

    def count(self, name, length):
        of_name = self.counts[name]
        of_name[0] += 1
        of_name[1] += length

    def take(self, now):
        """Moves what waits at the sender's device onto the link."""
        for _ in range(BATCH):
            try:
                packet = os.read(self.reads, MTU + 100)
            except BlockingIOError:
                return
            length = len(packet)
            self.count("came", length)
            if self.cut:
                self.count("cut", length)
            elif self.loss and self.dice.random() < self.loss:
                self.count("lost", length)
            elif self.rate and self.free - now > self.queue:
                self.count("full", length)
            else:
                self.send(packet, length, now)

    def send(self, packet, length, now):
        if self.rate:
            self.free = max(self.free, now) + length / self.rate
        sent = max(self.free, now)
        late = self.dice.random() * self.jitter if self.jitter else 0.0
        self.latest = max(self.latest, sent + self.delay + late)
        self.flying.append((self.latest, packet))

    def deliver(self, now):
        """Hands over what has arrived; says when the next packet does."""
        while self.flying and self.flying[0][0] <= now:
            packet = self.flying.popleft()[1]
            if self.cut:
                self.count("cut", len(packet))
                continue
            try:
                os.write(self.writes, packet)
                self.count("delivered", len(packet))
            except (BlockingIOError, OSError):
                self.count("full", len(packet))
        return self.flying[0][0] if self.flying else None


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_WITHOUT_HEADER))
    return device


def join(host, card, address, net):
    """Moves a device into a namespace and gives it its address; the file stays ours."""
    ip("link", "set", card, "netns", host)
    ip("-n", host, "addr", "add", f"{address}/24", "dev", card)
    ip("-n", host, "link", "set", "lo", "up")
    # The default queue of a TUN, 500 packets, would be a second buffer in front of ours.
    ip("-n", host, "link", "set", card, "mtu", str(MTU), "txqueuelen", "1000", "up")
    ip("-n", host, "route", "add", "224.0.0.0/4", "dev", card)
    # A figure must not depend on what an earlier connection has learned of the path.
    settings = ["net.ipv4.tcp_no_metrics_save=1"]
    subprocess.run(["ip", "netns", "exec", host, "sysctl", "-qw", *settings], capture_output=True)


def obey(words, both):
    match words:
        case ["cut"] | ["heal"]:
            for one in both:
                one.cut = words[0] == "cut"
        case ["loss", percent]:
            for one in both:
                one.loss = float(percent) / 100
        case ["rate", kbit]:
            for one in both:
                one.rate = float(kbit) * 1000 / 8
        case ["delay", ms]:
            for one in both:
                one.delay = float(ms) / 1000
        case ["count"]:
            pass
        case _:
            return {"error": f"unknown: {' '.join(words)}"}
    return {"forth": both[0].counts, "back": both[1].counts}


def forward(both):
    """Until the input ends."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    by_file = {one.reads: one for one in both}
    for one in both:
        poll.register(one.reads, select.POLLIN)
    rest = b""
    while True:
        now = time.monotonic()
        due = [at for at in (one.deliver(now) for one in both) if at is not None]
        wait = max(0.0, min(due) - time.monotonic()) * 1000 if due else None
        for file, _ in poll.poll(wait):
            if file in by_file:
                by_file[file].take(time.monotonic())
                continue
            read = os.read(0, 4096)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                print(json.dumps(obey(line.decode().split(), both)), flush=True)


def arguments():
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("hosts", nargs=2, metavar="HOST")
    words.add_argument("--net", type=int, default=0, help="third number of the addresses")
    words.add_argument("--delay", type=float, default=0, metavar="MS", help="one way")
    words.add_argument("--jitter", type=float, default=0, metavar="MS", help="on top, at most")
    words.add_argument("--rate", type=float, default=0, metavar="KBIT", help="0: no limit")
    words.add_argument("--back-rate", type=float, metavar="KBIT")
    words.add_argument("--queue", type=float, default=100, metavar="MS", help="at the full rate")
    words.add_argument("--loss", type=float, default=0, metavar="PERCENT")
    words.add_argument("--back-loss", type=float, metavar="PERCENT")
    words.add_argument("--seed", type=int, default=1)
    return words.parse_args()


def main():
    given = arguments()
    if os.geteuid() != 0 or not shutil.which("ip") or not os.path.exists("/dev/net/tun"):
        print("shaper: needs root, `ip` (iproute2) and /dev/net/tun", file=sys.stderr)
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    made = []
    try:
        cards = [f"gs{os.getpid()}{side}" for side in "ab"]
        files = [tun(card) for card in cards]
        for side, host in enumerate(given.hosts):
            ip("netns", "add", host)
            made.append(host)
            join(host, cards[side], f"10.232.{given.net}.{side + 1}", given.net)
        back_rate = given.rate if given.back_rate is None else given.back_rate
        back_loss = given.loss if given.back_loss is None else given.back_loss
        both = [Direction(files[0], files[1], given, given.rate, given.loss),
                Direction(files[1], files[0], given, back_rate, back_loss)]
        print("ready", flush=True)
        forward(both)
    except subprocess.CalledProcessError as why:
        print(f"shaper: {' '.join(why.cmd)}: {why.stderr.decode().strip()}", file=sys.stderr)
        return 77 if not made else 1
    except OSError as why:
        print(f"shaper: {why}", file=sys.stderr)
        return 77 if not made else 1
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "del", host], capture_output=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
