"""What a rollback asks of the release that it goes to: its environment, and whether PHP still loads it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _fpm_scripts, _rollback
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout, LayoutError

FRAMEWORK = "/usr/share/php/Illuminate/autoload.php"
needs_laravel = pytest.mark.skipif(
    not (os.path.exists(FRAMEWORK) and shutil.which("php")), reason="PHP and Laravel are not installed here"
)
CONFIG = "bootstrap/cache/config.php"
OLD, NEW = "password-of-old", "password-of-new"


@pytest.fixture
def live(site):
    """r2 is live after r1; both have cached an .env that has changed since."""
    site.write_env(DB_PASSWORD=OLD, MAIL_HOST="here")
    (site.root / "shared/.env").chmod(0o600)
    for release in ("r1", "r2"):
        path = site.add(release)
        (path / ".env").symlink_to("../../shared/.env")
        cache(path)
        site.go_live(release)
    change(site)
    return site


def cache(path, command="config:cache"):
    subprocess.run(["php", "artisan", command], cwd=path, check=True)


def change(site, **values):
    site.write_env(**(values or {"DB_PASSWORD": NEW, "MAIL_HOST": "there"}))
    os.utime(site.root / "shared/.env", (2 * 10**9, 2 * 10**9))


def cached(site, release):
    return (site.path(release) / CONFIG).read_text()


def looked_at(site, **args):
    (site.root / ".slipway/lock").unlink(missing_ok=True)
    code, result = site.run("preflight", release="", min_free_mb=0, rollback=True, **args)
    assert code == 0, result.get("msg")
    return result["phases"][0]


def test_names_of_what_was_cached_with_other_values_are_told(live):
    found = looked_at(live)
    assert found["environments"] == {"r1": {"known": True, "decisive": ["DB_PASSWORD"], "others": ["MAIL_HOST"]}}
    assert found["commits"] == {"r1": "commit of r1", "r2": "commit of r2"}
    assert not {OLD, NEW} & set(json.dumps(found).split('"'))


def test_what_has_nothing_else_cached_is_not_asked(live):
    calls = live.home / "calls"
    (live.path("r1") / CONFIG).unlink()
    assert looked_at(live)["environments"] == {}, "it reads shared/.env itself"
    assert "LoadConfiguration" not in calls.read_text()
    cache(live.path("r1"))
    os.utime(live.path("r1") / CONFIG, (2 * 10**9 + 1,) * 2)
    assert looked_at(live)["environments"] == {}, "of this .env"
    change(live)
    assert looked_at(live, kind="node", shared_files=[])["environments"] == {}
    (live.root / ".slipway/lock").unlink()
    assert live.run("preflight", release="", min_free_mb=0)[1]["phases"][0]["environments"] == {}, "no rollback"


def test_what_cannot_be_compared_stops_nothing_and_tells_no_value(live):
    (live.path("r1") / "app.json").write_text(json.dumps({"bad_env": True}))
    found = looked_at(live)
    assert found["environments"] == {"r1": {"known": False, "decisive": [], "others": []}}
    assert NEW not in json.dumps(found)


def test_going_back_asks_for_no_environment(live):
    """What was live a minute ago may have any .env in its cache."""
    live.lock()
    live.run("switch", release="r2")
    calls = live.home / "calls"
    calls.write_text("")
    code, result = live.run("revert", release="r2", previous="r1")
    assert (code, live.current()) == (0, "r1"), result.get("msg")
    assert "LoadConfiguration" not in calls.read_text()


def test_caches_are_made_anew_before_the_switch(live, fpm):
    before = cached(live, "r2")
    live.lock()
    code, result = live.run("recache", release="r1", _ansible_check_mode=True)
    assert (code, result["changed"], NEW in cached(live, "r1")) == (0, True, False)
    fpm.by_script["opcache.php"] = b"\r\n\r\nfalse"
    code, result = live.run("recache", release="r1", fpm_socket=fpm.address)
    assert (code, result["changed"], live.current()) == (0, True, "r2"), result.get("msg")
    assert (NEW in cached(live, "r1"), cached(live, "r2")) == (True, before)
    assert stat.S_IMODE((live.path("r1") / CONFIG).stat().st_mode) == 0o600
    assert any(request["QUERY_STRING"].startswith("forget=") for request in fpm.requests)
    code, result = live.run("switch", "finish", release="r1")
    assert (code, live.current(), NEW in cached(live, "r1")) == (0, "r1", True), result.get("msg")
    assert not (live.root / ".slipway/caches").exists()


def kept_secret(site):
    return stat.S_IMODE((site.root / ".slipway/caches").stat().st_mode)


@pytest.mark.parametrize("fails", ["route:cache", "config:cache", ""])
def test_rollback_that_fails_leaves_the_old_caches(live, fails):
    before = cached(live, "r1")
    times = (live.path("r1") / CONFIG).stat().st_mtime
    (live.path("r1") / "app.json").write_text(json.dumps({"fail": {fails: "no"}}))
    live.lock()
    code, result = live.run("recache", release="r1")
    assert (code, kept_secret(live)) == (int(bool(fails)), 0o700), result.get("msg")
    code, result = live.run("revert", release="r1", previous="r2")
    assert (code, live.current()) == (0, "r2"), result.get("msg")
    assert (cached(live, "r1"), (live.path("r1") / CONFIG).stat().st_mtime) == (before, times)
    assert looked_at(live)["environments"]["r1"]["decisive"] == ["DB_PASSWORD"]


@pytest.mark.parametrize("before, stays, new", [("r2", True, True), ("r1", True, True), ("r1", False, False)])
def test_release_that_stays_live_keeps_the_caches_that_it_serves_with(live, before, stays, new):
    """Where it was live before the run, and the other hosts go back, the old ones are those that it had."""
    if before == "r1":
        live.go_live("r1")
    live.lock()
    live.run("recache", "switch", release="r1")
    code, result = live.run("revert", release="r1", previous="r1", stays_live=stays)
    assert (code, live.current(), result["phases"][0]["reverted"]) == (0, "r1", False), result.get("msg")
    assert (NEW in cached(live, "r1"), OLD in cached(live, "r1")) == (new, not new)
    assert not list((live.root / ".slipway/caches").iterdir())


def test_release_that_could_not_be_left_keeps_the_caches_that_it_serves_with(live, monkeypatch):
    live.lock()
    live.run("recache", "switch", release="r1")

    def refuse(*_args):
        raise LayoutError("no")

    monkeypatch.setattr(Layout, "switch", refuse)
    code, _result = live.run("revert", release="r1", previous="r2")
    assert (code, live.current(), NEW in cached(live, "r1")) == (1, "r1", True)


def test_caches_of_a_release_that_did_not_go_live_are_put_back_though_it_was_to_stay(live):
    live.lock()
    live.run("recache", release="r1")
    live.run("revert", release="r1", previous="r1", stays_live=True)
    assert (live.current(), OLD in cached(live, "r1")) == ("r2", True)


@pytest.mark.parametrize("switched", [False, True])
def test_rollback_that_was_killed_leaves_the_old_caches_unless_it_had_switched(live, fpm, switched):
    live.lock()
    live.run("recache", release="r1")
    # The first copy counts.
    live.run("recache", *(["switch"] if switched else []), release="r1")
    fpm.by_script["opcache.php"] = b"\r\n\r\nfalse"
    looked_at(live, fpm_socket=fpm.address)
    assert (OLD in cached(live, "r1"), NEW in cached(live, "r1")) == (not switched, switched)
    assert not list((live.root / ".slipway/caches").iterdir())
    # PHP-FPM looks at no file twice, and has been shown the new ones by the phase load.
    asked = [request["QUERY_STRING"] for request in fpm.requests]
    assert (f"forget={quote(str(live.path('r1')))}" in asked) == (not switched)


def loaded_by(fpm, error, status=b""):
    fpm.by_script["opcache.php"] = b"\r\n\r\nfalse"
    fpm.stdout = status + b"\r\n\r\nnoise\nslipway:" + json.dumps({"error": error}).encode()


def test_release_that_php_does_not_load_any_more_does_not_go_live(live, fpm):
    before = live.root / ".slipway/load-01234567.php"
    before.touch()
    loaded_by(fpm, 'Error: Class "Redis" not found')
    live.lock()
    code, result = live.run("load", "switch", release="r1", fpm_socket=fpm.address)
    assert (code, live.current()) == (1, "r2")
    assert f'PHP-FPM does not load {live.path("r1")}: Error: Class "Redis" not found; release it again' in result["msg"]
    (asked,) = [request for request in fpm.requests if "/load-" in request["SCRIPT_FILENAME"]]
    assert asked["QUERY_STRING"] == "release=r1"
    assert Path(asked["SCRIPT_FILENAME"]).read_text().startswith("<?php\n")
    assert not before.exists(), "of another version of the collection"
    loaded_by(fpm, "")
    assert live.run("load", "switch", release="r1", fpm_socket=fpm.address)[0] == 0
    assert not any("index.php" in request["SCRIPT_FILENAME"] for request in fpm.requests), "no page is asked for"


@pytest.mark.parametrize("args", [{}, {"workers": {"queue:work": 1}}])
def test_service_that_a_provider_does_not_reach_keeps_no_rollback(live, fpm, warned, args):
    told = "RuntimeException: no answer, password=s3cret-one (SQL: select * from a where b = c)"
    fpm.by_script["opcache.php"] = b"\r\n\r\nfalse"
    fpm.stdout = b"\r\n\r\nslipway:" + json.dumps({"error": "", "note": told}).encode()
    (live.path("r1") / "app.json").write_text(json.dumps({"load_note": told}))
    live.lock()
    code, result = live.run("load", "switch", release="r1", fpm_socket=fpm.address, **args)
    assert (code, live.current()) == (0, "r1"), result.get("msg")
    (warning,) = warned
    assert result["phases"][0]["note"] == warning
    assert warning.startswith(f"PHP-FPM loads {live.path('r1')}, but a provider of it ended with RuntimeException: no ")
    assert not [value for value in ("s3cret-one", "b = c") if value in json.dumps(result)]
    del fpm.by_script["opcache.php"]
    assert "PHP on the command line loads" in live.run("load", release="r1")[1]["phases"][0]["note"]


def test_release_that_was_there_before_a_rollback_is_not_removed(live):
    """One that was never live, and that release_rollback_to names; a release that fails removes its own."""
    for rollback in (True, False):
        live.add("r3", load_error="ParseError: unexpected token")
        live.lock()
        assert live.run("load", release="r3", rollback=rollback)[0] == 1
        code, result = live.run("revert", release="r3", previous="r2", rollback=rollback)
        assert (code, live.current(), live.path("r3").exists()) == (0, "r2", rollback), result.get("msg")


def test_fatal_error_of_php_fpm_is_none_of_its_answers(live, fpm):
    loaded_by(fpm, "")
    fpm.stdout = b"Status: 500 Internal Server Error\r\n\r\nno memory"
    live.lock()
    code, result = live.run("load", release="r1", fpm_socket=fpm.address)
    assert (code, "does not load" in result["msg"], "no memory" in result["msg"]) == (1, True, True)


@pytest.mark.parametrize("answer", [b"Status: 404 Not Found\r\n\r\nFile not found.", None])
def test_php_fpm_that_does_not_tell_keeps_no_rollback(live, fpm, answer):
    """A pool of another user does not read our file, and one whose processes are all busy does not answer."""
    fpm.by_script["opcache.php"] = b"\r\n\r\nfalse"
    fpm.stdout = answer or b""
    address = fpm.address if answer else str(live.home / "none.sock")
    live.lock()
    code, result = live.run("load", release="r1", fpm_socket=address)
    assert code == 0, result.get("msg")


def test_full_disk_keeps_no_rollback(live, fpm, monkeypatch):
    loaded_by(fpm, "not asked")
    live.lock()

    def full(path, _text):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(_fpm_scripts, "write_atomic", full)
    code, result = live.run("load", release="r1", fpm_socket=fpm.address)
    assert code == 0, result.get("msg")


@pytest.mark.parametrize(
    "args, asked",
    [({}, True), ({"workers": {"queue:work": 1}}, True), ({"kind": "node"}, False)],
)
def test_command_line_is_asked_where_it_runs_the_release(live, args, asked):
    (live.path("r1") / "app.json").write_text(json.dumps({"load_error": "ParseError: unexpected token"}))
    live.lock()
    code, result = live.run("load", release="r1", **args)
    assert (code, "ParseError" in result.get("msg", "")) == (int(asked), asked)
    assert live.run("load", release="r1", **args, _ansible_check_mode=True)[0] == 0


def test_command_line_is_not_asked_where_only_php_fpm_runs_the_release(live, fpm):
    loaded_by(fpm, "")
    (live.path("r1") / "app.json").write_text(json.dumps({"load_error": "ParseError: unexpected token"}))
    live.lock()
    assert live.run("load", release="r1", fpm_socket=fpm.address)[1]["phases"][0]["by"] == "PHP-FPM"
    assert live.run("load", release="r1", fpm_socket=fpm.address, workers={"horizon": 1})[0] == 1


# With Laravel itself

DATABASE = """<?php return [
    'default' => env('DB_CONNECTION', 'mysql'),
    'connections' => [
        'mysql' => ['url' => env('DB_URL'), 'password' => env('DB_PASSWORD', ''), 'strict' => true,
            'options' => array_filter([1009 => env('MYSQL_ATTR_SSL_CA')])],
        'mariadb' => ['password' => env('DB_PASSWORD', '')],
    ],
    'redis' => ['default' => ['password' => env('REDIS_PASSWORD'), 'database' => (int) env('REDIS_DB', 0),
        'persistent' => filter_var(env('REDIS_PERSISTENT', true), FILTER_VALIDATE_BOOL),
        'host' => getenv('REDIS_HOST')],
        'cache' => ['database' => (int) env('REDIS_CACHE_DB', 1)]],
];
"""
BOOTSTRAP = """<?php
$app = new Illuminate\\Foundation\\Application(dirname(__DIR__));
if (method_exists($app, 'dontMergeFrameworkConfiguration')) {
    $app->dontMergeFrameworkConfiguration();
}
return $app;
"""
BEFORE = {"APP_KEY": "k1", "APP_NAME": "shop", "DB_PASSWORD": "one", "REDIS_DB": "0", "REDIS_PASSWORD": "null"}
BEFORE["REDIS_CACHE_DB"] = "3"


@pytest.fixture
def laravel(tmp_path):
    """A Laravel application; what its php prints for a snippet."""
    texts = {
        "vendor/autoload.php": f"<?php require '{FRAMEWORK}';",
        "bootstrap/app.php": BOOTSTRAP,
        "config/app.php": "<?php return ['key' => env('APP_KEY'), 'name' => env('APP_NAME'), 'url' => 'http://a', "
        "'env' => 'production', 'timezone' => 'UTC', 'providers' => [Provider::class]];",
        "config/database.php": DATABASE,
        CONFIG: "",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def run(code, **environment):
        told = subprocess.run(
            ["php", "-d", "display_errors=stderr", "-r", code],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return json.loads(told.stdout.rpartition("slipway:")[2] or "null")

    run.path = tmp_path
    return run


def write_values(path, **values):
    (path / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))


def cache_now(laravel, provider=""):
    """Cache the configuration, as it is when a provider has booted."""
    load = _rollback._ENVIRONMENT_PHP.partition("$cached")[0]
    code = load.replace("Illuminate\\Support\\Arr::dot($app['config']->all())", "$app['config']->all()") + provider
    code += "file_put_contents('bootstrap/cache/config.php', '<?php return ' . var_export($now, true) . ';');"
    laravel(code, **_rollback.NO_CACHE)


@needs_laravel
@pytest.mark.parametrize(
    "after, decisive, others",
    [
        ({}, [], []),
        ({"DB_PASSWORD": "two", "APP_NAME": "store"}, ["DB_PASSWORD"], ["APP_NAME"]),
        ({"APP_KEY": "k2", "MYSQL_ATTR_SSL_CA": "/ca"}, ["APP_KEY", "MYSQL_ATTR_SSL_CA"], []),
        # What a value is made of is not told of a number or a bool.
        ({"REDIS_DB": "3"}, ["database.redis.default.database"], []),
        ({"REDIS_CACHE_DB": "0"}, ["database.redis.cache.database"], []),
        ({"REDIS_PERSISTENT": "false"}, ["database.redis.default.persistent"], []),
        ({"REDIS_HOST": "cache"}, ["REDIS_HOST"], []),
        # A key that is there no more.
        ({"REDIS_PASSWORD": "x", "DB_PASSWORD": None}, ["DB_PASSWORD", "REDIS_PASSWORD"], []),
    ],
)
def test_laravel_tells_which_variables_were_cached_with_other_values(laravel, after, decisive, others):
    write_values(laravel.path, **BEFORE)
    cache_now(laravel)
    write_values(laravel.path, **{name: value for name, value in {**BEFORE, **after}.items() if value is not None})
    found = laravel(_rollback._ENVIRONMENT_PHP, **_rollback.NO_CACHE)
    assert found == {"decisive": decisive, "others": others}


@needs_laravel
@pytest.mark.parametrize("config", ["", "config/whole.php"])
def test_what_a_provider_sets_is_no_other_value_of_the_environment(laravel, config):
    """Also where some variable has to be a number, so that no word can stand for it."""
    if config:
        (laravel.path / config).write_text("<?php return ['days' => 1 + env('DAYS', 1)];")
    write_values(laravel.path, **BEFORE)
    cache_now(laravel, "$now['database']['connections']['mysql']['strict'] = false;")
    write_values(laravel.path, **{**BEFORE, "REDIS_DB": "3"})
    told = laravel(_rollback._ENVIRONMENT_PHP, **_rollback.NO_CACHE)
    assert told == {"decisive": ["database.redis.default.database"], "others": []}


@needs_laravel
@pytest.mark.parametrize(
    "register, error, note",
    [
        ("", "", ""),
        ("new Missing();", 'Error: Class "Missing" not found', ""),
        ("throw new RuntimeException('wrong', 0, new Error('no'));", "RuntimeException: wrong", ""),
        ("app('Missing');", "Illuminate\\Contracts\\Container\\BindingResolutionException: Target", ""),
        ("exit(1);", "it ends by itself", ""),
        ("no php", "ParseError: syntax error", ""),
        ("trigger_error('your platform', E_USER_ERROR);", "your platform", ""),
        # What a rollback may be for.
        ("throw new PDOException('gone');", "", "PDOException: gone"),
        ("throw new RuntimeException('wrong', 0, new PDOException('gone'));", "", "RuntimeException: wrong"),
        ("throw new RuntimeException('no answer of the vault');", "", "RuntimeException: no answer of the vault"),
    ],
)
def test_laravel_is_loaded_up_to_where_it_may_ask_a_service(laravel, register, error, note):
    (laravel.path / CONFIG).unlink()
    (laravel.path / "Provider.php").write_text(
        "<?php class Provider extends Illuminate\\Support\\ServiceProvider { public function register() { "
        + register
        + " } public function boot() { throw new Exception('too far'); } }"
    )
    with (laravel.path / "vendor/autoload.php").open("a") as file:
        file.write("spl_autoload_register(function ($name) { if ($name === 'Provider') { require 'Provider.php'; } });")
    told = laravel(_rollback._LOAD_PHP)
    for found, expected in ((told["error"], error), (told["note"], note)):
        assert found.startswith(expected) if expected else found == ""


@needs_laravel
def test_exception_of_the_application_itself_is_one_of_its_code(laravel):
    (laravel.path / "bootstrap/app.php").write_text("<?php throw new RuntimeException('wrong');")
    assert laravel(_rollback._LOAD_PHP) == {"error": "RuntimeException: wrong", "note": ""}
