from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

WANTED = {
    "name": "shop",
    "state": "present",
    "source": "acme",
    "domains": ["shop.test", "www.shop.test"],
    "directory": "https://ca.test/dir",
    "method": "webroot",
    "authenticator": "webroot",
    "webroot": "/var/www/acme",
    "key_type": "secp256r1",
}
RENEWAL = """\
version = 4.0.0
[renewalparams]
authenticator = {authenticator}
server = {server}
webroot_path = {webroot},
[[webroot_map]]
shop.test = {webroot}
"""


def general(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture(name="etc")
def make_etc(tmp_path):
    """Folders as on a host; etc.add puts a certificate there."""

    class Etc:
        path = tmp_path

        def add(self, folder, *names, days=90, lifetime=90, key=None, mode=0o600):
            key = key or ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
            end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days, hours=1)
            certificate = (
                x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
                .not_valid_before(end - datetime.timedelta(days=lifetime, hours=2))
                .not_valid_after(end)
                .add_extension(x509.SubjectAlternativeName([general(name) for name in names]), critical=False)
                .sign(key, hashes.SHA256())
            )
            where = tmp_path / folder
            where.mkdir(parents=True, exist_ok=True)
            (where / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
            self.key(where, key).chmod(mode)

        def key(self, where, key):
            path = where / "privkey.pem"
            form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            path.write_bytes(key.private_bytes(*form))
            return path

        def shop(self, authenticator="webroot", server="https://ca.test/dir", webroot="/var/www/acme", **given):
            self.add("letsencrypt/live/shop", *given.pop("names", WANTED["domains"]), **given)
            conf = tmp_path / "letsencrypt/renewal/shop.conf"
            conf.parent.mkdir(exist_ok=True)
            conf.write_text(RENEWAL.format(authenticator=authenticator, server=server, webroot=webroot))

    return Etc()


@pytest.fixture(name="look")
def make_look(etc, run_module):
    def look(**changes):
        status, result = run_module(
            "certificates_info",
            certificates=[WANTED | changes],
            etc=str(etc.path),
            https_port=0,
        )
        assert status == 0, result
        return result["certificates"][0]

    return look


def test_a_bare_host(look):
    found = look()
    assert (found["exists"], found["differs"]) == (False, ["there is none"])
    assert found["faults"] == [f"certificate shop is not in {found['path']}: there is none"]


def test_nothing_to_do(etc, look):
    etc.shop()
    found = look()
    assert (found["differs"], found["refused"], found["faults"]) == ([], [], [])
    assert (found["days_left"], found["domains"]) == (90, WANTED["domains"])


@pytest.mark.parametrize(
    ("has", "wants", "reason"),
    [
        ({"names": ["shop.test"]}, {}, "it is for shop.test, not shop.test, www.shop.test"),
        ({"key": rsa.generate_private_key(65537, 2048)}, {}, "its key is rsa2048, not secp256r1"),
        (
            {"server": "https://staging.test/dir"},
            {},
            "it is renewed from https://staging.test/dir, not https://ca.test/dir",
        ),
        ({"authenticator": "standalone"}, {}, "it is renewed by standalone, not webroot"),
        ({"webroot": "/srv/acme"}, {}, "it is proven in /srv/acme, not /var/www/acme"),
        ({"days": 10}, {}, "it expires on "),
    ],
)
def test_what_differs(etc, look, has, wants, reason):
    etc.shop(**has)
    (found,) = look(**wants)["differs"]
    assert found.startswith(reason)


def test_a_short_lived_certificate_is_left_to_the_timer(etc, look):
    etc.shop(days=4, lifetime=6)
    assert look()["differs"] == []
    etc.shop(days=1, lifetime=6)
    assert look()["differs"] != []


def test_a_self_signed_certificate_is_renewed_in_its_last_third(etc, look):
    wants = {"source": "selfsigned", "domains": ["db.internal", "10.0.0.5"]}
    etc.add("ssl/slipway/shop", *wants["domains"], days=31)
    assert look(**wants)["differs"] == []
    etc.add("ssl/slipway/shop", *wants["domains"], days=29)
    assert look(**wants)["differs"] != []


def test_a_key_of_another(etc, look):
    etc.shop()
    etc.key(etc.path / "letsencrypt/live/shop", ec.generate_private_key(ec.SECP256R1()))
    found = look()
    assert found["differs"] == ["its key does not belong to it"]
    assert found["faults"] == ["certificate shop has a key that does not belong to it"]


def test_faults(etc, look):
    etc.shop(names=["shop.test"], days=10, mode=0o644)
    uncovered, readable, short = look()["faults"]
    assert uncovered == "certificate shop does not cover www.shop.test"
    assert readable.startswith("certificate shop has a key that others than root may read")
    assert "in 10 days, and 14 are wanted (certbot_valid_days); see journalctl --unit certbot" in short


def test_what_is_used_is_not_deleted(etc, look):
    etc.shop()
    assert look(state="absent")["refused"] == []
    site = etc.path / "nginx/sites-enabled/shop.conf"
    site.parent.mkdir(parents=True)
    site.write_text(f"ssl_certificate {etc.path}/letsencrypt/live/shop/fullchain.pem;\n")
    (refused,) = look(state="absent")["refused"]
    assert (
        refused == f"certificate shop is absent in certbot_certificates, but {site} uses it; take it out of nginx first"
    )


def test_staging_never_replaces_a_real_certificate(etc, look):
    etc.shop()
    (refused,) = look(directory="https://staging.test/dir")["refused"]
    assert "staging would replace it by one that no browser trusts" in refused
    etc.shop(server="https://staging.test/dir")
    assert look()["refused"] == []


def test_a_broken_file(etc, look):
    etc.shop()
    (etc.path / "letsencrypt/live/shop/fullchain.pem").write_text("nonsense")
    (reason,) = look()["differs"]
    assert reason.startswith("it cannot be read")
