"""Checks of a release that ask hosts: each is seen to be well and not to be, by facts that the module really found."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pwd
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _dns, _fpm_scripts, _logs
from ansible_collections.slipway.laravel.plugins.plugin_utils import checks

from .conftest import accept_each, write

SECRET = "s3" + "cr3t"


@pytest.fixture
def prove(site, run_module):
    """Judge a check by the facts that the module finds on this host, which is called web1."""

    def run(name, parameters=None, fpm_socket="", hosts=None, **context):
        code, result = run_module(
            "release_checks",
            root=str(site.root),
            fpm_socket=fpm_socket,
            checks=[checks.request(name, parameters)],
        )
        assert (code, result.get("changed")) == (0, False), result
        assert SECRET not in json.dumps(result)
        asked = {"web1": result["checks"], **(hosts or {})}
        verdict = checks.evaluate(name, parameters, {"hosts": asked, "release": site.current(), **context})
        assert SECRET not in json.dumps(verdict)
        # A person reads it: a sentence that names the remedy.
        assert verdict["message"]
        assert verdict["ok"] or ";" in verdict["message"], verdict
        return verdict

    return run


def switched(site, seconds_ago):
    """Let the live release have been live for so long; return when it was switched to."""
    path = site.root / ".slipway/state.json"
    state = json.loads(path.read_text())
    moment = int(time.time()) - seconds_ago
    state["history"][-1]["switched_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    path.write_text(json.dumps(state))
    return moment


# Pages


def test_health(prove, site, http_server):
    site.go_live("r3")
    url = http_server(X_Release_Id="r3")
    found = prove("health", {"url": f"{url}/up?token={SECRET}", "contains": "well"})
    assert (found["ok"], found["message"]) == (True, checks.summary("health"))
    evidence = found["evidence"]["web1"]
    assert (evidence["url"], evidence["status"], evidence["release"]) == (f"{url}/up?...", 200, "r3")
    assert evidence["ms"] > 0


@pytest.mark.parametrize(
    "answer, parameters, told",
    [
        ({"status": 500}, {}, "answered 500, not 200"),
        ({"X_Release_Id": "r2"}, {}, "is served by release r2, not by r3"),
        ({}, {"contains": "elsewhere"}, "does not contain 'elsewhere'"),
        ({"status": lambda _request: time.sleep(0.05) or 200}, {"max_ms": 20}, "20 ms are allowed"),
    ],
)
def test_health_that_is_not_well(prove, site, http_server, answer, parameters, told):
    site.go_live("r3")
    found = prove("health", {"url": http_server(**answer), **parameters})
    assert not found["ok"]
    assert told in found["message"]


def test_nobody_answers(prove):
    found = prove("health", {"url": f"http://ann:{SECRET}@127.0.0.1:1/up"})
    told = "http://127.0.0.1:1/up does not answer: [Errno 111] Connection refused; start the web server"
    assert (found["ok"], found["evidence"]) == (False, {})
    assert told in found["message"]


def test_login_page(prove, http_server):
    url = http_server(body="<form>Log in</form>")
    parameters = {"url": f"{url}/login", "contains": "Log in", "headers": {"Authorization": SECRET}}
    assert prove("smoke", parameters)["ok"]
    assert http_server.authorizations == [SECRET]
    assert not prove("smoke", {**parameters, "contains": "Dashboard"})["ok"]


def test_page_of_one_host_behind_a_load_balancer(prove, http_server, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(30)))
    port = http_server(tls=certificate(30), body="Log in").rpartition(":")[2]
    # From HTTP to HTTPS it is the same page.
    plain = http_server(301, Location=f"https://shop.example.com:{port}/login?a=b").rpartition(":")[2]
    where = {"url": f"http://shop.example.com:{plain}/login?a=b", "address": "127.0.0.1"}
    found = prove("smoke", {**where, "contains": "Log in"})
    assert found["ok"], found
    assert found["evidence"]["web1"]["peer"] == f"127.0.0.1:{port}"
    assert prove("certificate", {"url": f"https://shop.example.com:{port}", "address": "127.0.0.1"})["ok"]
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "CERTIFICATE_VERIFY_FAILED" in prove("smoke", where)["message"]
    assert prove("smoke", {**where, "verify_tls": False})["ok"]


def test_page_behind_the_login_is_not_seen_by_being_led_there(prove, http_server):
    def status(request):
        return 200 if request.path == "/login" else 302

    url = http_server(status, Location="/login")
    found = prove("smoke", {"url": f"{url}/orders"})
    assert not found["ok"]
    assert f"{url}/orders leads to {url}/login" in found["message"]
    assert prove("smoke", {"url": f"{url}/orders", "follow": True})["ok"]


# TLS and the way there


@pytest.fixture
def trusted(certificate, monkeypatch):
    path = certificate(30, "IP:127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


def test_certificate(prove, http_server, trusted):
    url = http_server(tls=trusted)
    found = prove("certificate", {"url": url, "days": 20})
    evidence = found["evidence"]["web1"]
    assert (found["ok"], evidence["days_left"], evidence["verified"]) == (True, 29, True)
    short = prove("certificate", {"url": url, "days": 60})
    assert not short["ok"]
    assert "in 29 days, 60 are asked for; renew it" in short["message"]


def test_certificate_of_another_name(prove, http_server, certificate, trusted):
    found = prove("certificate", {"url": http_server(tls=certificate(30))})
    assert not found["ok"]
    assert "is not to be trusted" in found["message"]


def test_certificate_without_tls(prove, http_server):
    found = prove("certificate", {"url": http_server()})
    assert (found["ok"], found["evidence"]) == (False, {})
    assert "shows no certificate; give an address by https" in found["message"]


@pytest.fixture
def old_tls(tcp_server, certificate):
    """A server that speaks TLS from the oldest version on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate())
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1

    def answer(connection):
        encrypted = context.wrap_socket(connection, server_side=True)
        encrypted.recv(1000)
        encrypted.sendall(b"HTTP/1.0 200 OK\r\n\r\nwell")
        encrypted.close()

    return f"https://127.0.0.1:{tcp_server(answer)}"


