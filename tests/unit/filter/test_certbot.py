from __future__ import annotations

import datetime

import pytest
from ansible_collections.slipway.laravel.plugins.filter.certbot_certificates import certbot_certificates
from ansible_collections.slipway.laravel.plugins.filter.certbot_problems import certbot_problems
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SETTINGS = {
    "directory": "production",
    "method": "webroot",
    "key_type": "secp256r1",
    "webroot": "/var/www/acme",
    "email": "ops@example.com",
    "terms_agreed": True,
    "credentials": ["cloudflare"],
    "eab": False,
}
SHOP = {"name": "shop", "domains": ["shop.example.com", "www.shop.example.com"]}


def pair(*names, days=90, password=None):
    """A certificate and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=100))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    )
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return pem.decode(), key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock).decode()


def own(certificate, key, *domains):
    return {"name": "own", "source": "own", "domains": list(domains), "certificate": certificate, "private_key": key}


def arguments(**changes):
    (found,) = certbot_certificates([SHOP | changes], SETTINGS)
    return " ".join(found["arguments"]), " ".join(found["method_arguments"])


def test_what_certbot_is_asked():
    asked, method = arguments()
    assert asked == (
        "certonly --non-interactive --cert-name shop --server https://acme-v02.api.letsencrypt.org/directory"
        " --force-renewal --renew-with-new-domains --agree-tos --no-eff-email --email ops@example.com"
        " --key-type ecdsa --elliptic-curve secp256r1 --domain shop.example.com --domain www.shop.example.com"
    )
    assert method == "--webroot --webroot-path /var/www/acme"


@pytest.mark.parametrize(
    ("changes", "asked", "method"),
    [
        ({"key_type": "rsa4096"}, "--key-type rsa --rsa-key-size 4096", "--webroot"),
        ({"directory": "staging"}, "--server https://acme-staging-v02.api.letsencrypt.org/directory", "--webroot"),
        ({"directory": "https://ca.internal/acme"}, "--server https://ca.internal/acme", "--webroot"),
        ({"options": ["--preferred-chain", "ISRG Root X1"]}, "--preferred-chain ISRG Root X1", "--webroot"),
        ({"method": "nginx"}, "certonly", "--nginx"),
        ({"method": "standalone"}, "certonly", "--standalone"),
        (
            {"method": "dns", "dns_provider": "cloudflare", "dns_propagation_seconds": 30},
            "certonly",
            "--dns-cloudflare --dns-cloudflare-credentials /etc/letsencrypt/slipway/dns-cloudflare.ini"
            " --dns-cloudflare-propagation-seconds 30",
        ),
        ({"method": "dns", "dns_provider": "route53"}, "certonly", "--dns-route53"),
    ],
)
def test_what_a_certificate_changes(changes, asked, method):
    found = arguments(**changes)
    assert asked in found[0]
    assert found[1].startswith(method)


def test_no_key_is_in_the_result():
    certificate, key = pair("own.example.com")
    assert key not in str(certbot_certificates([own(certificate, key, "own.example.com")], SETTINGS))


@pytest.mark.parametrize(
    "item",
    [
        SHOP,
        {"name": "w", "domains": ["*.example.com"], "method": "dns", "dns_provider": "cloudflare"},
        {"name": "w", "domains": ["*.example.com"], "method": "dns", "dns_provider": "route53"},
        {"name": "i", "domains": ["db1", "10.0.0.5", "fd00::5"], "source": "selfsigned"},
        {"name": "i", "state": "absent"},
        own(*pair("*.example.com"), "shop.example.com"),
    ],
)
def test_what_is_well(item):
    assert certbot_problems([item], SETTINGS) == []


EXPIRED, LOCKED, WELL, OTHER = pair("a.test", days=-1), pair("a.test", password=b"x"), pair("a.test"), pair("a.test")


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({**SHOP, "name": "../x"}, "certbot_certificates names '../x'; use small letters"),
        ({"name": "shop"}, "certificate shop needs domains"),
        ({**SHOP, "domains": ["a.test", "a.test"]}, "certificate shop lists a.test twice"),
        ({**SHOP, "domains": ["Shop.example.com"]}, "lists 'Shop.example.com', which is no DNS name in small letters"),
        ({**SHOP, "domains": ["localhost"]}, "lists 'localhost', which is no DNS name in small letters with a dot"),
        ({**SHOP, "domains": ["10.0.0.5"]}, "lists '10.0.0.5', which is no DNS name"),
        ({**SHOP, "domains": ["-a.test"]}, "lists '-a.test', which is no DNS name"),
        ({**SHOP, "domains": ["*.a.test"]}, "lists *.a.test, which only the method dns proves, not webroot"),
        ({**SHOP, "method": "dns"}, "has the method dns and needs dns_provider, such as cloudflare, not ''"),
        ({**SHOP, "method": "dns", "dns_provider": "ovh"}, "ovh, for which certbot_dns_credentials has nothing"),
        ({**SHOP, "directory": "http://ca/"}, "has the directory 'http://ca/'; use production, staging or a URL"),
        ({**SHOP, "source": "own"}, "has the source own, which needs certificate and private_key"),
        (own(*EXPIRED, "a.test"), "has a certificate that expired on"),
        (own(*LOCKED, "a.test"), "has a private_key with a passphrase"),
        (own(WELL[0], OTHER[1], "a.test"), "has a private_key that does not belong to the first certificate"),
        (own(*WELL, "b.test"), "lists b.test, which its certificate does not cover (it has a.test)"),
        (own("nonsense", WELL[1], "a.test"), "has a certificate that is not one in PEM"),
        (own(WELL[0], "nonsense", "a.test"), "has a private_key that is not a key in PEM"),
    ],
)
def test_what_is_refused(item, says):
    (problem,) = certbot_problems([item], SETTINGS)
    assert says in problem
    assert "PRIVATE KEY" not in problem


def test_what_all_certificates_need():
    assert certbot_problems([SHOP, SHOP], SETTINGS) == ["certbot_certificates lists shop twice; keep one"]
    without = SETTINGS | {"email": "", "terms_agreed": False}
    assert [problem.split()[0] for problem in certbot_problems([SHOP], without)] == [
        "certbot_email",
        "certbot_terms_agreed",
    ]
    # Nobody is written to, and nobody's terms count.
    assert certbot_problems([own(*WELL, "a.test")], without) == []
