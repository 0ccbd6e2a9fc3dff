# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the outside of a release: its services, PHP-FPM and the web server.

Private to this collection. Every function returns evidence, or a sentence that says what is wrong; none changes
anything.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import socket
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.slipway.laravel.plugins.module_utils import _dotenv, _endpoint, _fastcgi

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# Requests under way at once when a web server is asked as often as PHP-FPM has processes.
_AT_ONCE = 32

# Seconds that a service has for each answer.
PATIENCE = 4

# Connects as the application would. Its parameters come by standard input: a command line is visible to every user.
_DATABASE_PHP = r"""
$p = json_decode(stream_get_contents(STDIN), true);
$options = [PDO::ATTR_TIMEOUT => 4, PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION];
try {
    // PHP 8.4 has a class for them, and 8.5 complains of their old names.
    $mysql = class_exists('Pdo\Mysql') ? 'Pdo\Mysql::ATTR_' : 'PDO::MYSQL_ATTR_';
    foreach (extension_loaded('pdo_mysql') ? $p['mysql'] : [] as $name => $value) {
        $options[constant($mysql . $name)] = $value;
    }
    $pdo = new PDO($p['dsn'], $p['username'], $p['password'], $options);
    $pdo->query('select 1');
} catch (Throwable $error) {
    // What was wrong with a certificate stands in the first of them.
    for (; $error; $error = $error->getPrevious()) {
        fwrite(STDERR, $error->getMessage() . "\n");
    }
    exit(1);
}
"""

# What config/database.php asks the environment for.
_CONNECTIONS = re.compile(r"""['"]connections['"]\s*=>""")
_URL_KEY = re.compile(r"""\benv\(\s*['"](DB_URL|DATABASE_URL)['"]""")
_DEFAULT_CONNECTION = re.compile(r"""['"]default['"]\s*=>\s*env\(\s*['"]DB_CONNECTION['"]\s*,\s*['"]([^'"]+)['"]""")
_TRUST = re.compile(r"ATTR_SSL_VERIFY_SERVER_CERT\b")
# What PHP and the clients below it say of a certificate that they do not trust.
_STRANGER = re.compile(r"certificate verify failed|(?:peer|server) certificate|verify peer", re.IGNORECASE)

# What Laravel's env() makes nothing of, or false.
_NOTHING = _dotenv.NOTHING | {"", "false", "(false)"}

parse_dotenv = _dotenv.parse_dotenv


def told_once(text: str) -> str:
    """Return what a program said in one line: clients of PostgreSQL say it again of the attempt without TLS."""
    lines = [line.strip() for line in text.splitlines()]
    return " ".join(
        " ".join(line for number, line in enumerate(lines) if not any(line in said for said in lines[:number])).split()
    )


def given(value: str | None) -> str | None:
    """Return a value of an ``.env`` as Laravel's ``env()`` does, None when it stands for nothing."""
    if value is None or value.lower() in _NOTHING:
        return None
    # Quotes within those of the file.
    quoted = re.fullmatch(r"""(['"])(.*)\1""", value)
    return quoted[2] or None if quoted else value


class DatabaseKeys(NamedTuple):
    """What an application's configuration calls its database in ``.env``."""

    # The variables that may hold its address, the first one that is set counts.
    urls: tuple[str, ...] = ("DB_URL", "DATABASE_URL")
    # What an ``.env`` without DB_CONNECTION means.
    connection: str = "mysql"
    # False where it may trust a server of MySQL without a look at its certificate, None where that is not known.
    verified: bool | None = None


def database_keys(release: str) -> DatabaseKeys:
    """Return what the release in a directory reads of ``.env``.

    New applications had DATABASE_URL and mysql up to Laravel 10, and have DB_URL and sqlite from 11 on, which brings a
    configuration of its own for those that have none. Many kept theirs when they were upgraded: so it is read.
    """
    texts = []
    for place in ("config", "vendor/laravel/framework/config"):
        with contextlib.suppress(OSError), open(
            os.path.join(release, place, "database.php"), encoding="utf-8", errors="replace"
        ) as handle:
            texts.append(handle.read())
    connections = next((text for text in texts if _CONNECTIONS.search(text)), None)
    if not release or connections is None:
        return DatabaseKeys()
    defaults = [found[1] for found in map(_DEFAULT_CONNECTION.search, texts) if found]
    urls = tuple(dict.fromkeys(_URL_KEY.findall(connections)))
    connection = defaults[0] if defaults else DatabaseKeys().connection
    return DatabaseKeys(urls, connection, not _TRUST.search(connections))


