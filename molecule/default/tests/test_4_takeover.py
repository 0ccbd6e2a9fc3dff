"""The first release of ours onto what other tools left, and the way back to it: docs/takeover.md on a host.

Each has a root, a web site and a worker of its own beside the application that the other tests release. Envoyer and
Forge with zero downtime lay out the same.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://laravel"]
# A run of all tests takes one, for the sake of its time.
NAMES = os.environ.get("SLIPWAY_TAKEOVERS", "deployer capistrano envoyer").split()
TOOLS = pytest.mark.parametrize("name", NAMES)
# Port of the site, the release that is live, and directories that the tool shares.
LEFT = {
    "deployer": (8081, "2", ["storage"]),
    "capistrano": (8082, "20260202090000", ["storage/app", "storage/logs", "storage/framework/sessions"]),
    "envoyer": (8084, "20260202090000", ["storage"]),
}
# Once, as the user of the releases.
LINKS = "cd %s && ln -s ../storage shared/storage && ln -s ../.env shared/.env"


class Server:
    """What a tool left, and how it is operated now."""

    def __init__(self, name, host, play):
        self.name, self.host, self._play = name, host, play
        self.root = f"/var/www/{name}"
        self.port, self.old, self.shared = LEFT[name]
        self.url = f"http://127.0.0.1:{self.port}"

    def play(self, playbook, *arguments, **extra):
        settings = {
            "laravel_app": self.name,
            "laravel_root": self.root,
            "laravel_env": {},
            "release_shared_dirs": self.shared,
            "release_shared_files": [".env"],
            "release_fpm_socket": "/run/php/logbook.sock",
            "release_http_url": self.url,
            "release_restart_commands": [["sudo", "-n", "/usr/bin/supervisorctl", "start", f"{self.name}-worker"]],
            "release_expect": {"app_env": "production"},
        }
        return self._play(playbook, *arguments, "--extra-vars", json.dumps({**settings, **extra}))

    @property
    def live(self):
        return Path(self.host.file(f"{self.root}/current").linked_to).name

    def worker(self):
        """The release that the worker runs in."""
        pid = self.host.check_output("supervisorctl pid %s-worker", self.name)
        return Path(self.host.check_output("readlink /proc/%s/cwd", pid)).name

    def info(self):
        told = self.host.ansible("slipway.laravel.release_info", f"root={self.root}")
        assert "current" in told, told
        return told


@pytest.fixture
def server(name, host, play):
    return Server(name, host, play)


@pytest.fixture
def under_load(server, load):
    return lambda: load("localhost", *(f"{server.url}{path}" for path in ("/release", "/notes", "/up")))


@pytest.fixture(scope="module")
def ids():
    return {}


@TOOLS
def test_what_the_tool_left_is_understood(server):
    script = Path(__file__).with_name("lay_down.sh").read_text()
    server.host.check_output("sh -c %s lay_down %s %s", script, server.name, str(server.port))
    assert server.worker() == server.old
    info = server.info()
    assert info["current"] == server.old
    (problem,) = info["problems"]
    missing = "shared" if server.name == "envoyer" else ".slipway"
    assert f"/{missing} does not exist; run the site playbook" in problem


@TOOLS
def test_the_layout_leaves_what_is_there(server):
    look = "cd %s && find . -not -path './.slipway*' -printf '%%p %%u %%y %%l\\n' | sort; sha256sum current/.env"
    if server.name == "envoyer":
        look = look.replace("find . ", "find . -not -path './shared*' ")
    before = server.host.check_output(look, server.root)
    playbook = ["site.yml", "--tags", "layout"] if server.name == "deployer" else ["molecule/default/layout.yml"]
    laid_out = server.play(*playbook)
    assert laid_out.status == 0, laid_out.errors
    assert server.host.check_output(look, server.root) == before
    if server.name == "envoyer":
        server.host.check_output("runuser -u deploy -- sh -c %s", LINKS % server.root)
    assert server.info()["problems"] == []


@TOOLS
def test_first_release_fails_no_request(server, ids, under_load):
    uploads = server.host.check_output("ls %s/current/storage/app/public", server.root)
    if server.name == "deployer":
        checked = server.play("release.yml", "--check", release_version="v1.0.0")
        assert checked.status == 0, checked.errors
    with under_load() as seen:
        released = server.play("release.yml", release_version="v1.0.0")
    assert released.status == 0, released.errors
    ids[server.name] = server.live
    assert seen.failed == {}
    # The application knows its release by a file that other tools do not write.
    assert set(seen.served) == {"development", server.live}
    assert server.worker() == server.live != server.old
    assert server.host.check_output("ls %s/current/storage/app/public", server.root) == uploads
    info = server.info()
    assert (info["rollback_target"], info["problems"]) == (server.old, [])


@TOOLS
def test_rollback_goes_to_the_release_of_the_tool(server, ids, under_load):
    with under_load() as seen:
        back = server.play("rollback.yml")
    assert back.status == 0, back.errors
    assert (server.live, server.worker()) == (server.old, server.old)
    assert seen.failed == {}
    assert set(seen.served) == {"development", ids[server.name]}
