from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.slipway.laravel.plugins.module_utils import _probe


@pytest.fixture
def module():
    with patch_module_args({}):
        return AnsibleModule(argument_spec={})


# parse_dotenv


@pytest.mark.parametrize(
    "line, value",
    [
        ("A=plain", "plain"),
        ("  export A = plain  ", "plain"),
        ("A=", ""),
        ("A=value # comment", "value"),
        ("A=val#comment", "val"),
        ("A=#comment", ""),
        ("A='# $x ${B} \\n'", "# $x ${B} \\n"),
        ("A='x' # comment", "x"),
        ('A="# not a comment"', "# not a comment"),
        ('A="x" # comment', "x"),
        (r'A="a \"b\" \\ \$c \n\t\r"', 'a "b" \\ $c \n\t\r'),
        ("A=${B}/x", "b/x"),
        ('A="${B} ${B}"', "b b"),
        (r'A="\${B}"', "${B}"),
        ("A=${LATER}", "${LATER}"),
        ("A=a=b", "a=b"),
    ],
)
def test_parse_dotenv(line, value):
    assert _probe.parse_dotenv(f"B=b\n{line}\nLATER=x\n")["A"] == value


def test_parse_dotenv_skips_what_is_no_assignment():
    assert _probe.parse_dotenv("# A=1\n\nnonsense\n1A=2\nB=3\nB=4\n") == {"B": "4"}


@pytest.mark.parametrize(
    "text, value",
    [("null", None), ("NULL", None), ("(Empty)", None), ("false", None), ("'null'", "null"), ('"a"', "a"), ("'", "'")],
)
def test_a_value_as_laravel_reads_it(text, value):
    assert _probe.given(text) == value


# Redis


def redis_env(port, **values):
    return {"CACHE_STORE": "redis", "REDIS_PORT": str(port), **values}


def test_redis_is_not_asked_where_nothing_uses_it():
    assert _probe.redis_problem({"CACHE_STORE": "file", "REDIS_PORT": "1"}) is None


@pytest.mark.parametrize("user", ["QUEUE_CONNECTION", "CACHE_STORE", "CACHE_DRIVER", "SESSION_DRIVER"])
def test_redis_that_nobody_serves(user):
    problem = _probe.redis_problem({user: "redis", "REDIS_PORT": "1"})
    assert problem.startswith("Redis on 127.0.0.1:1 of .env cannot be reached: ")
    assert problem.endswith("; start it, or correct REDIS_* in .env")


@pytest.mark.parametrize("password", [None, "", "null"])
def test_redis_without_password(redis_server, password):
    values = {} if password is None else {"REDIS_PASSWORD": password}
    assert _probe.redis_problem(redis_env(redis_server(), **values)) is None
    assert redis_server.received == [["PING"]]


@pytest.mark.parametrize(
    "values, words",
    [
        ({"REDIS_PASSWORD": "se%63ret"}, ["AUTH", "se%63ret"]),
        ({"REDIS_PASSWORD": "se%63ret", "REDIS_USERNAME": "app"}, ["AUTH", "app", "se%63ret"]),
        ({"REDIS_URL": "redis://app:se%2563ret@127.0.0.1:{port}/0"}, ["AUTH", "app", "se%63ret"]),
        ({"REDIS_URL": "redis://:se%2563ret@127.0.0.1:{port}"}, ["AUTH", "se%63ret"]),
        # What the address lacks is in the others.
        ({"REDIS_URL": "redis://127.0.0.1", "REDIS_PASSWORD": "se%63ret"}, ["AUTH", "se%63ret"]),
        ({"REDIS_URL": "redis://app@", "REDIS_PASSWORD": "se%63ret"}, ["AUTH", "app", "se%63ret"]),
        ({"REDIS_URL": "redis://:se%2563ret@127.0.0.1:{port}", "REDIS_USERNAME": "app"}, ["AUTH", "se%63ret"]),
    ],
)
def test_redis_with_password(redis_server, values, words):
    port = redis_server("se%63ret")
    values = {name: value.format(port=port) for name, value in values.items()}
    assert _probe.redis_problem(redis_env(port, **values)) is None
    assert redis_server.received == [words, ["PING"]]


