"""What moves a folder from one host to the other: rsync, Syncthing, and a pair of nodes.

Each has `begin` (the first host is ready and has its files), `copy(limit)` and `change(limit)`
(seconds until the second host has everything, or `None` when the limit came first), `cpu` (seconds
of both sides so far), `most` (MiB resident of the first host at the most) and `end`.
"""

import json
import os
import re
import shutil
import subprocess
import time

import tools
from process import Process

HERE = os.path.dirname(os.path.abspath(__file__))


def waited(holds, limit, pause=0.2):
    """Seconds until it holds; `None` after the limit."""
    began = time.monotonic()
    while time.monotonic() - began < limit:
        if holds():
            return time.monotonic() - began
        time.sleep(pause)
    return None


class Peer:
    """`home` is a folder of its own, `site` what is to be moved."""

    def __init__(self, link, site, home):
        self.link, self.site, self.home = link, site, home
        os.makedirs(home)
        self.processes, self.spent = [], 0.0

    def start(self, side, *words, environment=None):
        log = os.path.join(self.home, f"log{side}")
        process = Process(self.link.on(side, *words), log, environment, None)
        self.processes.append(process)
        return process

    def cpu(self):
        return self.spent + sum(process.cpu() for process in self.processes)

    def most(self):
        return self.processes[0].most()

    def end(self):
        for process in self.processes:
            process.stop()

    def change(self, limit):
        self.site.change()
        return self.copy(limit)


