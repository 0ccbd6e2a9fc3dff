"""Releases onto the fleet, host after host, out of the load balancer each time, under requests from outside."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from testinfra.utils.ansible_runner import AnsibleRunner

testinfra_hosts = ["ansible://front"]
NAME = "www.example.com"
ROOT = "/var/www/shop"
FORCED = ("-e", "release_version=v1.1.0", "-e", "release_force=true")
UPSTREAMS = "/etc/nginx/conf.d/slipway-upstreams.conf"
# Once an nginx was told, its old workers may take requests for a moment; HAProxy has no old workers.
GRACE = {"nginx": 2.0, "haproxy": 0.5}
# In a run of all tests hosts share their processors with others: nginx takes up a configuration when it comes to it.
BUSY = "SLIPWAY_BUSY" in os.environ
# How late the watch may see that a server is back.
LATE = 0.5

HAPROXY = """
global
  stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend shop
  bind :80
  bind :443 ssl crt /etc/haproxy/shop.pem
  default_backend shop
backend shop
  balance roundrobin
  cookie SERVER insert indirect nocache
  server app1 {app1}:80 cookie app1 check inter 500ms addr 127.0.0.1 port 8091
  server app2 {app2}:80 cookie app2 check inter 500ms addr 127.0.0.1 port 8092
