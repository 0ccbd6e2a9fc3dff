"""Every knob moved: what is no longer listed has gone from the host, what others made is still there."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://role_hosts"]


@pytest.fixture
def status(host):
    return [" ".join(line.split()) for line in host.check_output("ufw status verbose").splitlines()]


def test_rules(status):
    assert "Default: reject (incoming), deny (outgoing), reject (routed)" in status
    assert "Logging: on (medium)" in status
    rules = status[status.index("-- ------ ----") + 1 :]
    v4 = [
        line for line in rules if line and "(v6)" not in line and ":" not in line.partition("#")[0].replace("6000:", "")
    ]
    assert v4[0].endswith("# slipway: blocked")
    assert [line for line in rules if "22/tcp LIMIT IN" in line] != []
    assert "22/tcp ALLOW IN Anywhere # slipway: SSH" not in rules
    assert "443/tcp ALLOW IN Anywhere # slipway: HTTPS" not in rules
    for wanted in (
        "443/tcp ALLOW IN 192.0.2.10 # slipway: load balancers",
        "443/tcp ALLOW IN 198.51.100.0/24 # slipway: load balancers",
        "443/tcp ALLOW IN 2001:db8::/64 # slipway: load balancers",
        "6000:6010/udp on eth0 ALLOW IN Anywhere (log) # slipway:",
        "80/tcp LIMIT IN Anywhere # slipway:",
        "8081/tcp LIMIT IN Anywhere # slipway:",
        "53 ALLOW OUT Anywhere # slipway:",
        "443/tcp ALLOW OUT Anywhere # slipway:",
        "9999/tcp ALLOW IN Anywhere # mine",
    ):
        assert wanted in rules, "\n".join(rules)


def test_order_is_the_lists(host):
    added = host.check_output("ufw show added").splitlines()
    rejected = next(index for index, rule in enumerate(added) if "5432" in rule and "reject" in rule)
    allowed = next(index for index, rule in enumerate(added) if "5432" in rule and "10.0.0.0/8" in rule)
    assert rejected < allowed


def test_who_is_blocked_gets_nothing_in(reach):
    assert {port: reach(port) for port in (22, 80, 9999)} == dict.fromkeys((22, 80, 9999), "TimeoutError")


def test_who_is_not_blocked_gets_in(host, connect):
    other = {"debian12": "debian13.lab.test", "debian13": "debian12.lab.test"}[host.check_output("hostname")]
    assert connect(host, other, 22) != "open"  # nothing lets SSH out
    assert connect(host, other, 80) == "open"


def test_jails(host):
    jails = host.check_output("fail2ban-client status").rpartition(":")[2].replace(",", " ").split()
    assert sorted(jails) == ["shop", "slipway-nginx-scan", "sshd"]
    assert host.check_output("fail2ban-client get sshd bantime") == "10800"
    assert host.check_output("fail2ban-client get sshd maxretry") == "3"
    assert host.check_output("fail2ban-client get shop maxretry") == "2"
    assert host.check_output("fail2ban-client get shop findtime") == "300"
    assert "198.51.100.0/24" in host.check_output("fail2ban-client get shop ignoreip")
    assert host.file("/var/log/nginx/shop.access.log").user == "www-data"
    text = '{"remote_addr":"192.0.2.9","request_uri":"/secret","status":404,"time":"2026-11-21T07:10:13+00:00"}'
    done = host.check_output("fail2ban-regex %s /etc/fail2ban/filter.d/slipway-nginx-scan.conf", text)
    assert "1 matched" in done


def test_a_ban_by_ufw(host):
    host.check_output("fail2ban-client set shop banip 203.0.113.99")
    assert "203.0.113.99" in host.check_output("ufw status")
    host.check_output("fail2ban-client set shop unbanip 203.0.113.99")
    assert "203.0.113.99" not in host.check_output("ufw status")


def test_audit(host):
    rules = host.file("/etc/audit/audit.rules").content_string.splitlines()
    assert "-w /etc/passwd -p wa -k identity" in rules
    assert "-w /etc/shadow -p wa -k identity" in rules
    assert rules[-1] == "-e 2"
    assert host.file("/etc/audit/rules.d/zz-slipway.rules").mode == 0o640
