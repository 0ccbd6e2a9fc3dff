from __future__ import annotations

import subprocess

import pytest

ACME = {"name": "shop", "domains": ["shop.test"]}
HOOK = "etc/letsencrypt/renewal-hooks/deploy/slipway-reload.j2"


@pytest.mark.parametrize(
    ("certificates", "packages"),
    [
        ([], []),
        ([ACME], ["python3-cryptography", "certbot"]),
        ([ACME | {"method": "nginx"}], ["python3-cryptography", "certbot", "python3-certbot-nginx"]),
        (
            [ACME | {"method": "dns", "dns_provider": "cloudflare"}],
            ["python3-cryptography", "certbot", "python3-certbot-dns-cloudflare"],
        ),
        ([ACME | {"source": "selfsigned"}], ["python3-cryptography"]),
        ([ACME | {"state": "absent"}], []),
    ],
)
@pytest.mark.parametrize("platform", ["bookworm", "trixie", "jammy", "noble"])
def test_packages(role, platform, certificates, packages):
    assert role("certbot", platform, certbot_certificates=certificates).value("__certbot_packages") == packages


def paths(role, **given):
    """What would be written; an entry with an empty list stands for nothing."""
    return [file["path"] for file in role("certbot", **given).value("__certbot_files") if file.get("each") != []]


def test_what_renewal_needs_outlives_the_list(role):
    assert "/etc/letsencrypt/renewal-hooks/deploy/slipway-reload" in paths(role, certbot_certificates=[])


def test_files_are_those_that_something_is_given_for(role):
    always = paths(role, certbot_certificates=[ACME])
    given = {"certbot_acme_ca": "x", "certbot_eab_kid": "x", "certbot_dns_credentials": {"ovh": "x"}}
    assert set(paths(role, certbot_certificates=[ACME], **given)) - set(always) == {
        "/etc/letsencrypt/slipway/acme-ca.pem",
        "/etc/letsencrypt/slipway/eab.ini",
        "/etc/letsencrypt/slipway/dns-{key}.ini",
        "/etc/systemd/system/certbot.service.d/slipway.conf",
    }


def test_secrets_are_kept_out_of_diffs_and_from_other_users(role):
    given = {"certbot_eab_kid": "x", "certbot_dns_credentials": {"ovh": "x"}}
    own = {"name": "own", "source": "own", "domains": ["a.test"], "certificate": "x", "private_key": "x"}
    files = role("certbot", certbot_certificates=[ACME, own], **given).value("__certbot_files")
    secret = [file for file in files if file["path"].endswith((".ini", "privkey.pem"))]
    assert len(secret) == 3
    assert all(file["secret"] and file["mode"] == "0600" for file in secret)


def test_own_certificates_that_are_absent_are_not_written(role):
    own = {"name": "own", "source": "own", "domains": ["a.test"], "certificate": "x", "private_key": "x"}
    assert paths(role, certbot_certificates=[own | {"state": "absent"}]) == paths(role)


def test_hook_is_shell(role, tmp_path):
    hook = tmp_path / "hook"
    hook.write_text(role("certbot", certbot_reload_units=["nginx", "haproxy"]).render(HOOK))
    assert "reload nginx || failed=1\nreload haproxy || failed=1\nexit $failed\n" in hook.read_text()
    assert subprocess.run(["sh", "-n", hook], check=False).returncode == 0