"""
# Names of the servers that HAProxy's operator has put into maintenance, which is 0x01 in the column srv_admin_state.
IN_MAINTENANCE = (
    "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock');"
    "s.sendall(b'show servers state shop\\n'); t = s.makefile().read().splitlines()[2:];"
    "print(*[f[3] for f in map(str.split, t) if len(f) > 6 and int(f[6]) & 1])"
)
# What the health checks ask listens on the balancer itself: app1 is down from when it is drained until 3 s after it
# came back. Starting that takes a moment, so the time is taken before.
UNWELL_FOR_A_WHILE = """
cat >/run/maintenance.py <<'PYTHON'
{maintenance}
PYTHON
until python3 /run/maintenance.py | grep -q app1; do sleep 0.1; done
systemctl stop check-app1
while python3 /run/maintenance.py | grep -q app1; do sleep 0.1; done
sleep 3
date +%s.%N >/run/well
{start}
"""


class Answer(NamedTuple):
    began: float
    status: int
    host: str
    release: str


class Visitors:
    """Requests through the load balancer, each on a connection of its own, from three clients until the block ends."""

    def __init__(self, address: str, tls: bool, cookie: str = "") -> None:
        self.address, self.tls = address, tls
        self.headers = {"Host": NAME, "Connection": "close", **({"Cookie": cookie} if cookie else {})}
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._visit) for _ in range(3)]

    def _ask(self) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            if self.tls:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                plain = socket.create_connection((self.address, 443), 10)
                connection.sock = context.wrap_socket(plain, server_hostname=NAME)
            connection.request("GET", "/release", headers=self.headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _visit(self) -> None:
        while not self._over.wait(0.05):
            began = time.time()
            try:
                status, body = self._ask()
                told = json.loads(body)
                self.answers.append(Answer(began, status, told["hostname"], told["release"]))
            except (OSError, ValueError, KeyError, http.client.HTTPException) as exc:
                self.failures.append(f"{began}: {type(exc).__name__}: {exc}")

    def __enter__(self) -> Visitors:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()


class Watch:
    """What a load balancer was told of its servers, with the times: each change of what a command prints."""

    def __init__(self, host: Any, command: str) -> None:
        self.host = host
        self.host.check_output("rm -f /tmp/watched")
        changes = '[ "$now" = "$was" ] || echo "$(date +%s.%N) $now"; was="$now"'
        loop = f'while sleep 0.1; do now="$({command})"; {changes}; done'
        self.host.check_output("setsid sh -c %s >/tmp/watched 2>/dev/null </dev/null & echo $! >/tmp/watch.pid", loop)

    def end(self) -> list[tuple[float, float, set[str]]]:
        """From when, until when, and which servers were out."""
        self.host.check_output("kill -- -$(cat /tmp/watch.pid)")
        lines = [line.split() for line in self.host.check_output("cat /tmp/watched").splitlines()]
        ends = [*[float(line[0]) for line in lines[1:]], time.time()] if lines else []
        return [(float(line[0]), end, set(line[1:])) for line, end in zip(lines, ends, strict=True)]


@pytest.fixture(name="addresses", scope="module")
def addresses_fixture(request):
    inventory = request.config.option.ansible_inventory
    runner = AnsibleRunner(inventory)
    found = {}
    for name in runner.get_hosts("fleet"):
        host = runner.get_host(name)
        found[name.rsplit("-", 1)[1]] = host.check_output("hostname -i").split()[0]
    return found


def release(play, version: str, **extra: Any) -> Any:
    return play("release.yml", "--extra-vars", json.dumps({"release_version": version, **extra}))


def was_drained(
    visitors: Visitors, periods: list[tuple[float, float, set[str]]], servers: dict[str, str], balancer: str
) -> list[str]:
    """Which hosts were out, one after another; none was asked then (but see BUSY), and the others answered."""
    out = []
    for began, ended, names in periods:
        hosts = {servers[name] for name in names if name in servers}
        assert len(hosts) < 2, "one host at a time, or nobody is left to answer"
        if not hosts:
            continue
        out += hosts
        settled, back = began + GRACE[balancer], ended - LATE
        there = [answer for answer in visitors.answers if settled < answer.began < back]
        if not BUSY:
            assert hosts.isdisjoint(answer.host for answer in there), (began, ended, hosts)
        if back - settled > 1:
            assert there, "the other host answers"
    return out


def test_first_release_reaches_every_host(play, host, addresses):
    released = release(play, "v1.0.0")
    assert released.status == 0, released.errors
    with Visitors(addresses["web1"], tls=True) as visitors:
        time.sleep(2)
    assert visitors.failures == []
    assert {answer.host for answer in visitors.answers} == {"app1", "app2"}
    assert len({answer.release for answer in visitors.answers}) == 1


def test_rolling_release_behind_nginx_fails_no_request(play, host, addresses):
    servers = {addresses[name]: name for name in ("app1", "app2")}
    watch = Watch(host, f"grep -h 'drained by a release' {UPSTREAMS} | sed 's/.*server *//; s/[: ].*//' | tr '\\n' ' '")
    before = host.file(UPSTREAMS).content_string
    drain = {"release_drain": "nginx", "release_drain_hosts": "{{ groups['front'] }}"}
    with Visitors(addresses["web1"], tls=True) as visitors:
        released = release(
            play,
            "v1.1.0",
            release_strategy="rolling",
            # Of the two hosts that get requests, not of all four.
            release_serial="50%",
            release_drain_server="{{ site_address }}",
            **drain,
        )
        time.sleep(1)
    periods = watch.end()
    assert released.status == 0, released.errors
    assert visitors.failures == []
    assert Counter(answer.status for answer in visitors.answers).keys() == {200}
    assert was_drained(visitors, periods, servers, "nginx") == ["app1", "app2"]
    assert len({answer.release for answer in visitors.answers}) == 2, "the one before and the new one"
    assert host.file(UPSTREAMS).content_string == before


def test_release_that_is_bad_puts_every_host_back_behind_nginx(play, host, addresses):
    before = host.file(UPSTREAMS).content_string
    drain = {"release_drain": "nginx", "release_drain_hosts": "{{ groups['front'] }}"}
    with Visitors(addresses["web1"], tls=True) as visitors:
        released = release(
            play,
            "v1.0.0",
            release_strategy="rolling",
            release_drain_server="{{ site_address }}",
            release_force=True,
            # It will not become well by being asked again.
            release_health_timeout=10,
            # Only the second host finds fault, when the first is live already; what was live before is well.
            release_smoke="{{ [{'path': '/release', 'contains': 'v1.1.0'}] if 'app2' in inventory_hostname else [] }}",
            **drain,
        )
    assert released.status != 0
    assert visitors.failures == []
    assert len({answer.release for answer in visitors.answers}) in (1, 2)
    with Visitors(addresses["web1"], tls=True) as after:
        time.sleep(2)
    assert {answer.host for answer in after.answers} == {"app1", "app2"}
    assert {answer.release for answer in after.answers} == {visitors.answers[0].release}
    assert host.file(UPSTREAMS).content_string == before


@pytest.fixture(name="apps")
def apps_fixture(request):
    runner = AnsibleRunner(request.config.option.ansible_inventory)
    return [runner.get_host(name) for name in sorted(runner.get_hosts("laravel_app"))]


@pytest.fixture(name="lives")
def lives_fixture(apps):
    return lambda: [Path(host.file(f"{ROOT}/current").linked_to).name for host in apps]


def test_second_release_is_told_who_is_at_work_and_disturbs_nobody(play, watched, apps, lives, addresses):
    before = lives()
    with Visitors(addresses["web1"], tls=True) as visitors:
        with watched(apps[0].backend.name, ROOT, "build", "", *FORCED) as first:
            second = release(play, "v1.0.0")
        assert second.status != 0
        assert f"{ROOT}/.slipway/lock is held by" in " ".join(second.output.split())
    assert first.returncode == 0, first.output
    assert len(set(lives())) == 1
    assert lives() != before
    assert visitors.failures == []
    assert {answer.status for answer in visitors.answers} == {200}


def test_python_that_is_killed_on_one_host_before_the_switch_changes_no_host(play, watched, apps, lives, addresses):
    before = lives()
    with Visitors(addresses["web1"], tls=True) as visitors:
        with watched(apps[1].backend.name, ROOT, "stage", "kill", *FORCED) as killed:
            pass
        assert killed.returncode != 0, killed.output
        assert lives() == before
        again = release(play, "v1.1.0", release_force=True)
    assert again.status == 0, again.errors
    assert len(set(lives())) == 1
    assert lives() != before
    assert visitors.failures == []
    assert {answer.status for answer in visitors.answers} == {200}


def listens(name: str, port: int) -> str:
    """The command that lets a server of HAProxy be up."""
    return f"systemd-run --quiet --unit=check-{name} python3 -m http.server {port} --bind 127.0.0.1"


@pytest.fixture(name="haproxy", scope="module")
def haproxy_fixture(host, addresses):
    """HAProxy in place of nginx on the front, where the firewall lets people in."""
    host.check_output("DEBIAN_FRONTEND=noninteractive apt-get install -y -q haproxy")
    host.check_output("printf %s >/etc/haproxy/haproxy.cfg", HAPROXY.format(**addresses))
    # Preflight asks for the certificate of the site.
    host.check_output("cd /etc/ssl/slipway/shop && cat fullchain.pem privkey.pem >/etc/haproxy/shop.pem")
    host.check_output(f"{listens('app1', 8091)}; {listens('app2', 8092)}")
    host.check_output("systemctl stop nginx && systemctl restart haproxy")
    yield
    host.check_output("systemctl disable --now haproxy && systemctl start nginx")
    host.check_output("systemctl stop check-app1 check-app2")


BEHIND_HAPROXY = {
    "release_force": True,
    "release_strategy": "rolling",
    "release_serial": "50%",
    "release_drain": "haproxy",
    "release_drain_hosts": "{{ groups['front'] }}",
}


@pytest.mark.usefixtures("haproxy")
def test_host_that_haproxy_does_not_know_stops_the_release_before_anything_is_drained(play, host, addresses):
    watch = Watch(host, f'python3 -c "{IN_MAINTENANCE}"')
    with Visitors(addresses["web1"], tls=False) as visitors:
        # Without a backend the names are looked for in all of them; that of the hosts is their container's.
        released = release(play, "v1.0.0", **BEHIND_HAPROXY)
    periods = watch.end()
    assert released.status != 0
    told = " ".join(released.output.split())
    assert re.search(
        r"HAProxy of \S+-web1 has no server \S+-app1, \S+-app2, only app1, app2; nothing was changed", told
    )
    assert "Let release_drain_server be the name that stands there" in told
    assert {name for _began, _ended, names in periods for name in names} == set()
    assert visitors.failures == []
    assert len({answer.release for answer in visitors.answers}) == 1, "nothing was switched"


@pytest.mark.usefixtures("haproxy")
def test_rolling_release_behind_haproxy_fails_no_request(play, host, addresses):
    watch = Watch(host, f'python3 -c "{IN_MAINTENANCE}"')
    unwell = UNWELL_FOR_A_WHILE.format(maintenance=IN_MAINTENANCE, start=listens("app1", 8091))
    host.check_output("setsid sh -c %s >/dev/null 2>&1 </dev/null &", unwell)
    address = addresses["web1"]
    with Visitors(address, tls=False) as visitors, Visitors(address, tls=False, cookie="SERVER=app1") as bound:
        released = release(
            play,
            "v1.0.0",
            release_drain_server="{{ inventory_hostname | regex_replace('^.*-', '') }}",
            **BEHIND_HAPROXY,
        )
        time.sleep(1)
    periods = watch.end()
    assert released.status == 0, released.errors
    servers = {"app1": "app1", "app2": "app2"}
    for some in (visitors, bound):
        assert some.failures == []
        assert Counter(answer.status for answer in some.answers).keys() == {200}
        # Also those whom their cookie binds to a host that is out.
        assert was_drained(some, periods, servers, "haproxy") == ["app1", "app2"]
    out = [(began, names) for began, _ended, names in periods if names]
    # The watch sees a change a moment after it.
    assert {answer.host for answer in bound.answers if answer.began < out[0][0] - 2} == {"app1"}
    well = float(host.file("/run/well").content_string)
    assert out[-1][0] > well, "the next host waits until HAProxy finds this one well"
