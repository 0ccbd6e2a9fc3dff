"""The firewall and the bans as they are by default, seen from the host and from one that attacks it."""

from __future__ import annotations

import json
import time

import pytest

testinfra_hosts = ["ansible://role_hosts"]

ASK = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], headers=eval(sys.argv[2]))
for _ in range(int(sys.argv[3])):
    try:
        answer = urllib.request.urlopen(request, timeout=2).status
    except urllib.error.HTTPError as error:
        answer = error.code
    except OSError as error:
        answer = type(error).__name__
        break
print(answer)
"""
# At once, since a wrong password takes seconds; one that the ban cuts off would wait for ever.
# Each counts twice: a wrong password, and a connection that is given up.
LOGINS = (
    "for i in 1 2 3; do timeout 20 sshpass -p wrong ssh -o StrictHostKeyChecking=no "
    "-o UserKnownHostsFile=/dev/null -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1 admin@%s true & done; wait"
)


@pytest.fixture
def ask(host, attacker):
    """What the host's web server answers to the attacker, in the end; it gives up when it is cut off."""
    address = host.interface("eth0").addresses[0]

    def answer(path: str, times: int = 1, **headers: str) -> str:
        url = f"http://{address}{path}"
        return attacker.check_output("python3 -c %s %s %s %s", ASK, url, repr(headers), str(times)).strip()

    return answer


@pytest.fixture
def enemy(host, attacker):
    """Address of the attacker; its bans end with the test, and recidive does not add them up."""
    address = attacker.interface("eth0").addresses[0]
    host.check_output("fail2ban-client unban %s", address)
    host.check_output("fail2ban-client set recidive addignoreip %s", address)
    yield address
    host.run("fail2ban-client set recidive delignoreip %s", address)
    host.check_output("fail2ban-client unban %s", address)


def banned(host, jail: str) -> list[str]:
    return host.check_output("fail2ban-client get %s banip", jail).split()


def eventually(check, what: str) -> None:
    end = time.monotonic() + 30
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def test_what_is_not_named_is_shut(host, reach):
    host.check_output("systemd-run --collect --unit listener python3 -m http.server --bind 0.0.0.0 8080")
    try:
        eventually(lambda: host.socket("tcp://0.0.0.0:8080").is_listening, "nobody listens on port 8080")
        assert {port: reach(port) for port in (22, 80, 8080)} == {22: "open", 80: "open", 8080: "TimeoutError"}
    finally:
        host.check_output("systemctl stop listener")


def test_firewall(host):
    status = host.check_output("ufw status verbose")
    assert "Default: deny (incoming), allow (outgoing), deny (routed)" in status
    assert "Logging: on (low)" in status
    for family in ("", " (v6)"):
        for port, comment in (("22/tcp", "SSH"), ("80/tcp", "HTTP"), ("443/tcp", "HTTPS")):
            line = f"{port + family:<27}ALLOW IN    {'Anywhere' + family:<27}# slipway: {comment}"
            assert line.split() in [found.split() for found in status.splitlines()]
    service = host.service("ufw")
    assert service.is_running
    assert service.is_enabled


def test_jails(host):
    service = host.service("fail2ban")
    assert service.is_running
    assert service.is_enabled
    jails = host.check_output("fail2ban-client status").rpartition(":")[2].replace(",", " ").split()
    assert sorted(jails) == [
        "nginx-http-auth", "nginx-limit-req", "recidive", "slipway-nginx-login", "slipway-nginx-scan", "sshd",
    ]  # fmt: skip
    for jail in jails:
        assert "nftables" in host.check_output("fail2ban-client get %s actions", jail)
    assert host.check_output("fail2ban-client get recidive bantime") == "604800"
    assert host.check_output("fail2ban-client get sshd maxretry") == "5"
    assert "691200" in host.check_output("fail2ban-client get dbpurgeage")


def test_wrong_passwords_are_banned(host, attacker, reach, enemy):
    assert reach(22) == "open"
    attacker.run(LOGINS, host.interface("eth0").addresses[0])
    eventually(lambda: enemy in banned(host, "sshd"), "wrong passwords were not banned")
    # fail2ban lists an address a moment before it shuts it out.
    eventually(lambda: reach(22) != "open", "SSH is still open to who is banned")
    assert reach(80) == "open"
    host.check_output("fail2ban-client set sshd unbanip %s", enemy)
    assert reach(22) == "open"


