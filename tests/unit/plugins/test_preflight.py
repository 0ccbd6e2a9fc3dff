"""What preflight, and the beginning of stage, find missing on a host."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import types

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils import (
    _endpoint,
    _fpm_scripts,
    _layout,
    _preflight,
    _services,
)
from ansible_collections.slipway.laravel.plugins.modules import release

SECRET = "s3" + "cr3t"


@pytest.fixture
def told(site):
    """Run preflight; return what it finds missing, as a list."""

    def run(expect=None, **args):
        code, result = site.run("preflight", release="", expect=expect or {}, **args)
        if not code:
            (site.root / ".slipway/lock").unlink()
            return []
        assert not site.locked()
        text = result["msg"].removeprefix("preflight: ")
        first, *others = text.split("\n- ")
        assert others == [] or first == "not ready for a release, nothing was changed:"
        return others or [first]

    return run


def live(site):
    site.go_live("r1")
    (site.root / ".slipway/lock").unlink()


# All together


@pytest.fixture
def broken(site, told):
    """Look at a host on which next to nothing is as it has to be."""
    site.write_env(
        APP_KEY="short",
        APP_DEBUG="true",
        APP_URL="http://other.example.com",
        CACHE_STORE="memcached",
        MEMCACHED_PORT="1",
        SESSION_DRIVER="redis",
        REDIS_PORT="1",
        QUEUE_CONNECTION="beanstalkd",
        BEANSTALKD_QUEUE_HOST="127.0.0.1",
        BEANSTALKD_PORT="1",
        MAIL_MAILER="smtp",
        MAIL_HOST="127.0.0.1",
        MAIL_PORT="1",
        DB_DATABASE="/none.sqlite",
    )
    (site.home / "sudo_refused").write_text("supervisorctl")
    expect = {
        "app_env": "staging",
        "app_url": "https://shop.example.com",
        "services": ["nginx", "dead-fpm"],
        "hosts": ["none.invalid"],
        "certificate_address": "127.0.0.1:1",
        "min_certificate_days": 14,
        "now": time.time() - 300,
    }
    commands = [["sudo", "-n", "supervisorctl", "start", "app:*"], ["/usr/bin/none", "x"]]
    args = {"min_free_mb": 10**9, "php": "php-none", "fpm_socket": "/run/none.sock", "restart_commands": commands}
    return lambda *skip, warn=(): told({**expect, "skip": skip, "warn": list(warn)}, **args)


def test_everything_is_named_in_one_go(site, broken):
    found, me = broken(), f"user id {os.geteuid()}"
    beginnings = [
        f"{site.root}/releases has ",
        "php-none cannot be run: ",
        "PHP-FPM has no socket /run/none.sock; ",
        f"{me} may not run the restart command 'sudo -n supervisorctl start app:*': it exited 1: sudo: a password is ",
        "there is no /usr/bin/none, so the restart command '/usr/bin/none x' cannot be run; ",
        f"APP_KEY in {site.root}/shared/.env is no key of 16 or 32 bytes; ",
        f"APP_DEBUG is true in {site.root}/shared/.env, ",
        f"APP_ENV is production in {site.root}/shared/.env, the inventory has staging; ",
        f"APP_URL is http://other.example.com in {site.root}/shared/.env, the inventory has https://shop.example.com; ",
        "the clock of this host is 300 s ahead of the controller's, 60 s are allowed; ",
        "the service dead-fpm is inactive; ",
        "Redis on 127.0.0.1:1 of .env cannot be reached: ",
        "memcached on 127.0.0.1:1 of .env cannot be reached: ",
        "the queue (beanstalkd) on 127.0.0.1:1 of .env cannot be reached: ",
        "the mail host 127.0.0.1:1 of .env cannot be used: ",
        "the name none.invalid has no address: ",
        "127.0.0.1:1 shows no certificate for none.invalid: ",
    ]
    assert [text[: len(beginning)] for text, beginning in zip(found, beginnings, strict=True)] == beginnings
    assert all("; " in text for text in found)
    hints = [text.partition(", or leave this out with ")[2] for text in found]
    named = ["redis", "cache", "queue", "mail"]
    assert list(filter(None, hints)) == [f"release_expect: {{skip: [{check}]}}" for check in named]


NUMBERS = {
    "programs": 2,
    "rights": 2,
    "environment": 4,
    "database": 0,
    "directories": 0,
    "failed_jobs": 0,
    "workers": 0,
}


@pytest.mark.parametrize("check", release.CHECKS)
def test_each_check_can_be_left_out(broken, check):
    assert len(broken(*set(release.CHECKS) - {check})) == NUMBERS.get(check, 1)


@pytest.mark.parametrize("path", ["current/artisan", "releases/r1/artisan", "artisan"])
def test_worker_that_works_in_no_release(site, told, path):
    """As a program of supervisor without a directory."""
    live(site)
    argv = [sys.executable, "-ISc", "print(flush=True); import time; time.sleep(60)", site.root / path, "queue:work"]
    with subprocess.Popen(argv, cwd="/", stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        found = told()
        assert told({"skip": ["workers"]}) == []
        site.lock()
        text = f"queue:work (pid {worker.pid}) of this application work in none of its releases, "
        assert text in site.run("verify", release="r1")[1]["msg"]
        assert site.run("verify", release="r1", expect={"skip": ["workers"]})[0] == 0
        worker.kill()
    assert [each.startswith(text) for each in found] == [True]
    assert found[0].endswith(f"; give their programs the working directory {site.root}/current, and restart them")


def test_host_on_which_all_is_well(site, told):
    live(site)
    site.write_env(APP_URL="https://shop.example.com/", APP_DEBUG="false")
    expect = {
        "app_env": "production",
        "app_url": "https://SHOP.example.com:443",
        "max_failed_jobs": 0,
        "services": ["nginx", "php{version}-fpm"],
        "hosts": ["localhost", "*.example.com", "_"],
        "addresses": ["192.0.2.1"],
        "now": time.time(),
    }
    assert told(expect, restart_commands=[["sudo", "-n", "supervisorctl", "start", "app:*"]]) == []


def test_root_in_the_place_of_another_user(site, told, monkeypatch):
    monkeypatch.setattr(_layout.Layout, "root_problem", lambda self: f"{self.root} belongs to deploy")
    assert told() == [f"{site.root} belongs to deploy"]


def test_evidence_has_the_clock(site):
    now = time.time()
    evidence = site.run("preflight", release="", expect={"now": now - 5})[1]["phases"][0]
    assert evidence["clock"] >= now
    assert evidence["clock_skew"] == pytest.approx(evidence["clock"] - now + 5, abs=0.01)
    assert site.run("preflight", release="")[1]["phases"][0]["clock_skew"] is None


def fail(*_words):
    raise AssertionError("it was not left out")


def test_lock_of_another_run_is_one_more_thing_to_see_to(site):
    site.write_env(APP_KEY="")
    for run, words in (("run-2", 1), ("run-1", 0)):
        site.lock(run)
        message = site.run("preflight", release="")[1]["msg"]
        assert "APP_KEY is empty" in message
        assert message.count("/.slipway/lock is held by ann since now; wait for that run") == words


def test_check_that_only_warns_stops_nothing(site, broken, told, warned):
    """For a rollback: what the bad release may have broken must not keep it live."""
    everything = broken()
    assert broken(warn=release.CHECKS) == []
    # The clock goes on, and others fill the disk.
    found, shown = (re.sub("[0-9]+", "N", "\n".join(texts)).splitlines() for texts in (everything, warned))
    assert shown == [f"preflight goes on in spite of this: {text}" for text in found]
    assert len(broken(warn=["mail", "space"])) == len(everything) - 2
    (site.root / "shared/.env").unlink()
    assert told({"warn": ["environment"]}) == []
    assert "shared/.env does not exist; " in told({"warn": ["space"]})[0]


def test_check_that_only_warns_tells_no_secret(site, told, warned):
    secret = SECRET * 2
    site.write_env(APP_URL=f"https://{secret}.example.com", SHOP_TOKEN=secret)
    assert told({"app_url": "https://shop.example.com", "warn": ["environment"]}) == []
    assert "APP_URL is https://********.example.com in " in warned[0]
    assert secret not in str(warned)


def test_environment_left_out_may_be_missing(site, told):
    (site.root / "shared/.env").unlink()
    assert told({"skip": ["environment"]}) == []
    assert "shared/.env does not exist; " in told()[0]


def test_checks_run_side_by_side():
    # Each waits until all have begun.
    barrier = threading.Barrier(8, timeout=30)
    checks = [("name", "check", 60, lambda number=number: [str(number), barrier.wait()][:1]) for number in range(8)]
    assert _preflight.side_by_side(checks) == [("name", str(number)) for number in range(8)]


def test_check_without_end_is_named_and_not_waited_for():
    checks = [("names", "the name shop", 0, lambda: time.sleep(60)), ("space", "du", 30, lambda: ["full"])]
    late = "the name shop gave no answer within 0 s; see why, or leave this out with release_expect: {skip: [names]}"
    assert _preflight.side_by_side(checks) == [("names", late), ("space", "full")]


def test_error_in_a_check_is_not_lost():
    with pytest.raises(AssertionError, match="it was not left out"):
        _preflight.side_by_side([("space", "du", 5, fail)])


# The host


def test_inodes(told, monkeypatch):
    state = types.SimpleNamespace(f_files=100000, f_favail=19999)
    monkeypatch.setattr(os, "statvfs", lambda _path: state)
    monkeypatch.setattr(_preflight.shutil, "disk_usage", lambda _path: types.SimpleNamespace(free=2**40))
    assert "has 19999 inodes free, two releases need 20000; " in told()[0]
    state.f_files = 0
    assert told() == []


def test_space_for_two_of_the_live_release(site, told, monkeypatch):
    live(site)
    (site.path("r1") / "big").write_bytes(b"x" * 5 * 2**20)
    usage = types.SimpleNamespace(free=9 * 2**20)
    monkeypatch.setattr(_preflight.shutil, "disk_usage", lambda _path: usage)
    assert "has 9 MiB free, two releases need 10 MiB; " in told(min_free_mb=1)[0]
    usage.free = 12 * 2**20
    assert told(min_free_mb=1) == []


@pytest.mark.parametrize("free, remedy", [(0, "free space"), (2**40, "remove small files such as old sessions")])
def test_release_that_can_be_removed_for_space_is_named(site, told, monkeypatch, free, remedy):
    """By hand: only a release that finishes prunes."""
    site.go_live("r1", "r2", "r3")
    (site.root / ".slipway/lock").unlink()
    usage = types.SimpleNamespace(free=free)
    monkeypatch.setattr(_preflight.shutil, "disk_usage", lambda _path: usage)
    monkeypatch.setattr(os, "statvfs", lambda _path: types.SimpleNamespace(f_files=1000, f_favail=1))
    (found,) = [text for text in told() if remedy in text]
    path = site.path("r1")
    why = "the oldest release that is neither live, nor in use, nor where a rollback goes to"
    assert found.endswith(f"; {remedy}, or remove {path}, {why}")
    with subprocess.Popen([sys.executable, "-ISc", "input()"], cwd=path, stdin=subprocess.PIPE) as child:
        deadline = time.monotonic() + 5
        while os.readlink(f"/proc/{child.pid}/cwd") != str(path) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "or remove" not in "".join(told())
        child.stdin.close()


def test_directories_that_may_not_be_written_to(site, told, monkeypatch):
    storage = site.root / "shared/storage"
    (storage / "framework/sessions").mkdir(parents=True)
    (storage / "logs").mkdir()
    (storage / "logs/laravel.log").touch()
    closed = {str(storage / "framework/sessions"), str(storage / "logs/laravel.log")}
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path not in closed and real(path, mode))
    named = f"{storage}/framework/sessions, {storage}/logs/laravel.log"
    assert told() == [
        f"user id {os.geteuid()} may not write to {named}; give them to the user that releases and runs the application"
    ]


def test_php_that_does_not_run(site, told):
    (site.home / "bin/php").write_text("#!/bin/sh\necho 'libxml2.so: cannot open' >&2\nexit 127\n")
    assert told() == ["php cannot be run: it exited 127: libxml2.so: cannot open; install it, or correct release_php"]


def test_fpm_socket_that_nobody_listens_on(told, tmp_path):
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "fpm.sock"))
    assert told(fpm_socket=str(tmp_path / "fpm.sock"))[0].startswith(
        f"PHP-FPM does not answer on {tmp_path}/fpm.sock: [Errno 111] Connection refused; "
    )
    assert told(fpm_socket="127.0.0.1:1")[0].startswith("PHP-FPM does not answer on 127.0.0.1:1: ")


@pytest.mark.parametrize(
    "argv, asked",
    [
        (["sudo", "-n", "supervisorctl", "start", "a:*"], "sudo -n -l supervisorctl start a:*"),
        (["sudo", "-u", "www", "-n", "pm2", "reload"], "sudo -n -u www -l pm2 reload"),
        (["sudo", "--", "pm2", "-n"], "sudo -n -l -- pm2 -n"),
    ],
)
def test_rights_are_asked_for_and_nothing_is_run(site, told, argv, asked):
    assert told(restart_commands=[argv]) == []
    assert [line for line in (site.home / "calls").read_text().splitlines() if "sudo" in line] == [asked]


def test_right_to_reload_fpm(site, told, fpm):
    command = ["sudo", "-n", "systemctl", "reload", "php{version}-fpm"]
    (site.home / "sudo_refused").write_text("php8.4-fpm")
    args = {"fpm_socket": fpm.address, "fpm_reload_command": command}
    assert "may not run the restart command 'sudo -n systemctl reload php8.4-fpm'" in told(**args)[0]
    assert told(**args, fpm_reload="never") == []


@pytest.mark.parametrize("offset, words", [(90, "90 s behind"), (-90, "90 s ahead of"), (50, None)])
def test_clock(told, offset, words):
    found = told({"now": time.time() + offset})
    assert (f"the clock of this host is {words} the controller's" in found[0]) if words else found == []
    assert told({"now": time.time() + offset, "max_clock_skew": 120}) == []


def test_services_where_systemd_is_not(site, told):
    (site.home / "bin/systemctl").write_text("#!/bin/sh\necho 'System has not been booted with systemd' >&2\nexit 1\n")
    assert told({"services": ["nginx"]}) == [
        "systemctl does not tell the state of nginx: System has not been booted with systemd"
    ]


def test_failed_jobs(site, told):
    assert told({"max_failed_jobs": 0}) == []
    site.add("r1", failed_jobs=3)
    live(site)
    text = "3 jobs have failed, 2 are allowed; see artisan queue:failed, then retry or flush them"
    assert told({"max_failed_jobs": 2}) == [text]
    (site.home / "calls").write_text("")
    assert told() == []
    assert "Console" not in (site.home / "calls").read_text()


def test_live_release_that_does_not_boot_may_be_replaced(site, told):
    site.add("r1", boot_error="Class not found")
    live(site)
    assert told({"max_failed_jobs": 2}) == []


# .env


@pytest.mark.parametrize(
    "key, well",
    [
        ("base64:" + base64.b64encode(b"x" * 32).decode(), True),
        ("base64:" + base64.b64encode(b"x" * 16).decode(), True),
        ("x" * 32, True),
        ("base64:" + base64.b64encode(b"x" * 31).decode(), False),
        ("base64:" + "x" * 43, False),
        ("base64:ö", False),
        ("x" * 20, False),
        ("SomeRandomString", True),
    ],
)
def test_application_key(site, told, key, well):
    site.write_env(APP_KEY=f'"{key}"')
    found = told()
    assert (found == []) is well
    assert key not in str(found)


@pytest.mark.parametrize(
    "debug, app_env, well",
    [
        ("true", "production", False),
        ("(true)", "production", False),
        ("1", "production", False),
        ("on", "production", False),
        ("false", "production", True),
        ("(false)", "production", True),
        ("0", "production", True),
        ("", "production", True),
        ("null", "production", True),
        ("true", "staging", True),
    ],
)
def test_debug_mode(site, told, debug, app_env, well):
    site.write_env(APP_DEBUG=debug, APP_ENV=app_env)
    assert (told() == []) is well


@pytest.mark.parametrize("app_env", ["staging", "local"])
@pytest.mark.parametrize("debug", ["true", "false"])
def test_debug_mode_outside_of_production_is_a_warning(site, told, warned, app_env, debug):
    site.write_env(APP_DEBUG=debug, APP_ENV=app_env)
    assert told() == []
    assert [f"in spite of this: APP_DEBUG is true in {site.root}/shared/.env, " in text for text in warned] == [
        True
    ] * (debug == "true")
    warned.clear()
    assert (told({"skip": ["environment"]}), warned) == ([], [])


def test_debug_mode_where_the_inventory_knows_better(site, told):
    site.write_env(APP_DEBUG="true", APP_ENV="local")
    assert [text.split()[0] for text in told({"app_env": "production"})] == ["APP_DEBUG", "APP_ENV"]


@pytest.mark.parametrize(
    "url, well",
    [
        ("https://shop.example.com", True),
        ("https://shop.example.com/", True),
        ("https://Shop.example.com:443", True),
        ("http://shop.example.com", False),
        ("https://www.shop.example.com", False),
        ("https://shop.example.com:8443", False),
        ("https://shop.example.com/sub", False),
        ("https://shop.example.com:none", False),
        ("https://[shop.example.com", False),
        ("", False),
    ],
)
def test_application_url(site, told, url, well):
    site.write_env(APP_URL=url)
    assert (told({"app_url": "https://shop.example.com"}) == []) is well


@pytest.mark.parametrize(
    "check, label, name, values",
    [
        ("database", "the database", "DB_URL", {"DB_CONNECTION": "mysql"}),
        ("redis", "Redis", "REDIS_URL", {"CACHE_STORE": "redis"}),
        ("queue", "the queue", "SQS_PREFIX", {"QUEUE_CONNECTION": "sqs"}),
        ("mail", "the mail host", "MAIL_URL", {"MAIL_MAILER": "smtp"}),
        ("mail", "the mail host", "APP_URL", {"MAIL_MAILER": "smtp", "MAIL_HOST": "127.0.0.1", "MAIL_PORT": "1"}),
    ],
)
def test_address_that_is_none(site, told, warned, check, label, name, values):
    """It is one problem among the others, and Python's message about it would have the password."""
    site.write_env(**values, **{name: f"https://ann:{SECRET}@shop\u2100.example.com/x"}, APP_DEBUG="true")
    debug, problem = told()
    assert debug.startswith("APP_DEBUG is true in ")
    assert problem == (
        f"{label} cannot be looked at: {name} in .env is no address; correct that, "
        f"or leave this out with release_expect: {{skip: [{check}]}}"
    )
    assert told({"skip": [check, "environment"]}) == []
    assert told({"warn": [check, "environment"]}) == []
    assert problem in warned[1]
    assert SECRET not in str(warned)


