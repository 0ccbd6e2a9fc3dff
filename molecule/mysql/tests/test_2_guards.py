"""What stops a run that has to look at the server first; once is enough, so on one of the hosts."""

from __future__ import annotations

testinfra_hosts = ["ansible://*-debian13"]


def test_a_setting_that_needs_a_restart_is_named_and_waits(host, converge):
    process = host.check_output("systemctl show --property=MainPID mariadb")
    refused = converge(f"--limit={host.backend.host}", "--extra-vars=mysql_bind_address=0.0.0.0")
    assert refused.status != 0
    assert "written about bind_address" in " ".join(refused.output.split())
    assert host.check_output("systemctl show --property=MainPID mariadb") == process


def test_a_file_that_overrides_is_named(host, converge):
    host.check_output("printf '[mysqld]\\nmax-connections = 5\\n' >/etc/mysql/mariadb.conf.d/99-theirs.cnf")
    refused = converge(f"--limit={host.backend.host}")
    host.check_output("rm /etc/mysql/mariadb.conf.d/99-theirs.cnf")
    assert refused.status != 0
    assert "and sets max_connections" in " ".join(refused.output.split())
