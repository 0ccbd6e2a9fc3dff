# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the outside of a release: its services, PHP-FPM, the web server and the worker processes.

Private to this collection. Every function returns evidence, or a sentence that says what is wrong; none changes
anything.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import urllib.parse
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils import _fastcgi

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# The commands of long-running artisan processes: they hold the code of the release that they were started in.
WORKER_COMMANDS = (
    "horizon",
    "horizon:supervisor",
    "horizon:work",
    "octane:start",
    "pulse:check",
    "pulse:work",
    "queue:listen",
    "queue:work",
    "reverb:start",
    "schedule:work",
)

# Connects as the application would. Its parameters come by standard input: a command line is visible to every user.
_DATABASE_PHP = r"""
$p = json_decode(stream_get_contents(STDIN), true);
$options = [PDO::ATTR_TIMEOUT => 5, PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION];
try {
    $pdo = new PDO($p['dsn'], $p['username'], $p['password'], $options);
    $pdo->query('select 1');
} catch (Throwable $error) {
    fwrite(STDERR, $error->getMessage());
    exit(1);
}
"""

# What phpdotenv knows after a backslash, besides the character itself.
_ESCAPED = {"f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NESTED = r"\$\{(?P<name>[A-Za-z0-9_.]+)\}"
_LINE = re.compile(r"""^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*?)\s*$""")


def parse_dotenv(text: str) -> dict[str, str]:
    """Return the values of an ``.env`` file as Laravel reads them, without multi-line values.

    Single quotes keep everything, double quotes know backslashes, elsewhere a ``#`` begins a comment, and ``${NAME}``
    stands for an earlier value.
    """
    values: dict[str, str] = {}

    def replace(found: re.Match[str]) -> str:
        if found["name"]:
            return values.get(found["name"], found[0])
        return _ESCAPED.get(found["escaped"], found["escaped"])

    for line in text.splitlines():
        match = _LINE.match(line)
        if not match:
            continue
        name, raw = match.groups()
        quoted = re.match(r'"((?:[^"\\]|\\.)*)"', raw)
        if raw.startswith("'"):
            values[name] = raw[1:].partition("'")[0]
        elif quoted:
            # In one go: a dollar that was escaped begins no name.
            values[name] = re.sub(r"\\(?P<escaped>.)|" + _NESTED, replace, quoted[1])
        else:
            values[name] = re.sub(_NESTED, replace, raw.partition("#")[0].rstrip())
    return values


def _null(value: str | None) -> str | None:
    return None if value in (None, "", "null", "(null)") else value


def _with_database_url(env: dict[str, str]) -> dict[str, str]:
    """Return an ``.env`` with the parts of DB_URL (Laravel 11) or DATABASE_URL in place of DB_HOST and the like."""
    text = _null(env.get("DB_URL")) or _null(env.get("DATABASE_URL"))
    if not text:
        return env
    url = urllib.parse.urlsplit(text)
    drivers = {"mysql": "mysql", "mariadb": "mariadb", "sqlite": "sqlite"}
    drivers.update(dict.fromkeys(("pgsql", "postgres", "postgresql"), "pgsql"))
    login, _at, address = url.netloc.rpartition("@")
    username, _colon, password = login.partition(":")
    host, _bracket, port = address.rpartition(":") if re.search(r":\d+$", address) else (address, "", "")
    path = url.path if url.scheme == "sqlite" else url.path.lstrip("/")
    parts = {
        "DB_CONNECTION": drivers.get(url.scheme, url.scheme),
        "DB_HOST": host.strip("[]"),
        "DB_PORT": port,
        "DB_DATABASE": urllib.parse.unquote(path),
        "DB_USERNAME": urllib.parse.unquote(username),
        "DB_PASSWORD": urllib.parse.unquote(password),
    }
    return {**env, **{key: value for key, value in parts.items() if value}}


def database_problem(module: AnsibleModule, php: str, env: dict[str, str], environment: dict[str, str]) -> str | None:
    """Connect to the database of an ``.env`` with its credentials, through the PDO driver that Laravel will use."""
    env = _with_database_url(env)
    driver = env.get("DB_CONNECTION", "mysql")
    name = env.get("DB_DATABASE", "")
    if driver == "sqlite":
        dsn = f"sqlite:{name}"
        where = name
        if not os.path.isabs(name):
            return None  # relative to a release that is not there yet
        if not os.path.isfile(name):
            return f"the SQLite file {name} (DB_DATABASE in .env) does not exist; create it, or correct DB_DATABASE"
    elif driver in ("mysql", "mariadb", "pgsql"):
        kind, port = ("pgsql", "5432") if driver == "pgsql" else ("mysql", "3306")
        host, port = env.get("DB_HOST", "127.0.0.1"), env.get("DB_PORT") or port
        dsn = f"{kind}:host={host};port={port};dbname={name}"
        where = f"{env.get('DB_USERNAME', '')}@{host}:{port}/{name}"
        if kind == "mysql" and _null(env.get("DB_SOCKET")):
            dsn = f"mysql:unix_socket={env['DB_SOCKET']};dbname={name}"
            where = f"{env.get('DB_USERNAME', '')}@{env['DB_SOCKET']}/{name}"
    else:
        # A driver of a package: only the application itself knows how to reach it.
        return None
    question = json.dumps({"dsn": dsn, "username": env.get("DB_USERNAME"), "password": env.get("DB_PASSWORD")})
    rc, out, err = module.run_command(
        [php, "-d", "display_errors=stderr", "-r", _DATABASE_PHP], data=question, environ_update=environment
    )
    if rc == 0:
        return None
    told = " ".join((err or out).split())
    return f"the database {where} of .env cannot be used: {told}; start it, or correct DB_* in .env"


def _redis_connect(host: str, port: str, tls: bool) -> socket.socket:
    if host.startswith("/"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(5)
        sock.connect(host)
        return sock
    # A port that is no number is looked up as the name of a service, and then it is an OSError like the others.
    sock = socket.create_connection((host, port), 5)
    return ssl.create_default_context().wrap_socket(sock, server_hostname=host) if tls else sock


def redis_problem(env: dict[str, str]) -> str | None:
    """Say PING to the Redis of an ``.env`` with its credentials, when a part of the application uses Redis."""
    users = ("QUEUE_CONNECTION", "CACHE_STORE", "CACHE_DRIVER", "SESSION_DRIVER", "BROADCAST_CONNECTION")
    if "redis" not in [env.get(name) for name in users]:
        return None
    if _null(env.get("REDIS_URL")):
        url = urllib.parse.urlsplit(env["REDIS_URL"])
        user, password = (urllib.parse.unquote(part) if part else None for part in (url.username, url.password))
        # Not url.port, which raises for a port that is no number.
        port = url.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2] or "6379"
        host = url.hostname or "127.0.0.1"
        tls = url.scheme in ("rediss", "tls")
    else:
        user, password = _null(env.get("REDIS_USERNAME")), _null(env.get("REDIS_PASSWORD"))
        host, port = env.get("REDIS_HOST") or "127.0.0.1", env.get("REDIS_PORT") or "6379"
        tls = host.startswith("tls://")
        host = host if host.startswith("/") else host.rpartition("//")[2]
    commands = [["PING"]]
    if password:
        commands.insert(0, ["AUTH", *([user] if user else []), password])
    message = b""
    for command in commands:
        words = [word.encode() for word in command]
        message += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    where, remedy = host if host.startswith("/") else f"{host}:{port}", "start it, or correct REDIS_* in .env"
    try:
        with _redis_connect(host, port, tls) as sock:
            sock.sendall(message)
            stream = sock.makefile("rb")
            answers = [stream.readline().decode("utf-8", "replace").strip() for command in commands]
    except OSError as exc:
        return f"Redis on {where} of .env cannot be reached: {exc}; {remedy}"
    refused = [answer for answer in answers if not answer.startswith("+")]
    if refused:
        return f"Redis on {where} of .env refuses the application: {refused[0].lstrip('-')}; {remedy}"
    return None


def _plain(html: str) -> str:
    """Return the words of a page, without its styles and scripts."""
    text = re.sub(r"(?is)<(style|script|head)\b.*?</\1>|<[^>]*>", " ", html)
    return " ".join(text.split())


def fpm_problem(address: str, release: str, uri: str, host: str) -> str | None:
    """Let PHP-FPM answer the health request from a release directory, live or not."""
    try:
        response = _fastcgi.get(address, os.path.join(release, "public", "index.php"), uri, host, timeout=30)
    except _fastcgi.FastCGIError as exc:
        return str(exc)
    if not 200 <= response.status < 300:
        reason = response.stderr or _plain(response.body)
        return f"through PHP-FPM {uri} of {release} answered {response.status}: {reason[:300] or 'an empty page'}"
    return None


class NamedHTTPSConnection(http.client.HTTPSConnection):
    """TLS to an address, asking for and checking the certificate of a name."""

    def __init__(self, address: str, port: int | None, server_name: str, timeout: float, tls: ssl.SSLContext) -> None:
        super().__init__(address, port, timeout=timeout, context=tls)
        self.server_name, self.tls = server_name, tls

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self.tls.wrap_socket(self.sock, server_hostname=self.server_name)


def http_get(url: str, host: str, timeout: float, verify: bool) -> tuple[int, dict[str, str], str]:
    """GET an address with another Host header, following nothing.

    :raises OSError: no answer
    """
    parts = urllib.parse.urlsplit(url)
    name = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        server_name = host.split(":", maxsplit=1)[0] or name
        connection: http.client.HTTPConnection = NamedHTTPSConnection(name, parts.port, server_name, timeout, context)
    else:
        connection = http.client.HTTPConnection(name, parts.port, timeout=timeout)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers={"Host": host or parts.netloc, "User-Agent": "slipway"})
        response = connection.getresponse()
        body = response.read(65536).decode("utf-8", "replace")
        return response.status, {key.lower(): value for key, value in response.getheaders()}, body
    except http.client.HTTPException as exc:
        raise OSError(f"{type(exc).__name__} {exc}".strip()) from exc
    finally:
        connection.close()