def test_tls_versions(prove, http_server, trusted, old_tls):
    found = prove("tls_versions", {"url": http_server(tls=trusted)})
    assert found["ok"], found
    assert found["evidence"]["web1"]["versions"]["TLSv1.0"] is False
    old = prove("tls_versions", {"url": old_tls})
    assert not old["ok"]
    assert "accepts TLSv1.0, TLSv1.1; leave only TLSv1.2 and newer" in old["message"]
    assert (
        "accepts TLSv1.2;" in prove("tls_versions", {"url": http_server(tls=trusted), "minimum": "TLSv1.3"})["message"]
    )


def test_hsts(prove, http_server, trusted):
    url = http_server(tls=trusted, Strict_Transport_Security="max-age=31536000; includeSubDomains")
    found = prove("hsts", {"url": url, "include_subdomains": True})
    assert (found["ok"], found["evidence"]["web1"]["hsts"]["max_age"]) == (True, 31536000)
    assert "has no preload" in prove("hsts", {"url": url, "preload": True})["message"]
    assert "63072000 are asked for" in prove("hsts", {"url": url, "max_age": 63072000})["message"]
    assert "sends no valid" in prove("hsts", {"url": http_server(tls=trusted)})["message"]
    # By http browsers do not heed it.
    assert not prove("hsts", {"url": http_server(Strict_Transport_Security="max-age=31536000")})["ok"]


@pytest.mark.parametrize(
    "status, location, parameters, told",
    [
        (301, f"https://127.0.0.1/?{SECRET}", {}, ""),
        (302, "https://127.0.0.1/", {}, "is redirected by 302, which does not last"),
        (302, "https://127.0.0.1/", {"permanent": False}, ""),
        (308, "https://www.example.com/", {}, "leads to www.example.com"),
        (308, "https://www.example.com/", {"to": "www.example.com"}, ""),
        (301, "http://127.0.0.1/", {}, "is not redirected to https, it answers 301 http://127.0.0.1/"),
        (200, "", {}, "is not redirected to https, it answers 200;"),
    ],
)
def test_https_redirect(prove, http_server, status, location, parameters, told):
    headers = {"Location": location} if location else {}
    found = prove("https_redirect", {"url": http_server(status, **headers), **parameters})
    assert found["ok"] is not bool(told)
    assert told in found["message"]


def test_security_headers(prove, http_server):
    sent = {"X_Content_Type_Options": "nosniff", "X_Frame_Options": "SAMEORIGIN", "Referrer_Policy": "same-origin"}
    found = prove("security_headers", {"url": http_server(X_Other=SECRET[:3], Set_Cookie=f"a={SECRET}", **sent)})
    assert found["ok"], found
    assert found["evidence"]["web1"]["headers"] == {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "same-origin",
        "X-Powered-By": "",
    }
    bad = prove("security_headers", {"url": http_server(X_Frame_Options="ALLOWALL", X_Powered_By="PHP/8.4")})
    assert "sends no X-Content-Type-Options" in bad["message"]
    assert "X-Frame-Options of http" in bad["message"]
    assert "sends X-Powered-By" in bad["message"]


def test_compression(prove, http_server):
    packed = http_server(body=gzip.compress(b"x" * 5000), Content_Encoding="gzip", Content_Type="text/css")
    found = prove("compression", {"url": f"{packed}/app.css"})
    assert (found["ok"], found["evidence"]["web1"]["encoding"]) == (True, "gzip")
    plain = prove("compression", {"url": http_server(Content_Type="text/css")})
    assert not plain["ok"]
    assert "(text/css) comes uncompressed" in plain["message"]
    assert not prove("compression", {"url": http_server(404, body=gzip.compress(b"x"), Content_Encoding="gzip")})["ok"]


# DNS


