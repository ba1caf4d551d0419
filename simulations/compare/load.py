"""What asks and what uploads: wrk for many answers, curl for one upload or one file.

Both are processes of their own, so their CPU is not the server's. Every answer is checked: `valid` of
what comes back is false if any was not 2xx, or if nothing came at all.
"""

import math
import os
import re
import resource
import shlex
import subprocess
import threading
import time

import tools
from process import Usage

# Seconds that wrk may need beyond those of the measurement, until it is ended.
PATIENCE = 75
HERE = os.path.dirname(os.path.abspath(__file__))


def ask_command(wrk, url, headers, connections, seconds):
    flags = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    return [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", *flags,
            "-s", os.path.join(HERE, "percentiles.lua"), url]


def start_asking(url, headers, connections, seconds):
    wrk, environment = tools.wrk()
    command = ask_command(wrk, url, headers, connections, seconds)
    return command, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     text=True, env=environment)


def what_was_asked(running, patience):
    """The figures of a run of wrk that has ended or will; latencies in milliseconds."""
    try:
        out, _ = running.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
        return {"valid": False, "why": f"wrk did not end in {patience} s"}
    found = re.search(r"^RESULT (.*)$", out, re.M)
    if running.returncode or not found:
        return {"valid": False, "why": f"wrk failed: {out.strip()[-200:]}"}
    duration, requests, received, status, broken, timeouts, _, *latency = (
        float(word) for word in found.group(1).split())
    wrong = int(status + broken + timeouts)
    p50, p95, p99 = (value / 1000 for value in latency)
    why = f"{wrong} of {requests:.0f} answers were not 2xx" if wrong else "no answer in time"
    return {
        "valid": not wrong and received > 0, "why": why, "seconds": duration / 1e6,
        "requests": requests, "bytes": received, "p50": p50, "p95": p95, "p99": p99,
    }


def ask(peer, what, connections, seconds, size):
    """One cell: many GETs of one thing. Of what is large, a part of an answer counts as a part."""
    path, headers = peer.targets[what]
    command, running = start_asking(peer.url + path, headers, connections, seconds)
    with Usage(peer.process) as usage:
        found = what_was_asked(running, seconds + PATIENCE)
    found["command"] = shlex.join(["wrk", *command[1:]])
    if found["valid"] and found["bytes"] < 0.9 * size * found["requests"]:
        found.update(valid=False, why="answers were shorter than they must be")
    if found["valid"] and not found["requests"]:
        # What is large counts by its bytes, though none came whole in this time.
        found["valid"] = size >= 100_000
        found.update(p50=math.inf, p95=math.inf, p99=math.inf)
    if not found["valid"]:
        return found
    whole = max(found["requests"], found["bytes"] / size) if size >= 100_000 else found["requests"]
    found.update(
        rate=whole / found["seconds"], cpu_ms=usage.cpu / whole * 1000,
        mb_s=found["bytes"] / 1e6 / found["seconds"], pss=usage.peak, most=usage.most)
    return found


def cpu_of(command):
    """CPU-seconds of a program that runs to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Upload:
    """One PUT by curl of a file that is ready; `send` ends with its status and seconds."""

    def __init__(self, peer, kind, bodies, body=None):
        name = peer.fresh()
        if body:
            self.path, digest = body
        elif kind == "npm":
            self.path, digest = bodies.npm(name), None
        else:
            self.path, digest = bodies.plain()
        self.size = os.path.getsize(self.path)
        address, headers = peer.place(kind, name, digest)
        url = address if address.startswith("http") else peer.url + address
        mime = "application/json" if kind == "npm" else "application/octet-stream"
        flags = ["-H", "Expect:", "-H", f"Content-Type: {mime}"]
        for key, value in headers.items():
            flags += ["-H", f"{key}: {value}"]
        self.command = ["curl", "-s", "-S", "--max-time", "120", "-o", os.devnull,
                        "-T", self.path, "-w", "%{http_code} %{time_total}", *flags, url]
        self.status, self.seconds = 0, 0.0

    def send(self):
        done = subprocess.run(self.command, capture_output=True, text=True)
        status, seconds = (done.stdout.split() + ["0", "0"])[:2]
        self.status, self.seconds = int(status), float(seconds)
        return self

    def is_good(self):
        return 200 <= self.status < 300

    def shown(self):
        """The command without its token."""
        kept = ["Authorization: …" if word.startswith("Authorization") else word
                for word in self.command]
        return shlex.join(kept)


def upload(peer, kind, bodies, at_once):
    """One cell: so many uploads of new bytes at the same time."""
    ready = [Upload(peer, kind, bodies) for _ in range(at_once)]
    with Usage(peer.process) as usage:
        threads = [threading.Thread(target=one.send) for one in ready]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for one in ready:
        os.remove(one.path)
    statuses = [one.status for one in ready]
    total, times = sum(one.size for one in ready), sorted(one.seconds for one in ready)
    return {
        "valid": all(one.is_good() for one in ready), "why": f"answers {statuses}",
        "command": ready[0].shown(), "requests": at_once, "rate": at_once / usage.seconds,
        "p50": times[len(times) // 2] * 1000, "p95": times[-1] * 1000, "p99": times[-1] * 1000,
        "cpu_ms": usage.cpu / at_once * 1000, "mb_s": total / 1e6 / usage.seconds,
        "pss": usage.peak, "most": usage.most, "seconds": usage.seconds,
    }


class Uploads:
    """So many uploads at the same time, again and again, while a block runs.

    `check` says afterwards whether they really ran from its start to its end.
    """

    def __init__(self, peer, kind, bodies, at_once):
        self.at_once, self.ended, self.over = at_once, [], threading.Event()
        self.peer, self.kind, self.bodies = peer, kind, bodies

    def __enter__(self):
        self.files = [self.bodies.plain() for _ in range(self.at_once)]
        begun = threading.Barrier(self.at_once + 1)
        self.threads = [threading.Thread(target=self.run, args=(file, begun), daemon=True)
                        for file in self.files]
        for thread in self.threads:
            thread.start()
        begun.wait()
        return self

    def run(self, file, begun):
        begun.wait()
        while not self.over.is_set():
            self.ended.append(Upload(self.peer, self.kind, self.bodies, file).send())

    def __exit__(self, *_):
        self.still_running = all(thread.is_alive() for thread in self.threads)
        self.over.set()
        for thread in self.threads:
            thread.join()
        for path, _ in self.files:
            os.remove(path)

    def check(self):
        """None, or why it was not the load that it should have been."""
        if not self.still_running:
            return "an upload loop had ended before the measurement"
        if len(self.ended) < self.at_once:
            return f"only {len(self.ended)} uploads"
        bad = [one.status for one in self.ended if not one.is_good()]
        return f"uploads were answered {bad[:5]}" if bad else None


def time_of_files(url, headers, least_count, while_running=None, most_seconds=60):
    """Milliseconds that each GET by curl took, sorted; a list of another status is an error."""
    flags = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    command = ["curl", "-s", "-S", "-o", os.devnull, "--max-time", str(most_seconds),
               "-w", "%{http_code} %{time_total}", *flags, url]
    taken, began = [], time.monotonic()
    while len(taken) < least_count or (while_running and while_running.poll() is None):
        done = subprocess.run(command, capture_output=True, text=True)
        status, seconds = (done.stdout.split() + ["0", "0"])[:2]
        taken.append((int(status), float(seconds) * 1000))
        if time.monotonic() - began > most_seconds:
            break
    wrong = [status for status, _ in taken if status != 200]
    return sorted(ms for _, ms in taken), wrong, shlex.join(command)