def http_problem(url: str, host: str, release: str, verify: bool = True) -> str | None:
    """Ask the web server for the health page; where it names the release in ``X-Release-Id``, that must be ours.

    When it sends HTTP to HTTPS under the same name, the same address is asked again by TLS.
    """
    try:
        status, headers, body = http_get(url, host, 10, verify)
        parts, to = urllib.parse.urlsplit(url), urllib.parse.urlsplit(headers.get("location", ""))
        if (parts.scheme, to.scheme, to.hostname) == ("http", "https", host) and status in (301, 302, 307, 308):
            address = parts.hostname if ":" not in (parts.hostname or "") else f"[{parts.hostname}]"
            url = to._replace(netloc=f"{address}:{to.port or 443}").geturl()
            status, headers, body = http_get(url, host, 10, verify)
    except OSError as exc:
        return f"{url} does not answer: {exc}"
    served = headers.get("x-release-id")
    if served is not None and served != release:
        return f"{url} is served by release {served}, not by {release}"
    if not 200 <= status < 300:
        where = f" to {headers['location']}" if "location" in headers else ""
        return f"{url} answered {status}{where}: {_plain(body)[:200] or 'an empty page'}"
    return None


def workers(root: str) -> list[dict[str, Any]]:
    """Return the long-running artisan processes below a root: pid, command, and the release they were started in.

    Only processes whose working directory this user may see are found: those of the application's own user, or all for
    root.
    """
    releases = os.path.join(os.path.realpath(root), "releases") + os.sep
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            where = os.readlink(f"/proc/{name}/cwd")
            with open(f"/proc/{name}/cmdline", "rb") as handle:
                words = handle.read().decode("utf-8", "replace").split("\0")
        except OSError:
            continue  # It ended, or belongs to somebody else.
        pairs = zip(words, words[1:])
        command = next((b for a, b in pairs if os.path.basename(a) == "artisan" and b in WORKER_COMMANDS), None)
        if command and where.startswith(releases):
            # A removed directory is shown as "<path> (deleted)".
            release = where[len(releases) :].split(os.sep)[0].replace(" (deleted)", "")
            found.append({"pid": int(name), "command": command, "release": release})
    return found


def releases_in_use(root: str) -> set[str]:
    """Return the releases in which any visible process has its working directory."""
    releases = os.path.join(os.path.realpath(root), "releases") + os.sep
    used = set()
    for name in os.listdir("/proc"):
        try:
            where = os.readlink(f"/proc/{name}/cwd") if name.isdigit() else ""
        except OSError:
            continue
        if where.startswith(releases):
            used.add(where[len(releases) :].split(os.sep)[0])
    return used
