"""From PM2 to systemd, with three instances, and Node from another repository."""

from __future__ import annotations

testinfra_hosts = ["ansible://role_hosts"]


def test_node_comes_from_the_repository(host):
    assert host.check_output("node --version") == "v99.1.0"
    assert host.package("nodejs").version == "99.1.0-1nodesource1"
    assert host.file("/etc/apt/sources.list.d/slipway-node.sources").contains("Signed-By: /etc/apt/keyrings/")


def test_each_instance_has_a_port(host, ask):
    for port in (3000, 3001, 3002):
        answer = ask(port)
        assert answer["uid"] == host.user("web").uid
        assert answer["env"]["PORT"] == str(port)
        assert answer["env"]["TOKEN"] == "second"  # noqa: S105  made up
        assert answer["argv"] == ["--port", str(port), '100% "$HOME"']
    unit = dict(
        line.split("=", 1)
        for line in host.check_output(
            "systemctl show -p MemoryMax -p CPUWeight -p Restart -p ReadWritePaths node-web@3001.service"
        ).splitlines()
    )
    assert unit == {
        "MemoryMax": str(200 << 20),
        "CPUWeight": "50",
        "Restart": "on-failure",
        "ReadWritePaths": "-/srv/web -/var/tmp",
    }


def test_a_reload_loses_no_request(ask, reload_under_load):
    answers = reload_under_load([3000, 3001, 3002], "release", 1)
    assert set(answers) == {"/srv/web/releases/1", "/srv/web/releases/2"}, answers
    assert {ask(port)["release"] for port in (3000, 3001, 3002)} == {"/srv/web/releases/1"}


def test_a_release_that_does_not_start_leaves_the_others(host, ask):
    host.check_output("mkdir -p /srv/web/releases/3 && echo 'process.exit(1)' >/srv/web/releases/3/server.js")
    host.check_output("ln -sfn releases/3 /srv/web/current")
    assert host.run("systemctl reload-or-restart node-web.service").rc != 0
    assert {ask(port)["release"] for port in (3001, 3002)} == {"/srv/web/releases/1"}
    host.check_output("ln -sfn releases/1 /srv/web/current")
    host.check_output("systemctl reload-or-restart node-web.service")
    assert ask(3000)["release"] == "/srv/web/releases/1"


def test_a_command_may_listen_everywhere(host, ask):
    assert "tcp://0.0.0.0:3200" in host.socket.get_listening_sockets()
    assert ask(3200)["env"]["A"] == "1"


def test_what_left_the_list_is_gone(host):
    assert not host.socket("tcp://127.0.0.1:3100").is_listening
    left = (
        "/etc/systemd/system/node-later.service /etc/slipway/node/later.env /etc/sudoers.d/node-later /run/node-later"
    )
    assert host.run(f"ls {left}").stdout == ""
    assert not host.file("/usr/local/bin/pm2").exists
    assert host.file("/srv/later/current").exists