class NameServer:
    """Speaks the DNS on a port, by datagrams and by TCP."""

    def __init__(self):
        self.answers, self.code, self.truncated, self.questions = [], 0, False, []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.port = self.udp.getsockname()[1]
        self.tcp = contextlib.ExitStack()
        self.tcp.enter_context(accept_each(socket.create_server(("127.0.0.1", self.port)), self._by_tcp))
        threading.Thread(target=self._by_udp, daemon=True).start()

    def address(self):
        return f"127.0.0.1:{self.port}"

    def add(self, kind, ttl, content):
        # A pointer to the name in the question.
        self.answers.append(b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, ttl, len(content)) + content)

    def reply(self, question, truncated):
        self.questions.append(question)
        flags = 0x8180 | self.code | (0x0200 if truncated else 0)
        answers = [] if truncated else self.answers
        return question[:2] + struct.pack("!5H", flags, 1, len(answers), 0, 0) + question[12:] + b"".join(answers)

    def _by_udp(self):
        while True:
            try:
                question, sender = self.udp.recvfrom(4096)
            except OSError:
                return
            self.udp.sendto(self.reply(question, self.truncated), sender)

    def _by_tcp(self, connection):
        size = struct.unpack("!H", connection.recv(2))[0]
        reply = self.reply(connection.recv(size), False)
        connection.sendall(struct.pack("!H", len(reply)) + reply)

    def close(self):
        self.udp.close()
        self.tcp.close()


@pytest.fixture
def name_server():
    server = NameServer()
    yield server
    server.close()


def test_dns(prove, name_server):
    name_server.add(5, 60, b"\x02lb\xc0\x11")  # lb.example.com, by a pointer into the question
    name_server.add(1, 300, bytes([192, 0, 2, 10]))
    asked = {"domain": "shop.example.com", "server": name_server.address()}
    found = prove("dns", {**asked, "addresses": ["192.0.2.10"], "cname": "lb.example.com."})
    assert found["ok"], found
    assert b"\x04shop\x07example\x03com\x00\x00\x01\x00\x01" in name_server.questions[0]
    assert found["evidence"]["web1"]["records"] == [
        {"type": "CNAME", "value": "lb.example.com", "ttl": 60},
        {"type": "A", "value": "192.0.2.10", "ttl": 300},
    ]
    assert "leads to 192.0.2.10, not to 192.0.2.11" in prove("dns", {**asked, "addresses": ["192.0.2.11"]})["message"]
    assert "may be kept 300 s, 120 are allowed" in prove("dns", {**asked, "ttl": 120})["message"]
    assert "is no alias of www.example.com" in prove("dns", {**asked, "cname": "www.example.com"})["message"]
    assert "has no AAAA record" in prove("dns", {**asked, "type": "AAAA"})["message"]


def test_dns_answer_that_needs_tcp(prove, name_server):
    name_server.truncated = True
    name_server.add(28, 300, socket.inet_pton(socket.AF_INET6, "2001:db8::1"))
    found = prove("dns", {"domain": "shop.example.com", "type": "AAAA", "server": name_server.address()})
    assert found["ok"], found
    assert found["evidence"]["web1"]["records"][0]["value"] == "2001:db8::1"