@pytest.mark.parametrize(
    ("jail", "path", "hits", "status", "headers"),
    [
        ("slipway-nginx-scan", "/.env", 5, "404", {}),
        ("slipway-nginx-login", "/login", 10, "429", {}),
        ("nginx-limit-req", "/slow", 31, "503", {}),
        ("nginx-http-auth", "/operator", 5, "401", {"Authorization": "Basic b3BlcmF0b3I6d3Jvbmc="}),
    ],
)
def test_hits_are_banned(host, ask, reach, enemy, jail, path, hits, status, headers):
    assert ask("/") == "200"
    assert ask(path, **headers) in (status, "404")
    ask(path, hits, **headers)
    eventually(lambda: enemy in banned(host, jail), f"{hits} times {status} were not banned")
    eventually(lambda: reach(80) != "open", "the web is still open to who is banned")
    assert ask("/") not in ("200", status)
    assert reach(22) == "open"
    host.check_output("fail2ban-client set %s unbanip %s", jail, enemy)
    assert ask("/") == "200"


def test_recidive_counts_bans(host, enemy, reach):
    host.check_output("fail2ban-client set recidive delignoreip %s", enemy)
    for _ in range(3):
        host.check_output("fail2ban-client set nginx-http-auth banip %s", enemy)
        eventually(lambda: enemy in banned(host, "nginx-http-auth"), "not banned")
        host.check_output("fail2ban-client set nginx-http-auth unbanip %s", enemy)
    eventually(lambda: enemy in banned(host, "recidive"), "three bans did not make a recidive")
    assert reach(22) != "open"
    host.check_output("fail2ban-client unban %s", enemy)
    assert reach(22) == "open"


def test_the_host_never_bans_itself(host):
    address = host.interface("eth0").addresses[0]
    for name in (address, "127.0.0.1"):
        assert host.check_output("python3 -c %s %s {} 6", ASK, f"http://{name}/.env").strip() == "404"
    time.sleep(1.5)
    assert banned(host, "slipway-nginx-scan") == []


def line(status: int, uri: str, **more: str) -> str:
    """A line of the access log as JSON, its keys in another order than the site's."""
    return json.dumps({"status": status, "request_uri": uri, "remote_addr": "192.0.2.9", **more}, separators=(",", ":"))


ISO = {"time": "2026-11-21T07:10:13+00:00"}
COMBINED = '192.0.2.9 - - [21/Nov/2026:07:10:13 +0000] "GET %s HTTP/1.1" %d 146 "-" "curl"'


@pytest.mark.parametrize(
    ("name", "text", "matches"),
    [
        ("scan", line(404, "/.env", **ISO), 1),
        ("scan", line(404, "/blog/wp-login.php?x=1", time_local="21/Nov/2026:07:10:13 +0000"), 1),
        ("scan", line(403, "/phpMyAdmin/", msec="1795244000.123"), 1),
        ("scan", json.dumps({"request": "GET /.git/config HTTP/1.1", "remote_addr": "::9", "status": "404", **ISO}), 1),
        ("scan", COMBINED % ("/.env.bak", 404), 1),
        ("scan", line(200, "/.env", **ISO), 0),
        ("scan", line(404, "/missing", **ISO), 0),
        ("scan", line(404, "/missing?next=/.env", **ISO), 0),
        ("scan", COMBINED % ("/about", 404), 0),
        ("scan", line(200, "/", agent='"status":404,"request_uri":"/.env"', **ISO), 0),
        ("scan", line(404, "/x", agent='","request_uri":"/.env","remote_addr":"198.51.100.1', **ISO), 0),
        ("login", line(429, "/login", **ISO), 1),
        ("login", line(422, "/api/login?x=1", **ISO), 1),
        ("login", COMBINED % ("/login", 419), 1),
        ("login", line(200, "/login", **ISO), 0),
        ("login", line(302, "/login", **ISO), 0),
        ("login", line(429, "/loginfo", **ISO), 0),
        ("login", line(429, "/api/orders", **ISO), 0),
    ],
)  # fmt: skip
def test_filters(host, name, text, matches):
    done = host.run("fail2ban-regex %s /etc/fail2ban/filter.d/slipway-nginx-%s.conf", text, name)
    assert f"Lines: 1 lines, 0 ignored, {matches} matched" in done.stdout, done.stdout
    assert "Date template hits:\n|- [# of hits] date format" in done.stdout, done.stdout