def test_environment_that_cannot_be_read(site, told):
    (site.root / "shared/.env").write_bytes(b"APP_NAME=\xff\n")
    assert f"{site.root}/shared/.env cannot be read: 'utf-8' codec" in told()[0]


# Memcached and the queue


def lines_server(tcp_server, **answers):
    def answer(connection):
        for line in connection.makefile("rb"):
            connection.sendall(answers.get(line.decode().split()[0].replace("-", "_"), "ERROR").encode() + b"\r\n")

    return str(tcp_server(answer))


def test_memcached(tcp_server):
    env = {"CACHE_DRIVER": "memcached", "MEMCACHED_PORT": lines_server(tcp_server, version="VERSION 1.6.18")}
    assert _services.memcached_problem(env) is None
    env["MEMCACHED_PORT"] = lines_server(tcp_server)
    problem = _services.memcached_problem(env)
    assert problem.startswith(f"memcached on 127.0.0.1:{env['MEMCACHED_PORT']} of .env answers 'ERROR' to 'version'; ")
    assert _services.memcached_problem({**env, "MEMCACHED_USERNAME": "ann"}) is None
    assert _services.memcached_problem({**env, "CACHE_DRIVER": "file"}) is None


def test_beanstalkd(tcp_server):
    env = {"QUEUE_CONNECTION": "beanstalkd", "BEANSTALKD_QUEUE_HOST": "127.0.0.1"}
    env["BEANSTALKD_PORT"] = lines_server(tcp_server, list_tube_used="USING default")
    assert _services.queue_problem(env) is None
    env["BEANSTALKD_PORT"] = lines_server(tcp_server)
    assert "is no beanstalkd, it answers 'ERROR'; " in _services.queue_problem(env)
    del env["BEANSTALKD_QUEUE_HOST"]
    assert _services.queue_problem(env) is None