def test_dns_that_does_not_tell(prove, name_server, tmp_path, monkeypatch):
    name_server.code = 3
    found = prove("dns", {"domain": "shop.example.com", "server": name_server.address()})
    assert "127.0.0.1 says: there is no such name; enter shop.example.com in the DNS" in found["message"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        late = prove("dns", {"domain": "shop.example.com", "server": server, "timeout": 1})
    assert "gave no answer within 1 s" in late["message"]
    assert "cannot be a name" in prove("dns", {"domain": "a" * 64, "server": "127.0.0.1"})["message"]
    monkeypatch.setattr(_dns, "_RESOLV", str(write(tmp_path / "resolv.conf", "# none\n")))
    assert "names no server" in prove("dns", {"domain": "shop.example.com"})["message"]
    write(tmp_path / "resolv.conf", "search example.com\nnameserver 127.0.0.1\n")
    assert _dns.resolver() == "127.0.0.1"


@pytest.mark.parametrize("answer", [b"", b"xx", b"\0" * 12, b"\xc0\x0c" * 40])
def test_dns_answer_that_is_none(name_server, answer):
    name_server.reply = lambda question, _truncated: question[:2] + b"\x81\x80" + b"\0\1\0\1\0\0\0\0" + answer
    with pytest.raises(_dns.DnsError):
        _dns.ask("shop.example.com", "A", "127.0.0.1", name_server.port, 2)


# The application


def test_debug_off(prove, site):
    site.add("r3", debug=False)
    site.go_live("r3")
    found = prove("debug_off", {"environment": "production"})
    assert found["ok"], found
    assert found["evidence"]["web1"] == {"source": "r3", "debug": False, "environment": "production"}
    assert "APP_ENV is production, not staging" in prove("debug_off", {"environment": "staging"})["message"]
    site.add("r4", debug=True)
    site.go_live("r4")
    assert "APP_DEBUG is on" in prove("debug_off")["message"]


def test_debug_off_before_the_first_release(prove, site):
    site.write_env(APP_DEBUG="false")
    assert prove("debug_off")["evidence"]["web1"]["source"] == ".env"
    site.write_env(APP_DEBUG="(true)")
    assert not prove("debug_off")["ok"]
    (site.root / "shared/.env").unlink()
    found = prove("debug_off")
    assert not found["ok"]
    assert "No such file" in found["message"]


def test_application_that_does_not_boot(prove, site):
    site.go_live("r3")
    (site.path("r3") / "app.json").write_text(json.dumps({"boot_error": "Class not found"}))
    for name in ("debug_off", "log_level", "failed_jobs", "queue_depth", "maintenance_off", "log_errors"):
        found = prove(name)
        assert not found["ok"]
        assert "Class not found; correct what it says" in found["message"]


def test_nothing_is_live(prove):
    for name in ("log_level", "failed_jobs", "maintenance_off", "workers", "traffic"):
        found = prove(name)
        assert not found["ok"]
        assert "no release is live; release first" in found["message"]


@pytest.mark.parametrize(
    "levels, told",
    [
        (["info"], ""),
        (["warning", "critical"], ""),
        (["debug"], "the log channel c0 logs from debug on, info is the lowest allowed"),
        (["info", "debug"], "the log channel c1 logs from debug on"),
        (["critical"], "no log channel logs errors"),
    ],
)
def test_log_level(prove, site, levels, told):
    log = [{"channel": f"c{number}", "driver": "single", "level": level} for number, level in enumerate(levels)]
    site.add("r3", log=log)
    site.go_live("r3")
    found = prove("log_level")
    assert found["ok"] is not bool(told)
    assert told in found["message"]
    assert found["evidence"]["web1"]["channels"] == log


def test_maintenance_off(prove, site):
    site.go_live("r3")
    assert prove("maintenance_off")["ok"]
    write(site.path("r3") / "storage/framework/down", "{}")
    assert "is in maintenance mode" in prove("maintenance_off")["message"]


def test_failed_jobs(prove, site):
    site.add("r3", failed_jobs=3)
    site.go_live("r3")
    assert "3 jobs have failed, 0 are allowed" in prove("failed_jobs")["message"]
    found = prove("failed_jobs", {"maximum": 3})
    assert (found["ok"], found["evidence"]) == (True, {"web1": {"failed_jobs": 3}})
    write(site.home / "database_error", "SQLSTATE[HY000] [2002] Connection refused")
    assert "the failed jobs cannot be counted" in prove("failed_jobs", {"maximum": 3})["message"]


def test_queue_depth(prove, site):
    site.add("r3", queues={"default": 5, "mail": 80})
    site.go_live("r3")
    assert prove("queue_depth", {"maximum": 5})["evidence"] == {"web1": {"queues": {"default": 5}}}
    found = prove("queue_depth", {"queues": ["default", "mail"], "maximum": 50})
    assert found["evidence"]["web1"]["queues"] == {"default": 5, "mail": 80}
    assert "80 jobs wait in the queue mail, 50 are allowed" in found["message"]
    write(site.home / "database_error", "no")
    assert "the size of default, mail is not known" in prove("queue_depth", {"queues": ["default", "mail"]})["message"]


def log_line(moment, level, zone="", text="boom"):
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))
    return f"[{stamp}{zone}] production.{level}: {text} {SECRET}\n#0 /app/index.php(3): main()\n"


def test_log_errors(prove, site):
    site.add("r3", utc_offset=7200)
    site.go_live("r3")
    moment = switched(site, 600)
    before, after = moment - 60 + 7200, moment + 60 + 7200
    log = write(site.root / "shared/storage/logs/laravel.log", log_line(before, "ERROR") + log_line(after, "INFO"))
    found = prove("log_errors")
    assert found["ok"], found
    assert found["evidence"]["web1"]["entries"]["info"] == 1
    with log.open("a") as handle:
        handle.write(log_line(after, "ERROR") + log_line(after + 1, "EMERGENCY") + log_line(after + 1, "WARNING"))
    found = prove("log_errors")
    assert not found["ok"]
    assert (
        f"2 entries from error on since {found['evidence']['web1']['switched_at']}; read them in {log}"
        in found["message"]
    )
    assert prove("log_errors", {"maximum": 2})["ok"]
    assert "1 entries from emergency" not in prove("log_errors", {"level": "warning", "maximum": 2})["message"]
    assert "r3 is live, not r9" in prove("log_errors", {"maximum": 2}, release="r9")["message"]


def test_log_that_has_no_errors_in_it(prove, site):
    path = write(site.root / "shared/storage/logs/laravel.log")
    site.add("r3", log=[{"channel": "single", "driver": "single", "level": "critical"}])
    site.go_live("r3")
    assert "the log holds nothing below critical" in prove("log_errors")["message"]
    path.unlink()
    site.add("r4", log=[{"channel": "slack", "driver": "slack", "level": "info"}])
    site.go_live("r4")
    assert "the application logs to slack, and no file is storage/logs" in prove("log_errors")["message"]


def test_log_that_nobody_has_seen_has_no_errors_in_it_that_anybody_knows_of(prove, site):
    site.add("r3", log=[{"channel": "daily", "driver": "daily", "level": "debug"}])
    site.go_live("r3")
    write(site.root / "shared/storage/logs/app-2026-11-21.log", log_line(time.time(), "ERROR"))
    found = prove("log_errors")
    assert not found["ok"]
    assert "the application logs to daily, and no file is storage/logs/laravel*.log in" in found["message"]
    assert "1 entries from error on" in prove("log_errors", {"files": ["storage/logs/app-*.log"]})["message"]