def database_values(env: dict[str, str], keys: DatabaseKeys) -> dict[str, str]:
    """Return an ``.env`` as Laravel reads it, '' for nothing: with DB_CONNECTION, and with the parts of the database's
    address in place of DB_HOST and the like."""
    env = {"DB_CONNECTION": keys.connection, **{name: given(value) or "" for name, value in env.items()}}
    text = next(filter(None, map(env.get, keys.urls)), None)
    if not text:
        return env
    url = urllib.parse.urlsplit(text)
    # Laravel's other names of them.
    drivers = {"mysql2": "mysql", "sqlite3": "sqlite", "postgres": "pgsql", "postgresql": "pgsql"}
    driver = drivers.get(url.scheme, url.scheme)
    options = dict(urllib.parse.parse_qsl(url.query))
    login, _at, address = url.netloc.rpartition("@")
    username, _colon, password = login.partition(":")
    host, _bracket, port = address.rpartition(":") if re.search(r":\d+$", address) else (address, "", "")
    # As Laravel: sqlite:////srv/app.sqlite is a file by its absolute path, which sqlite:///app.sqlite is not.
    path = url.path[1:] if driver == "sqlite" else url.path.lstrip("/")
    parts = {
        "DB_CONNECTION": driver,
        "DB_HOST": host.strip("[]"),
        "DB_PORT": port,
        "DB_DATABASE": urllib.parse.unquote(path),
        "DB_USERNAME": urllib.parse.unquote(username),
        "DB_PASSWORD": urllib.parse.unquote(password),
        "DB_SOCKET": options.get("unix_socket", ""),
        "DB_SSLMODE": options.get("sslmode", ""),
        "DB_SSLROOTCERT": options.get("sslrootcert", ""),
    }
    return {**env, **{key: value for key, value in parts.items() if value}}


def _server(env: dict[str, str], driver: str) -> tuple[str, str] | None:
    """Return the DSN of a database's server and what to call it, None when the ``.env`` does not tell."""
    user, name = env.get("DB_USERNAME", ""), env.get("DB_DATABASE", "")
    path = env.get("DB_SOCKET") if driver == "mysql" else None
    if path:
        return f"mysql:unix_socket={path};dbname={name}", f"{user}@{path}/{name}"
    # Laravel's own default, but where hosts have other names: one for writing, others for reading.
    usual = "" if any(re.match(r"DB_.*HOST", key) for key in env) else "127.0.0.1"
    host, port = env.get("DB_HOST", usual), env.get("DB_PORT") or ("5432" if driver == "pgsql" else "3306")
    return (f"{driver}:host={host};port={port};dbname={name}", f"{user}@{host}:{port}/{name}") if host else None


def sqlite_loss(env: dict[str, str], release: str, shared_dir: str, shared: list[str]) -> str | None:
    """Say that the SQLite file of an ``.env`` would lie in each release, and not beside them.

    Not of an application without migrations, which may have no use for the database that Laravel gives it.

    :param release: directory of the live release, '' when there is none yet
    :param shared: what of a release is shared, by its path there
    """
    keys = database_keys(release)
    values = database_values(env, keys)
    name = values.get("DB_DATABASE", "")
    if values["DB_CONNECTION"] != "sqlite" or os.path.isabs(name) or ":memory:" in name or "mode=memory" in name:
        return None
    if release and not glob.glob(os.path.join(glob.escape(release), "database/migrations/*")):
        return None
    file = os.path.normpath(name or "database/database.sqlite")
    if any(file == place or file.startswith(place + os.sep) for place in map(os.path.normpath, shared)):
        return None
    variable = next(filter(values.get, keys.urls), "DB_DATABASE")
    told = f"{variable} in .env names {name}" if name else f"{variable} in .env is empty"
    return (
        f"{told}, so SQLite's file is {file} in each release: the next one begins with another, and each is lost with "
        f"its release; create {shared_dir}/database.sqlite and let DB_DATABASE be that path, an absolute one"
    )