def test_sqs(tcp_server, certificate, monkeypatch):
    port = tcp_server(
        lambda connection: tls_of(certificate(2, "IP:127.0.0.1")).wrap_socket(connection, server_side=True)
    )
    env = {"QUEUE_CONNECTION": "sqs", "SQS_PREFIX": f"https://127.0.0.1:{port}/1234"}
    assert f"the queue (SQS) on 127.0.0.1:{port} of .env cannot be reached: [SSL: CERT" in _services.queue_problem(env)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(2, "IP:127.0.0.1")))
    assert _services.queue_problem(env) is None
    assert _services.queue_problem({"QUEUE_CONNECTION": "sqs"}) is None
    assert _services.queue_problem({**env, "QUEUE_CONNECTION": "database"}) is None


# The database


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({"shared_dirs": ["storage"]}, True),
        ({"expect": {"skip": ["database"]}}, False),
        ({"shared_files": [".env", "database/database.sqlite"]}, False),
    ],
)
def test_database_file_in_each_release_is_warned_of(site, monkeypatch, given, warned):
    warnings = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: warnings.append(text))
    site.write_env(DB_DATABASE="database/database.sqlite")
    assert site.run("preflight", release="", **given)[0] == 0
    found = [text for text in warnings if "DB_DATABASE in .env names database/database.sqlite" in text]
    assert len(found) == int(warned)
    assert all("leave this out with release_expect: {skip: [database]}" in text for text in found)