def test_log_of_json_lines(prove, site):
    site.add("r3", utc_offset=7200)
    site.go_live("r3")
    moment = switched(site, 600)

    def line(at, level, zone="+00:00", shift=0):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.123456", time.gmtime(at + shift))
        entry = {"message": f'{SECRET} "level_name":"DEBUG"', "context": {"datetime": "then"}, "level": 400}
        return json.dumps({**entry, "level_name": level, "channel": "production", "datetime": f"{stamp}{zone}"}) + "\n"

    path = site.root / "shared/storage/logs/laravel.log"
    write(path, line(moment - 60, "ERROR") + line(moment + 60, "INFO"))
    assert prove("log_errors")["ok"]
    with path.open("a") as handle:
        handle.write(line(moment + 61, "ERROR", "+02:00", 7200) + line(moment + 62, "CRITICAL", "", 7200))
        handle.write(line(moment + 63, "ALERT", "Z") + "{\n" + "[" * 100_000 + "\n{}\n[]\n")
    found = prove("log_errors")
    assert "3 entries from error on" in found["message"]
    assert found["evidence"]["web1"]["entries"]["info"] == 1
    assert SECRET not in json.dumps(found)


def test_log_whose_new_lines_nobody_can_read(prove, site):
    site.go_live("r3")
    moment = switched(site, 600)
    old = log_line(moment - 60, "ERROR")
    path = write(site.root / "shared/storage/logs/laravel.log", old + "ERROR boom, in a form of our own\n")
    os.utime(path, (moment - 30, moment - 30))
    assert prove("log_errors")["ok"], "nothing was written since"
    os.utime(path, (moment + 30, moment + 30))
    found = prove("log_errors")
    assert not found["ok"]
    assert f"{path} was written since " in found["message"]
    assert "no line of that time can be read" in found["message"]
    path.write_text("")
    assert prove("log_errors")["ok"], "it was rotated"


def test_log_that_cannot_be_read(prove, site, monkeypatch):
    site.go_live("r3")
    path = write(site.root / "shared/storage/logs/laravel.log")

    def refuse(*_args):
        raise PermissionError(13, "Permission denied", str(path))

    # Root, as which tests may run, is refused nothing.
    monkeypatch.setattr(_logs, "count_levels", refuse)
    assert f"{path} cannot be read: Permission denied; let user id" in prove("log_errors")["message"]


OPCACHE = {
    "opcache_enabled": True,
    "memory_usage": {"used_memory": 30, "free_memory": 70, "wasted_memory": 0},
    "opcache_statistics": {
        "num_cached_keys": 20,
        "max_cached_keys": 100,
        "num_cached_scripts": 10,
        "opcache_hit_rate": 99.87,
    },
}


def write_opcache_script(site):
    layout = types.SimpleNamespace(private_dir=str(site.root / ".slipway"))
    write(Path(_fpm_scripts.path_of(layout, "opcache", _fpm_scripts.OPCACHE)), _fpm_scripts.OPCACHE)


def test_opcache(prove, site, fpm):
    def say(status):
        fpm.by_script["opcache.php"] = b"Content-Type: text/html\r\n\r\n" + json.dumps(status).encode()

    assert "does not exist, by which PHP-FPM is asked; release once" in prove("opcache", None, fpm.address)["message"]
    write_opcache_script(site)
    say(OPCACHE)
    found = prove("opcache", None, fpm.address)
    assert found["ok"], found
    assert found["evidence"]["web1"] == {
        "enabled": True,
        "free_percent": 70.0,
        "free_keys_percent": 80.0,
        "scripts": 10,
        "hit_rate": 99.9,
    }
    assert (
        "OPcache has 70.0 % left, 75 % are asked for" in prove("opcache", {"free_percent": 75}, fpm.address)["message"]
    )
    say(False)
    assert "OPcache is off" in prove("opcache", None, fpm.address)["message"]
    fpm.by_script["opcache.php"] = b"Status: 404 Not Found\r\n\r\nFile not found."
    assert "PHP-FPM answered 404" in prove("opcache", None, fpm.address)["message"]


def test_opcache_is_asked_by_what_another_version_of_the_collection_has_left(prove, site, fpm):
    """The release that is signed for was made by that one."""
    for age, name in enumerate(["opcache.php", "opcache-012345abcdef.php", "opcache-abcdef012345.php"]):
        path = write(site.root / ".slipway" / name, "")
        os.utime(path, (9 - age,) * 2)
    fpm.by_script["opcache.php"] = b"\r\n\r\n" + json.dumps(OPCACHE).encode()
    assert prove("opcache", None, fpm.address)["ok"]
    (asked,) = fpm.requests
    assert asked["SCRIPT_FILENAME"].endswith("/opcache.php"), "the newest"
    write_opcache_script(site)
    assert prove("opcache", None, fpm.address)["ok"]
    assert fpm.requests[1]["SCRIPT_FILENAME"] != asked["SCRIPT_FILENAME"]


