"""A node whose store holds very much, against one that holds nothing.

`fill-store` writes the files and their records; the node then has to count exactly as many. Both
then do the same: `status` and the metrics, publishes, an install's questions, reads (of the full store
those of blobs that lie everywhere in it), an upload. What is compared is memory after a start and
after all that, with no other process of the same program: resident pages by their share, and those
that only the node has; the medians of some starts.
"""

import json
import os
import re
import statistics
import subprocess
import time

import load
from peers import Griot

# How often a node is started, how many small files are published, how many blobs are read each time.
STARTS = 5
FILES = 50
READS = 500
KINDS = ("idle", "idle, private", "worked", "worked, private")


class Filled:
    """One home, empty or full; `names` are digests that it holds."""

    def __init__(self, series, folder, state, sparse, count):
        self.settings, self.sparse, self.count = series.settings, sparse, count
        model = series.peer(Griot)
        self.peer = Griot(os.path.join(folder, f"store-{state}"), series.bodies, model.binary, "")
        self.peer.version = model.version
        self.names, self.taken, self.command, self.published = [], [], "", False

    def fill(self):
        self.peer.start()
        self.peer.stop()
        if self.sparse + self.count:
            command = [self.settings.fill_store, f"{self.peer.home}/griot", str(self.sparse),
                       str(self.count)]
            out = subprocess.run(command, check=True, timeout=900, stdout=subprocess.PIPE,
                                 text=True).stdout
            self.names = out.split()
        # It must count exactly what was put there, once.
        self.peer.start()
        try:
            expect_blobs(self.peer.verb("status"), self.sparse + self.count,
                         (self.sparse << 30) + 100 * self.count)
        finally:
            self.peer.stop()

    def memory(self):
        process = self.peer.process
        return process.pss(), process.private()

    def round(self, bodies):
        """(idle, idle private, worked, worked private) in MiB of one start."""
        try:
            self.taken.append(self.peer.start())
            self.command = " ".join(self.peer.process.command)
            time.sleep(1)
            idle = self.memory()
            self.work(bodies)
            time.sleep(1)
            return *idle, *self.memory()
        finally:
            self.peer.stop()

    def work(self, bodies):
        """The same for both: what a node is asked over a day, in seconds."""
        for _ in range(20):
            self.peer.verb("status")
            self.peer.ask("GET", "/metrics")
        if not self.published:
            body = bodies.small()
            self.peer.ask("PUT", "/npm/small", body, {"Content-Type": "application/json"})
            for number in range(FILES):
                mime = {"Content-Type": "application/octet-stream"}
                self.peer.ask("PUT", note(number), os.urandom(1000), mime)
            self.published = True
        self.install()
        found = load.upload(self.peer, "file", bodies, 1)
        if not found["valid"]:
            raise RuntimeError(f"an upload failed: {found['why']}")

    def install(self):
        """What npm asks for one package, and then blobs; an empty store has only that one."""
        document = json.loads(self.peer.ask("GET", "/npm/small")[1])
        tarball = document["versions"]["1.0.0"]["dist"]["tarball"]
        path = re.sub(r"^https?://[^/]+", "", tarball)
        for number in range(READS):
            self.peer.ask("GET", note(number % FILES))
            if self.names:
                self.peer.ask("GET", f"/api/blobs/{self.names[number % len(self.names)]}")
        self.peer.ask("GET", path)


def note(number):
    return f"/generic/note-{number}/1.0/file.bin"


def measure(series, folder):
    # What shares the program's pages would make each of them look smaller.
    for peer in series.peers:
        peer.stop()
    settings, found = series.settings, {}
    for state, sparse, count in (("empty", 0, 0), ("filled", settings.sparse, settings.blobs)):
        filled = Filled(series, folder, state, sparse, count)
        cell = "store, empty" if state == "empty" else f"store, {sparse} × 1 GiB + {count}"
        series.attempt(cell, filled.peer, "", lambda: figures(series, filled, state, found))


def figures(series, filled, state, found):
    filled.fill()
    starts = 1 if series.settings.smoke else STARTS
    rounds = [filled.round(series.bodies) for _ in range(starts)]
    medians = dict(zip(KINDS, map(statistics.median, zip(*rounds))))
    row = {"p50": statistics.median(filled.taken), "pss": medians["worked"],
           "command": filled.command, "memory": medians}
    if state == "filled" and "empty" in found:
        row["times_of"] = {kind: medians[kind] / found["empty"][kind] for kind in KINDS}
        row["times"] = max(row["times_of"].values())
    found[state] = medians
    return row


def expect_blobs(status, count, size):
    """A store that was not filled must not look like a good figure."""
    wanted = {"count": count, "bytes": size}
    storage = status["storage"]
    held = [storage[kind] for kind in ("published", "pinned", "mirrored", "cached", "unnamed")]
    sums = {key: sum(kind[key] for kind in held) for key in wanted}
    if status["blobs"] != wanted or sums != wanted:
        raise RuntimeError(f"the node counts {status['blobs']} and {sums}, not {wanted}")