# Mail


def tls_of(path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.fixture
def mail_server(tcp_server):
    """A mail host: mail_server(tls, starttls) returns its port; it knows the user ann, and takes no mail."""

    def start(tls=None, starttls=None, auth="PLAIN LOGIN", greeting="220 mail"):
        start.words = words = []

        def answer(connection):
            if tls:
                connection = tls_of(tls).wrap_socket(connection, server_side=True)
            connection.sendall(f"{greeting}\r\n".encode())
            encrypted = bool(tls)
            while line := connection.recv(1000).decode().strip():
                words.append(line.split()[0].upper())
                start.name = line.partition(" ")[2] if line.startswith("ehlo") else start.name
                reply = "250 ok"
                if line.startswith("ehlo"):
                    offers = ["STARTTLS"] if starttls and not encrypted else [f"AUTH {auth}"] if auth else []
                    reply = "\r\n".join(f"250-{offer}" for offer in ["mail", *offers]) + "\r\n250 SIZE"
                elif line == "STARTTLS":
                    connection.sendall(b"220 go\r\n")
                    connection, encrypted = tls_of(starttls).wrap_socket(connection, server_side=True), True
                    continue
                elif line.startswith("AUTH"):
                    login = base64.b64decode(line.split()[-1]).decode() if "PLAIN" in line else ""
                    reply = "235 ok" if login == f"\0ann\0{SECRET}" else "535 5.7.8 authentication failed"
                elif line == "quit":
                    reply = "221 bye"
                connection.sendall(f"{reply}\r\n".encode())

        return str(tcp_server(answer))

    return start


def mail(port, **values):
    return {"MAIL_MAILER": "smtp", "MAIL_HOST": "127.0.0.1", "MAIL_PORT": port, **values}


@pytest.mark.parametrize("values", [{}, {"MAIL_USERNAME": "null"}, {"MAIL_USERNAME": "ann", "MAIL_PASSWORD": SECRET}])
def test_mail(mail_server, values):
    assert _services.mail_problem(mail(mail_server(auth="PLAIN"), **values)) is None
    assert mail_server.words == ["EHLO", *(["AUTH"] if values.get("MAIL_PASSWORD") else []), "QUIT"]


@pytest.mark.parametrize(
    "values, name",
    [
        ({}, "localhost"),
        ({"MAIL_EHLO_DOMAIN": "null", "APP_URL": "https://shop.example.com:8443/x"}, "shop.example.com"),
        ({"MAIL_EHLO_DOMAIN": "mail.example.com", "APP_URL": "https://shop.example.com"}, "mail.example.com"),
        ({"APP_URL": "http://10.0.0.5"}, "[10.0.0.5]"),
        ({"APP_URL": "http://[::1]:8080"}, "[IPv6:::1]"),
        ({"APP_URL": "https://käse.example.com"}, "localhost"),
    ],
)
def test_mail_host_hears_the_name_of_the_application(mail_server, values, name):
    assert _services.mail_problem(mail(mail_server(), **values)) is None
    assert mail_server.name == name


def test_mail_with_a_name_that_cannot_be_said(mail_server):
    assert "of .env cannot be used: " in _services.mail_problem(mail(mail_server(), MAIL_EHLO_DOMAIN="a\nb"))


def test_mail_host_that_refuses_the_login(mail_server):
    port = mail_server(auth="PLAIN")
    assert _services.mail_problem(mail(port, MAIL_USERNAME="ann", MAIL_PASSWORD=SECRET + "x")) == (
        f"the mail host 127.0.0.1:{port} of .env refuses MAIL_USERNAME and MAIL_PASSWORD: 535 5.7.8 authentication "
        f"failed; correct MAIL_* in .env, or the mail host"
    )


def test_mail_host_with_a_login_that_nobody_here_knows(mail_server):
    assert _services.mail_problem(mail(mail_server(auth="XOAUTH2"), MAIL_USERNAME="ann", MAIL_PASSWORD=SECRET)) is None


@pytest.mark.parametrize("encryption", ["tls", "null"])
def test_mail_by_starttls(mail_server, certificate, monkeypatch, encryption):
    pem = certificate(2, "IP:127.0.0.1")
    env = mail(
        mail_server(starttls=pem, auth="PLAIN"), MAIL_ENCRYPTION=encryption, MAIL_USERNAME="ann", MAIL_PASSWORD=SECRET
    )
    assert "has a certificate that PHP does not trust: self" in _services.mail_problem(env)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    assert _services.mail_problem(env) is None
    assert mail_server.words[-5:] == ["EHLO", "STARTTLS", "EHLO", "AUTH", "QUIT"]


def test_mail_without_the_starttls_that_is_asked_for(mail_server, tmp_path):
    def problem():
        return _services.mail_problem(mail(mail_server(), MAIL_ENCRYPTION="tls"), str(tmp_path))

    # From Laravel 9 on it is used where it is offered; and what the first release will do, nobody knows.
    assert problem() is None
    assert _services.mail_problem(mail(mail_server(), MAIL_ENCRYPTION="tls")) is None
    (tmp_path / "vendor/swiftmailer/swiftmailer").mkdir(parents=True)
    assert "does not offer STARTTLS" in problem()
    assert _services.mail_problem(mail(mail_server(), MAIL_ENCRYPTION="null"), str(tmp_path)) is None


def test_the_live_release_says_by_what_it_sends_mail(site, told, mail_server):
    live(site)
    site.write_env(**mail(mail_server(), MAIL_ENCRYPTION="tls"))
    assert told() == []
    (site.path("r1") / "vendor/swiftmailer/swiftmailer").mkdir(parents=True)
    assert "does not offer STARTTLS" in told()[0]


@pytest.mark.parametrize("values", [{"MAIL_ENCRYPTION": "ssl"}, {"MAIL_SCHEME": "smtps"}])
def test_mail_by_tls(mail_server, certificate, monkeypatch, values):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(2, "IP:127.0.0.1")))
    assert _services.mail_problem(mail(mail_server(tls=certificate(2, "IP:127.0.0.1")), **values)) is None


