"""PM2 with two processes on one port, and an application that waits for its first release."""

from __future__ import annotations

testinfra_hosts = ["ansible://role_hosts"]


def test_pm2_runs_two_processes_as_the_user(host, ask):
    answer = ask(3000)
    assert answer["uid"] == host.user("deploy").uid
    assert answer["cwd"] == answer["release"] == "/srv/web/releases/1"
    assert answer["env"]["NODE_ENV"] == "production"
    assert answer["env"]["GREETING"] == 'a "b" $c `d` \\e %i'
    assert len({ask(3000)["pid"] for _ in range(20)}) == 2
    assert {socket for socket in host.socket.get_listening_sockets() if socket.endswith(":3000")} == {
        "tcp://127.0.0.1:3000"
    }


def test_secrets_are_roots_alone(host):
    for name in ("web", "later"):
        file = host.file(f"/etc/slipway/node/{name}.env")
        assert (file.user, file.group, file.mode) == ("root", "root", 0o600)
    assert host.run("grep -rl first-token /etc/systemd/system /etc/slipway/node/web.json /run/node-web").stdout == ""


def test_it_starts_with_the_host_in_a_sandbox(host):
    assert host.service("node-web").is_enabled
    exposure = host.check_output("systemd-analyze security node-web.service | tail -n 1")
    assert float(exposure.split()[-3]) < 2, exposure


def test_a_reload_loses_no_request(ask, reload_under_load):
    answers = reload_under_load([3000], "deploy", 2)
    assert set(answers) == {"/srv/web/releases/1", "/srv/web/releases/2"}, answers
    assert ask(3000)["release"] == "/srv/web/releases/2"


def test_sudo_allows_nothing_else(host):
    for words in ("restart node-web.service", "reload-or-restart ssh.service", "stop node-web.service"):
        assert host.run("runuser -u deploy -- sudo -n /usr/bin/systemctl " + words).rc != 0


def test_the_first_release_starts_what_waits(host, ask):
    assert not host.service("node-later").is_running
    host.check_output("ln -s releases/1 /srv/later/current")
    host.check_output("runuser -u deploy -- sudo -n /usr/bin/systemctl reload-or-restart node-later.service")
    assert ask(3100)["release"] == "/srv/later/releases/1"


def test_output_is_in_the_journal(host):
    assert "online" in host.check_output("journalctl --no-pager -t node-web")
