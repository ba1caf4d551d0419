"""The servers: each a child process on a free loopback port, with a home of its own.

A peer says where the same things lie in it (`targets`: what → path and headers) and how one uploads
(`place`: a fresh address for each upload). What it has no form for is not among its targets.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import tools
from process import Process, free_port


class Peer:
    """What all have. `uploads` names the kinds of upload it takes: `file`, `npm`."""

    name, uploads, ready_path = "", (), "/"

    def __init__(self, home, bodies):
        self.home, self.bodies, self.process = home, bodies, None
        self.targets, self.count = {}, 0
        os.makedirs(home, exist_ok=True)

    def start(self):
        """Takes a free port; the second start of a home is the one that is measured as cold."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command, environment = self.command()
        environment = dict({"HOME": self.home}, **environment)
        self.process = Process(command, os.path.join(self.home, "log"), environment,
                               self.url + self.ready_path)
        return self.process.start_ms

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def ask(self, method, path, body=None, headers=None):
        """(headers, body); raises above 399."""
        url = path if path.startswith("http") else self.url + path
        headers = dict(self.login(), **(headers or {}))
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            told = error.read(300).decode(errors="replace")
            raise RuntimeError(f"{self.name}: {method} {path}: {error.code} {told}") from error

    def login(self):
        return {}

    def put_file(self, path, address):
        with open(path, "rb") as body:
            self.ask("PUT", address, body.read(), {"Content-Type": "application/octet-stream"})

    def fresh(self):
        self.count += 1
        return f"upload-{self.count}"


class Nginx(Peer):
    """Static files by sendfile, uploads by its module for WebDAV: the ceiling."""

    name, uploads = "nginx", ("file",)

    def __init__(self, home, bodies):
        super().__init__(home, bodies)
        self.program, self.environment = tools.nginx()
        said = subprocess.run([self.program, "-v"], capture_output=True, text=True).stderr
        self.version = said.strip().rsplit("/", 1)[-1]
        self.root = os.path.join(home, "root")
        os.makedirs(os.path.join(self.root, "upload"), exist_ok=True)
        os.chmod(home, 0o755)

    def command(self):
        user = "user root;" if os.geteuid() == 0 else ""
        places = "".join(f"{kind}_temp_path {self.home}/{kind}; "
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = f"""
            daemon off; pid {self.home}/pid; error_log {self.home}/errors; {user}
            worker_processes auto;
            events {{ worker_connections 1024; }}
            http {{
                access_log off; sendfile on; tcp_nopush on; default_type application/json;
                keepalive_requests 100000000; client_max_body_size 0; {places}
                server {{
                    listen 127.0.0.1:{self.port}; root {self.root};
                    location / {{ }}
                    location /upload/ {{ dav_methods PUT; }}
                }}
            }}"""
        path = os.path.join(self.home, "nginx.conf")
        with open(path, "w") as file:
            file.write(config)
        return [self.program, "-c", path, "-p", self.home, "-e", f"{self.home}/errors"], \
            self.environment

    def serve(self, what, body, headers=None):
        """These bytes under this name, or a copy of the file with that path."""
        name = what.replace(" ", "-")
        path = os.path.join(self.root, name)
        if isinstance(body, bytes):
            with open(path, "wb") as file:
                file.write(body)
        else:
            shutil.copyfile(body, path)
        self.targets[what] = (f"/{name}", headers or {})

    def fill(self, files):
        for what, path in files.items():
            self.serve(what, path)

    def place(self, kind, name, digest):
        return f"/upload/{name}", {}


class Griot(Peer):
    """The node, alone: no peer, no neighbour, an upstream on loopback for the large document."""

    name, uploads, ready_path = "griot", ("file", "npm"), "/healthz"

    def __init__(self, home, bodies, binary, commit):
        super().__init__(home, bodies)
        self.binary = binary
        said = subprocess.check_output([binary, "--version"], text=True)
        with open(binary, "rb") as file:
            build = hashlib.file_digest(file, "sha256").hexdigest()[:8]
        # The tree's commit; the build's own sum tells whether it can be of it.
        self.version = f"{said.split()[-1]} {commit} #{build}"

    def command(self):
        listen = ["--listen", f"127.0.0.1:{self.port}", "--mesh-listen", "/ip4/127.0.0.1/tcp/0"]
        return [self.binary, "--home", f"{self.home}/griot", "up", *listen, "--no-mdns"], {}

    def start(self):
        told = f"{self.home}/griot/node.json"
        if os.path.exists(told):
            os.remove(told)
        taken = super().start()
        # It comes after the first answer.
        began = time.monotonic()
        while not os.path.exists(told):
            if time.monotonic() - began > 60:
                raise RuntimeError("griot serves, and writes no node.json")
            time.sleep(0.005)
        with open(told) as file:
            self.token = json.load(file)["token"]
        return taken

    def login(self):
        return {"Authorization": f"Bearer {self.token}"}

    def verb(self, *words):
        command = [self.binary, "--home", f"{self.home}/griot", *words, "--json"]
        environment = {"PATH": os.environ["PATH"], "HOME": self.home}
        return json.loads(subprocess.check_output(command, env=environment, timeout=120))

    def fill(self, files):
        for what, path in files.items():
            address = f"/generic/file-{what.split()[0]}/1.0/file.bin"
            self.put_file(path, address)
            self.targets[what] = (address, {})
        self.ask("PUT", "/npm/small", self.bodies.small(), {"Content-Type": "application/json"})
        self.targets["small"] = ("/npm/small", {})

    def mirror(self, registry):
        """Takes the large document from there."""
        self.verb("upstream", "add", "npm", registry, "--site")
        self.ask("GET", "/npm/big")
        self.targets["5 MB"] = ("/npm/big", {})

    def place(self, kind, name, digest):
        path = f"/npm/{name}" if kind == "npm" else f"/generic/{name}/1.0/file.bin"
        return path, self.login()


class Registry(Peer):
    """Debian's docker-registry."""

    name, uploads, ready_path = "docker-registry", ("file",), "/v2/"
    manifest = "application/vnd.oci.image.manifest.v1+json"

    def __init__(self, home, bodies):
        super().__init__(home, bodies)
        self.program, self.environment = tools.docker_registry()
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True).stdout
        self.version = re.search(r"\d+\.\d+\.\d+", said).group()

    def command(self):
        path = os.path.join(self.home, "config.yml")
        with open(path, "w") as file:
            file.write(f"""
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {self.home}/data}}}}
http: {{addr: 127.0.0.1:{self.port}, secret: measured}}
""")
        return [self.program, "serve", path], self.environment

    def fill(self, files):
        layers = []
        for what, path in files.items():
            digest = subprocess.check_output(["sha256sum", path], text=True).split()[0]
            self.put_file(path, self.place("file", what, digest)[0])
            self.targets[what] = (f"/v2/measured/blobs/sha256:{digest}", {})
            layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar",
                           "digest": f"sha256:{digest}", "size": os.path.getsize(path)})
        manifest = {"schemaVersion": 2, "mediaType": self.manifest,
                    "config": dict(layers[0], mediaType="application/vnd.oci.empty.v1+json"),
                    "layers": layers}
        self.ask("PUT", "/v2/measured/manifests/one", json.dumps(manifest).encode(),
                 {"Content-Type": self.manifest})
        self.targets["small"] = ("/v2/measured/manifests/one", {"Accept": self.manifest})

    def place(self, kind, name, digest):
        headers, _ = self.ask("POST", "/v2/measured/blobs/uploads/", b"")
        at = headers["Location"]
        return at + ("&" if "?" in at else "?") + f"digest=sha256:{digest}", {}