def test_mail_by_its_url(mail_server):
    url = f"smtp://ann:{SECRET}@127.0.0.1:{mail_server(auth='PLAIN')}"
    env = {"MAIL_MAILER": "smtp", "MAIL_URL": url, "MAIL_HOST": "none.invalid", "MAIL_PORT": "1"}
    assert _services.mail_problem(env) is None
    problem = _services.mail_problem({**env, "MAIL_URL": url.replace("ann", "eve")})
    assert "refuses MAIL_USERNAME" in problem
    assert SECRET not in problem


def test_mail_host_that_is_busy(mail_server):
    assert "(421" in _services.mail_problem(mail(mail_server(greeting="421 busy")))


@pytest.mark.parametrize("values", [{"MAIL_MAILER": "log"}, {"MAIL_HOST": ""}, {"MAIL_PORT": ""}, {"MAIL_MAILER": ""}])
def test_mail_is_not_asked_where_env_does_not_tell(values):
    assert _services.mail_problem(mail("1", **values)) is None


# Names and certificates


def test_names(told, monkeypatch):
    known = {"shop.example.com": ["192.0.2.1", "192.0.2.9"], "own.example.com": ["127.0.1.1"]}
    monkeypatch.setattr(_endpoint, "resolve", known.__getitem__)
    expect = {"hosts": list(known)}
    assert told(expect) == []
    assert told({**expect, "addresses": ["192.0.2.1", "192.0.2.9"]}) == []
    assert told({**expect, "addresses": ["192.0.2.1", "192.0.2.2"]}) == [
        "the name shop.example.com leads to 192.0.2.9, not to 192.0.2.1 or 192.0.2.2; correct the DNS"
    ]


