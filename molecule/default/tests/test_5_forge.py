"""From a checkout that Forge changed in place to releases beside it: the steps of docs/takeover.md, under requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://laravel"]
PORT, OLD, ROOT = 8083, "/var/www/forge.example.com", "/var/www/forge"
URL = f"http://127.0.0.1:{PORT}"
# Step 3: nothing asks the new root yet.
UNSERVED = {
    "release_http_url": "",
    "release_restart_commands": [],
    "release_workers": [],
    "release_horizon": False,
    "release_reverb": False,
}
SERVED = {
    "release_http_url": URL,
    "release_restart_commands": [["sudo", "-n", "/usr/bin/supervisorctl", "start", "forge-worker"]],
}


@pytest.fixture
def forge(play):
    def run(playbook, *arguments, **extra):
        settings = {
            "laravel_app": "forge",
            "laravel_root": ROOT,
            "laravel_env": {},
            "release_fpm_socket": "/run/php/logbook.sock",
            "release_expect": {"app_env": "production"},
        }
        return play(playbook, *arguments, "--extra-vars", json.dumps({**settings, **extra}))

    return run


@pytest.fixture
def under_load(load):
    return lambda: load("localhost", *(f"{URL}{path}" for path in ("/release", "/notes", "/up")))


@pytest.fixture
def live(host):
    return lambda: Path(host.file(f"{ROOT}/current").linked_to).name


def worker(host):
    pid = host.check_output("supervisorctl pid forge-worker")
    return host.check_output("readlink /proc/%s/cwd", pid)


def test_what_forge_left(host):
    script = Path(__file__).with_name("lay_down_forge.sh").read_text()
    host.check_output("sh -c %s lay_down_forge %s", script, str(PORT))
    assert worker(host) == OLD
    assert host.run("curl -fs %s/up", URL).rc == 0


def test_a_root_that_is_the_checkout_itself_is_refused(host, forge):
    refused = forge("release.yml", release_version="v1.0.0", laravel_root=OLD)
    assert refused.status != 0
    assert host.run("test -e %s/releases -o -e %s/.slipway", OLD, OLD).rc != 0


def test_first_release_beside_what_is_served(host, forge, under_load, live):
    laid_out = forge("molecule/default/layout.yml")
    assert laid_out.status == 0, laid_out.errors
    link = f"cd {ROOT}/shared && ln -s {OLD}/storage storage && cp -p {OLD}/.env .env"
    host.check_output("runuser -u deploy -- sh -c %s", link)
    with under_load() as seen:
        released = forge("release.yml", release_version="v1.0.0", **UNSERVED)
    assert released.status == 0, released.errors
    assert (seen.failed, set(seen.served)) == ({}, {"development"})
    assert worker(host) == OLD
    manifest = json.loads(host.file(f"{ROOT}/current/.slipway.json").content_string)
    assert manifest["release"] == live()


def change_over(host, under_load, root, *changes):
    """Let the web server and the worker serve from another root, under requests."""
    script = "; ".join([f"s|root .*|root {root}/public;|", *changes])
    with under_load() as seen:
        host.check_output("sed -i %s /etc/nginx/conf.d/forge.conf", script)
        host.check_output("nginx -q -t && systemctl reload nginx")
    assert seen.failed == {}
    host.check_output("sed -i %s /etc/supervisor/conf.d/forge-worker.conf", f"s|^directory=.*|directory={root}|")
    host.check_output("supervisorctl update")
    return set(seen.served)


def test_the_web_server_changes_over(host, under_load, live):
    changes = (
        r"s|$document_root$fastcgi|$realpath_root$fastcgi|",
        r"s|fastcgi_pass .*|&\n        fastcgi_param DOCUMENT_ROOT $realpath_root;|",
    )
    assert change_over(host, under_load, f"{ROOT}/current", *changes) == {"development", live()}
    assert worker(host) == f"{ROOT}/releases/{live()}"


def test_the_next_release_is_proven_there_and_goes_back(host, forge, under_load, live):
    first = live()
    with under_load() as seen:
        released = forge("release.yml", release_version="v1.1.0", **SERVED)
        second = live()
        back = forge("rollback.yml", **SERVED)
    assert released.status == 0, released.errors
    assert back.status == 0, back.errors
    assert live() == first != second
    assert seen.failed == {}
    assert set(seen.served) == {first, second}
    assert worker(host) == f"{ROOT}/releases/{first}"
    assert host.run("test -d %s/storage/logs && test -f %s/.env", OLD, OLD).rc == 0


def test_the_way_back_to_the_checkout_and_forward_again(host, under_load, live):
    assert change_over(host, under_load, OLD) == {"development", live()}
    assert worker(host) == OLD
    assert change_over(host, under_load, f"{ROOT}/current") == {"development", live()}


def test_the_storage_moves_and_the_checkout_goes(host, forge, under_load, live):
    inside = host.check_output("find %s/storage/app | wc -l", OLD)
    host.check_output("supervisorctl stop forge-worker")
    move = f"cd {ROOT} && php current/artisan down && rm shared/storage && mv {OLD}/storage shared/storage"
    host.check_output("runuser -u deploy -- sh -c %s", f"{move} && php current/artisan up")
    host.check_output("supervisorctl start forge-worker && rm -r %s", OLD)
    assert host.check_output("find %s/shared/storage/app | wc -l", ROOT) == inside
    before = live()
    with under_load() as seen:
        released = forge("release.yml", release_version="v1.1.0", **SERVED)
    assert released.status == 0, released.errors
    assert (seen.failed, set(seen.served)) == ({}, {before, live()})
