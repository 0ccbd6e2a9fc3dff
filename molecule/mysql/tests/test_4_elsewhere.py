"""A server that is managed from another host, after the run with alternative.yml."""

from __future__ import annotations

import os

import pytest
import testinfra

testinfra_hosts = ["ansible://*-debian13"]


def test_a_renewed_certificate_is_served_without_a_restart(host, converge_alternative):
    process = host.check_output("systemctl show --property=MainPID mariadb")
    host.check_output(
        "openssl req -x509 -key /etc/ssl/private/db.key -days 60 -subj /CN=renewed "
        "-addext subjectAltName=DNS:debian13.lab.test -out /etc/ssl/certs/db.pem"
    )
    renewed = converge_alternative(f"--limit={host.backend.host}")
    assert renewed.status == 0, renewed.errors
    assert host.check_output("systemctl show --property=MainPID mariadb") == process
    served = host.run("openssl s_client -starttls mysql -connect 127.0.0.1:3307 </dev/null")
    assert "CN = renewed" in served.stdout.replace("CN=renewed", "CN = renewed")


def test_accounts_and_databases_of_a_server_elsewhere(host, play):
    """The other host manages this one over the network, as a client of a provider would."""
    if len(testinfra.get_hosts(["ansible://role_hosts"], ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])) < 2:
        pytest.skip("this run has one host")
    first = play("molecule/mysql/elsewhere.yml")
    assert first.status == 0, first.errors
    again = play("molecule/mysql/elsewhere.yml")
    assert (again.status, again.changed) == (0, 0), again.changes
    assert "GRANT SELECT ON `cloud`.* TO `remote`" in host.check_output("mariadb -BNe 'show grants for remote'")