@pytest.fixture
def shop(monkeypatch, tcp_server, certificate):
    """What is expected of a host that shows a certificate of shop.example.com for 30 days."""
    monkeypatch.setattr(_endpoint, "resolve", lambda _name: ["127.0.0.1"])
    context = tls_of(certificate(30))
    port = tcp_server(lambda connection: context.wrap_socket(connection, server_side=True).close())
    return {"hosts": ["shop.example.com"], "certificate_address": f"127.0.0.1:{port}", "min_certificate_days": 20}


def test_certificate(told, shop, certificate, monkeypatch):
    where = shop["certificate_address"]
    assert told(shop, verify_tls=False) == []
    text = f"the certificate of shop.example.com at {where} is not to be trusted: self"
    assert told(shop)[0].startswith(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(30)))
    assert told(shop) == []
    (problem,) = told({**shop, "min_certificate_days": 31})
    assert problem.startswith(f"the certificate of shop.example.com at {where} ends on 20")
    assert problem.endswith(", in 29 days, 31 are asked for; renew it")
    (problem,) = told({**shop, "hosts": ["www.example.com"]})
    assert "is not to be trusted: Hostname mismatch" in problem


def test_certificate_is_asked_beside_the_health_page(told, shop):
    address = shop.pop("certificate_address")
    assert told(shop, verify_tls=False, health_url=f"https://{address}/up") == []
    assert "127.0.0.1:443 shows no certificate for shop" in told(shop, health_url="http://127.0.0.1/up")[0]


# What a release asks for


@pytest.mark.parametrize("check", [False, True])
def test_preflight_tells_what_the_host_has(site, fpm, check):
    told = {"version": "8.1.9", "extensions": ["Core", "redis"]}
    fpm.by_script["runtime.php"] = b"Content-Type: text/html\r\n\r\n\nslipway:" + json.dumps(told).encode()
    for _run in (1, 2):
        result = site.run("preflight", fpm_socket=fpm.address, optional_env=["X"], release="")[1]
        (site.root / ".slipway/lock").unlink()
    if check:
        result = site.run(
            "preflight", fpm_socket=fpm.address, optional_env=["X"], release="", _ansible_check_mode=True
        )[1]
    assert result["offer"] == {
        "kind": "laravel",
        "interpreters": {
            "php": {"version": "8.4.2", "extensions": ["core", "mbstring", "zend-opcache"]},
            "PHP-FPM": {"version": "8.1.9", "extensions": ["core", "redis"]},
        },
        "problem": "",
        "note": "",
        "env": {
            "path": f"{site.root}/shared/.env",
            "keys": sorted(site.env),
            "problem": "",
            "front_end": "e30=",
            "prints": {},
        },
        "optional": ["X"],
        "differing": [],
    }


def test_hosts_can_be_told_apart_by_their_env_and_nobody_learns_it(site):
    def prints(salt="s" * 32, **values):
        site.write_env(**values)
        result = site.run("preflight", release="", env_salt=salt)[1]
        (site.root / ".slipway/lock").unlink()
        assert "pa55" not in json.dumps(result)
        assert salt not in json.dumps(result)
        return result["offer"]["env"]["prints"]

    first = prints(APP_CODE="pa55", DB_HOST="pa55", EMPTY="")
    assert set(first) == set(site.env) - {"EMPTY"}
    assert first["APP_CODE"] != first["DB_HOST"], "the same value of another key shows nothing"
    assert prints(APP_CODE="'pa55'", DB_HOST="pa56") == first | {"DB_HOST": prints(DB_HOST="pa56")["DB_HOST"]}
    assert prints("t" * 32, APP_CODE="pa55")["APP_CODE"] != first["APP_CODE"]


def test_what_is_compiled_into_a_front_end_is_told_whole_whatever_is_secret(site):
    site.write_env(VITE_HOST="shop-s3cret.example", VITE_KEY="${APP_ENV}", MIX_A="1", ASSET_URL="/x", DB_HOST="db")
    result = site.run("preflight", environment={"X_TOKEN": "s3cret"}, release="")[1]
    assert json.loads(base64.b64decode(result["offer"]["env"]["front_end"])) == {
        "VITE_HOST": "shop-s3cret.example",
        "VITE_KEY": "production",
        "MIX_A": "1",
        "ASSET_URL": "/x",
    }


@pytest.fixture
def stage(site):
    """Stage a release that requires something; return what is missing."""

    def run(requires, **args):
        site.lock()
        code, result = site.run("stage", requires=requires, **args, **site.artifact())
        assert site.path("r3").exists() == (code == 0)
        return "" if code == 0 else result["msg"]

    return run


def test_release_whose_wishes_are_met(stage):
    extensions = ["ext-mbstring", "zend-opcache"]
    assert stage({"php": "^8.2", "extensions": extensions, "env_keys": ["APP_KEY"], "node": ">=99"}) == ""