class Verdaccio(Peer):
    """npm's format alone; what is large is put into its storage as it would lie there."""

    name, uploads, ready_path = "verdaccio", ("npm",), "/-/ping"

    def __init__(self, home, bodies):
        super().__init__(home, bodies)
        self.folder = tools.verdaccio()
        with open(os.path.join(self.folder, "package.json")) as file:
            self.version = json.load(file)["version"]

    def command(self):
        path = os.path.join(self.home, "config.yaml")
        with open(path, "w") as file:
            file.write(f"""
storage: {self.home}/storage
max_body_size: 1gb
uplinks: {{}}
web: {{enable: false}}
packages: {{'**': {{access: $all, publish: $all}}}}
log: {{type: stdout, format: json, level: error}}
listen: 127.0.0.1:{self.port}
""")
        start = os.path.join(os.path.dirname(os.path.abspath(__file__)), "verdaccio.mjs")
        return [shutil.which("node"), start, self.folder, path, str(self.port)], {}

    def fill(self, files):
        self.ask("PUT", "/small", self.bodies.small(), {"Content-Type": "application/json"})
        self.targets["small"] = ("/small", {})
        for number, (what, path) in enumerate(files.items()):
            name, folder = f"file{number}", os.path.join(self.home, "storage", f"file{number}")
            os.makedirs(folder)
            shutil.copyfile(path, os.path.join(folder, f"{name}-1.0.0.tgz"))
            document = json.loads(self.bodies.document("http://packages.test/"))
            self.lay(name, dict(document, name=name, _id=name, versions={}, time={}))
            self.targets[what] = (f"/{name}/-/{name}-1.0.0.tgz", {})

    def mirror(self, registry):
        self.lay("big", json.loads(self.bodies.document(registry)))
        self.targets["5 MB"] = ("/big", {})

    def lay(self, name, document):
        folder = os.path.join(self.home, "storage", name)
        os.makedirs(folder, exist_ok=True)
        own = {"_attachments": {}, "_distfiles": {}, "_uplinks": {}, "_rev": "1-0", "users": {}}
        with open(os.path.join(folder, "package.json"), "w") as file:
            json.dump(dict(document, **own), file)

    def place(self, kind, name, digest):
        return f"/{name}", {}