def test_opcache_passes_over_hosts_without_php_fpm(prove, site, fpm):
    assert "no host has what the check opcache looks at" in prove("opcache")["message"]
    write_opcache_script(site)
    fpm.by_script["opcache.php"] = b"Content-Type: text/html\r\n\r\n" + json.dumps(OPCACHE).encode()
    found = prove("opcache", None, fpm.address, hosts={"work1": {"opcache": {"not_here": "it has no PHP-FPM"}}})
    assert (found["ok"], list(found["evidence"])) == (True, ["web1"])


# What runs


@pytest.fixture
def worker(site):
    """Start processes that sleep, as artisan commands in a release."""
    started = []

    def start(release, command, child=""):
        argv = [sys.executable, "-ISc", "print(flush=True); import time; time.sleep(60)", "artisan", command]
        if child:
            spawn = f"import subprocess; subprocess.run({[*argv[:-1], child]!r})"
            argv = [sys.executable, "-ISc", spawn, "artisan", command]
        options = {"cwd": site.path(release), "stdout": subprocess.PIPE, "start_new_session": True}
        started.append(subprocess.Popen(argv, **options))
        started[-1].stdout.readline()
        return started[-1].pid

    yield start
    for child in started:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def test_workers(prove, site, worker):
    site.go_live("r2", "r3")
    assert "0 of 1 workers run the release; start the others" in prove("workers")["message"]
    pid = worker("r3", "queue:work")
    worker("r3", "horizon")
    found = prove("workers", {"minimum": 2})
    assert found["ok"], found
    assert {"pid": pid, "command": "queue:work", "release": "r3"}.items() <= found["evidence"]["web1"]["workers"][
        0
    ].items()
    assert "1 of 2 workers" in prove("workers", {"minimum": 2, "command": "queue:work"})["message"]
    old = worker("r2", "queue:work")
    assert f"web1: queue:work (pid {old}) runs r2, not r3" in prove("workers")["message"]
    assert "web1: r3 is live, not r9" in prove("workers", {"command": "horizon"}, release="r9")["message"]


def test_workers_that_a_worker_has_started(prove, site, worker):
    site.go_live("r3")
    worker("r3", "horizon", child="queue:work")
    assert "1 of 2 workers run the release" in prove("workers", {"minimum": 2})["message"]
    assert prove("workers", {"command": "queue:work"})["ok"]
    assert prove("restarted", {"commands": ["horizon", "queue:work"]})["ok"]


def test_workers_of_all_hosts_together(prove, site, worker):
    site.go_live("r3")
    worker("r3", "queue:work")
    other = {"workers": {"release": "r3", "switched_at": "2026-11-21T00:00:00Z", "workers": []}}
    assert prove("workers", hosts={"web2": other})["ok"]
    assert "1 of 2 workers" in prove("workers", {"minimum": 2}, hosts={"web2": other})["message"]
    found = prove("workers", hosts={"web2": {}, "web3": None})
    assert not found["ok"]
    assert found["message"].startswith("web2, web3: it gave no facts; see why")


def test_restarted(prove, site, worker):
    site.go_live("r3")
    switched(site, 0)
    worker("r3", "horizon")
    assert "reverb:start runs on none of web1; start it" in prove("restarted")["message"]
    assert prove("restarted", {"commands": ["horizon"]})["ok"]
    worker("r3", "reverb:start")
    assert prove("restarted")["ok"]


def test_what_was_not_restarted(prove, site, worker):
    site.go_live("r2", "r3")
    pid = worker("r2", "horizon")
    found = prove("restarted", {"commands": ["horizon"]})
    assert not found["ok"]
    assert f"web1: horizon (pid {pid}) has been running since" in found["message"]
    reverb = worker("r3", "reverb:start")
    switched(site, -60)
    assert (
        f"reverb:start (pid {reverb}) has been running" in prove("restarted", {"commands": ["reverb:start"]})["message"]
    )


@pytest.mark.parametrize(
    "text, ago, told",
    [
        ("No scheduled commands are ready to run.\n", 30, ""),
        ("\n   INFO  No scheduled commands are ready to run.  \n\n", 30, ""),
        ("  2026-11-21 14:05:00 Running ['artisan' app:beat] ......... 45ms DONE\n", 30, ""),
        ("[2026-11-21T14:05:00+00:00] Running scheduled command: '/usr/bin/php8.2' 'artisan' app:beat\n", 30, ""),
        ("No scheduled commands are ready to run.\n", 200, "the scheduler ran 20"),
        ("Could not open input file: artisan\n" * 4, 30, "the last run of the scheduler failed"),
        ("", 30, "the last run of the scheduler failed"),
    ],
)
def test_scheduler_by_its_log(prove, tmp_path, text, ago, told):
    log = write(tmp_path / "scheduler.log", text)
    os.utime(log, (time.time() - ago,) * 2)
    found = prove("scheduler", {"log": str(log)})
    assert found["ok"] is not bool(told)
    assert told in found["message"]
    assert found["evidence"]["web1"]["by"] == str(log)