def test_missing_things_are_named_before_anything_is_unpacked(site, stage):
    requires = {"php": ["^8.2", "<8.4"], "extensions": ["ext-redis", "mbstring"], "env_keys": ["APP_KEY", "A", "B"]}
    assert stage(requires) == (
        "stage: not ready for r3, nothing was changed:\n"
        "- php is 8.4.2, the release asks for <8.4; install another PHP, or another release_version\n"
        "- php has no extension redis, which the release asks for; install and enable it\n"
        f"- {site.root}/shared/.env has no A, B, which .env.example of the release names; add them there, or, where "
        "the inventory has laravel_env, to that, and run the site playbook; or to release_optional_env, when they need "
        "not be there"
    )


def test_full_disk_keeps_no_rollback_from_asking_php_fpm(site, fpm, warned, monkeypatch):
    def full(path, _text):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(_fpm_scripts, "write_atomic", full)
    code, result = site.run("preflight", fpm_socket=fpm.address, release="", rollback=True, min_free_mb=0)
    assert (code, "No space left" in result["offer"]["note"]) == (0, True), result.get("msg")


def test_fpm_may_differ_from_the_command_line(site, stage, fpm):
    told = {"version": "8.1.9", "extensions": ["Core", "redis"]}
    fpm.by_script["runtime.php"] = b"Content-Type: text/html\r\n\r\n\nslipway:" + json.dumps(told).encode()
    text = stage({"php": "^8.2", "extensions": ["mbstring", "redis", "gd"]}, fpm_socket=fpm.address)
    assert "- PHP-FPM is 8.1.9, the release asks for ^8.2; " in text
    assert "- PHP-FPM has no extension mbstring, " in text
    assert "- php has no extension redis, " in text
    assert "- php and PHP-FPM have no extension gd, " in text
    (script,) = (site.root / ".slipway").glob("runtime-*.php")
    assert script.read_text().startswith("<?php\n")


def test_fpm_is_not_asked_by_what_another_version_of_the_collection_wrote(site, fpm):
    """PHP-FPM does not look at a file twice, and may have that one in OPcache."""
    fpm.by_script["runtime.php"] = b"\r\n\r\nslipway:" + json.dumps({"version": "8.4.2", "extensions": []}).encode()
    site.run("preflight", fpm_socket=fpm.address, release="")
    (script,) = (site.root / ".slipway").glob("runtime*.php")
    code = script.read_text()
    script.unlink()
    olds = [script.with_name("runtime.php"), script.with_name("runtime-0123456789ab.php")]
    for old in (*olds, script.with_name("runtime-notes.php")):
        old.write_text(code.replace("version", "Version"))
    fpm.requests.clear()
    site.run("preflight", fpm_socket=fpm.address, release="")
    asked = {request["SCRIPT_FILENAME"] for request in fpm.requests}
    assert (asked, script.read_text()) == ({str(script)}, code)
    assert [old.exists() for old in olds] == [False, False]
    assert script.with_name("runtime-notes.php").exists()


def test_extensions_of_the_command_line_are_not_asked_of_fpm(stage, fpm):
    """As on Debian, with Horizon, which requires pcntl."""
    told = {"version": "8.4.2", "extensions": ["Core", "posix"]}
    fpm.by_script["runtime.php"] = b"Content-Type: text/html\r\n\r\n\nslipway:" + json.dumps(told).encode()
    text = stage({"extensions": ["pcntl", "posix"]}, fpm_socket=fpm.address)
    assert "- php has no extension pcntl, " in text
    assert "PHP-FPM" not in text


def test_driver_in_the_environment_does_not_blot_out_an_extension(site):
    result = site.run("preflight", environment={"AUTH_DRIVER": "mbstring"}, release="")[1]
    assert "mbstring" in result["offer"]["interpreters"]["php"]["extensions"]


def test_byte_order_mark_before_the_first_key(site, stage):
    path = site.root / "shared/.env"
    path.write_text("\ufeffFIRST=1\n" + path.read_text())
    assert stage({"env_keys": ["FIRST"]}) == ""


def test_fpm_that_does_not_tell_is_a_warning(site, fpm):
    site.lock()
    code, result = site.run("stage", requires={"php": "^8.2"}, fpm_socket=fpm.address, **site.artifact())
    warnings = json.dumps(result.get("warnings")) + " ".join(site.stderr().split())
    assert (code, "PHP-FPM does not tell its version and extensions: " in warnings) == (0, True)


@pytest.mark.parametrize("optional, missing", [(["A", "MAIL_*"], ""), (["A"], "MAIL_HOST"), ([], "A, MAIL_HOST")])
def test_optional_keys(stage, optional, missing):
    text = stage({"env_keys": ["APP_ENV", "A", "MAIL_HOST"]}, optional_env=optional)
    assert (f"has no {missing}, which" in text) if missing else text == ""


def test_key_that_is_commented_out_is_missing(site, stage):
    path = site.root / "shared/.env"
    path.write_text(path.read_text() + "# A=1\nB=\n")
    assert "has no A, which" in stage({"env_keys": ["A", "B"]})


def test_constraint_that_cannot_be_read_stops_nobody(stage):
    assert stage({"php": "dev-main"}) == ""


def test_check_mode_names_what_is_missing(site):
    code, result = site.run("stage", requires={"php": "^9"}, _ansible_check_mode=True)
    assert (code, "php is 8.4.2, the release asks for ^9" in result["msg"]) == (1, True)


# Smoke checks