@pytest.mark.parametrize("values, answer", [({}, "NOAUTH"), ({"REDIS_PASSWORD": "guessed"}, "WRONGPASS")])
def test_redis_that_refuses(redis_server, values, answer):
    problem = _probe.redis_problem(redis_env(redis_server("secret"), **values))
    assert f"refuses the application: {answer} " in problem
    assert "guessed" not in problem


def test_redis_on_a_unix_socket(redis_server, tmp_path):
    redis_server(family=socket.AF_UNIX, address=str(tmp_path / "redis.sock"))
    assert _probe.redis_problem(redis_env(0, REDIS_HOST=str(tmp_path / "redis.sock"))) is None
    problem = _probe.redis_problem(redis_env(0, REDIS_HOST=str(tmp_path / "none.sock")))
    assert f"{tmp_path}/none.sock of .env cannot be reached" in problem


@pytest.mark.parametrize(
    "values",
    [
        {"REDIS_SCHEME": "tls"},
        {"REDIS_HOST": "tls://localhost"},
        {"REDIS_SCHEME": "tls", "REDIS_URL": "//:x@localhost"},
        {"REDIS_SCHEME": "tcp", "REDIS_URL": "rediss://localhost"},
    ],
)
def test_redis_by_tls(tcp_server, certificate, monkeypatch, values):
    pem = certificate(2, "DNS:localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def answer(connection):
        with context.wrap_socket(connection, server_side=True) as encrypted:
            encrypted.sendall(b"+PONG\r\n" * encrypted.recv(1000).count(b"*"))

    env = redis_env(tcp_server(answer), **{"REDIS_HOST": "localhost", **values})
    assert "self-signed" in _probe.redis_problem(env)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    assert _probe.redis_problem(env) is None


def test_redis_whose_address_is_nothing(redis_server):
    values = {"REDIS_URL": "null", "REDIS_HOST": "null", "REDIS_USERNAME": "null", "REDIS_PASSWORD": "(empty)"}
    assert _probe.redis_problem(redis_env(redis_server(), **values)) is None
    assert redis_server.received == [["PING"]]


@pytest.mark.parametrize("values", [{"REDIS_PORT": "none"}, {"REDIS_URL": "redis://127.0.0.1:none"}])
def test_redis_with_a_port_that_is_none(values):
    assert "cannot be reached" in _probe.redis_problem(redis_env(1, **values))


# Database

MYSQL = {
    "DB_CONNECTION": "mysql",
    "DB_HOST": "db",
    "DB_DATABASE": "shop",
    "DB_USERNAME": "ann",
    "DB_PASSWORD": "s3cr3t",
}


@pytest.mark.parametrize(
    "env, dsn",
    [
        (MYSQL, "mysql:host=db;port=3306;dbname=shop"),
        ({**MYSQL, "DB_CONNECTION": "mariadb", "DB_PORT": "3307"}, "mysql:host=db;port=3307;dbname=shop"),
        ({**MYSQL, "DB_CONNECTION": "pgsql"}, "pgsql:host=db;port=5432;dbname=shop"),
        ({**MYSQL, "DB_SOCKET": "/run/mysqld.sock"}, "mysql:unix_socket=/run/mysqld.sock;dbname=shop"),
        ({**MYSQL, "DB_HOST": "null", "DB_SOCKET": "/run/x.sock"}, "mysql:unix_socket=/run/x.sock;dbname=shop"),
        ({**MYSQL, "DB_PORT": "null", "DB_SOCKET": "null"}, "mysql:host=db;port=3306;dbname=shop"),
    ],
)
def test_database(home, module, env, dsn):
    assert _probe.database_problem(module, "php", env, {}) is None
    connection = json.loads((home / "connection.json").read_text())
    assert connection == {"dsn": dsn, "username": "ann", "password": "s3cr3t", "mysql": {}}
    assert "s3cr3t" not in (home / "calls").read_text()


def test_database_whose_login_is_nothing(home, module):
    env = {**MYSQL, "DB_USERNAME": "(null)", "DB_PASSWORD": "null", "MYSQL_ATTR_SSL_CA": "null"}
    assert _probe.database_problem(module, "php", env, {}) is None
    connection = json.loads((home / "connection.json").read_text())
    assert connection == {"dsn": "mysql:host=db;port=3306;dbname=shop", "username": None, "password": None, "mysql": {}}


@pytest.mark.parametrize(
    "values",
    [
        {"DB_HOST": "null"},
        {"DB_HOST": "", "DB_WRITE_HOST": "w", "DB_READ_HOST": "r"},
        {"MYSQL_ATTR_SSL_CA": "storage/ca.pem"},
    ],
)
def test_database_that_env_does_not_tell_how_to_reach(home, module, values):
    (home / "database_error").write_text("never asked")
    assert _probe.database_problem(module, "php", {**MYSQL, **values}, {}) is None


@pytest.mark.parametrize(("more", "asked"), [({}, True), ({"DB_WRITE_HOST": "w", "DB_READ_HOST": "r"}, False)])
def test_database_whose_host_env_does_not_name(home, module, more, asked):
    env = {key: value for key, value in MYSQL.items() if key != "DB_HOST"} | more
    assert _probe.database_problem(module, "php", env, {}) is None
    assert (home / "connection.json").exists() == asked
    assert not asked or "host=127.0.0.1;" in (home / "connection.json").read_text()


def test_database_that_asks_for_tls(home, module, tmp_path):
    authority = tmp_path / "ca.pem"
    env = {**MYSQL, "MYSQL_ATTR_SSL_CA": str(authority)}
    problem = _probe.database_problem(module, "php", env, {})
    where = f"{authority} (MYSQL_ATTR_SSL_CA in .env)"
    assert problem == f"{where} cannot be read; put it there, or correct MYSQL_ATTR_SSL_CA"
    authority.touch()
    assert _probe.database_problem(module, "php", env, {}) is None
    assert json.loads((home / "connection.json").read_text())["mysql"] == {"SSL_CA": str(authority)}
    assert _probe.database_problem(module, "php", {**env, "DB_CONNECTION": "pgsql"}, {}) is None
    assert json.loads((home / "connection.json").read_text())["mysql"] == {}


def test_database_whose_certificate_the_release_may_not_look_at(home, module, tmp_path):
    (tmp_path / "config").mkdir()
    options = "'options' => [PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT => false]"
    (tmp_path / "config/database.php").write_text(f"<?php return ['connections' => ['mysql' => [{options}]]];")
    env = {**MYSQL, "MYSQL_ATTR_SSL_CA": "/none.pem"}
    assert _probe.database_problem(module, "php", env, {}, str(tmp_path)) is None
    asked = json.loads((home / "connection.json").read_text())["mysql"]
    assert asked == {"SSL_CA": "/none.pem", "SSL_VERIFY_SERVER_CERT": False}


@pytest.mark.parametrize("known", [False, True])
def test_database_whose_certificate_nobody_may_have_to_trust(home, module, warned, tmp_path, known):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/database.php").write_text("<?php return ['connections' => []];")
    (tmp_path / "ca.pem").touch()
    (home / "database_error").write_text(
        "SQLSTATE[HY000] [2002] Cannot connect to MySQL using SSL\n"
        "PDO::__construct(): Peer certificate subjectAltName did not match expected name `db'\n"
    )
    env = {**MYSQL, "MYSQL_ATTR_SSL_CA": f"{tmp_path}/ca.pem"}
    problem = _probe.database_problem(module, "php", env, {}, str(tmp_path) if known else "")
    told = any("the login to the database ann@db:3306/shop of .env was not tried" in text for text in warned)
    assert (bool(problem), told) == (known, not known)
    (home / "database_error").write_text("SQLSTATE[HY000] [1045] Access denied for user 'ann'\n")
    assert "Access denied" in _probe.database_problem(module, "php", env, {})


@pytest.mark.skipif(shutil.which("php") is None, reason="PHP is not installed here")
@pytest.mark.parametrize(("names", "trusted"), [("DNS:elsewhere", True), ("IP:127.0.0.1", False)])
def test_certificate_of_a_database_that_php_does_not_trust(
    module, warned, tcp_server, certificate, monkeypatch, names, trusted
):
    # On a busy machine a handshake takes its time.
    patient = _probe._DATABASE_PHP.replace("ATTR_TIMEOUT => 4", "ATTR_TIMEOUT => 60")
    monkeypatch.setattr(_probe, "_DATABASE_PHP", patient)
    if "pdo_mysql" not in subprocess.run(["php", "-m"], check=True, capture_output=True, text=True).stdout:
        pytest.skip("PHP has no pdo_mysql here")
    context, heard = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    context.load_cert_chain(certificate(2, names))

    def answer(connection):
        # The greeting of a MySQL that has TLS, to which PHP says that it wants that, in 36 bytes.
        greeting = b"\x0a8.0.0\0\1\0\0\x00012345678\0\x09\xaa\x21\2\0\x08\0\x15" + b"\0" * 10
        greeting += b"123456789012\0mysql_native_password\0"
        connection.sendall(bytes([len(greeting), 0, 0, 0]) + greeting)
        heard.append(len(connection.recv(4096)))
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
            heard.append(len(encrypted.recv(4096)))

    authority = str(certificate(2, names if trusted else "DNS:another"))
    env = {**MYSQL, "DB_HOST": "127.0.0.1", "DB_PORT": str(tcp_server(answer)), "MYSQL_ATTR_SSL_CA": authority}
    assert _probe.database_problem(module, "php", env, {}) is None
    assert "its certificate does not fit MYSQL_ATTR_SSL_CA" in warned[0]
    assert (heard[0], sum(heard)) == (36, 36), "no stranger gets the login"


def test_database_that_cannot_be_used(home, module):
    (home / "database_error").write_text("SQLSTATE[HY000] [1045] Access denied for user 'ann'\n")
    assert _probe.database_problem(module, "php", MYSQL, {}) == (
        "the database ann@db:3306/shop of .env cannot be used: SQLSTATE[HY000] [1045] Access denied for user 'ann'; "
        "start it, or correct DB_* (for TLS MYSQL_ATTR_SSL_CA) in .env"
    )


def test_database_file_that_is_missing(home, module):
    env = {"DB_CONNECTION": "sqlite", "DB_DATABASE": str(home / "none.sqlite")}
    assert f"{home}/none.sqlite (DB_DATABASE in .env) does not exist" in _probe.database_problem(module, "php", env, {})
    assert not (home / "none.sqlite").exists()


@pytest.mark.parametrize("name", ["DB_URL", "DATABASE_URL"])
def test_database_by_its_url(home, module, name):
    env = {**MYSQL, name: "postgres://eve:p%40ss@[::1]:6543/store?sslmode=require"}
    assert _probe.database_problem(module, "php", env, {}) is None
    connection = json.loads((home / "connection.json").read_text())
    assert connection["dsn"] == "pgsql:host=::1;port=6543;dbname=store"
    assert (connection["username"], connection["password"]) == ("eve", "p@ss")


BEFORE_11 = "'default' => env('DB_CONNECTION', 'mysql'), 'connections' => ['mysql' => ['url' => env('DATABASE_URL')]]"
SINCE_11 = "'default' => env('DB_CONNECTION', 'sqlite'),\n'connections' => [['url' => env('DB_URL')]]"
BOTH = "'connections' => ['mysql' => ['url' => env('DATABASE_URL', env('DB_URL'))]]"
SLIM = "'default' => env('DB_CONNECTION', 'pgsql')"


@pytest.mark.parametrize(
    ("own", "framework", "keys"),
    [
        (None, None, (("DB_URL", "DATABASE_URL"), "mysql")),
        (BEFORE_11, None, (("DATABASE_URL",), "mysql")),
        (SINCE_11, None, (("DB_URL",), "sqlite")),
        (None, SINCE_11, (("DB_URL",), "sqlite")),
        # An application that was upgraded with its configuration, and one that changes a part of the framework's.
        (BEFORE_11, SINCE_11, (("DATABASE_URL",), "mysql")),
        (SLIM, SINCE_11, (("DB_URL",), "pgsql")),
        (BOTH, None, (("DATABASE_URL", "DB_URL"), "mysql")),
        ("'connections' => ['mysql' => ['host' => env('DB_HOST')]]", None, ((), "mysql")),
    ],
)
def test_what_a_release_calls_its_database(tmp_path, own, framework, keys):
    for place, text in (("config", own), ("vendor/laravel/framework/config", framework)):
        if text:
            (tmp_path / place).mkdir(parents=True)
            (tmp_path / place / "database.php").write_text(f"<?php return [{text}];")
    assert _probe.database_keys(str(tmp_path))[:2] == keys


def test_database_by_the_url_that_the_release_reads(home, module, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/database.php").write_text(BEFORE_11)
    env = {"DB_URL": "mysql://ann@other/other", "DATABASE_URL": "mysql://ann@db:3306/shop", "DB_PASSWORD": "x"}
    assert _probe.database_problem(module, "php", env, {}, str(tmp_path)) is None
    assert json.loads((home / "connection.json").read_text())["dsn"] == "mysql:host=db;port=3306;dbname=shop"


def test_database_file_relative_to_a_release_is_not_looked_for(home, module):
    assert _probe.database_problem(module, "php", {"DB_CONNECTION": "sqlite"}, {}) is None


SQLITE = {"DB_CONNECTION": "sqlite"}


@pytest.mark.parametrize(
    ("env", "told"),
    [
        (SQLITE, "DB_DATABASE in .env is empty, so SQLite's file is database/database.sqlite in each release"),
        ({**SQLITE, "DB_DATABASE": "null"}, "DB_DATABASE in .env is empty"),
        ({**SQLITE, "DB_DATABASE": "laravel"}, "DB_DATABASE in .env names laravel, so SQLite's file is laravel in "),
        ({"DB_URL": "sqlite:///app.sqlite"}, "DB_URL in .env names app.sqlite, so SQLite's file is app.sqlite in each"),
        ({**SQLITE, "DB_DATABASE": "/srv/app/shared/database.sqlite"}, ""),
        ({**SQLITE, "DB_DATABASE": "storage/database.sqlite"}, ""),
        ({**SQLITE, "DB_DATABASE": "./data.sqlite"}, ""),
        ({**SQLITE, "DB_DATABASE": ":memory:"}, ""),
        ({**SQLITE, "DB_DATABASE": "file:x?mode=memory&cache=shared"}, ""),
        ({"DATABASE_URL": "sqlite:///:memory:"}, ""),
        ({"DB_URL": "sqlite:////srv/app.sqlite"}, ""),
        ({**SQLITE, "DB_URL": "mysql://ann@db/shop"}, ""),
        ({}, ""),
        ({"DB_CONNECTION": "mysql", "DB_DATABASE": "shop"}, ""),
    ],
)
def test_database_file_that_would_be_lost_with_its_release(env, told):
    found = _probe.sqlite_loss(env, "", "/srv/app/shared", ["storage", ".env", "data.sqlite"])
    assert (found or "").startswith(told)
    assert bool(found) == bool(told)
    assert not told or "create /srv/app/shared/database.sqlite and let DB_DATABASE be that path" in found


def test_database_file_of_a_live_release(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/database.php").write_text(f"<?php return [{SINCE_11}];")
    # Laravel 11 gives SQLite to an application that has no use for a database as well.
    assert _probe.sqlite_loss({}, str(tmp_path), "/srv/app/shared", []) is None
    (tmp_path / "database/migrations").mkdir(parents=True)
    (tmp_path / "database/migrations/create_notes.php").touch()
    assert "database/database.sqlite in each release" in _probe.sqlite_loss({}, str(tmp_path), "/srv/app/shared", [])


def test_database_file_by_an_absolute_path_in_a_url(home, module):
    assert _probe.database_problem(module, "php", {"DB_URL": "sqlite:///:memory:"}, {}) is None
    told = _probe.database_problem(module, "php", {"DB_URL": "sqlite:////none.sqlite"}, {})
    assert "the SQLite file /none.sqlite " in told


def test_database_of_a_driver_that_only_the_application_knows(home, module):
    (home / "database_error").write_text("never asked")
    assert _probe.database_problem(module, "php", {"DB_CONNECTION": "mongodb"}, {}) is None


# HTTP


def problem_of(url, host, release, verify=True, **expected):
    return _probe.http_check(url, host, {"release": release, **expected}, verify)[0]


@pytest.mark.parametrize("headers", [{}, {"X_Release_Id": "r1"}])
def test_http_that_is_well(http_server, headers):
    url = http_server(204, "", **headers)
    assert problem_of(f"{url}/up?x=1", "shop.example.com", "r1") == ""
    assert http_server.requests == [("/up?x=1", "shop.example.com")]


@pytest.mark.parametrize(
    "status, headers, text",
    [
        (200, {"X_Release_Id": "r0"}, "is served by release r0, not by r1"),
        (500, {}, "answered 500: Server Error"),
        (302, {"Location": "https://elsewhere/"}, "answered 302 to https://elsewhere/: Server Error"),
    ],
)
def test_http_that_is_not_well(http_server, status, headers, text):
    url = http_server(status, "<h1>Server</h1>\n<p>Error</p>", **headers)
    assert problem_of(url, "localhost", "r1") == f"{url} {text}"


def test_http_that_nobody_serves():
    assert "http://127.0.0.1:1/up does not answer: " in problem_of("http://127.0.0.1:1/up", "", "r1")


def test_tls_is_asked_for_the_name_at_the_address(http_server, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate()))
    url = http_server(tls=certificate(), X_Release_Id="r1")
    assert problem_of(url, "shop.example.com", "r1") == ""
    assert "does not answer: " in problem_of(url, "other.example.com", "r1")
    assert problem_of(url, "other.example.com", "r1", verify=False) == ""


def test_tls_of_an_unknown_authority_is_refused(http_server, certificate):
    assert "CERTIFICATE_VERIFY_FAILED" in problem_of(http_server(tls=certificate()), "shop.example.com", "r1")


def test_http_that_leads_to_https_is_followed_at_the_same_address(http_server, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate()))
    port = http_server(tls=certificate(), X_Release_Id="r0").rsplit(":", 1)[1]
    url = http_server(301, Location=f"https://shop.example.com:{port}/up")
    problem = problem_of(f"{url}/up", "shop.example.com", "r1")
    assert problem == f"https://127.0.0.1:{port}/up is served by release r0, not by r1"
    assert "answered 301 to" in problem_of(f"{url}/up", "www.example.com", "r1")


# PHP-FPM


def test_fpm_runs_the_release(fpm):
    assert _probe.fpm_problem(fpm.address, "/srv/releases/r1", "/up", "shop.example.com") is None
    assert fpm.requests[0]["SCRIPT_FILENAME"] == "/srv/releases/r1/public/index.php"


@pytest.mark.parametrize(
    "body, stderr, reason",
    [
        (b"<html><b>Whoops</b></html>", b"", "Whoops"),
        (b"Whoops", b"PHP Fatal error: boom", "PHP Fatal error: boom"),
        (b"", b"", "an empty page"),
    ],
)
def test_fpm_that_answers_badly(fpm, body, stderr, reason):
    fpm.stdout, fpm.stderr = b"Status: 500\r\n\r\n" + body, stderr
    problem = _probe.fpm_problem(fpm.address, "/srv/r1", "/up", "localhost")
    assert problem == f"through PHP-FPM /up of /srv/r1 answered 500: {reason}"


# Many requests at once


def test_burst_counts_the_answers_that_name_the_release(http_server):
    url = http_server(X_Release_Id="r1")
    assert _probe.http_burst(url, "localhost", "r1", 40) == (40, None)
    assert len(http_server.requests) == 40
    assert _probe.http_burst(http_server(), "localhost", "r1", 3) == (0, None)


@pytest.mark.parametrize(
    "status, headers, text",
    [
        (200, {"X_Release_Id": "r0"}, "is served by release r0, not by r1, at times"),
        (502, {"X_Release_Id": "r1"}, "answered 502 at times"),
        (429, {"X_Release_Id": "r1"}, None),
    ],
)
def test_burst_that_is_not_well(http_server, status, headers, text):
    url = http_server(status, **headers)
    problem = _probe.http_burst(url, "localhost", "r1", 3)[1]
    assert problem == (text and f"{url} {text}")


def test_burst_that_nobody_answers():
    assert "does not answer" in _probe.http_burst("http://127.0.0.1:1/up", "localhost", "r1", 2)[1]


def test_a_cookie_goes_along(http_server, fpm):
    url = http_server(X_Release_Id="r1")
    assert _probe.http_problem(url, "localhost", "r1", cookie="a=b") is None
    assert http_server.cookies == ["a=b"]
    assert _probe.fpm_problem(fpm.address, "/srv/r1", "/up", "localhost", "a=b") is None
    assert fpm.requests[0]["HTTP_COOKIE"] == "a=b"


def test_what_is_said_of_each_attempt_is_told_once():
    attempt = 'connection to "db" failed: FATAL:  no\n'
    assert _probe.told_once(f"[7] {attempt} {attempt}\tReally?") == '[7] connection to "db" failed: FATAL: no Really?'
