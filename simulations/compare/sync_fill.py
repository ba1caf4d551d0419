#!/usr/bin/env python3
"""sync_fill.py URL TOKEN FILES.json publishes each `[name, version, path]` as a generic file;
sync_fill.py URL "" NAME reads one. Runs on the host of the node that it speaks to."""

import concurrent.futures
import json
import sys
import urllib.request

AT_ONCE = 8


def put(url, token, one):
    name, version, path = one
    with open(path, "rb") as body:
        request = urllib.request.Request(
            f"{url}/generic/{name}/{version}/file.bin", body.read(), method="PUT",
            headers={"Authorization": f"Bearer {token}",
                     "Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        answer.read()


def main():
    url, token, what = sys.argv[1:]
    if not token:
        with urllib.request.urlopen(f"{url}/generic/{what}/1.0/file.bin", timeout=3600) as answer:
            while answer.read(1 << 20):
                pass
        return
    with open(what) as listed:
        files = json.load(listed)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda one: put(url, token, one), files))


if __name__ == "__main__":
    main()
