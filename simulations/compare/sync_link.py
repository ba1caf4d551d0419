"""Two hosts and a link between them: a cable as fast as this machine, or one that `shaper.py` shapes.

Bytes are those of the second host's card, headers of IP included, both directions: what a meter at
the site would count. The namespaces go with `end`.
"""

import json
import os
import subprocess

import tools

HERE = os.path.dirname(os.path.abspath(__file__))


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise tools.Missing(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Link:
    """`shape` is the shaper's flags; without any it is a plain cable."""

    def __init__(self, shape, congestion):
        tag = f"gc{os.getpid()}"
        self.hosts = [f"{tag}a", f"{tag}b"]
        self.shaper, self.made = None, []
        try:
            self.make(shape, congestion)
        except tools.Missing:
            self.end()
            raise

    def make(self, shape, congestion):
        if shape:
            self.addresses = ["10.232.251.1", "10.232.251.2"]
            self.shape(shape)
        else:
            self.addresses = ["10.231.251.1", "10.231.251.2"]
            self.cards = [f"{host}0" for host in self.hosts]
            self.cable()
        for host, card, address in zip(self.hosts, self.cards, self.addresses):
            # By the route: the namespace's own setting is the machine's to allow.
            net = address.rsplit(".", 1)[0] + ".0/24"
            run("ip", "-n", host, "route", "replace", net, "dev", card, "src", address,
                "congctl", congestion)

    def shape(self, flags):
        words = ["python3", os.path.join(HERE, "shaper.py"), *self.hosts, "--net", "251", *flags]
        self.shaper = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       text=True)
        if self.shaper.stdout.readline().strip() != "ready":
            raise tools.Missing("no link can be shaped here")
        shown = [json.loads(run("ip", "-j", "-n", host, "link", "show")) for host in self.hosts]
        self.cards = [next(one["ifname"] for one in of if one["ifname"] != "lo") for of in shown]

    def cable(self):
        for host in self.hosts:
            run("ip", "netns", "add", host)
            self.made.append(host)
        run("ip", "link", "add", self.cards[0], "netns", self.hosts[0], "type", "veth",
            "peer", "name", self.cards[1], "netns", self.hosts[1])
        for host, card, address in zip(self.hosts, self.cards, self.addresses):
            run("ip", "-n", host, "addr", "add", f"{address}/24", "dev", card)
            run("ip", "-n", host, "link", "set", "lo", "up")
            run("ip", "-n", host, "link", "set", card, "up")

    def on(self, side, *words):
        """A command line that runs on a host."""
        return ["ip", "netns", "exec", self.hosts[side], *words]

    def wire_bytes(self):
        shown = run("ip", "-j", "-s", "-n", self.hosts[1], "link", "show", "dev", self.cards[1])
        stats = json.loads(shown)[0]["stats64"]
        return stats["rx"]["bytes"] + stats["tx"]["bytes"]

    def raw_mbit(self, congestion, seconds):
        """What one plain TCP connection gets; `None` if the kernel lacks the algorithm."""
        probe = os.path.join(HERE, "probe.py")
        words = ["python3", probe, "serve", self.addresses[0], "9000", "--congestion", congestion]
        server = subprocess.Popen(self.on(0, *words), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        try:
            if server.stdout.readline().strip() != "ready":
                return None
            pull = ["python3", probe, "pull", self.addresses[0], "9000", str(seconds)]
            return json.loads(run(*self.on(1, *pull)))["mbit"] if seconds < 25 else None
        finally:
            server.stdin.close()
            server.wait(20)

    def end(self):
        if self.shaper:
            self.shaper.stdin.close()
            self.shaper.wait(20)
        for host in self.made:
            subprocess.run(["ip", "netns", "del", host], capture_output=True)