@pytest.mark.parametrize(
    "ago, status, told",
    [(20, 0, ""), (20, 1, "the last run of the scheduler failed"), (300, 0, "the scheduler ran 30")],
)
def test_scheduler_by_its_timer(prove, home, ago, status, told):
    shown = f"LoadState=loaded\\nLastTriggerUSec=@%s\\n\\nLoadState=loaded\\nExecMainStatus={status}\\n"
    text = f"#!/bin/sh\necho \"$@\" >{home}/asked\nprintf '{shown}' $(($(date +%s) - {ago}))\n"
    write(home / "bin/systemctl", text)
    found = prove("scheduler", {"app": "shop"})
    assert (home / "asked").read_text().endswith("shop-scheduler.timer shop-scheduler.service\n")
    assert found["ok"] is not bool(told), found
    assert told in found["message"]
    assert found["evidence"]["web1"]["by"] == "shop-scheduler.timer"


def test_scheduler_on_one_host(prove, tmp_path):
    log = write(tmp_path / "scheduler.log", "No scheduled commands are ready to run.\n")
    nothing = {"scheduler": {"missing": "there is no log", "remedy": "set it up"}}
    found = prove("scheduler", {"log": str(log)}, hosts={"web2": nothing})
    assert (found["ok"], list(found["evidence"])) == (True, ["web1"])
    assert "there is neither" in prove("scheduler", {"app": "none"}, hosts={"web2": nothing})["message"]


def test_backup(prove, tmp_path):
    for name, hours in (("a.sql.gz", 50), ("b.sql.gz", 3)):
        path = write(tmp_path / "backup" / name, "dump")
        os.utime(path, (time.time() - hours * 3600,) * 2)
    pattern = f"{tmp_path}/backup/*.sql.gz"
    found = prove("backup", {"path": pattern})
    assert found["ok"], found
    assert {"path": str(path), "hours": 3.0, "size": 4}.items() <= found["evidence"]["web1"].items()
    assert "is 3 hours old, 2 are allowed; make a backup" in prove("backup", {"path": pattern, "hours": 2})["message"]
    assert "has 4 bytes, 1000 are asked for" in prove("backup", {"path": pattern, "bytes": 1000})["message"]
    assert "no file is" in prove("backup", {"path": f"{tmp_path}/none/*"})["message"]


# Traffic


def request_line(moment, status=200, seconds=0.1, server="shop.example.com"):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S+02:00", time.gmtime(moment + 7200))
    entry = {"time": stamp, "uri": f"/{SECRET}", "status": status, "request_time": seconds, "server": server}
    return json.dumps(entry, separators=(",", ":")) + "\n"


def test_traffic(prove, site, tmp_path):
    site.go_live("r3")
    moment = switched(site, 3600)
    lines = [request_line(moment - 1000 + number, 500, 9) for number in range(1000)]
    lines += [request_line(moment + number, seconds=0.2 if number < 950 else 3) for number in range(1000)]
    lines += [request_line(moment + 1801, 500, 9)] * 100
    log = write(tmp_path / "access.log", "".join(lines))
    found = prove("traffic", {"log": str(log)})
    assert found["ok"], found
    assert {"requests": 1000, "failed": 0, "p95_ms": 200, "minutes": 30, "unreadable": 0}.items() <= found["evidence"][
        "web1"
    ].items()
    assert (
        "95 % of requests took up to 200 ms, 150 ms are allowed"
        in prove("traffic", {"log": str(log), "p95_ms": 150})["message"]
    )
    assert "1000 requests, 2000 are asked for" in prove("traffic", {"log": str(log), "requests": 2000})["message"]
    assert "there were 0 requests" in prove("traffic", {"log": str(log), "server": "other"})["message"]
    failing = [request_line(moment + number, 502 if number < 20 else 404) for number in range(1000)]
    log.write_text("".join(failing))
    assert "20 of 1000 requests failed, 2.00 %, 1 % are allowed" in prove("traffic", {"log": str(log)})["message"]


def test_traffic_whose_log_may_not_be_read(prove, site, tmp_path, monkeypatch):
    site.go_live("r3")

    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_logs, "count_requests", refuse)
    message = prove("traffic", {"log": "/var/log/nginx/access.log"})["message"]
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert f"{user} may not read /var/log/nginx/access.log; list {user} in nginx_log_readers" in message


def test_traffic_that_was_not_watched_long_enough(prove, site, tmp_path):
    site.go_live("r3")
    moment = switched(site, 600)
    log = write(tmp_path / "access.log", request_line(moment + 5))
    found = prove("traffic", {"log": str(log)})
    ready = time.strftime("%H:%M", time.gmtime(moment + 1800))
    assert not found["ok"]
    assert found["message"].startswith("web1: 10")
    assert f"of 30 minutes have passed since the switch; check again from {ready} UTC on" in found["message"]
    assert prove("traffic", {"log": str(log), "minutes": 10})["ok"]
    assert prove("traffic", {"log": str(log), "minutes": 0})["ok"]


