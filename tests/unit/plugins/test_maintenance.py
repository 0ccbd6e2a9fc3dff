"""The phases down and up against a played PHP, a played web server that keeps to the state, and Laravel's own check."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import urllib.parse

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _phases_maintenance
from ansible_collections.slipway.laravel.plugins.module_utils._phases_maintenance import bypass_cookie

SECRET = "let-me-in" + "-4711"
FRAMEWORK = "/usr/share/php/Illuminate/autoload.php"


def evidence(result):
    return result["phases"][-1]


@pytest.fixture
def live(site):
    """A site with r1 and r2 live in this order, which share their storage; the lock is ours."""
    site.go_live("r1", "r2")
    for release in ("r1", "r2"):
        (site.path(release) / "storage").symlink_to("../../shared/storage")
    return site


@pytest.fixture
def web(live, http_server):
    """The web server of the site: 503 while Laravel is in maintenance, but for the cookie."""

    def status(request):
        down = live.root / "shared/storage/framework/down"
        passes = "laravel_maintenance=" in (request.headers["Cookie"] or "") or request.path == "/up"
        return 503 if down.exists() and not passes else 200

    return http_server(status) + "/up"


def down(site, **args):
    return site.run("down", **{"release": "r2", "maintenance_secret": SECRET, **args})


def marker(site):
    path = site.root / ".slipway/maintenance.json"
    return json.loads(path.read_text()) if path.exists() else None


def is_down(site):
    return (site.root / "shared/storage/framework/down").exists()


@pytest.mark.skipif(not os.path.exists(FRAMEWORK), reason="Laravel is not installed here")
@pytest.mark.skipif(shutil.which("php") is None, reason="PHP is not installed here")
def test_laravel_takes_our_cookie():
    code = (
        f"require '{FRAMEWORK}'; parse_str($argv[1], $cookies);"
        "var_dump(Illuminate\\Foundation\\Http\\MaintenanceModeBypassCookie::isValid("
        "$cookies['laravel_maintenance'], $argv[2]));"
    )
    for secret, valid in ((SECRET, "bool(true)"), ("another-one", "bool(false)")):
        told = subprocess.run(
            ["php", "-d", "error_reporting=0", "-r", code, "--", bypass_cookie(SECRET), secret],
            check=True,
            capture_output=True,
            text=True,
        )
        assert told.stdout.strip() == valid


def test_down_and_up(live, web):
    code, result = down(live, health_url=web)
    assert (code, result["changed"]) == (0, True), result.get("msg")
    assert evidence(result)["shown"] == f"{web[:-2]} answered 503, and 200 with the secret"
    assert json.loads((live.root / "shared/storage/framework/down").read_text())["retry"] == 60
    path = live.root / ".slipway/maintenance.json"
    assert (marker(live)["run"], stat.S_IMODE(path.stat().st_mode)) == ("run-1", 0o600)
    assert down(live, health_url=web)[1]["changed"] is False
    code, result = live.run("up", release="r2", health_url=web)
    assert (code, result["changed"], evidence(result)["shown"]) == (0, True, f"{web[:-2]} answered 200")
    assert (is_down(live), marker(live)) == (False, None)
    assert live.run("up", release="r2", health_url=web)[1]["changed"] is False


def test_what_was_shut_before_keeps_its_secret(live, web):
    another = "another-" + SECRET
    told = [evidence(down(live, health_url=web, maintenance_secret=secret)[1]) for secret in (SECRET, another, SECRET)]
    assert [found["entrance"] for found in told] == ["secret", "earlier secret", "secret"]


def test_secret_is_on_no_command_line_and_in_no_result(live, web):
    result = down(live, health_url=web)[1]
    assert SECRET not in json.dumps(result) + (live.home / "calls").read_text()


@pytest.mark.parametrize("secret", ["", "short", "with blank and 8", "a/path/of-it"])
def test_secret_that_is_none(live, secret):
    code, result = down(live, maintenance_secret=secret)
    assert (code, is_down(live), marker(live)) == (1, False, None)
    assert "release_maintenance_secret needs 8 characters or more" in result["msg"]


def test_checks_get_through(live, web, fpm):
    down(live, health_url=web)
    live.lock()
    health = web.replace("/up", "/health")
    args = {"health_url": health, "health_path": "/health", "fpm_socket": fpm.address}
    assert live.run("verify", release="r2", **args)[0] == 0
    assert fpm.requests[-1]["HTTP_COOKIE"].startswith("laravel_maintenance=")
    artifact = live.artifact()
    code, result = live.run("stage", **artifact)
    assert (code, evidence(result)["probe"]) == (0, "the application answered /up with 200")


def test_host_without_a_web_server_is_shown_inside_php(live):
    code, result = down(live)
    assert (code, evidence(result)["shown"]) == (0, "the application, /, answered 503, and 200 with the secret")


def test_host_with_fpm_alone(live, fpm):
    fpm.stdout = b"Status: 503\r\n\r\n"
    result = down(live, fpm_socket=fpm.address)[1]
    assert "answered 503 to its secret as well" in result["msg"]
    assert [bool(request.get("HTTP_COOKIE")) for request in fpm.requests] == [False, True]


def test_maintenance_that_does_not_show_is_none(live, http_server):
    url = http_server() + "/up"
    code, result = down(live, health_url=url)
    assert code == 1
    assert f"maintenance is on, but {url[:-2]} answered 200, not 503; let release_maintenance_path" in result["msg"]
    live.run("revert", previous="r2", release="r2")
    assert (is_down(live), marker(live)) == (False, None)


def test_artisan_that_does_not_go_down(live):
    live.add("r3", down_fails="disk full")
    (live.path("r3") / "storage").symlink_to("../../shared/storage")
    live.run("switch", release="r3")
    assert "artisan down did not shut" in down(live, release="r3")[1]["msg"]


@pytest.mark.parametrize("last", [["revert"], ["finish"]])
def test_no_run_leaves_it_behind(live, web, last):
    down(live, health_url=web)
    code, result = live.run(*last, release="r2", previous="r2", health_url=web)
    assert (code, evidence(result)["maintenance"]["changed"]) == (0, True)
    assert (is_down(live), marker(live), live.locked()) == (False, None, False)


def test_revert_leaves_it_also_when_what_was_live_is_not_well(live, web):
    live.run("stage", **live.artifact())
    down(live, health_url=web)
    live.run("switch")
    assert live.run("revert", previous="r2", health_url="http://127.0.0.1:1/up")[0] == 1
    assert (is_down(live), marker(live), live.locked()) == (False, None, False)


def test_revert_leaves_the_site_shut_where_its_database_may_not_fit(live, web):
    down(live, health_url=web)
    live.run("switch", release="r1")
    code, result = live.run("revert", release="r1", previous="r2", stay_shut=True)
    found = evidence(result)
    assert (code, result["changed"], result["current"]) == (0, False, "r1")
    assert (found["reverted"], found["shut"]) == (False, True)
    assert (is_down(live), live.locked(), marker(live)["held"]) == (
        True,
        False,
        "its database may not fit what is live",
    )


def test_revert_says_that_the_site_was_open_already(live, web):
    down(live, health_url=web)
    live.run("up", release="r2", health_url=web)
    found = evidence(live.run("revert", release="r1", previous="r2", stay_shut=True)[1])
    assert (found["shut"], found["open"], marker(live)) == (False, True, None)


# Around a restore

HELD = "a rollback by ann began to restore snapshot s1"


def test_no_other_run_opens_a_site_whose_database_nobody_knows(live, web):
    """The controller is killed in a restore; somebody releases, and then rolls back without the confirmation."""
    down(live, health_url=web, maintenance_held=HELD)
    known = marker(live)
    code, result = live.run("preflight", release="", run="release", takeover=True, health_url=web)
    assert (code, f"the site is held shut since {known['since']}: {HELD}. Restore" in result["msg"]) == (1, True)
    assert (is_down(live), marker(live)) == (True, known)
    code, result = live.run("preflight", release="", run="asks", takeover=True, maintenance_held="another")
    assert code == 0, result["msg"]
    code, result = live.run("revert", release="r1", previous="r2", run="asks", health_url=web, maintenance_held="a")
    found = evidence(result)
    assert (code, found["shut"], found["maintenance"]["left"]) == (0, True, f"held shut: {HELD}")
    assert (is_down(live), marker(live)["held"], live.locked()) == (True, HELD, False)
    for last in ("up", "finish"):
        live.lock("other")
        assert live.run(last, release="r2", run="other", health_url=web)[0] == 0
        assert is_down(live)


def test_site_that_is_held_opens_when_a_restore_has_ended_well(live, web):
    down(live, health_url=web, maintenance_held=HELD)
    given = {"run": "cure", "release": "r2", "health_url": web, "maintenance_secret": SECRET, "maintenance_held": "b"}
    code, result = live.run("preflight", "down", **given, takeover=True)
    assert (code, marker(live)["held"], marker(live)["held_by"]) == (0, HELD, "run-1"), result.get("msg")
    assert live.run("up", **given)[0] == 0
    assert (is_down(live), marker(live)) == (False, None)


def test_run_whose_restore_changed_nothing_opens_the_site_again(live, web):
    down(live, health_url=web, maintenance_held=HELD)
    code, result = live.run("revert", release="r1", previous="r2", health_url=web, maintenance_held=HELD)
    assert (code, evidence(result)["shut"], is_down(live), marker(live)) == (0, False, False, None)


def test_operator_opens_a_site_that_is_held_and_keeps_it_shut(live, web):
    down(live, health_url=web, maintenance_held=HELD)
    live.lock("operator")
    by_hand = {"run": "operator", "release": "", "health_url": web, "maintenance_kept": True}
    assert down(live, **by_hand)[0] == 0
    # The other hosts could not be shut, so that this one is opened again.
    assert live.run("up", **by_hand)[0] == 0
    assert (is_down(live), marker(live)["held"]) == (True, HELD)
    assert live.run("up", **by_hand, maintenance_held="off")[0] == 0
    assert (is_down(live), marker(live)) == (False, None)


def test_restore_that_ended_well_leaves_the_operators_maintenance_alone(live, web):
    live.lock("operator")
    down(live, health_url=web, run="operator", maintenance_kept=True)
    live.lock("restore")
    down(live, health_url=web, run="restore", maintenance_held=HELD)
    live.run("up", release="r2", run="restore", health_url=web, maintenance_held=HELD)
    assert (is_down(live), marker(live)["kept"], marker(live)["held"]) == (True, "operator", "")


def test_host_with_nothing_live_is_held_too(site):
    site.lock()
    site.run("down", maintenance_secret=SECRET, maintenance_held=HELD)
    assert "is held shut" in site.run("preflight", release="", run="next", takeover=True)[1]["msg"]


def test_maintenance_of_a_killed_run_lasts_until_the_next_run_is_over(live, web):
    down(live, health_url=web, run="run-1")
    dummy, result = live.run("preflight", release="", run="run-2", takeover=True, health_url=web)
    assert evidence(result)["maintenance"]["run"] == "run-1"
    assert (is_down(live), marker(live)["run"]) == (True, "run-2")
    live.run("finish", release="r2", run="run-2", health_url=web)
    assert (is_down(live), marker(live)) == (False, None)


def test_maintenance_of_the_operator_outlasts_every_run_that_does_not_go_live(live, web):
    """A run that fails, is refused, is killed or finds nothing to do leaves what the maintenance playbook turned on."""
    live.lock("operator")
    down(live, health_url=web, run="operator", release="", maintenance_kept=True)
    secret = marker(live)["secret"]
    live.lock("refused")
    live.run("preflight", release="", run="refused", health_url=web)
    code, result = live.run("revert", release="", run="refused", previous="r2", health_url=web)
    assert (code, evidence(result)["maintenance"]["changed"], is_down(live)) == (0, False, True)
    assert "turned on by the maintenance playbook" in evidence(result)["maintenance"]["left"]
    # One that shuts the site itself, and is killed.
    live.run("preflight", "down", run="killed", release="r2", health_url=web, maintenance_secret=SECRET + "-2")
    live.run("preflight", release="", run="idle", takeover=True, health_url=web)
    code, result = live.run("finish", release="r2", run="idle", health_url=web)
    assert (code, evidence(result)["maintenance"]["changed"], is_down(live)) == (0, False, True)
    assert marker(live)["secret"] == secret
    # Until all have finished another host may fail.
    code, result = live.run("preflight", "switch", "up", run="good", release="r1", health_url=web)
    assert (code, evidence(result)["changed"], is_down(live)) == (0, False, True), result.get("msg")
    code, result = live.run("finish", release="r1", run="good", health_url=web)
    assert (code, evidence(result)["maintenance"]["changed"]) == (0, True)
    assert (is_down(live), marker(live)) == (False, None)


def test_maintenance_of_the_operator_ends_as_it_began(live, web):
    down(live, health_url=web, release="", maintenance_kept=True)
    code, result = live.run("up", release="", health_url=web, maintenance_kept=True, _ansible_check_mode=True)
    assert (code, result["changed"]) == (0, True)
    code, result = live.run("up", release="", health_url=web, maintenance_kept=True)
    assert (code, result["changed"], is_down(live), marker(live)) == (0, True, False, None)


def test_operator_who_breaks_off_opens_only_what_was_shut_for_that(live, web):
    """As when maintenance is turned on, and another host fails."""
    live.lock("first")
    down(live, health_url=web, run="first", release="", maintenance_kept=True)
    live.lock("second")
    down(live, health_url=web, run="second", release="", maintenance_kept=True)
    code, result = live.run("up", release="", run="second", health_url=web)
    assert (code, result["changed"], is_down(live)) == (0, False, True)
    live.run("up", release="", run="second", health_url=web, maintenance_kept=True)
    assert (is_down(live), marker(live)) == (False, None)
    down(live, health_url=web, run="second", release="", maintenance_kept=True)
    code, result = live.run("up", release="", run="second", health_url=web)
    assert (code, result["changed"], is_down(live), marker(live)) == (0, True, False, None)


def test_maintenance_of_a_killed_release_becomes_the_operators(live, web):
    live.run("preflight", "down", release="r2", health_url=web, maintenance_secret=SECRET)
    live.lock("operator")
    down(live, health_url=web, run="operator", release="", maintenance_kept=True)
    # What the operator does is no release: the next one still has to know of the killed one.
    assert json.loads((live.root / ".slipway/run.json").read_text())["release"] == "r2"
    live.run("preflight", "revert", release="", run="next", takeover=True, health_url=web)
    assert is_down(live)


def test_maintenance_put_up_by_hand_stays_and_is_told(live, web):
    state = live.root / "shared/storage/framework/down"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"secret": "of-the-operator"}))
    code, result = down(live, health_url=web)
    assert (code, result["changed"]) == (0, False)
    assert "put up by hand" in evidence(result)["left"]
    assert evidence(result)["entrance"] == "earlier secret"
    code, result = live.run("up", release="r2", health_url=web)
    assert evidence(result)[
        "left"
    ] == f"{live.path('r2')}/storage/framework/down was put up by hand before and stays; " + ("php artisan up ends it")
    live.run("finish", release="r2", health_url=web)
    assert json.loads(state.read_text()) == {"secret": "of-the-operator"}


@pytest.mark.parametrize("driver", ["file", "cache"])
@pytest.mark.parametrize(("order", "well"), [("{}", True), (None, False)])
def test_home_page_that_a_maintenance_by_hand_has_shut_is_no_fault(live, http_server, driver, order, well):
    (live.path("r2") / "app.json").write_text(json.dumps({"maintenance_driver": driver}))
    state = live.home / "cache-down" if driver == "cache" else live.root / "shared/storage/framework/down"
    if order:
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text(order)
    url = http_server(lambda request: 200 if request.path == "/up" else 503)
    check = {"path": "/", "status_below": 500}
    args = {"release": "r2", "health_url": f"{url}/up", "maintenance_secret": SECRET, "timeout": 0}
    code, result = live.run("verify", smoke=[check], **args)
    assert code == int(not well), result
    if well:
        assert [page["status"] for page in evidence(result)["pages"]] == [200, 503]
    # A page that has to show something does not.
    assert live.run("verify", smoke=[{"path": "/", "status": 200}], **args)[0] == 1


def test_home_page_is_asked_with_what_opens_a_maintenance_of_ours(live, web):
    down(live, health_url=web)
    args = {"release": "r2", "health_url": web, "timeout": 0, "smoke": [{"path": "/", "status_below": 500}]}
    code, result = live.run("verify", **args)
    assert (code, [page["status"] for page in evidence(result)["pages"]]) == (0, [200, 200])


def test_maintenance_put_up_by_hand_stays_also_when_this_run_breaks_off(live):
    state = live.root / "shared/storage/framework/down"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    (live.path("r2") / "app.json").write_text('{"boot_error": "syntax error"}')
    assert down(live)[0] == 1
    assert live.run("revert", release="r2", previous="r2")[0] == 0
    assert state.exists()


@pytest.mark.parametrize("secret, ours", [(SECRET, True), ("of-the-operator", False)])
def test_state_in_the_cache_that_another_host_of_this_run_made_is_ours(live, fpm, secret, ours):
    live.add("r3", maintenance_driver="cache")
    (live.path("r3") / "storage").symlink_to("../../shared/storage")
    live.run("switch", release="r3")
    (live.home / "cache-down").write_text(json.dumps({"secret": secret}))
    answers = iter([b"Status: 503\r\n\r\n", b"Status: 200\r\n\r\n"])
    fpm.by_script = type("Answers", (dict,), {"get": lambda self, name, other: next(answers, other)})()
    code, result = down(live, release="r3", fpm_socket=fpm.address)
    assert (code, result["changed"]) == (0, False), result.get("msg")
    assert (marker(live)["application"], "left" in evidence(result)) == (ours, not ours)
    fpm.by_script = {}
    assert live.run("up", release="r3", fpm_socket=fpm.address)[0] == 0
    assert (live.home / "cache-down").exists() is not ours


class Database:
    """The site with its maintenance in the SQLite database of its cache, shut by nginx too."""

    def __init__(self, site, http_server):
        for release in ("r1", "r2"):
            write_behaviour(site, release, maintenance_driver="database")
        self.site, self.file, self.flag = site, site.home / "db.sqlite", site.home / "shop"
        self.nginx = None
        self.query("create table cache (key text, value text)")
        self.args = {
            "health_url": http_server(self.status) + "/up",
            "maintenance_flags": [str(self.flag)],
            "maintenance_held": HELD,
            "maintenance_secret": SECRET,
        }

    def query(self, query):
        with contextlib.closing(sqlite3.connect(self.file, isolation_level=None)) as database:
            return database.execute(query).fetchall()

    def state(self):
        """The secret of the maintenance that the application knows of."""
        return [json.loads(value)["secret"] for (value,) in self.query("select value from cache")]

    def status(self, request):
        if self.nginx:
            return self.nginx
        payload = urllib.parse.unquote((request.headers["Cookie"] or "").partition("=")[2])
        known = json.loads(base64.b64decode(payload) or "{}")
        for secret in self.state():
            mac = hmac.new(secret.encode(), str(known.get("expires_at")).encode(), hashlib.sha256).hexdigest()
            if known.get("mac") != mac:
                return 503
        return 200

    def run(self, *phases, **args):
        return self.site.run(*phases, **{"release": "r1", **self.args, **args})


def write_behaviour(site, release, **behaviour):
    (site.path(release) / "app.json").write_text(json.dumps(behaviour))


@pytest.fixture
def in_database(live, http_server, monkeypatch):
    monkeypatch.setattr(_phases_maintenance, "own_address", lambda: "")
    return Database(live, http_server)


@pytest.mark.parametrize("shut", [False, True])
def test_maintenance_in_the_database_outlasts_a_restore(in_database, shut):
    if shut:
        in_database.query("""insert into cache values ('down', '{"secret": "of-another-run"}')""")
    taken = evidence(in_database.run("snapshot")[1])["id"]
    in_database.query("delete from cache")
    code, result = in_database.run("down")
    assert (code, in_database.state()) == (0, [SECRET]), result.get("msg")
    code, result = in_database.run("restore", snapshot_id=taken)
    assert (code, in_database.state()) == (0, [SECRET]), result.get("msg")
    assert in_database.run("switch", "up")[0] == 0
    assert (in_database.state(), in_database.flag.exists(), marker(in_database.site)) == ([], False, None)


def test_maintenance_in_the_database_is_brought_back_by_what_starts(in_database):
    taken = evidence(in_database.run("snapshot")[1])["id"]
    in_database.run("down")
    write_behaviour(in_database.site, "r2", boot_error="syntax error")
    assert in_database.run("restore", snapshot_id=taken)[0] == 0
    assert in_database.state() == [SECRET]
    write_behaviour(in_database.site, "r1", boot_error=f"no (SQL: call down('{SECRET}'))")
    code, result = in_database.run("restore", snapshot_id=taken, maintenance_secret="")
    # Where the controller's code was imported before, by another test, Ansible takes warnings out of the result.
    warnings = json.dumps(result.get("warnings")) + " ".join(in_database.site.stderr().split())
    assert (code, "could not go down again" in warnings, in_database.flag.exists()) == (0, True, True)
    assert SECRET not in warnings


@pytest.mark.parametrize(
    "left", ["drop table cache", "delete from cache", """update cache set value = '{"secret": "x"}'"""]
)
def test_restore_that_was_killed_is_repeated_with_the_maintenance_in_the_database(in_database, left):
    taken = evidence(in_database.run("snapshot")[1])["id"]
    in_database.run("down")
    in_database.query(left)
    in_database.site.lock("again")
    again = {"run": "again", "maintenance_secret": "another-secret"}
    code, result = in_database.run("down", **again, maintenance_flags=[])
    assert (code, "drop" in left or in_database.state()) == (0, "drop" in left or [SECRET]), result.get("msg")
    code, result = in_database.run("restore", **again, snapshot_id=taken)
    assert (code, in_database.state()) == (0, [SECRET]), result.get("msg")
    assert in_database.run("switch", "up", **again)[0] == 0
    assert (in_database.state(), in_database.flag.exists()) == ([], False)


@pytest.mark.parametrize("status", [503, 200])
def test_application_whose_database_is_gone_is_shut_by_nginx_for_a_restore(in_database, monkeypatch, status):
    in_database.query("drop table cache")
    code, result = in_database.run("down", maintenance_held="")
    assert (code, "no such table: cache" in result["msg"]) == (1, True)
    monkeypatch.setattr(_phases_maintenance, "own_address", lambda: "127.0.0.1")
    in_database.nginx = status
    code, result = in_database.run("down")
    told = evidence(result).get("shown") or result["msg"]
    assert (code, f"answered {status}" in told) == (0 if status == 503 else 1, True)


def test_up_where_the_application_does_not_start_any_more(live, web):
    down(live, health_url=web)
    (live.path("r2") / "app.json").write_text('{"boot_error": "syntax error"}')
    code = live.run("up", release="r2", health_url=web)[0]
    assert (code, is_down(live), marker(live)) == (0, False, None)
    assert not (live.root / "shared/storage/framework/maintenance.php").exists()


def test_up_that_is_not_seen_is_tried_again(live, http_server):
    live.add("r3", boot_error="syntax error", maintenance_driver="cache")
    live.run("switch", release="r3")
    note = {"run": "run-1", "since": "now", "release": "r2", "secret": SECRET, "application": True, "flags": []}
    (live.root / ".slipway/maintenance.json").write_text(json.dumps(note))
    code, result = live.run("up", release="r3", health_url=http_server(503))
    assert code == 1
    assert "still answers 503 after artisan up (the application in" in result["msg"]
    assert marker(live) == note


def test_storage_of_its_own_in_each_release(live, web):
    (live.path("r2") / "storage").unlink()
    (live.path("r2") / "storage/framework").mkdir(parents=True)
    down(live)
    live.run("switch", release="r1")
    assert live.run("up", release="r1")[0] == 0
    assert not (live.path("r2") / "storage/framework/down").exists()


def test_nothing_live_yet(site):
    site.lock()
    code, result = site.run("down", maintenance_secret=SECRET)
    assert (code, evidence(result)["shown"], marker(site)) == (0, "nothing is live that could be shut", None)


@pytest.mark.parametrize("phase, changed", [("down", True), ("up", False)])
def test_check_mode(live, phase, changed):
    code, result = live.run(phase, release="r2", maintenance_secret=SECRET, _ansible_check_mode=True)
    assert (code, result["changed"], is_down(live), marker(live)) == (0, changed, False, None)


# The flags of nginx


@pytest.fixture
def flag(live):
    (live.home / "flags").mkdir()
    return live.home / "flags/shop"


def test_flags_are_set_beside_laravels_own(live, web, flag, monkeypatch):
    monkeypatch.setattr(_phases_maintenance, "own_address", lambda: "")
    code, result = down(live, health_url=web, maintenance_flags=[str(flag)])
    assert (code, flag.exists(), is_down(live)) == (0, True, True), result.get("msg")
    assert evidence(result)["shown"].endswith(
        "not seen from here: this host has no address of its own, or no release_http_url)"
    )
    live.run("up", release="r2", health_url=web)
    assert (flag.exists(), is_down(live)) == (False, False)


def test_flag_that_was_there_before_stays(live, web, flag):
    flag.touch()
    down(live, health_url=web, maintenance_flags=[str(flag)])
    live.run("up", release="r2", health_url=web)
    assert flag.exists()


def test_flag_alone_for_node(live, http_server, flag, monkeypatch):
    monkeypatch.setattr(_phases_maintenance, "own_address", lambda: "127.0.0.1")
    url = http_server(lambda _request: 503 if flag.exists() else 200)
    args = {"release": "r2", "kind": "node", "health_url": url, "maintenance_flags": [str(flag)]}
    code, result = live.run("down", **args)
    assert (code, evidence(result)["shown"]) == (0, f"{url}/ answered 503"), result.get("msg")
    assert live.run("up", **args)[0] == 0
    assert not flag.exists()


def test_flag_alone_that_does_not_show(live, http_server, flag, monkeypatch):
    monkeypatch.setattr(_phases_maintenance, "own_address", lambda: "127.0.0.1")
    args = {"release": "r2", "kind": "node", "health_url": http_server(), "maintenance_flags": [str(flag)]}
    code, result = live.run("down", **args)
    assert code == 1
    assert "answered 200, not 503; they have to be named as nginx's site, and nginx_maintenance_allow" in result["msg"]
    live.run("revert", previous="r2", **args)
    assert not flag.exists()


def test_node_without_flags(live):
    assert (
        "kind=node application has no maintenance of its own" in live.run("down", release="r2", kind="node")[1]["msg"]
    )


def test_flag_that_cannot_be_set(live, flag):
    code, result = down(live, maintenance_flags=[f"{flag}/none"])
    assert code == 1
    assert "cannot be set: No such file or directory; let nginx_maintenance_owner" in result["msg"]