def database_problem(
    module: AnsibleModule, php: str, env: dict[str, str], environment: dict[str, str], release: str = ""
) -> str | None:
    """Connect to the database of an ``.env`` with its credentials, through the PDO driver that Laravel will use.

    :param release: directory of a release, which says what it reads of the ``.env``; '' when there is none yet
    """
    keys = database_keys(release)
    env = database_values(env, keys)
    driver, name = env["DB_CONNECTION"], env.get("DB_DATABASE", "")
    options: dict[str, Any] = {}
    variables = "DB_*"
    if driver == "sqlite":
        dsn, where = f"sqlite:{name}", name
        if not os.path.isabs(name):
            return None  # in memory, or relative to a release that is not there yet
        if not os.path.isfile(name):
            return f"the SQLite file {name} (DB_DATABASE in .env) does not exist; create it, or correct DB_DATABASE"
    elif driver in ("mysql", "mariadb", "pgsql"):
        server = _server(env, "pgsql" if driver == "pgsql" else "mysql")
        if not server:
            return None  # only its configuration tells
        dsn, where = server
    else:
        # A driver of a package: only the application itself knows how to reach it.
        return None
    if driver in ("mysql", "mariadb"):
        variables = "DB_* (for TLS MYSQL_ATTR_SSL_CA)"
        authority = env.get("MYSQL_ATTR_SSL_CA")
        if authority and not os.path.isabs(authority):
            return None  # relative to where the release runs
        if authority and keys.verified is not False and not os.access(authority, os.R_OK):
            return f"{authority} (MYSQL_ATTR_SSL_CA in .env) cannot be read; put it there, or correct MYSQL_ATTR_SSL_CA"
        if authority:
            trusts = {"SSL_VERIFY_SERVER_CERT": False} if keys.verified is False else {}
            options = {"SSL_CA": authority, **trusts}
    login = {"username": env.get("DB_USERNAME") or None, "password": env.get("DB_PASSWORD") or None}
    question = json.dumps({"dsn": dsn, **login, "mysql": options})
    rc, out, err = module.run_command(
        [php, "-d", "display_errors=stderr", "-r", _DATABASE_PHP], data=question, environ_update=environment
    )
    if rc == 0:
        return None
    told = told_once(err or out)
    if keys.verified is None and _STRANGER.search(told):
        # Not asked again without a look at it: whoever answers there would get the login.
        module.warn(
            f"the login to the database {where} of .env was not tried: its certificate does not fit MYSQL_ATTR_SSL_CA "
            f"({told}), and only the release will tell whether it has to (ATTR_SSL_VERIFY_SERVER_CERT)"
        )
        return None
    return f"the database {where} of .env cannot be used: {told}; start it, or correct {variables} in .env"


def connect(host: str, port: str, tls: bool = False) -> socket.socket:
    """Connect to a service, by a path to its unix socket.

    :raises OSError: it does not answer
    """
    if host.startswith("/"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        sock.connect(host)
        return sock
    try:
        # A port that is no number is looked up as the name of a service, and then it is an OSError like the others.
        sock = socket.create_connection((host, port), PATIENCE)
        return _endpoint.tls_context(True).wrap_socket(sock, server_hostname=host) if tls else sock
    except UnicodeError as exc:
        raise OSError(f"{host!r} cannot be a name") from exc


def redis_problem(env: dict[str, str]) -> str | None:
    """Say PING to the Redis of an ``.env`` with its credentials, when a part of the application uses Redis."""
    users = (
        "QUEUE_CONNECTION",
        "CACHE_STORE",
        "CACHE_DRIVER",
        "SESSION_DRIVER",
        "BROADCAST_CONNECTION",
        "BROADCAST_DRIVER",
    )
    if "redis" not in [env.get(name) for name in users]:
        return None
    # As Laravel: what the address does not have is taken from the others.
    url = urllib.parse.urlsplit(given(env.get("REDIS_URL")) or "")
    user, password = (
        given(env.get(name)) if part is None else urllib.parse.unquote(part)
        for name, part in (("REDIS_USERNAME", url.username), ("REDIS_PASSWORD", url.password))
    )
    # Not url.port, which raises for a port that is no number.
    port = url.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2] or given(env.get("REDIS_PORT")) or "6379"
    scheme, dummy, host = (url.hostname or given(env.get("REDIS_HOST")) or "127.0.0.1").rpartition("://")
    tls = (scheme or url.scheme or given(env.get("REDIS_SCHEME"))) in ("rediss", "tls")
    commands = [["PING"]]
    if password:
        commands.insert(0, ["AUTH", *([user] if user else []), password])
    message = b""
    for command in commands:
        words = [word.encode() for word in command]
        message += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    where, remedy = host if host.startswith("/") else f"{host}:{port}", "start it, or correct REDIS_* in .env"
    try:
        with connect(host, port, tls) as sock:
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


def fpm_problem(address: str, release: str, uri: str, host: str, cookie: str = "") -> str | None:
    """Let PHP-FPM answer the health request from a release directory, live or not."""
    try:
        script = os.path.join(release, "public", "index.php")
        response = _fastcgi.get(address, script, uri, host, timeout=30, cookie=cookie)
    except _fastcgi.FastCGIError as exc:
        return str(exc)
    if not 200 <= response.status < 300:
        reason = response.stderr or _plain(response.body)
        return f"through PHP-FPM {uri} of {release} answered {response.status}: {reason[:300] or 'an empty page'}"
    return None


