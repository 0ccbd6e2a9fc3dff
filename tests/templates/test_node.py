"""What the role node writes, on every platform."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

APP = {"name": "web", "directory": "/srv/web/current", "port": 3000}


@pytest.mark.parametrize(
    ("platform", "version"),
    [("bookworm", "18"), ("trixie", "20"), ("forky", "22"), ("jammy", "12"), ("noble", "18")],
)
def test_the_distributions_own_node(role, platform, version):
    packages = role("node", platform).value("__node_packages")
    assert packages == [f"nodejs={version}.*", "npm"]


def test_another_node_brings_its_npm(role):
    node = role("node", "noble", node_version=22)
    assert node.value("__node_foreign") is True
    assert node.value("__node_packages") == ["nodejs=22.*"]
    source = node.render("etc/apt/sources.list.d/slipway-node.sources.j2")
    assert "URIs: https://deb.nodesource.com/node_22.x\nSuites: nodistro\n" in source
    assert "Pin: version 22.*\nPin-Priority: 1001\n" in node.render("etc/apt/preferences.d/slipway-node.j2")


def test_corepack_brings_the_npm_that_is_named(role):
    node = role("node", node_npm="corepack", node_npm_version="10.1.0")
    assert node.value("__node_packages") == ["nodejs=20.*", "node-corepack"]
    assert node.value("__node_npm") == ["/usr/bin/corepack", "npm@10.1.0"]
    assert node.value("__node_globals") == [{"name": "npm", "version": "10.1.0"}]


def test_units(role):
    node = role("node", node_apps=[{**APP, "instances": 2, "memory_mb": 100, "settings": {"Nice": 5}}])
    app = node.value("__node_apps")[0]
    unit = node.render("etc/systemd/system/node-app@.service.j2", item=app)
    for line in (
        "ConditionPathExists=/srv/web/current/server.js",
        'ExecStart="/usr/bin/node" "server.js"',
        "EnvironmentFile=/etc/slipway/node/web.env",
        "MemoryMax=100M",
        "ProtectSystem=strict",
        "ReadWritePaths=-/srv/web",
        "Nice=5",
    ):
        assert f"\n{line}\n" in unit
    whole = node.render("etc/systemd/system/node-app.service.j2", item=app)
    assert "Wants=node-web@3000.service node-web@3001.service\n" in whole
    assert whole.count("ExecReload=") == 2


def test_pm2(role):
    node = role("node", node_manager="pm2", node_apps=[{**APP, "instances": 2}])
    app = node.value("__node_apps")[0]
    assert json.loads(node.render("etc/slipway/node/app.json.j2", item=app))["apps"][0]["instances"] == 2
    assert "Environment=PORT=3000 PM2_HOME=%t/node-web" in node.render(
        "etc/systemd/system/node-pm2.service.j2", item=app
    )
    assert node.value("__node_globals") == [{"name": "pm2", "version": "7.0.4"}]


def test_environment_is_quoted(role):
    node = role("node", node_apps=[{**APP, "environment": {"B": 'a "b" $c `d` \\e', "A": 1}}])
    text = node.render("etc/slipway/node/app.env.j2", item=node.value("__node_apps")[0])
    assert text.splitlines()[3:] == ['A="1"', r'B="a \"b\" \$c \`d\` \\e"']


@pytest.mark.skipif(not shutil.which("visudo"), reason="sudo is not installed")
def test_sudo_accepts_it(role, tmp_path):
    node = role("node", node_apps=[APP])
    text = node.render("etc/sudoers.d/node.j2", item=node.value("__node_apps")[0])
    assert text.splitlines()[-1].endswith("NOPASSWD: /usr/bin/systemctl reload-or-restart node-web.service")
    (tmp_path / "sudoers").write_text(text)
    test = subprocess.run(["visudo", "-cf", tmp_path / "sudoers"], capture_output=True, text=True, check=False)
    assert test.returncode == 0, test.stderr