def test_traffic_over_a_rotation_and_on_two_hosts(prove, site, tmp_path):
    site.go_live("r3")
    moment = switched(site, 3600)
    log = write(tmp_path / "access.log", request_line(moment + 600))
    write(tmp_path / "access.log.1", request_line(moment - 5, 500) + request_line(moment + 5))
    other = {"release": "r3", "switched_at": "2026-11-21T00:00:00Z", "minutes": 30, "requests": 98, "failed": 3}
    found = prove("traffic", {"log": str(log)}, hosts={"web2": {"traffic": {**other, "p95_ms": 10}}})
    assert found["evidence"]["web1"]["requests"] == 2
    assert "3 of 100 requests failed, 3.00 %" in found["message"]


def test_log_of_another_format(prove, site, tmp_path):
    site.go_live("r3")
    switched(site, 3600)
    log = write(tmp_path / "access.log", '127.0.0.1 - - [21/Nov/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 5\n')
    assert "whether the log is that of nginx_log_format: json" in prove("traffic", {"log": str(log)})["message"]
    assert "does not exist" in prove("traffic", {"log": f"{log}.none"})["message"]


@pytest.mark.parametrize("count", [0, 1, 2, 100, 5000])
def test_the_beginning_of_a_span_is_found_in_a_long_log(tmp_path, count):
    lines = ["#0 no time\n" * 3 + request_line(1000 + number) for number in range(count)]
    path = write(tmp_path / "log", "".join(lines))
    for since in (0, 1000, 1001, 1000 + count // 2, 1000 + count - 1, 1000 + count):
        with path.open("rb") as log:
            found = list(_logs.lines_since(log, since, _logs.nginx_time))
        assert [moment for moment, _line in found] == [m for m in range(1000, 1000 + count) if m >= since]


def test_times_of_laravel():
    time_of = _logs.laravel_time(3600)
    assert time_of(b"[1970-01-01 01:00:10] local.ERROR: x") == 10
    assert time_of(b"[1970-01-01T00:00:10.123456+00:00] local.ERROR: x") == 10
    assert time_of(b"[1970-01-01T02:00:10+02:00] local.ERROR: x") == 10
    assert time_of(b"[1970-13-01 00:00:10] local.ERROR: x") is None
    assert time_of(b"#0 trace") is None


# The module


def test_all_checks_in_one_run(run_module, site, http_server):
    site.add("r3", failed_jobs=2, queues={"mail": 1})
    site.go_live("r3")
    calls = site.home / "calls"
    calls.write_text("")
    url = http_server()
    asked = [
        {"name": "failed_jobs"},
        {"name": "debug_off"},
        {"name": "queue_depth", "parameters": {"queues": ["mail"]}},
        {"name": "health", "parameters": {"url": f"{url}/up"}},
        {"name": "health", "id": "home", "parameters": {"url": f"{url}/?{SECRET}", "timeout": "5"}},
    ]
    before = {path: path.lstat().st_mtime_ns for path in site.root.rglob("*")}
    code, result = run_module("release_checks", root=str(site.root), checks=asked, _ansible_check_mode=True)
    assert (code, result["changed"]) == (0, False)
    assert {path: path.lstat().st_mtime_ns for path in site.root.rglob("*")} == before
    assert list(result["checks"]) == ["failed_jobs", "debug_off", "queue_depth", "health", "home"]
    assert result["checks"]["queue_depth"] == {"queues": {"mail": 1}}
    assert [result["checks"][name]["url"] for name in ("health", "home")] == [f"{url}/up", f"{url}/?..."]
    assert calls.read_text().count("\n") == 1, "the application is booted once"
    assert SECRET not in json.dumps(result)


@pytest.mark.parametrize(
    "asked, told",
    [
        ([{"name": "health"}], "health: missing required arguments: url"),
        ([{"name": "failed_jobs", "parameters": {"maximum": 3}}], "failed_jobs: maximum. Supported parameters"),
        ([{"name": "dns", "parameters": {"domain": "x", "type": "MX"}}], "dns: value of type must be one of: A, AAAA"),
        ([{"name": "workers"}, {"name": "workers"}], "two checks have the id workers; give one of them another id"),
        ([{"name": "magic"}], "value of name must be one of: backup,"),
    ],
)
def test_what_cannot_be_asked(run_module, site, asked, told):
    code, result = run_module("release_checks", root=str(site.root), checks=asked)
    assert code == 1
    assert told in result["msg"]


def test_check_that_takes_too_long(run_module, site, tcp_server):
    url = f"http://127.0.0.1:{tcp_server(lambda _connection: time.sleep(8))}"
    asked = [{"name": "health", "parameters": {"url": url}}, {"name": "failed_jobs"}]
    started = time.monotonic()
    code, result = run_module("release_checks", root=str(site.root), checks=asked, timeout=1)
    assert code == 0
    assert time.monotonic() - started < 6
    assert result["checks"]["health"]["missing"] == "there was no answer within 1 s"
    assert "no release is live" in result["checks"]["failed_jobs"]["missing"]


def test_state_that_cannot_be_read(prove, site):
    site.go_live("r3")
    (site.root / ".slipway/state.json").write_text("{")
    found = prove("workers", release="r3")
    assert not found["ok"]
    assert "is not valid JSON" in found["message"]
