"""What is measured, one function a kind of cell; each yields its rows through `Series.row`.

Peers take their turns within a round, so that a ratio is of one minute of one machine.
"""

import json
import os
import statistics
import subprocess
import time

import load
import tools
from peers import Griot, Nginx, Registry, Verdaccio
from upstream import Upstream


# What a server that fails, hangs or answers nonsense makes of a cell.
FAULTS = (RuntimeError, OSError, subprocess.SubprocessError, json.JSONDecodeError)


class Series:
    """The peers, the bytes, and the rows so far; `absent` says why a peer takes no part any more."""

    def __init__(self, settings, peers, bodies):
        self.settings, self.peers, self.bodies, self.rows = settings, peers, bodies, []
        self.round, self.upstream, self.sizes, self.absent = 0, None, {}, {}

    def end(self):
        """Stops all that was started."""
        for peer in self.peers:
            peer.stop()
        if self.upstream:
            self.upstream.stop()

    def row(self, cell, peer, connections, found):
        found.setdefault("valid", True)
        self.rows.append(dict(
            found, cell=cell, peer=peer.name, version=peer.version, connections=connections,
            round=self.round, load=os.getloadavg()[0]))
        if not found["valid"]:
            print(f"invalid: {cell}, {peer.name}, {connections}: {found['why']}", flush=True)

    def attempt(self, cell, peer, connections, measure):
        """A row, whatever becomes of it. A server that died is started once more."""
        if peer.name in self.absent:
            return
        try:
            found = measure()
        except FAULTS as why:
            found = {"valid": False, "why": first_line(why), "command": ""}
        self.row(cell, peer, connections, found)
        if peer in self.peers and not (peer.process and peer.process.lives()):
            self.try_with(peer, peer.start)

    def try_with(self, peer, work):
        """Does it; a peer that fails leaves the series, and its cells stay empty."""
        if peer.name in self.absent:
            return
        try:
            work()
        except (*FAULTS, tools.Missing) as why:
            self.absent[peer.name] = first_line(why)
            peer.stop()

    def hashes(self):
        """What the four hashes of an upload by npm cost here and now."""
        if self.settings.hash_bytes:
            command = [self.settings.hash_bytes, str(self.bodies.large)]
            found = {"cpu_ms": load.cpu_of(command) * 1000, "command": " ".join(command)}
            self.row("hashes of 100 MB", Hashes, "", found)

    def copy(self):
        """What it costs here to put the bytes of an upload into a new file, and nothing else: the
        pages of a virtual machine may have to come from its host first."""
        source, target = self.bodies.path(), self.bodies.path()
        with open(source, "wb") as file:
            file.write(self.bodies.noise)
        command = ["dd", f"if={source}", f"of={target}", "bs=256k", "status=none"]
        found = {"cpu_ms": load.cpu_of(command) * 1000, "command": " ".join(command)}
        self.row("copy of 100 MB", Copy, "", found)
        for path in (source, target):
            os.remove(path)

    def present(self):
        return [peer for peer in self.peers if peer.name not in self.absent]

    def peer(self, kind):
        return next((peer for peer in self.present() if isinstance(peer, kind)), None)


class Hashes:
    """Stands where a row wants a peer."""

    name, version = "blake3, sha256, sha512, sha1", ""


class Copy:
    """Stands where a row wants a peer."""

    name, version = "dd, into a new file", ""


def first_line(why):
    return (str(why).strip() or type(why).__name__).splitlines()[0][:200]


def begin(series):
    """Starts all, and puts the same things into each."""
    files = {"1 MB": series.bodies.plain(series.bodies.middle)[0],
             "100 MB": series.bodies.plain()[0]}
    for peer in series.peers:
        series.try_with(peer, peer.start)
        series.try_with(peer, lambda: peer.fill(files))
    for path in files.values():
        os.remove(path)
    series.upstream = Upstream(series.bodies.folder)
    with open(os.path.join(series.bodies.folder, "big"), "wb") as file:
        file.write(series.bodies.document(series.upstream.url))
    for peer in (series.peer(Griot), series.peer(Verdaccio)):
        if peer:
            series.try_with(peer, lambda: peer.mirror(series.upstream.url))
    griot, nginx = series.peer(Griot), series.peer(Nginx)
    if griot and nginx:
        for what in ("small", "5 MB"):
            nginx.serve(what, griot.ask("GET", griot.targets[what][0])[1])
    for peer in series.present():
        series.try_with(peer, lambda: weigh(series, peer))
    expect_equal(series)


def weigh(series, peer):
    for what, (path, headers) in peer.targets.items():
        series.sizes[peer.name, what] = len(peer.ask("GET", path, headers=headers)[1])


