"""Seven hosts after site.yml: each does its work, for those that it is meant for and nobody else."""

from __future__ import annotations

import pytest
import testinfra
from testinfra.utils.ansible_runner import AnsibleRunner

testinfra_hosts = ["ansible://fleet"]
CURL = "curl --silent --max-time 5 --noproxy '*' "


@pytest.fixture(name="fleet")
def fleet_fixture(request):
    """Any host of the fleet by its short name."""
    inventory = request.config.option.ansible_inventory
    names = {name.rsplit("-", 1)[1]: name for name in AnsibleRunner(inventory).get_hosts("fleet")}

    def of(short):
        return testinfra.get_host(f"ansible://{names[short]}?ansible_inventory={inventory}")

    return of


def short_name(host):
    return host.check_output("hostname")


def listening(host):
    """Ports that others could reach were it not for the firewall."""
    lines = host.check_output("ss -Hltn").splitlines()
    addresses = (line.split()[3].rsplit(":", 1) for line in lines)
    return {int(port) for address, port in addresses if not address.startswith(("127.", "[::1]"))}


def test_each_host_listens_for_its_work_alone(host):
    expected = {"web1": {22, 80, 443}, "app1": {22, 80}, "app2": {22, 80}, "db1": {22, 3306}, "redis1": {22, 6379}}
    assert listening(host) - {53} == expected.get(short_name(host), {22})


def test_no_unit_failed(host):
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


@pytest.mark.parametrize(
    ("client", "server", "port", "reached"),
    [
        ("web1", "app1", 80, True),
        ("worker1", "app1", 80, False),
        ("app2", "db1", 3306, True),
        ("app2", "redis1", 6379, True),
        ("db1", "web1", 443, True),
        ("db1", "web1", 22, True),
        ("db1", "reverb1", 8080, False),
    ],
)
def test_the_firewall_lets_in_who_is_meant(fleet, client, server, port, reached):
    address = fleet(server).check_output("hostname -i").split()[0]
    script = f"import socket; socket.create_connection(('{address}', {port}), 2)"
    assert (fleet(client).run("python3 -c %s", script).rc == 0) is reached


def test_the_front_spreads_requests_over_both_hosts(fleet):
    for name in ("app1", "app2"):
        release = "/var/www/shop/releases/trial/public"
        fleet(name).check_output(f"install -d -o deploy -g deploy {release}")
        fleet(name).check_output(f"printf '<?php echo gethostname();' >{release}/index.php")
        fleet(name).check_output("ln -sfn releases/trial /var/www/shop/current")
    address = fleet("web1").check_output("hostname -i").split()[0]
    ask = f"{CURL} --cacert /tmp/front.pem --resolve www.example.com:443:{address} https://www.example.com/"
    fleet("db1").check_output(
        "echo %s >/tmp/front.pem", fleet("web1").file("/etc/ssl/slipway/shop/fullchain.pem").content_string
    )
    answers = {fleet("db1").check_output(ask) for _ in range(6)}
    assert answers == {"app1", "app2"}


def test_the_front_leads_other_names_to_the_first(fleet):
    address = fleet("web1").check_output("hostname -i").split()[0]
    head = fleet("db1").check_output(
        f"{CURL} --insecure --head --resolve example.com:443:{address} https://example.com/x?y=1"
    )
    assert "301" in head.splitlines()[0]
    assert "location: https://www.example.com/x?y=1" in head.lower()


@pytest.mark.parametrize("name", ["app1", "worker1", "reverb1"])
def test_every_host_of_the_application_reaches_its_database(fleet, name):
    address = fleet("db1").check_output("hostname -i").split()[0]
    client = fleet(name)
    script = (
        "<?php $p = new PDO('mysql:host=' . $argv[1] . ';dbname=shop', 'shop', trim(fgets(STDIN)));"
        "echo $p->query('select current_user()')->fetchColumn();"
    )
    client.check_output("printf %s >/tmp/db.php", script.replace("%", "%%"))
    found = client.check_output(f"echo only-in-the-fleet-of-the-lab | php /tmp/db.php {address}")
    assert found.startswith("shop@")


def test_only_one_host_schedules(fleet):
    entries = {name: fleet(name).file("/etc/cron.d/shop").exists for name in ("app1", "app2", "worker1", "reverb1")}
    assert [name for name, there in entries.items() if there] == ["worker1"]
