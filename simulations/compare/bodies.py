"""The bytes that all servers get: the same for each, random where they must not be found again."""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile

MB = 1_000_000
# So long that npm's document of the small package is about 750 bytes, without the answer's head.
DESCRIPTION = "A package with one small file in it."


class Bodies:
    """Files in one folder. `scale` shrinks the large ones, for a smoke test."""

    def __init__(self, folder, scale=1.0):
        self.folder = folder
        self.large = int(100 * MB * scale)
        self.middle = int(1 * MB * scale)
        self.versions = max(3, int(2800 * scale))
        self.noise = os.urandom(self.large)
        self.made = 0

    def plain(self, size=None):
        """A new file that equals no other: (path, sha256)."""
        head = os.urandom(32)
        body = memoryview(self.noise)[: (size or self.large) - len(head)]
        path = self.path()
        digest = hashlib.sha256(head)
        digest.update(body)
        with open(path, "wb") as file:
            file.write(head)
            file.write(body)
        return path, digest.hexdigest()

    def npm(self, name, size=None):
        """A publish as npm sends it, with a tarball of about `size` random bytes: its path."""
        path = self.path()
        noise = os.urandom(32) + self.noise[: (size or self.large) - 32]
        with open(path, "wb") as file:
            file.write(publish(name, tarball({"name": name, "version": "1.0.0"}, noise)))
        return path

    def small(self):
        """The publish of a package whose document is small."""
        manifest = {"name": "small", "version": "1.0.0", "description": DESCRIPTION}
        return publish("small", tarball(manifest, b"x" * 1000), manifest)

    def document(self, registry):
        """A document of about 5 MB, as an upstream tells it; nobody asks for the tarballs."""
        versions = {}
        for number in range(self.versions):
            version = f"{number // 100}.{number % 100}.0"
            digest = hashlib.sha512(version.encode()).digest()
            versions[version] = {
                "name": "big", "version": version, "description": DESCRIPTION * 5,
                "license": "MIT", "main": "index.js", "_id": f"big@{version}",
                "dependencies": {f"dependency-{n}": f"^{n}.{number % 10}.0" for n in range(25)},
                "scripts": {"test": "jest --coverage", "build": "tsc --project tsconfig.json"},
                "maintainers": [{"name": f"person-{n}", "email": f"person-{n}@example.test"}
                                for n in range(8)],
                "dist": {
                    "integrity": "sha512-" + base64.b64encode(digest).decode(),
                    "shasum": hashlib.sha1(version.encode()).hexdigest(),
                    "tarball": f"{registry}big/-/big-{version}.tgz",
                },
            }
        times = {version: "2026-01-01T00:00:00.000Z" for version in versions}
        return json.dumps({
            "_id": "big", "name": "big", "dist-tags": {"latest": max(versions)},
            "versions": versions, "time": times, "readme": "",
        }).encode()

    def path(self):
        self.made += 1
        return os.path.join(self.folder, f"body-{self.made}")


def tarball(manifest, noise):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as made:
        for name, data in (("package.json", json.dumps(manifest).encode()), ("noise", noise)):
            entry = tarfile.TarInfo("package/" + name)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    # Random bytes do not shrink: they are only wrapped.
    return gzip.compress(plain.getvalue(), 0)


def publish(name, archive, manifest=None):
    sha512 = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    dist = {
        "integrity": "sha512-" + sha512, "shasum": hashlib.sha1(archive).hexdigest(),
        "tarball": f"http://packages.test/{name}/-/{name}-1.0.0.tgz",
    }
    version = dict(manifest or {"name": name, "version": "1.0.0"}, _id=f"{name}@1.0.0", dist=dist)
    return json.dumps({
        "_id": name, "name": name, "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": version},
        "_attachments": {f"{name}-1.0.0.tgz": {
            "content_type": "application/octet-stream",
            "data": base64.b64encode(archive).decode(), "length": len(archive),
        }},
    }).encode()
