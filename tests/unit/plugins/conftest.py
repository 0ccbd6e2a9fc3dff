"""Fixtures for the tests of plugins: files, git, tar, sockets and HTTP are real; PHP, Composer, npm, sudo played."""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from hypothesis.configuration import set_hypothesis_home_dir

# Not into the checkout, where it would get into an artifact that is built at the same time.
set_hypothesis_home_dir(Path(__file__).parents[3] / ".cache" / "hypothesis")

FAKES = Path(__file__).parent / "fakes"
# The release that a Site works on, and the run that holds its lock.
NEW, RUN = "r3", "run-1"

GIT_ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{
        f"GIT_{who}_{what}": f"{who.lower()}@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
    "GIT_AUTHOR_DATE": "2026-01-05T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-05T00:00:00Z",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory whose bin/ is first on PATH and holds the played programs; `calls` in it gets their command lines."""
    (tmp_path / "bin").mkdir()
    for source in FAKES.iterdir():
        shutil.copy(source, tmp_path / "bin" / source.stem)
        (tmp_path / "bin" / source.stem).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name, value in GIT_ENV.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "calls").touch()
    return tmp_path


@pytest.fixture
def run_module(capfd):
    """Run the real main() of a module and return its exit status and result."""

    def run(name, /, **args):
        module = importlib.import_module(f"ansible_collections.slipway.laravel.plugins.modules.{name}")
        capfd.readouterr()
        with patch_module_args(args), pytest.raises(SystemExit) as stop:
            module.main()
        out, run.stderr = capfd.readouterr()
        return stop.value.code, json.loads(out)

    return run


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_application(path, **behaviour):
    """Lay out the smallest Laravel application that the played PHP knows."""
    write(path / "artisan", "#!/usr/bin/env php\n")
    write(path / "vendor/autoload.php")
    write(path / "public/index.php", "<?php\n")
    write(path / "routes/web.php", "<?php // routes\n")
    write(path / "resources/views/home.blade.php", "<h1>home</h1>\n")
    write(path / "app.json", json.dumps(behaviour))
    return path


@pytest.fixture
def application(home):
    return make_application(home / "application")


class Site:
    """An application on a host: the layout, releases, and a run of the module release against it."""

    def __init__(self, home, run_module):
        self.home = home
        self.root = home / "app"
        self._run_module = run_module
        for name in ("releases", "shared/storage", ".slipway/artifacts"):
            (self.root / name).mkdir(parents=True)
        write(home / "db.sqlite")
        self.env = {"APP_KEY": "base64:" + "A" * 43 + "=", "APP_ENV": "production", "DB_CONNECTION": "sqlite"}
        self.write_env(DB_DATABASE=home / "db.sqlite")

    def write_env(self, **values):
        self.env.update({name: str(value) for name, value in values.items()})
        write(self.root / "shared/.env", "".join(f"{name}={value}\n" for name, value in self.env.items()))

    def path(self, release):
        return self.root / "releases" / release

    def stderr(self):
        return self._run_module.stderr

    def current(self):
        link = self.root / "current"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None

    def add(self, release, **behaviour):
        """Lay out a release that is complete, and return its directory."""
        path = make_application(self.path(release), **behaviour)
        write(path / ".slipway.json", json.dumps({"release": release, "commit": f"commit of {release}"}))
        return path

    def go_live(self, *releases):
        """Let releases have been live, in this order."""
        for release in releases:
            if not self.path(release).exists():
                self.add(release)
            self.lock()
            assert self.run("switch", release=release)[0] == 0
            # Its run ended well.
            (self.root / ".slipway/run.json").unlink()

    def lock(self, run=RUN):
        write(self.root / ".slipway/lock", json.dumps({"run": run, "owner": "ann", "since": "now"}))

    def locked(self):
        return (self.root / ".slipway/lock").exists()

    def history(self):
        return [entry["release"] for entry in self.state()]

    def state(self):
        return json.loads((self.root / ".slipway/state.json").read_text())["history"]

    def artifact(self, **behaviour):
        """Pack an application; return the arguments that the phase stage takes it by."""
        tree = make_application(self.home / "tree", **behaviour)
        write(tree / ".slipway.json", json.dumps({"version": "v2", "commit": "c" * 40}))
        return self.pack(tree)

    def pack(self, tree):
        path = self.root / ".slipway/artifacts" / f"{NEW}.tar.gz"
        subprocess.run(["tar", "-czf", path, "-C", tree, "."], check=True)
        shutil.rmtree(tree)
        digest = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]
        return {"artifact": str(path), "sha256": digest}

    def run(self, *phases, **args):
        return self._run_module(
            "release",
            **{"root": str(self.root), "run": RUN, "release": NEW, "phases": list(phases), "timeout": 0, **args},
        )


@pytest.fixture
def site(home, run_module):
    return Site(home, run_module)


@pytest.fixture
def warned(monkeypatch):
    """What modules warn of; Ansible would show it with the results of later ones too, as they are of one process."""
    told = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: told.append(text))
    return told


@pytest.fixture
def led_astray(tmp_path, monkeypatch):
    """A file of root's, to which a link leads in the place of each temporary file as soon as that is made."""
    victim = write(tmp_path / "victim", "kept\n")
    victim.chmod(0o600)
    mkstemp = tempfile.mkstemp

    def make(*args, **options):
        descriptor, path = mkstemp(*args, **options)
        os.unlink(path)
        os.symlink(victim, path)
        return descriptor, path

    monkeypatch.setattr(tempfile, "mkstemp", make)
    return victim


@pytest.fixture
def full_disk(monkeypatch):
    """Let files be written no more, from the moment that it is called: full_disk()."""

    def be():
        def no_space(_descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", no_space)

    return be


@pytest.fixture
def at_age(monkeypatch):
    """Let every worker be of an age: at_age(seconds)."""
    processes = importlib.import_module("ansible_collections.slipway.laravel.plugins.module_utils._processes")
    workers = processes.workers

    def be(age):
        def found(*args, **kwargs):
            return [{**worker, "age": age} for worker in workers(*args, **kwargs)]

        monkeypatch.setattr(processes, "workers", found)

    return be


@pytest.fixture
def git(home):
    """Run git in the repository `origin`."""
    origin = home / "origin"
    origin.mkdir()

    def run(*words):
        result = subprocess.run(["git", *words], cwd=origin, check=True, capture_output=True, text=True)
        return result.stdout.strip()

    run("init", "--quiet", "--initial-branch=main")
    return run


@pytest.fixture
def repository(home, git):
    """A repository with an application that Composer and npm build; the tags v1.0.0 and v1.1.0, and a branch work."""
    origin = home / "origin"
    make_application(origin)
    shutil.rmtree(origin / "vendor")
    for name in ("composer.json", "composer.lock", "package-lock.json"):
        write(origin / name, "{}")
    write(origin / "package.json", json.dumps({"scripts": {"build": "vite build"}}))
    write(origin / "resources/app.js", "first")
    for version in ("v1.0.0", "v1.1.0"):
        write(origin / "resources/app.js", version)
        git("add", "--all")
        git("commit", "--quiet", "--message", f"Release {version}")
        git("tag", "--annotate", "--message", version, version)
    git("checkout", "--quiet", "-b", "work")
    git("commit", "--quiet", "--allow-empty", "--message", "Work on it")
    return str(origin)


@pytest.fixture
def http_server():
    """Start web servers: serve(status, headers) returns the address of one that gives this answer.

    The status and a header may be functions of the request. With tls, the path of a certificate with its key, it
    answers by TLS.
    """
    with contextlib.ExitStack() as stack:

        def serve(status=200, body="well", tls=None, **headers):
            requests = []

            class Handler(BaseHTTPRequestHandler):
                def do_GET(self):
                    requests.append((self.path, self.headers["Host"]))
                    serve.authorizations.append(self.headers["Authorization"])
                    serve.cookies.append(self.headers["Cookie"])
                    self.send_response(status(self) if callable(status) else status)
                    for name, value in headers.items():
                        self.send_header(name.replace("_", "-"), value(self) if callable(value) else value)
                    self.end_headers()
                    self.wfile.write(body if isinstance(body, bytes) else body.encode())

                def log_message(self, *_words):
                    pass

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(tls)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            serve.requests = requests
            return f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"

        serve.authorizations, serve.cookies = [], []
        yield serve


@contextlib.contextmanager
def accept_each(listener, answer):
    """Answer each connection of a listening socket in a thread."""

    def loop():
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                answer(connection)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    with listener:
        yield
        # It would take what comes for the next listener, which may get the same number.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture
def tcp_server():
    """Start services: tcp_server(answer) calls answer(connection) for each connection and returns the port."""
    with contextlib.ExitStack() as stack:

        def serve(answer):
            listener = socket.create_server(("127.0.0.1", 0))
            stack.enter_context(accept_each(listener, answer))
            return listener.getsockname()[1]

        yield serve


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Make certificates: certificate(days, names) is the path of one for a day or more, with its key behind it."""
    made = {}

    def make(days=2, names="DNS:shop.example.com"):
        if (days, names) not in made:
            folder = tmp_path_factory.mktemp("tls")
            argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            argv += ["-days", str(days), "-subj", "/C=DE/O=Käse/CN=shop", "-utf8"]
            argv += ["-addext", f"subjectAltName={names}", "-keyout", folder / "key", "-out", folder / "crt"]
            subprocess.run(argv, check=True, capture_output=True)
            both = folder / "both.pem"
            both.write_text((folder / "key").read_text() + (folder / "crt").read_text())
            made[days, names] = both
        return made[days, names]

    return make


def fastcgi_record(kind, content):
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 3) + content + b"pad"


def read_params(connection):
    """Read a FastCGI request; return its parameters."""
    stream, params = connection.makefile("rb"), b""
    while True:
        _version, kind, _id, size, padding = struct.unpack("!BBHHBx", stream.read(8))
        content = stream.read(size + padding)[:size]
        params += content if kind == 4 else b""
        if kind == 5 and not size:
            break
    found, position = {}, 0
    while position < len(params):
        lengths = []
        for _which in "nv":
            wide = params[position] & 0x80
            raw = params[position : position + (4 if wide else 1)]
            lengths.append(struct.unpack("!I", raw)[0] & 0x7FFFFFFF if wide else raw[0])
            position += len(raw)
        name, value = (
            params[position : position + lengths[0]],
            params[position + lengths[0] : position + sum(lengths)],
        )
        found[name.decode()] = value.decode()
        position += sum(lengths)
    return found


@pytest.fixture
def fpm(tmp_path):
    """A PHP-FPM played on a unix socket: it says fpm.stdout, or what by_script has for a script.

    A script is named there without the hash of its code.
    """
    listener = socket.socket(socket.AF_UNIX)
    path = tmp_path / "fpm.sock"
    listener.bind(str(path))
    listener.listen()

    state = types.SimpleNamespace(
        address=str(path),
        stdout=b"Content-Type: text/html\r\n\r\nwell",
        stderr=b"",
        by_script={},
        breaks_off=False,
        requests=[],
    )

    def answer(connection):
        if not connection.recv(1, socket.MSG_PEEK):
            return  # somebody only looked whether it listens
        request = read_params(connection)
        state.requests.append(request)
        script = re.sub(r"-[0-9a-f]{12}\.php$", ".php", os.path.basename(request["SCRIPT_FILENAME"]))
        stdout = state.by_script.get(script, state.stdout)
        for kind, content in ((7, state.stderr), (6, stdout)):
            for start in range(0, len(content), 60000):
                connection.sendall(fastcgi_record(kind, content[start : start + 60000]))
        if not state.breaks_off:
            connection.sendall(fastcgi_record(6, b"") + fastcgi_record(3, b"\0" * 8))

    with accept_each(listener, answer):
        yield state


@pytest.fixture
def redis_server():
    """A Redis with a password, played: redis_server(password) returns its port."""
    with contextlib.ExitStack() as stack:

        def serve(password="", family=socket.AF_INET, address=("127.0.0.1", 0)):
            listener = socket.socket(family)
            listener.bind(address)
            listener.listen()

            def words_of(stream):
                count = stream.readline()
                return [
                    stream.read(int(stream.readline()[1:]) + 2)[:-2].decode() for _each in range(int(count[1:] or 0))
                ]

            def answer(connection):
                stream, authorized = connection.makefile("rb"), not password
                while words := words_of(stream):
                    serve.received.append(words)
                    if words[0] == "AUTH":
                        authorized = words[-1] == password
                        connection.sendall(b"+OK\r\n" if authorized else b"-WRONGPASS invalid password\r\n")
                    else:
                        connection.sendall(b"+PONG\r\n" if authorized else b"-NOAUTH Authentication required.\r\n")

            serve.received = []
            stack.enter_context(accept_each(listener, answer))
            return listener.getsockname()[1]

        yield serve
