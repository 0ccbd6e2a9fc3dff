"""Other methods, directories and keys, own certificates, and one that had to go."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://role_hosts"]


@pytest.mark.parametrize(
    ("name", "names", "key"),
    [
        ("letsencrypt/live/app.lab.test", "DNS:app.lab.test", "Public-Key: (2048 bit)"),
        ("letsencrypt/live/wildcard", "DNS:*.lab.test, DNS:lab.test", "Public-Key: (2048 bit)"),
        ("letsencrypt/live/plugin", "DNS:plugin.lab.test", "NIST CURVE: P-384"),
        ("ssl/slipway/own", "DNS:own.lab.test, DNS:*.own.lab.test", "Public-Key: (2048 bit)"),
        ("ssl/slipway/short", "DNS:cache.internal", "Public-Key: (2048 bit)"),
    ],
)
def test_names_and_key(host, name, names, key):
    text = host.check_output("openssl x509 -in /etc/%s/fullchain.pem -noout -text", name)
    listed = text.split("Subject Alternative Name:")[1].splitlines()[1].strip()
    assert sorted(listed.split(", ")) == sorted(names.split(", "))
    assert key in text


@pytest.mark.parametrize(
    ("name", "authenticator", "port"),
    [("app.lab.test", "webroot", 14001), ("wildcard", "dns-rfc2136", 14001), ("plugin", "nginx", 14000)],
)
def test_renewal_goes_the_same_way(host, name, authenticator, port):
    renewal = host.file(f"/etc/letsencrypt/renewal/{name}.conf").content_string
    assert f"authenticator = {authenticator}\n" in renewal
    assert f"server = https://localhost:{port}/dir\n" in renewal


def test_each_certificate_renews(host):
    command = "certbot renew --quiet --force-renewal --no-random-sleep-on-renew"
    assert host.run(f"REQUESTS_CA_BUNDLE=/etc/letsencrypt/slipway/acme-ca.pem {command}").rc == 0


@pytest.mark.parametrize(
    "path",
    [
        "/etc/letsencrypt/slipway/eab.ini",
        "/etc/letsencrypt/slipway/dns-rfc2136.ini",
        "/etc/ssl/slipway/own/privkey.pem",
        "/etc/ssl/slipway/short/privkey.pem",
    ],
)
def test_secret_is_for_root_alone(host, path):
    found = host.file(path)
    assert (found.user, found.group, found.mode) == ("root", "root", 0o600)


def test_what_is_absent_is_gone(host):
    assert not host.file("/etc/ssl/slipway/internal").exists


def test_nginx_serves_the_certificate_that_was_issued_again(host):
    served = host.check_output(
        "openssl s_client -connect 127.0.0.1:443 -servername app.lab.test </dev/null | openssl x509"
    )
    assert host.file("/etc/letsencrypt/live/app.lab.test/fullchain.pem").content_string.startswith(served)
