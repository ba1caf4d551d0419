"""One server as a child of this script, and what /proc says about it and its own children.

It is ended by its process id, and nothing else is.
"""

import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """Runs from its making to `stop`. `ready` is the URL that answers below 500 once it
    is up; without one nothing is waited for."""

    def __init__(self, command, log, environment=None, ready=None, patience=60):
        self.command = command
        own = dict(PATH=os.environ["PATH"], **(environment or {}))
        self.log = open(log, "ab")
        began = time.monotonic()
        self.child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=own)
        while ready and not answers(ready):
            if self.child.poll() is not None or time.monotonic() - began > patience:
                self.stop()
                with open(log, errors="replace") as said:
                    raise RuntimeError(f"{command[0]} does not start: {said.read()[-2000:]}")
            time.sleep(0.005)
        self.start_ms = (time.monotonic() - began) * 1000

    def tree(self):
        """The process and its descendants."""
        found, ahead = [], [self.child.pid]
        while ahead:
            one = ahead.pop()
            found.append(one)
            try:
                for thread in os.listdir(f"/proc/{one}/task"):
                    with open(f"/proc/{one}/task/{thread}/children") as children:
                        ahead.extend(int(word) for word in children.read().split())
            except OSError:
                pass
        return found

    def cpu(self):
        """CPU-seconds so far, user and system, of the tree and what it has waited for."""
        ticks = 0
        for one in self.tree():
            try:
                with open(f"/proc/{one}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                ticks += sum(int(field) for field in fields[11:15])
            except OSError:
                pass
        return ticks / TICKS

    def pss(self):
        """MiB now: what pages it shares count by their share."""
        return self.sum_of("smaps_rollup", "Pss:")

    def private(self):
        """MiB now that only it has."""
        kinds = ("Private_Clean:", "Private_Dirty:")
        return sum(self.sum_of("smaps_rollup", kind) for kind in kinds)

    def lives(self):
        return self.child.poll() is None

    def most(self):
        """MiB, the most resident since `forget_most`; shared pages count whole."""
        return self.sum_of("status", "VmHWM:")

    def forget_most(self):
        for one in self.tree():
            try:
                with open(f"/proc/{one}/clear_refs", "w") as file:
                    file.write("5")
            except OSError:
                pass

    def sum_of(self, file, key):
        total = 0
        for one in self.tree():
            try:
                with open(f"/proc/{one}/{file}") as lines:
                    total += next(int(line.split()[1]) for line in lines if line.startswith(key))
            except (OSError, StopIteration):
                pass
        return total / 1024

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.log.close()


def answers(url):
    """Whether anything below 500 comes back."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
        return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False


class Usage:
    """CPU and memory of a process while a block runs; Pss is sampled, VmHWM is the system's."""

    def __init__(self, process, every=0.05):
        self.process, self.every, self.peak, self.done = process, every, 0, threading.Event()

    def __enter__(self):
        self.process.forget_most()
        self.sampler = threading.Thread(target=self.sample, daemon=True)
        self.sampler.start()
        self.before, self.began = self.process.cpu(), time.monotonic()
        return self

    def sample(self):
        while True:
            self.peak = max(self.peak, self.process.pss())
            if self.done.wait(self.every):
                return

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began
        self.cpu = self.process.cpu() - self.before
        self.most = self.process.most()
        self.done.set()
        self.sampler.join()