def expect_equal(series):
    """The same bytes, or no comparison. Verdaccio lays documents out its own way."""
    for what in {name for _, name in series.sizes}:
        sizes = {peer: size for (peer, name), size in series.sizes.items() if name == what}
        exact = [size for peer, size in sizes.items()
                 if what in ("1 MB", "100 MB") or peer in ("griot", "nginx")]
        if len(set(exact)) > 1 or max(sizes.values()) > 2 * min(sizes.values()):
            raise RuntimeError(f"{what} is not of one size everywhere: {sizes}")


def asked(series, what):
    """GETs of one thing at so many connections."""
    cell = f"{what} down" if what in ("1 MB", "100 MB") else f"{what} metadata"
    for connections in series.settings.connections:
        for peer in series.present():
            if what not in peer.targets or series.settings.leaves_out(peer, what, connections):
                continue
            seconds = series.settings.seconds(what, connections)
            size = series.sizes[peer.name, what]
            series.attempt(cell, peer, connections,
                           lambda: load.ask(peer, what, connections, seconds, size))


def small(series):
    """Metadata of about 750 bytes."""
    asked(series, "small")


def big(series):
    """Metadata of 5 MB."""
    asked(series, "5 MB")


def files(series):
    """1 MB and 100 MB down."""
    asked(series, "1 MB")
    asked(series, "100 MB")


def uploads(series):
    """100 MB up, alone and five at once, as a file and as npm publishes."""
    for at_once in (1, 5):
        for kind in ("file", "npm"):
            for peer in series.present():
                if kind in peer.uploads:
                    series.attempt(f"100 MB up, {kind}", peer, at_once,
                                   lambda: load.upload(peer, kind, series.bodies, at_once))
    series.hashes()
    series.copy()


def start(series):
    """From the fork to the first answer, with a home that exists."""
    for peer in series.present():
        series.attempt("cold start", peer, "", lambda: cold(series, peer))


def cold(series, peer):
    """Stopped and started some times; it goes on with the last."""
    taken = sorted(restart(peer) for _ in range(series.settings.starts))
    return {"p50": statistics.median(taken), "p99": taken[-1], "pss": peer.process.pss(),
            "most": peer.process.most(), "command": " ".join(peer.process.command)}


def restart(peer):
    peer.stop()
    return peer.start()


def beside_uploads(series):
    """p99 of small metadata while five uploads of 100 MB run, over its quiet value."""
    for peer in series.present():
        if "file" in peer.uploads and "small" in peer.targets:
            series.attempt("small beside 5 uploads", peer, 8, lambda: while_uploads(series, peer))


def while_uploads(series, peer):
    seconds, size = series.settings.seconds("beside", 8), series.sizes[peer.name, "small"]
    quiet = load.ask(peer, "small", 8, seconds, size)
    with load.Uploads(peer, "file", series.bodies, 5) as running:
        found = load.ask(peer, "small", 8, seconds, size)
    why = running.check()
    if why or not quiet["valid"]:
        found.update(valid=False, why=why or quiet["why"])
    if found["valid"]:
        found.update(times=found["p99"] / quiet["p99"], quiet=quiet["p99"])
    return found


def beside_readers(series):
    """A file of 1 MB while 64 readers ask for the document of 5 MB, over its quiet time."""
    for peer in series.present():
        left_out = series.settings.leaves_out(peer, "5 MB", 64)
        if "5 MB" in peer.targets and "1 MB" in peer.targets and not left_out:
            series.attempt("1 MB beside 64 readers", peer, 1, lambda: while_readers(series, peer))


def while_readers(series, peer):
    seconds = series.settings.seconds("beside", 64)
    path, headers = peer.targets["1 MB"]
    quiet, wrong, _ = load.time_of_files(peer.url + path, headers, 20)
    at, its = peer.targets["5 MB"]
    _, readers = load.start_asking(peer.url + at, its, 64, seconds)
    time.sleep(0.5)
    busy, also_wrong, command = load.time_of_files(peer.url + path, headers, 1, readers)
    read = load.what_was_asked(readers, load.PATIENCE)
    found = {"command": command + " beside wrk", "valid": True, "requests": len(busy),
             "p50": statistics.median(busy), "p95": busy[int(len(busy) * .95)], "p99": busy[-1],
             "quiet": statistics.median(quiet)}
    found["times"] = found["p50"] / found["quiet"]
    if wrong or also_wrong or not read["valid"]:
        why = f"files were answered {wrong + also_wrong}" if read["valid"] else read["why"]
        found.update(valid=False, why=f"the readers: {why}")
    return found


CELLS = {
    "start": start, "small": small, "big": big, "files": files, "uploads": uploads,
    "beside-uploads": beside_uploads, "beside-readers": beside_readers,
}
KINDS = (Nginx, Griot, Registry, Verdaccio)
