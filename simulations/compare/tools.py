"""The programs to compare with: found on this machine, or put into target/tools/compare.

Debian's packages are unpacked there, not installed: no unit of the system is started, and no root is
needed. Verdaccio comes by npm from the registry that npm is configured with.
"""

import glob
import json
import os
import platform
import shutil
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(ROOT, "target", "tools", "compare")

# A mirror that serves no tag but `latest` does not know the one that a dependency asks for.
VERDACCIO = {
    "private": True,
    "dependencies": {"verdaccio": "6.10.4"},
    "overrides": {"node-fetch": "2.7.0"},
}


class Missing(Exception):
    """A program is not there and could not be brought."""


def debian(program, *packages):
    """(path, environment) of a program; of Debian's packages if it is not on this machine."""
    found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found:
        return found, {}
    folder = os.path.join(TOOLS, program)
    path = next(iter(glob.glob(f"{folder}/usr/*bin/{program}")), None)
    if not path:
        unpack(folder, packages)
        path = next(iter(glob.glob(f"{folder}/usr/*bin/{program}")), None)
    if not path:
        raise Missing(f"{program} is not in the packages {' '.join(packages)}")
    libraries = ":".join(glob.glob(f"{folder}/usr/lib/*-linux-gnu"))
    return path, {"LD_LIBRARY_PATH": libraries} if libraries else {}


def unpack(folder, packages):
    if not shutil.which("apt-get"):
        raise Missing(f"{packages[0]} is not installed, and there is no apt-get to fetch it with")
    os.makedirs(folder, exist_ok=True)
    fetch = ["apt-get", "download", "-qq", *packages]
    if subprocess.run(fetch, cwd=folder, capture_output=True).returncode:
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
        again = subprocess.run(fetch, cwd=folder, capture_output=True, text=True)
        if again.returncode:
            raise Missing(f"apt-get cannot fetch {' '.join(packages)}: {again.stderr.strip()}")
    for archive in glob.glob(os.path.join(folder, "*.deb")):
        subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
        os.remove(archive)


def wrk():
    path, environment = debian("wrk", "wrk", "libluajit-5.1-2", "libluajit-5.1-common")
    return path, dict(os.environ, **environment)


def nginx():
    return debian("nginx", "nginx")


def docker_registry():
    return debian("docker-registry", "docker-registry")


def verdaccio():
    """The folder of its package."""
    folder = os.path.join(TOOLS, "verdaccio")
    installed = os.path.join(folder, "node_modules", "verdaccio")
    if os.path.exists(installed):
        return installed
    if not shutil.which("npm"):
        raise Missing("verdaccio is not there, and there is no npm to fetch it with")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "package.json"), "w") as file:
        json.dump(VERDACCIO, file)
    cache = os.path.join(folder, "cache")
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error",
         "--cache", cache], cwd=folder, capture_output=True, text=True, timeout=600)
    shutil.rmtree(cache, ignore_errors=True)
    if done.returncode or not os.path.exists(installed):
        raise Missing(f"npm cannot install verdaccio: {done.stderr.strip()[-500:]}")
    return installed


def built(path, *words):
    """`path`, made by cargo with these words if it is not there."""
    if not os.path.exists(path):
        subprocess.run(["cargo", "build", *words], cwd=ROOT, check=True)
    return path


def program(name, source):
    """One of the programs that lie beside this file: built anew if its source is younger."""
    written = os.path.getmtime(os.path.join(os.path.dirname(os.path.abspath(__file__)), source))
    for kind in ("release", "debug"):
        path = os.path.join(ROOT, "target", kind, name)
        if os.path.exists(path) and os.path.getmtime(path) > written:
            return path
    subprocess.run(["cargo", "build", "-p", "simulations", "--bin", name], cwd=ROOT, check=True)
    return os.path.join(ROOT, "target", "debug", name)


def machine():
    """Its size, and when."""
    with open("/proc/meminfo") as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("MemTotal:"))
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file
                      if line.startswith("model name")), platform.machine())
    return {"cores": os.cpu_count(), "memory_gib": round(kib / 2**20), "processor": model,
            "day": time.strftime("%Y-%m-%d")}


def commit():
    """Of the tree that this script lies in, with a + if it was changed since."""
    try:
        name = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True)
        changed = subprocess.check_output(
            ["git", "status", "--porcelain", "--untracked-files=no"], cwd=ROOT, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.strip() + ("+" if changed.strip() else "")