class Rsync(Peer):
    """A daemon on the first host, `rsync -a` on the second."""

    name, in_files = "rsync", True

    def begin(self):
        self.program, _ = tools.debian("rsync", "rsync")
        self.version = re.search(r"version (\S+)", subprocess.check_output(
            [self.program, "--version"], text=True)).group(1)
        config = os.path.join(self.home, "rsyncd.conf")
        with open(config, "w") as file:
            file.write(f"use chroot = no\nuid = 0\ngid = 0\n[site]\npath = {self.site.folder}\n")
        self.start(0, self.program, "--daemon", "--no-detach", f"--config={config}")
        time.sleep(0.5)

    def copy(self, limit):
        there = os.path.join(self.home, "there")
        began = time.monotonic()
        client = subprocess.Popen(self.link.on(
            1, self.program, "-a", "--partial", f"rsync://{self.link.addresses[0]}/site/", there),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = os.times()
        try:
            client.wait(limit)
        except subprocess.TimeoutExpired:
            client.terminate()
            client.wait()
            return None
        after = os.times()
        self.spent += sum(after[2:4]) - sum(before[2:4])
        if client.returncode:
            raise RuntimeError(f"rsync ended with {client.returncode}")
        return time.monotonic() - began


class Syncthing(Peer):
    """Two instances that know each other's address; no discovery, no relay."""

    name, in_files = "syncthing", True

    def begin(self):
        self.program, _ = tools.debian("syncthing", "syncthing")
        self.version = subprocess.check_output([self.program, "--version"], text=True).split()[1]
        self.ids = [self.generate(side) for side in range(2)]
        self.there = os.path.join(self.home, "there")
        os.makedirs(self.there)
        for side, folder in enumerate((self.site.folder, self.there)):
            os.makedirs(os.path.join(folder, ".stfolder"), exist_ok=True)
            self.configure(side, folder)
        self.run(0)
        # It has read its folder before the other one asks.
        time.sleep(10)

    def generate(self, side):
        home = os.path.join(self.home, f"home{side}")
        said = subprocess.run([self.program, "generate", "--home", home, "--no-default-folder"],
                              capture_output=True, text=True, env=dict(PATH=os.environ["PATH"], **self.environment()), check=True)
        return re.search(r"([A-Z2-7]{7}-){7}[A-Z2-7]{7}", said.stdout + said.stderr).group()

    def environment(self):
        return {"HOME": self.home, "STNOUPGRADE": "1"}

    def configure(self, side, folder):
        devices = "".join(
            f'<device id="{one}" name="{at}"><address>tcp://{self.link.addresses[at]}:22000'
            "</address></device>" for at, one in enumerate(self.ids))
        members = "".join(f'<device id="{one}"></device>' for one in self.ids)
        listen = f"tcp://{self.link.addresses[side]}:22000"
        with open(os.path.join(self.home, f"home{side}", "config.xml"), "w") as file:
            file.write(
                f'<configuration version="35"><folder id="site" path="{folder}" '
                f'type="sendreceive" rescanIntervalS="3600" fsWatcherEnabled="true" '
                f'fsWatcherDelayS="1">{members}</folder>{devices}'
                f'<gui enabled="false"></gui><options><listenAddress>{listen}</listenAddress>'
                "<globalAnnounceEnabled>false</globalAnnounceEnabled>"
                "<localAnnounceEnabled>false</localAnnounceEnabled><relaysEnabled>false"
                "</relaysEnabled><natEnabled>false</natEnabled><urAccepted>-1</urAccepted>"
                "<crashReportingEnabled>false</crashReportingEnabled>"
                "<reconnectionIntervalS>5</reconnectionIntervalS></options></configuration>")

    def run(self, side):
        home = os.path.join(self.home, f"home{side}")
        self.start(side, self.program, "serve", "--home", home, "--no-browser", "--no-restart",
                   environment=self.environment())

    def copy(self, limit):
        if len(self.processes) == 1:
            self.run(1)
        return waited(lambda: self.site.is_like(self.there), limit)


class Griot(Peer):
    """Two nodes; the second joins the first's site, keeps the small files by itself and is asked
    for the large one. The site's files are releases of the first."""

    name, in_files, binary = "griot", False, None

    def begin(self):
        self.version = subprocess.check_output([self.binary, "--version"], text=True).split()[1]
        self.tokens, self.blobs = ["", ""], 0
        for side in range(2):
            self.run(side)
        self.publish(self.site.files())
        self.joined = False

    def run(self, side):
        home = os.path.join(self.home, f"node{side}")
        self.start(side, self.binary, "--home", home, "up", "--listen", f"127.0.0.1:{7001 + side}",
                   "--mesh-listen", f"/ip4/{self.link.addresses[side]}/tcp/7879", "--no-mdns",
                   "--offline", environment={"HOME": self.home})
        told = os.path.join(home, "node.json")
        if waited(lambda: os.path.exists(told), 60, 0.05) is None:
            raise RuntimeError("griot writes no node.json")
        with open(told) as file:
            self.tokens[side] = json.load(file)["token"]

    def verb(self, side, *words):
        home = os.path.join(self.home, f"node{side}")
        command = self.link.on(side, self.binary, "--home", home, *words, "--json")
        environment = {"PATH": os.environ["PATH"], "HOME": self.home}
        return json.loads(subprocess.check_output(command, env=environment, timeout=600))

    def publish(self, files):
        """Each file is a release; equal ones would be one blob, but none are."""
        listed = os.path.join(self.home, "files.json")
        with open(listed, "w") as file:
            json.dump(files, file)
        fill = ["python3", os.path.join(HERE, "sync_fill.py"), "http://127.0.0.1:7001",
                self.tokens[0], listed]
        subprocess.run(self.link.on(0, *fill), check=True, stdout=subprocess.DEVNULL)
        self.blobs += len(files)

    def copy(self, limit):
        began, getting = time.monotonic(), None
        if not self.joined:
            self.joined = True
            self.verb(1, "join", self.verb(0, "invite")["invite"])
        have = lambda: self.verb(1, "status")["blobs"]["count"]
        try:
            # The large one can be asked for as soon as its release is known.
            while have() < self.blobs and time.monotonic() - began < limit:
                if getting is None or getting.poll() not in (None, 0):
                    getting = self.get(self.site.large)
                time.sleep(0.5)
            taken = time.monotonic() - began
            return taken if have() >= self.blobs else None
        finally:
            if getting and getting.poll() is None:
                getting.terminate()
            if getting:
                getting.wait()

    def get(self, name):
        fill = ["python3", os.path.join(HERE, "sync_fill.py"), "http://127.0.0.1:7002", "", name]
        return subprocess.Popen(self.link.on(1, *fill), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def change(self, limit):
        self.publish(self.site.fresh())
        return self.copy(limit)


KINDS = (Rsync, Syncthing, Griot)


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
