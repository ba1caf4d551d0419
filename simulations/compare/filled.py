"""A node whose store holds very much, against one that holds nothing.

`fill-store` writes the files and their records; the node then has to count exactly as many.
"""

import os
import subprocess
import time

import load
from peers import Griot


def work(peer, bodies):
    """The same for both: what a node is asked over a day, in seconds."""
    for _ in range(20):
        peer.verb("status")
        peer.ask("GET", "/metrics")
    found = load.upload(peer, "file", bodies, 1)
    if not found["valid"]:
        raise RuntimeError(f"an upload failed: {found['why']}")


def rest(peer):
    """(idle, after work) in MiB of Pss."""
    time.sleep(1)
    idle = peer.process.pss()
    work(peer, peer.bodies)
    time.sleep(1)
    return idle, peer.process.pss()


def measure(series, folder):
    settings, model = series.settings, series.peer(Griot)
    figures = {}
    for state, sparse, count in (("empty", 0, 0), ("filled", settings.sparse, settings.blobs)):
        peer = Griot(os.path.join(folder, f"store-{state}"), series.bodies, model.binary, "")
        peer.version = model.version
        peer.start()
        peer.stop()
        if sparse + count:
            subprocess.run([settings.fill_store, f"{peer.home}/griot", str(sparse), str(count)],
                           check=True)
        try:
            taken = peer.start()
            command = " ".join(peer.process.command)
            expect_blobs(peer.verb("status"), sparse + count, (sparse << 30) + 100 * count)
            idle, after = rest(peer)
        finally:
            peer.stop()
        figures[state] = idle, after
        found = {"p50": taken, "pss": after, "command": command}
        if state == "filled":
            found["times"] = max(idle / figures["empty"][0], after / figures["empty"][1])
        name = "store, empty" if state == "empty" else f"store, {sparse} × 1 GiB + {count}"
        series.row(name, peer, "", found)


def expect_blobs(status, count, size):
    """A store that was not filled must not look like a good figure."""
    wanted = {"count": count, "bytes": size}
    if status["blobs"] != wanted:
        raise RuntimeError(f"the node counts {status['blobs']}, not {wanted}")
