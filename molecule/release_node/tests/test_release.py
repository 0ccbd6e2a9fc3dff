"""Releases of two Node servers under a load of requests: "web" under systemd and "shop" under PM2, both behind nginx.

The tests follow each other.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://laravel_node"]
RELEASE_ID = r"\d{8}T\d{6}Z-[0-9a-f]{8}"
BOTH = pytest.mark.parametrize("name", ["web", "shop"])


class App:
    """One of the two applications, as users and operators see it."""

    def __init__(self, name, host, play):
        self.name, self.host, self._play = name, host, play
        self.root = f"/var/www/{name}"

    def play(self, playbook, *arguments, **extra):
        extra = {"laravel_hosts": "laravel_node", "laravel_app": self.name, **extra}
        return self._play(playbook, *arguments, "--extra-vars", json.dumps(extra))

    @property
    def live(self):
        return Path(self.host.file(f"{self.root}/current").linked_to).name

    @property
    def releases(self):
        return sorted(self.host.file(f"{self.root}/releases").listdir())

    def processes(self):
        """The servers that run, each with the release that it runs in."""
        found = self.host.check_output(
            "for p in $(pgrep -x 'node|node .*'); do echo $p $(readlink /proc/$p/cwd); done"
        ).splitlines()
        pairs = (line.split() for line in found if f" {self.root}/releases/" in line)
        return {pid: Path(cwd).name for pid, cwd in pairs}

    def get(self, path="/"):
        return self.host.check_output(
            "curl --silent --fail --header %s http://127.0.0.1%s", f"Host: {self.name}.lab.test", path
        )

    def answer(self):
        return json.loads(self.get())

    def expect_live(self, version):
        """Every way to ask which release is live gives the same answer."""
        live = self.live
        assert re.fullmatch(RELEASE_ID, live)
        assert {self.answer()["release"] for _ in range(6)} == {live}
        assert self.answer()["version"] == version
        assert list(self.processes().values()) == [live, live]
        assert not self.host.file(f"{self.root}/.slipway/lock").exists
        return live


@pytest.fixture
def app(name, host, play):
    return App(name, host, play)


@pytest.fixture
def under_load(app, load):
    """Requests for a page, for the page of health, and for one that takes a second."""
    urls = [f"http://127.0.0.1{path}" for path in ("/", "/", "/up", "/slow")]
    return lambda: load(f"{app.name}.lab.test", *urls)


@pytest.fixture(scope="module")
def ids():
    """Release ids by application and version, as the tests make them."""
    return {}


@BOTH
def test_first_release(app, ids):
    if app.name != "web":
        # The application of the inventory was laid out by site.yml.
        laid_out = app.play("site.yml", "--tags", "layout", "--limit", "laravel_node")
        assert laid_out.status == 0, laid_out.errors
    released = app.play("release.yml", release_version="v1.0.0")
    assert released.status == 0, released.errors
    ids[app.name, 1] = app.expect_live("1.0.0")
    assert app.answer()["greeting"] == "hello"


@BOTH
def test_the_release_has_what_it_runs_with_and_nothing_that_built_it(app):
    current = f"{app.root}/current"
    assert app.host.file(f"{current}/node_modules/express").is_directory
    assert not app.host.file(f"{current}/node_modules/esbuild").exists
    (asset,) = app.answer()["assets"]
    assert "v1.0.0" in app.get(asset)


@BOTH
def test_next_release_fails_no_request(app, ids, under_load):
    (asset,), before = app.answer()["assets"], app.processes()
    with under_load() as seen:
        released = app.play("release.yml", release_version="v1.1.0")
    assert released.status == 0, released.errors
    ids[app.name, 2] = app.expect_live("1.1.0")
    assert seen.failed == {}
    assert set(seen.served) == {ids[app.name, 1], ids[app.name, 2]}
    assert not before.keys() & app.processes().keys()
    # A page that was loaded before still finds what belongs to it.
    assert app.answer()["assets"] != [asset]
    assert app.get(asset)


@BOTH
def test_release_that_does_not_start_stops_before_the_switch(app, ids, under_load):
    before = app.processes(), app.releases
    with under_load() as seen:
        failed = app.play("release.yml", release_version="v1.2.0-not-starting")
    assert failed.status != 0
    assert "node server.js" in failed.output
    assert "did not come to answer /up" in failed.output
    assert app.expect_live("1.1.0") == ids[app.name, 2]
    assert (app.processes(), app.releases) == before
    assert (seen.failed, set(seen.served)) == ({}, {ids[app.name, 2]})


@BOTH
def test_release_that_is_not_well_goes_back_by_itself(app, ids, under_load):
    with under_load() as seen:
        failed = app.play("release.yml", release_version="v1.2.0-failing-health", release_probe_command=[])
    assert failed.status != 0
    assert "It was live for a moment and was taken back" in failed.errors[-1]
    assert app.expect_live("1.1.0") == ids[app.name, 2]
    # Its health page was bad, which nobody but the load asks for; all else was answered.
    assert {what for what in seen.failed if "/up answered 500" not in what} == set()
    assert ids[app.name, 2] in seen.served


@pytest.mark.parametrize("name", ["web"])
def test_under_systemd_the_other_instance_serves_while_one_does_not_start(name, app, ids, under_load):
    with under_load() as seen:
        failed = app.play("release.yml", release_version="v1.2.0-not-starting", release_probe_command=[])
    assert failed.status != 0
    assert app.expect_live("1.1.0") == ids[app.name, 2]
    assert (seen.failed, set(seen.served)) == ({}, {ids[app.name, 2]})


@BOTH
def test_rollback_fails_no_request(app, ids, under_load):
    with under_load() as seen:
        back = app.play("rollback.yml")
    assert back.status == 0, back.errors
    assert app.expect_live("1.0.0") == ids[app.name, 1]
    assert seen.failed == {}
    assert set(seen.served) == {ids[app.name, 1], ids[app.name, 2]}


def test_site_changes_nothing_on_a_released_host(play):
    again = play("site.yml")
    assert again.status == 0, again.errors
    assert again.changed == 0, again.changes
