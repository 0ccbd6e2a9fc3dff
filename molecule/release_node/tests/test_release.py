"""Releases of three Node servers under a load of requests, all behind nginx: "web" and "next", which is a real Next.js,
under systemd, and "shop" under PM2.

The tests follow each other.
"""

from __future__ import annotations

import contextlib
import html
import json
import re
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://laravel_node"]
RELEASE_ID = r"\d{8}T\d{6}Z-[0-9a-f]{8}"
ALL = pytest.mark.parametrize("name", ["web", "shop", "next"])
# Versions that are told apart by what a server does need not be built by Next.js as well.
BOTH = pytest.mark.parametrize("name", ["web", "shop"])
NEXT = pytest.mark.parametrize("name", ["next"])
ASSET = r'/(?:build|_next/static)/[^"\\]+\.js'

# Opens the page again and again, and asks for all that belongs to it, as a browser does.
BROWSER = """
import json, re, signal, sys, time, urllib.request
name, asset, target = sys.argv[1:]
pages, missing, ended = 0, [], []
def get(path):
    try:
        request = urllib.request.Request("http://127.0.0.1" + path, headers={"Host": name})
        return urllib.request.urlopen(request, timeout=60).read().decode()
    except Exception as error:
        missing.append("%s: %r" % (path, error))
        return ""
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
while not ended:
    found = sorted(set(re.findall(asset, get("/"))))
    time.sleep(0.2)
    [get(path) for path in found]
    pages += bool(found)
with open(target, "w") as stream:
    json.dump({"pages": pages, "missing": missing}, stream)
"""


class App:
    """One of the applications, as users and operators see it."""

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
            "for p in $(pgrep -x 'node|node .*|next-server .*'); do echo $p $(readlink /proc/$p/cwd); done"
        ).splitlines()
        pairs = (line.split() for line in found if f" {self.root}/releases/" in line)
        return {pid: Path(cwd).name for pid, cwd in pairs}

    def get(self, path="/"):
        return self.host.check_output(
            "curl --silent --fail --header %s http://127.0.0.1%s", f"Host: {self.name}.lab.test", path
        )

    def answer(self):
        """What the page says of itself, and the scripts that it asks for."""
        page = self.get()
        (said,) = re.findall(r"<pre>(.*?)</pre>", page) or [page]
        return {**json.loads(html.unescape(said)), "assets": sorted(set(re.findall(ASSET, page)))}

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
def under_load(app, host, load):
    """Requests for a page, for the page of health, for one that takes a second, and for pages with their assets."""
    name, target = f"{app.name}.lab.test", "/run/slipway-browser.json"
    urls = [f"http://127.0.0.1{path}" for path in ("/", "/", "/up", "/slow")]

    @contextlib.contextmanager
    def requests():
        unit = "systemd-run --quiet --collect --unit slipway-browser"
        host.check_output(f"{unit} python3 -c %s %s %s %s", BROWSER, name, ASSET, target)
        try:
            with load(name, *urls) as seen:
                yield seen
        finally:
            host.check_output("systemctl stop slipway-browser")
        opened = json.loads(host.file(target).content_string)
        assert opened["pages"] > 0
        seen.failed.update(dict.fromkeys(opened["missing"], 1))

    return requests


@pytest.fixture(scope="module")
def ids():
    """Release ids by application and version, as the tests make them."""
    return {}


@ALL
def test_first_release(app, ids):
    if app.name != "web":
        # The application of the inventory was laid out by site.yml.
        laid_out = app.play("site.yml", "--tags", "layout", "--limit", "laravel_node")
        assert laid_out.status == 0, laid_out.errors
    released = app.play("release.yml", release_version="v1.0.0")
    assert released.status == 0, released.errors
    ids[app.name, 1] = app.expect_live("1.0.0")
    assert app.answer()["greeting"] == "hello"


@ALL
def test_the_record_proves_each_server(app, ids, records):
    (path,) = records.glob(f"*/{ids[app.name, 1]}.jsonl")
    phases = [entry["data"] for entry in map(json.loads, path.read_text().splitlines()) if entry["event"] == "phase"]
    (verified,) = [phase for phase in phases if phase["phase"] == "verify"]
    assert {str(worker["pid"]): worker["release"] for worker in verified["workers"]} == app.processes()
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", worker["started"]) for worker in verified["workers"])


@ALL
def test_the_release_has_what_it_runs_with_and_nothing_that_built_it(app):
    needed, built_by = {"next": ("node_modules/next", ".next/cache/webpack")}.get(
        app.name, ("node_modules/express", "node_modules/esbuild")
    )
    assert app.host.file(f"{app.root}/current/{needed}").is_directory
    assert not app.host.file(f"{app.root}/current/{built_by}").exists
    assert any("v1.0.0" in app.get(asset) for asset in app.answer()["assets"])


@ALL
def test_next_release_fails_no_request(app, ids, under_load):
    assets, before = app.answer()["assets"], app.processes()
    with under_load() as seen:
        released = app.play("release.yml", release_version="v1.1.0")
    assert released.status == 0, released.errors
    ids[app.name, 2] = app.expect_live("1.1.0")
    assert seen.failed == {}
    assert set(seen.served) == {ids[app.name, 1], ids[app.name, 2]}
    assert not before.keys() & app.processes().keys()
    # A page that was loaded before still finds what belongs to it.
    assert app.answer()["assets"] != assets
    assert all(app.get(asset) for asset in assets)


@NEXT
def test_files_with_a_hash_come_from_nginx_and_may_be_kept(app):
    (asset, *_) = app.answer()["assets"]
    headers = app.host.check_output(
        "curl --silent --head --header %s --header 'Accept-Encoding: gzip' http://127.0.0.1%s",
        "Host: next.lab.test",
        asset,
    ).lower()
    assert "content-encoding: gzip" in headers
    assert "cache-control: max-age=31536000" in headers
    assert "x-frame-options" in headers, "those of the site are not lost"


@NEXT
def test_build_that_fails_leaves_everything_as_it_was(app, ids, under_load):
    before = app.processes(), app.releases
    with under_load() as seen:
        failed = app.play("release.yml", release_version="v1.2.0-not-building")
    assert failed.status != 0
    assert "build: npm failed, npm exited 1" in failed.output
    assert "Error:   x Expression expected\n" in failed.output
    assert app.expect_live("1.1.0") == ids[app.name, 2]
    assert (app.processes(), app.releases) == before
    assert (seen.failed, set(seen.served)) == ({}, {ids[app.name, 2]})


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
def test_release_that_loses_one_of_two_instances_goes_back_by_itself(app, ids):
    failed = app.play("release.yml", release_version="v1.2.0-losing-one", release_timeout=30)
    assert failed.status != 0
    said = re.compile(r"1 of 2 servers that this user may see run|ended as soon as it had started")
    assert said.search(failed.output), failed.errors
    assert app.expect_live("1.1.0") == ids[app.name, 2]


@ALL
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