def _ask(
    url: str, host: str, statuses: list[int] | range, verify: bool, timeout: float, cookie: str
) -> tuple[str, _endpoint.Exchange]:
    """GET an address under a name; return the address that answered and its answer.

    When it sends HTTP to HTTPS under the same name, the same address is asked again by TLS.
    """
    headers = {"Cookie": cookie} if cookie else {}
    answer = _endpoint.Exchange(_endpoint.Target(url, host), timeout=timeout).run(headers=headers, verify=verify)
    to = urllib.parse.urlsplit(answer.header("location"))
    elsewhere = answer.status in _endpoint.REDIRECTS and answer.status not in statuses
    if elsewhere and (answer.target.scheme, to.scheme, to.hostname) == ("http", "https", host):
        url = to._replace(netloc=_endpoint.join_host(answer.target.name, to.port or 443)).geturl()
        answer = _endpoint.Exchange(_endpoint.Target(url, host), timeout=timeout).run(headers=headers, verify=verify)
    return url, answer


def http_answer(url: str, host: str, verify: bool = True, cookie: str = "") -> tuple[str, int, dict[str, str], str]:
    """GET an address under a name; return the address that answered, status, headers and body.

    :raises OSError: no answer
    """
    try:
        url, answer = _ask(url, host, range(200, 300), verify, 10, cookie)
    except ValueError as exc:
        raise OSError(str(exc)) from exc
    if answer.error:
        raise OSError(answer.error)
    return url, answer.status, dict(answer.headers), answer.text


def http_check(
    url: str, host: str, expected: dict[str, Any], verify: bool = True, timeout: float = 10, cookie: str = ""
) -> tuple[str, dict[str, Any]]:
    """Ask the web server for a page; return what is wrong with the answer, '' for nothing, and what was measured.

    When it sends HTTP to HTTPS under the same name, the same address is asked again by TLS.

    :param host: the name that it is asked for
    :param expected: ``status``, a list, or ``status_below``, otherwise 200 to 299; ``contains``; ``max_ms``; and
        ``release``, which must be that of the header ``X-Release-Id``, where there is one
    """
    statuses: list[int] | range = expected.get("status") or range(200, 300)
    try:
        url, answer = _ask(url, host, statuses, verify, timeout, cookie)
    except ValueError as exc:
        return f"{_endpoint.shown(url)} cannot be asked: {exc}", {"url": _endpoint.shown(url), "status": 0, "ms": 0}
    where = _endpoint.shown(url)
    evidence = {"url": where, "status": answer.status, "ms": answer.milliseconds["total"]}
    if expected.get("status_below"):
        # Only here: the web server that sends HTTP to HTTPS says nothing of the application.
        statuses = range(expected["status_below"])
    return _http_problem(where, answer, statuses, expected), evidence


def _http_problem(where: str, answer: _endpoint.Exchange, statuses: list[int] | range, expected: dict[str, Any]) -> str:
    if answer.error:
        return f"{where} does not answer: {answer.error}"
    served, release = answer.header("x-release-id"), expected.get("release")
    if served and release and served != release:
        return f"{where} is served by release {served}, not by {release}"
    if answer.status not in statuses:
        to = f" to {_endpoint.shown(answer.header('location'))}" if answer.header("location") else ""
        wanted = f", not {' or '.join(str(status) for status in statuses)}" if expected.get("status") else ""
        wanted = f", not below {expected['status_below']}" if expected.get("status_below") else wanted
        return f"{where} answered {answer.status}{to}{wanted}: {_plain(answer.text)[:200] or 'an empty page'}"
    if expected.get("contains") and expected["contains"] not in answer.text:
        return f"{where} does not contain {expected['contains']!r}: {_plain(answer.text)[:200] or 'an empty page'}"
    if expected.get("max_ms") and answer.milliseconds["total"] > expected["max_ms"]:
        return f"{where} took {answer.milliseconds['total']:.0f} ms, {expected['max_ms']} ms are allowed"
    return ""


def http_problem(url: str, host: str, release: str, verify: bool = True, cookie: str = "") -> str | None:
    """Ask the web server for the health page; where it names the release in ``X-Release-Id``, that must be ours."""
    return http_check(url, host, {"release": release}, verify, cookie=cookie)[0] or None


def http_burst(
    url: str, host: str, release: str, count: int, verify: bool = True, cookie: str = ""
) -> tuple[int, str | None]:
    """Ask the web server several times at once; return how many answers named the release, and what is wrong.

    A limit of requests that this meets (429) is no fault of the release.
    """

    def ask(dummy: int) -> tuple[int, str | None]:
        try:
            status, headers = http_answer(url, host, verify, cookie)[1:3]
        except OSError as exc:
            return 0, f"{url} does not answer: {exc}"
        served = headers.get("x-release-id")
        if served not in (None, release):
            return 0, f"{url} is served by release {served}, not by {release}, at times"
        return int(served == release), f"{url} answered {status} at times" if status >= 500 else None

    with ThreadPoolExecutor(min(count, _AT_ONCE)) as pool:
        answers = list(pool.map(ask, range(count)))
    return sum(named for named, dummy in answers), next((problem for dummy, problem in answers if problem), None)