@pytest.fixture
def smoke(site, http_server):
    """Verify a live release with smoke checks; return the evidence, or what went wrong."""

    def run(*checks, status=200, body="all is well", health=True, **headers):
        if not site.current():
            site.go_live("r1")
        site.lock()
        run.url = url = http_server(status, body, **headers)
        args = {"health_url": f"{http_server()}/up"} if health else {}
        code, result = site.run(
            "verify",
            release="r1",
            health_host="shop.example.com",
            smoke=[
                {key: value.replace("{url}", url) if key == "url" else value for key, value in c.items()}
                for c in checks
            ],
            **args,
        )
        run.result = result
        return result["msg"] if code else result["phases"][0]["pages"]

    return run


def test_smoke(smoke, http_server):
    answers = smoke({"path": "/a"}, {"url": "{url}/b", "contains": "is well", "max_ms": 60000, "status": [200, 201]})
    # A smoke check by path asks the server of the health page, which answers 'well'.
    assert [(answer["status"], answer["host"]) for answer in answers] == [
        (200, "shop.example.com"),
        (200, "shop.example.com"),
        (200, ""),
    ]
    assert [answer["url"].rpartition("/")[2] for answer in answers] == ["up", "a", "b"]
    assert all(answer["ms"] > 0 for answer in answers)


@pytest.mark.parametrize(
    "check, text",
    [
        ({"url": "{url}/b", "status": 201}, "smoke check: {url}/b answered 200, not 201: all is well"),
        ({"url": "{url}/b", "status": [201, 404]}, "smoke check: {url}/b answered 200, not 201 or 404: all is well"),
        ({"url": "{url}/b", "contains": "Cart"}, "smoke check: {url}/b does not contain 'Cart': all is well"),
        ({"path": "/c", "contains": "Cart"}, "/c does not contain 'Cart': well"),
        (
            {"url": f"http://ann:{SECRET}@127.0.0.1:1/?{SECRET}"},
            "smoke check: http://127.0.0.1:1/?... does not answer: ",
        ),
        ({"url": "ftp://shop/"}, "smoke check: ftp://shop/ cannot be asked: it has to be like "),
    ],
)
def test_smoke_that_is_not_well(smoke, check, text):
    message = smoke(check)
    assert text.replace("{url}", smoke.url) in message
    assert SECRET not in json.dumps(smoke.result)


def test_smoke_that_is_slow(smoke, monkeypatch):
    real = _endpoint._milliseconds
    monkeypatch.setattr(_endpoint, "_milliseconds", lambda started: real(started) + 500)
    assert "smoke check: http://127.0.0.1:" in smoke({"path": "/c", "max_ms": 400})
    assert " ms, 400 ms are allowed" in smoke.result["msg"]


def test_smoke_that_expects_a_redirect_does_not_follow_it(smoke):
    check = {"url": "{url}/b", "host": "shop.example.com", "status": 301}
    assert smoke(check, status=301, Location="https://shop.example.com:1/b")[-1]["status"] == 301
    message = smoke({**check, "status": 200}, status=301, Location="https://shop.example.com:1/b")
    assert "smoke check: https://127.0.0.1:1/b does not answer" in message


def test_page_of_another_release_is_no_smoke_of_this_one(smoke, site, http_server):
    site.go_live("r1")
    url = http_server(X_Release_Id="r0")
    site.lock()
    args = {"release": "r1", "health_url": f"{http_server()}/up"}
    assert site.run("verify", smoke=[{"url": url}], **args)[0] == 0
    args["health_url"] = f"{url}/up"
    assert "is served by release r0, not by r1" in site.run("verify", smoke=[{"path": "/a"}], **args)[1]["msg"]


def test_smoke_by_path_where_there_is_no_web_server(smoke):
    assert smoke({"path": "/a"}, health=False) == []


@pytest.mark.parametrize("status", [200, 301, 401, 404, 499])
def test_smoke_of_any_status_that_is_no_error_of_the_server(smoke, status):
    headers = {"Location": "https://login.example.com/"} if status == 301 else {}
    assert smoke({"url": "{url}/", "status_below": 500}, status=status, **headers)[-1]["status"] == status


@pytest.mark.parametrize("status", [500, 503])
def test_smoke_that_is_an_error_of_the_server_says_how_to_leave_it_out(smoke, status):
    message = smoke({"url": "{url}/", "status_below": 500}, status=status, body="Server Error")
    assert f"smoke check: {smoke.url}/ answered {status}, not below 500: Server Error; correct it, or leave " in message
    assert "leave the page out of release_smoke, [] for none" in message


def test_smoke_of_any_status_follows_to_https(smoke):
    check = {"url": "{url}/b", "host": "shop.example.com", "status_below": 500}
    message = smoke(check, status=301, Location="https://shop.example.com:1/b")
    assert "smoke check: https://127.0.0.1:1/b does not answer" in message


def test_page_that_may_show_anything_may_be_of_another_application(site, http_server):
    site.go_live("r1")
    site.lock()
    # As nginx has it where one site holds a front end and, below a path, the application.
    url = http_server(X_Release_Id=lambda request: "r1" if request.path == "/up" else "of-the-front-end")
    args = {"release": "r1", "health_url": f"{url}/up"}
    assert site.run("verify", smoke=[{"path": "/", "status_below": 500}], **args)[0] == 0
    told = site.run("verify", smoke=[{"path": "/"}], **args)[1]["msg"]
    assert "/ is served by release of-the-front-end, not by r1" in told


def test_smoke_has_one_kind_of_status(site):
    check = {"path": "/", "status": 200, "status_below": 500}
    assert "mutually exclusive" in site.run("verify", release="r1", smoke=[check])[1]["msg"]


@pytest.mark.parametrize("check", [{}, {"path": "/a", "url": "http://a/"}])
def test_smoke_needs_one_place(site, check):
    assert site.run("verify", release="r1", smoke=[check])[0] == 1


def test_addresses_of_smoke_checks_are_not_blotted_out(smoke):
    message = smoke({"path": "/c", "status": 404}, {"url": "http://127.0.0.1:1/d"})
    assert ("/c answered 200" in message, "http://127.0.0.1:1/d does" in message) == (True, True)
