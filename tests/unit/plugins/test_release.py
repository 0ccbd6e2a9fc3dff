from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import (
    _artifact,
    _assets,
    _fpm_scripts,
    _layout,
    _phases,
    _processes,
)
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout

ALL = ["stage", "probe", "switch", "restart", "verify", "finish"]


def evidence(result):
    return result["phases"][-1]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nobody waits here to see whether a worker lasts."""
    monkeypatch.setattr(_phases, "_SETTLED", 0.0)


@pytest.fixture
def live(site):
    """A site with r1 and r2 live in this order; the lock is ours."""
    site.go_live("r1", "r2")
    return site


@pytest.fixture
def worker(site):
    """Start workers: worker(release) is the process of a queue worker that runs in that release."""
    started = []

    def start(release, command="queue:work", *words):
        argv = [sys.executable, "-ISc", "print(flush=True); import time; time.sleep(60)", "artisan", command, *words]
        started.append(subprocess.Popen(argv, cwd=site.path(release), stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1]

    yield start
    for child in started:
        child.kill()
        child.communicate()


# Starts processes below itself, each called by the first word of its line.
TREE = """
import json, subprocess, sys, time
line, *below = json.loads(sys.argv[1])
for tree in below:
    argv = [tree[0], "-ISc", sys.orig_argv[2], json.dumps(tree)]
    subprocess.Popen(argv, executable="/proc/self/exe", stdout=subprocess.PIPE).stdout.readline()
print(flush=True)
time.sleep(60)
"""
COMMAND = "php|artisan|octane:start"
SWOOLE = [
    "swoole_http_server: master process for Shop",
    ["swoole_http_server: manager process for Shop", ["swoole_http_server: worker process for Shop"]],
]
SERVERS = [SWOOLE, ["/app/rr", ["/app/roadrunner-worker"]], ["/app/frankenphp"]]


@pytest.fixture
def octane(site):
    """Start processes as Octane has them: octane(release, tree), a line of words and the trees below it."""
    started = []

    def start(release, tree):
        first, *words = tree[0].split("|")
        argv = [first, "-ISc", TREE, json.dumps(tree), *words]
        options = {"stdout": subprocess.PIPE, "start_new_session": True, "executable": sys.executable}
        started.append(subprocess.Popen(argv, cwd=site.path(release), **options))
        started[-1].stdout.readline()
        return started[-1]

    yield start
    for child in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def of_line(site, release, line):
    """The process of a release that is called so."""
    found = [worker["pid"] for worker in _processes.workers(str(site.root)) if worker["release"] == release]
    return next(pid for pid in found if _processes.command_line(pid)[0] == line)


# Parameters and the lock


@pytest.mark.parametrize("phase", ALL)
def test_phases_need_the_lock(live, phase):
    live.lock("run-2")
    code, result = live.run(phase, release="r1")
    assert (code, result["failed_phase"], result["changed"]) == (1, phase, False)
    lock = f"{live.root}/.slipway/lock"
    assert result["msg"] == (
        f"{phase}: {lock} is not held by run run-1 any more (ann has it, run run-2); nothing was done"
    )
    assert live.current() == "r2"


def test_nothing_follows_a_phase_that_failed(live):
    code, result = live.run("switch", "verify", release="r9")
    assert (code, len(result["phases"]), result["current"]) == (1, 1, "r2")
    assert result["phases"][0]["error"] == f"{live.path('r9')} does not exist on this host; it cannot become live"


@pytest.mark.parametrize(
    "release, text",
    [("", "release is needed for the phases stage"), ("..", "'..' is not the name"), ("a/b", "'a/b' is")],
)
def test_release_that_is_no_name(site, release, text):
    code, result = site.run("preflight", "stage", release=release)
    assert code == 1
    assert text in result["msg"]
    assert not site.locked()


# preflight


def test_preflight_of_a_fresh_host(site):
    code, result = site.run("preflight", release="", owner="ann")
    assert (code, result["changed"], result["current"]) == (0, False, None)
    found = evidence(result)
    assert (found["releases"], found["rollback_target"], found["stale"]) == ([], None, False)
    assert json.loads((site.root / ".slipway/lock").read_text())["owner"] == "ann"


def test_preflight_tells_what_later_phases_need(live):
    found = evidence(live.run("preflight", release="")[1])
    assert (found["current"], found["live_commit"]) == ("r2", "commit of r2")
    assert (found["rollback_target"], found["releases"]) == ("r1", ["r1", "r2"])
    assert (found["bad"], found["migrated"], found["snapshots"]) == ([], [], [])


def test_preflight_tells_what_a_rollback_goes_by(live):
    live.run("finish", release="r2", bad="r1", keep=9)
    live.lock()
    manifest = live.path("r2") / ".slipway.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "migrations": ["create_notes"]}))
    assert live.run("snapshot", release="r2")[0] == 0
    found = evidence(live.run("preflight", release="")[1])
    assert (found["history"], found["bad"], found["migrated"]) == (["r1", "r2"], ["r1"], ["r2"])
    assert [time[:2] for time in found["switched_at"]] == ["20", "20"]
    (snapshot,) = found["snapshots"]
    assert (snapshot["release"], snapshot["created_at"][10]) == ("r2", "T")


@pytest.mark.parametrize("age, stale", [(-60, False), (60, True)])
def test_preflight_knows_a_configuration_that_is_out_of_date(live, age, stale):
    cached = live.path("r2") / "bootstrap/cache/config.php"
    cached.parent.mkdir(parents=True)
    cached.touch()
    now = time.time()
    os.utime(live.root / "shared/.env", (now + age, now + age))
    assert evidence(live.run("preflight", release="")[1])["stale"] is stale


def test_preflight_names_everything_at_once_and_takes_no_lock(site):
    site.write_env(APP_KEY="", DB_DATABASE="/none.sqlite", CACHE_STORE="redis", REDIS_PORT="1")
    code, result = site.run("preflight", release="", fpm_socket="/run/none.sock", min_free_mb=10**9)
    assert code == 1
    assert result["msg"].startswith("preflight: not ready for a release, nothing was changed:\n- ")
    for text in (
        "MiB free, two releases need",
        "no socket /run/none.sock",
        "APP_KEY is empty",
        "/none.sqlite",
        "127.0.0.1:1",
    ):
        assert text in result["msg"]
    assert not site.locked()


def test_preflight_without_environment_or_php(site):
    (site.root / "shared/.env").unlink()
    msg = site.run("preflight", release="", php="php-none")[1]["msg"]
    assert "php-none cannot be run" in msg
    assert "shared/.env does not exist; write it, or put the application's environment into laravel_env" in msg


def test_preflight_before_the_site_playbook(site):
    shutil.rmtree(site.root)
    code, result = site.run("preflight", release="")
    assert code == 1
    assert (
        result["msg"]
        == f"preflight: {site.root} does not exist; run the site playbook, which lays out the application, first"
    )


def test_preflight_never_shows_the_password_of_the_database(site):
    password = "s3" + "cr3t"
    site.write_env(DB_CONNECTION="mysql", DB_USERNAME="ann", DB_PASSWORD=password)
    (site.home / "database_error").write_text("SQLSTATE[HY000] [2002] Connection refused")
    code, result = site.run("preflight", release="")
    assert code == 1
    assert "[2002] Connection refused" in result["msg"]
    assert password not in json.dumps(result) + (site.home / "calls").read_text()


def test_preflight_stops_at_the_lock_of_another_run(live):
    live.lock("run-2")
    code, result = live.run("preflight", release="")
    assert code == 1
    assert "is held by ann since now (run run-2" in result["msg"]


@pytest.mark.parametrize("args, age", [({"takeover": True}, 0), ({"lock_ttl": 30}, 60)])
def test_preflight_takes_a_lock_over(live, args, age):
    live.lock("run-2")
    os.utime(live.root / ".slipway/lock", (time.time() - age, time.time() - age))
    code, result = live.run("preflight", release="", **args)
    assert code == 0
    assert evidence(result)["taken_from"]["run"] == "run-2"


def test_preflight_names_the_process_of_the_holder_and_takes_the_lock_when_that_is_dead(live):
    (live.root / ".slipway/lock").unlink()
    assert live.run("preflight", release="", controller="here 1 2")[0] == 0
    code, result = live.run("preflight", release="", run="run-2")
    assert (code, evidence(result)["holder"]) == (1, {"run": "run-1", "controller": "here 1 2"})
    code, result = live.run("preflight", release="", run="run-2", dead_run="run-1")
    assert (code, evidence(result)["taken_from"]["run"]) == (0, "run-1")


@pytest.mark.parametrize("given_back", [False, True])
def test_preflight_waits_for_what_a_dead_run_has_begun(live, monkeypatch, given_back):
    def lock():
        live.lock("run-2")
        if given_back:
            (live.root / ".slipway/lock").unlink()
        return {} if given_back else {"dead_run": "run-2"}

    given = lock()
    work = Layout(str(live.root)).at_work()
    work.__enter__()
    threading.Timer(0.5, work.__exit__, (None, None, None)).start()
    assert live.run("preflight", release="", **given)[0] == 0
    lock()
    monkeypatch.setattr(_phases, "_WORK_ENDS", 0.3)
    with Layout(str(live.root)).at_work():
        assert "its work here goes on" in live.run("preflight", release="", **given)[1]["msg"]


def test_phases_are_seen_to_be_at_work(live, monkeypatch):
    layout, seen = Layout(str(live.root)), []
    monkeypatch.setattr(_phases.Phases, "finish", lambda self: seen.append(layout.is_at_work()) or {"changed": False})
    assert live.run("finish", release="r2")[0] == 0
    assert (seen, layout.is_at_work()) == ([True], False)


def test_preflight_is_at_work_before_it_removes_anything_and_others_before_they_look_at_the_lock(live, monkeypatch):
    layout, seen = Layout(str(live.root)), []
    monkeypatch.setattr(_phases.Phases, "_clean_up", lambda self: seen.append(layout.is_at_work()) or [])
    assert live.run("preflight", release="")[0] == 0
    monkeypatch.setattr(_phases.Phases, "guard", lambda self, *_a, **_k: seen.append(layout.is_at_work()))
    assert live.run("probe", release="r2")[0] == 0
    assert seen == [True, True, True]
    assert not layout.is_at_work()


def test_preflight_removes_what_a_killed_run_left(site):
    for name in ("build/r0/tree", "staging-r0"):
        (site.root / ".slipway" / name).mkdir(parents=True)
    assert site.run("preflight", release="")[0] == 0
    assert sorted(path.name for path in (site.root / ".slipway").iterdir()) == [
        "artifacts",
        "build",
        "lock",
        "run.json",
    ]


def test_preflight_takes_no_lock_in_check_mode(site):
    assert site.run("preflight", release="", _ansible_check_mode=True)[0] == 0
    assert not site.locked()


# stage


def test_stage(live):
    artifact = live.artifact()
    code, result = live.run("stage", **artifact)
    path = live.path("r3")
    assert (code, result["changed"], live.current()) == (0, True, "r2")
    manifest = json.loads((path / ".slipway.json").read_text())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", manifest.pop("staged_at"))
    assert manifest == {
        "release": "r3",
        "version": "v2",
        "commit": "c" * 40,
        "sha256": artifact["sha256"],
    }
    assert [entry["command"] for entry in evidence(result)["commands"]] == [
        "config:cache",
        "route:cache",
        "view:cache",
        "event:cache",
    ]
    assert evidence(result)["probe"] == "the application answered /up with 200"
    assert os.path.realpath(path / "storage") == str(live.root / "shared/storage")
    assert os.path.realpath(path / "public/storage") == str(live.root / "shared/storage/app/public")
    assert os.path.realpath(path / ".env") == str(live.root / "shared/.env")
    private = sorted(entry.name for entry in (live.root / ".slipway").iterdir())
    assert private == ["artifacts", "lock", "run.json", "state.json"]


@pytest.fixture
def umask():
    """Have another umask: umask(mask)."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def test_web_server_can_read_a_release_whatever_the_umask(live, umask, monkeypatch):
    # As every user but root has it.
    monkeypatch.setenv("TAR_OPTIONS", "--no-same-permissions")
    artifact = live.artifact()
    umask(0o027)
    assert live.run("stage", **artifact)[0] == 0
    assert umask(0) == 0o027
    release = live.path("r3")
    assert [path.stat().st_mode & 0o777 for path in (release, release / "public", release / "public/index.php")] == [
        0o755,
        0o755,
        0o644,
    ]


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("env, config, private", [(0o600, 0o600, 0o700), (0o640, 0o644, 0o755), (0o604, 0o644, 0o755)])
@pytest.mark.parametrize("shipped", [False, True])
def test_what_is_made_of_a_closed_environment_is_closed(site, umask, env, config, private, shipped):
    umask(0o022)
    site.lock()
    shared = site.root / "shared"
    (shared / ".env").chmod(env)
    if shipped:
        cached = site.home / "tree/bootstrap/cache/config.php"
        cached.parent.mkdir(parents=True)
        cached.touch(0o644)
    assert site.run("stage", **site.artifact())[0] == 0
    assert mode(site.path("r3") / "bootstrap/cache/config.php") == config
    storage = shared / "storage"
    for name in ("framework", "framework/cache/data", "framework/sessions", "framework/views", "logs"):
        assert mode(storage / name) == private, name
    # The web server reads what is public.
    for name in ("app", "app/public"):
        assert mode(storage / name) == 0o755, name


@pytest.mark.parametrize("seeded", [False, True])
def test_directories_that_are_there_stay_as_they_are(site, umask, seeded):
    umask(0o022)
    site.lock()
    (site.root / "shared/.env").chmod(0o600)
    storage = site.home / "tree/storage" if seeded else site.root / "shared/storage"
    (storage / "framework/sessions").mkdir(parents=True)
    if seeded:
        (site.root / "shared/storage").rmdir()
    assert site.run("stage", **site.artifact())[0] == 0
    storage = site.root / "shared/storage"
    assert (mode(storage / "framework"), mode(storage / "logs")) == (0o700 if seeded else 0o755, 0o700)


@pytest.fixture
def told(live):
    """What the environment has, and may not be told; and an error of the database that has values."""
    live.write_env(**dict.fromkeys(("DB_PASSWORD", "MAIL_PASSWORD"), "s3cr3t-word"))
    return "login with s3cr3t-word failed (SQL: select * from users where email = ann@example.com)"


def test_errors_of_commands_have_no_values_of_the_database(live, told):
    code, result = live.run("stage", **live.artifact(fail={"route:cache": told}))
    assert code == 1
    shown = json.dumps(result) + live.stderr()
    assert "ann@example.com" not in shown and "s3cr3t-word" not in shown
    assert result["msg"].endswith("login with ******** failed (SQL: select * from users …)")
    assert evidence(result)["error"] == result["msg"].removeprefix("stage: ")


def test_evidence_of_phases_has_no_values_either(live, told, fpm):
    fpm.stdout, fpm.stderr = b"Status: 500\r\nContent-Type: text/html\r\n\r\n", told.encode()
    code, result = live.run("stage", fpm_socket=fpm.address, **live.artifact(migrations=["add_column"]))
    assert code == 0, result["msg"]
    assert evidence(result)["probe"].startswith("not well before its migrations (through PHP-FPM /up of ")
    assert evidence(result)["probe"].endswith("login with ******** failed (SQL: select * from users …))")


def test_evidence_that_the_next_phases_go_by_is_not_blotted_out(live):
    words = ("r2", "commit of r2", str(live.root), "releases")
    live.write_env(**dict(zip(("DB_PASSWORD", "MAIL_PASSWORD", "REDIS_PASSWORD", "API_TOKEN"), words, strict=True)))
    found = evidence(live.run("preflight", release="")[1])
    assert (found["current"], found["rollback_target"], found["releases"]) == ("r2", "r1", ["r1", "r2"])
    assert found["live_commit"] == "********"


def test_each_release_compiles_views_of_its_own(live):
    live.run("stage", **live.artifact())
    assert len(list((live.path("r3") / "bootstrap/cache/views").glob("*.php"))) == 1
    assert not list((live.root / "shared/storage/framework/views").iterdir())


@pytest.mark.parametrize("commands, asked", [([["config:cache"]], 0), ([], 1)])
def test_links_of_the_application(live, commands, asked):
    path = live.path("r3")
    links = {
        f"{path}/public/storage": f"{path}/storage/app/public",
        f"{path}/public/ann's/media": f"{path}/storage/app/media",
        f"{path}/public/manual": "/srv/manual",
    }
    result = live.run("stage", **live.artifact(links=links), stage_commands=commands)[1]
    found = [os.readlink(link) for link in links]
    assert found == ["../storage/app/public", "../../storage/app/media", "/srv/manual"], result
    # What config:cache has written tells them without a start of PHP.
    assert (live.home / "calls").read_text().count("filesystems.links") == asked
    assert "filesystems.links" not in live.stderr()


def test_no_links(live):
    live.run("stage", **live.artifact(links={}))
    assert not os.path.lexists(live.path("r3") / "public/storage")


def test_links_that_something_is_in_the_way_of(live, warned):
    path, shared = live.path("r3"), live.root / "shared/storage"
    for name in ("app/public/avatars", "app/avatars", "app/media", "app/old"):
        (shared / name).mkdir(parents=True)
    (shared / "app/public/avatars/ann.png").touch()
    tree = live.home / "tree"
    links = {
        f"{path}/public/storage": f"{path}/storage/app/public",
        f"{path}/public/storage/avatars": f"{path}/storage/app/avatars",
        f"{live.home}/elsewhere": f"{path}/storage/app/public",
        f"{path}/public/media": f"{path}/storage/app/media",
        f"{path}/public/old": f"{path}/storage/app/old",
        f"{path}/public/new": f"{path}/storage/app/new",
    }
    for name in ("public/media/kept.png", "storage/app/old/x"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).touch()
    (tree / "public/old").symlink_to("../storage/app/media")
    # Of the machine of a developer.
    (tree / "public/new").symlink_to("/home/ann/shop/storage/app/new")
    artifact = live.artifact(links=links)
    assert live.run("stage", **artifact)[0] == 0
    told = [text.partition(" of filesystems.links ") for text in warned if "filesystems.links" in text]
    ours = {
        f"{shared}/app/public/avatars": "is not in the release, and was left as it is",
        f"{live.home}/elsewhere": "is not in the release, and was left as it is",
        **{
            f"{path}/public/{name}": f"is there already, and was left as it is: no link to {path}/storage/app/{name}"
            for name in ("media", "old")
        },
    }
    assert {link: text for link, _words, text in told} == ours
    assert (shared / "app/public/avatars/ann.png").exists()
    assert (path / "public/media/kept.png").exists()
    assert os.readlink(path / "public/old") == "../storage/app/media"
    assert os.readlink(path / "public/new") == "../storage/app/new"
    assert not (live.home / "elsewhere").exists()


def test_stage_seeds_what_is_shared_the_first_time_only(site):
    shutil.rmtree(site.root / "shared/storage")
    site.lock()
    for release, text in (("r3", "first"), ("r4", "second")):
        tree = site.home / "tree"
        (tree / "storage/app").mkdir(parents=True)
        (tree / "storage/app/seed").write_text(text)
        (tree / "uploads/deep").mkdir(parents=True)
        (tree / ".slipway.json").write_text(json.dumps({"commit": "c" * 40}))
        for name in ("artisan", "vendor/autoload.php", "public/index.php", "routes/web.php", "app.json"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text("{}")
        shared = ["storage", "uploads/deep", "made"]
        code, result = site.run("stage", release=release, shared_dirs=shared, **site.pack(tree))
        assert code == 0, result["msg"]
        (site.path(release) / "storage/app/written").write_text(release)
        assert (site.path(release) / "storage/app/seed").read_text() == "first"
        for name in shared:
            assert os.path.realpath(site.path(release) / name) == str(site.root / "shared" / name)
    assert (site.path("r3") / "storage/app/written").read_text() == "r4"


def test_stage_seeds_shared_directories_on_another_filesystem(live, monkeypatch):
    """As NFS; what a stage that was killed has copied there is no part of it."""
    rename, copytree = os.rename, shutil.copytree

    def on_its_own(source, target, *args, **kwargs):
        if (str(live.root / "shared") in str(target)) != (str(live.root / "shared") in str(source)):
            raise OSError(errno.EXDEV, "Invalid cross-device link", source, None, target)
        rename(source, target, *args, **kwargs)

    def killed(source, target, *args, **kwargs):
        copytree(source, target, *args, **kwargs)
        raise OSError(errno.EIO, "killed here", target)

    monkeypatch.setattr(os, "rename", on_its_own)
    tree = live.add("r0")
    (tree / "uploads").mkdir()
    (tree / "uploads/logo").write_text("of the release")
    (tree / "uploads/link").symlink_to("logo")
    (tree / "auth.json").write_text("{}")
    (tree / ".slipway.json").write_text(json.dumps({"commit": "c" * 40}))
    args = {"shared_dirs": ["storage", "uploads"], "shared_files": ["auth.json"], **live.pack(tree)}
    monkeypatch.setattr(shutil, "copytree", killed)
    assert "killed here" in live.run("stage", **args)[1]["msg"]
    assert not (live.root / "shared/uploads").exists()
    (live.root / "shared/uploads.slipway/left").touch()
    monkeypatch.setattr(shutil, "copytree", copytree)
    code, result = live.run("stage", **args)
    assert code == 0, result["msg"]
    assert sorted(path.name for path in (live.root / "shared").iterdir()) == [".env", "auth.json", "storage", "uploads"]
    assert sorted(path.name for path in (live.root / "shared/uploads").iterdir()) == ["link", "logo"]
    assert os.readlink(live.root / "shared/uploads/link") == "logo"
    assert os.readlink(live.path("r3") / "uploads") == "../../shared/uploads"
    assert (live.path("r3") / "auth.json").is_symlink()


def test_shared_file_that_is_nowhere(live):
    (live.root / "shared/.env").unlink()
    code, result = live.run("stage", **live.artifact())
    assert code == 1
    text = "shared/.env does not exist and the release brings none; create it, or correct release_shared_files"
    assert text in result["msg"]


def test_damaged_artifact_is_not_unpacked(live):
    artifact = live.artifact()
    with open(artifact["artifact"], "ab") as handle:
        handle.write(b"x")
    code, result = live.run("stage", **artifact)
    assert code == 1
    assert f"not {artifact['sha256']}: it was damaged on its way" in result["msg"]
    assert not live.path("r3").exists()


def test_artifact_that_is_no_archive(live):
    path = live.root / ".slipway/artifacts/r3.tar.gz"
    path.write_text("nonsense")
    digest = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]
    code, result = live.run("stage", artifact=str(path), sha256=digest)
    assert code == 1
    assert "cannot be unpacked: " in result["msg"]
    assert not live.path("r3").exists()
    assert not list((live.root / ".slipway").glob("staging-*"))


def test_artifact_that_is_not_there(live):
    assert "the artifact (none given) is not on this host" in live.run("stage")[1]["msg"]


@pytest.fixture
def served(live, http_server, monkeypatch):
    """Serve an artifact: served(status, headers) returns the arguments that the phase stage takes it by."""
    monkeypatch.setattr(_artifact.time, "sleep", lambda _seconds: None)

    def run(status=200, **headers):
        artifact = live.artifact()
        with open(artifact["artifact"], "rb") as handle:
            address = http_server(status, handle.read(), **headers)
        os.unlink(artifact["artifact"])
        return {"artifact_url": f"{address}/r3.tar.gz", "sha256": artifact["sha256"]}

    return run


def artifacts(live):
    return [path.name for path in (live.root / ".slipway/artifacts").iterdir()]


def test_artifact_by_its_address(live, served, http_server):
    given = served()
    address = given["artifact_url"].replace("//", "//ci:s3%40cr3t@") + "?signature=s3cr3t"
    code, result = live.run("stage", **{**given, "artifact_url": address})
    assert (code, artifacts(live)) == (0, ["r3.tar.gz"])
    assert json.loads((live.path("r3") / ".slipway.json").read_text())["sha256"] == given["sha256"]
    assert http_server.authorizations == ["Basic " + base64.b64encode(b"ci:s3@cr3t").decode()]
    assert http_server.requests[0][0] == "/r3.tar.gz?signature=s3cr3t"
    assert "cr3t" not in json.dumps(result)
    assert result["invocation"]["module_args"]["artifact_url"] == given["artifact_url"]


def test_artifact_that_was_fetched_is_not_fetched_again(live, served, http_server):
    given = served()
    live.run("stage", **given)
    shutil.rmtree(live.path("r3"))
    assert live.run("stage", **given)[0] == 0
    assert len(http_server.requests) == 1
    (live.root / ".slipway/artifacts/r3.tar.gz").write_text("damaged")
    shutil.rmtree(live.path("r3"))
    assert live.run("stage", **given)[0] == 0
    assert len(http_server.requests) == 2


@pytest.mark.parametrize(
    "status, requests, message",
    [
        (403, 1, "answered 403 Forbidden; check release_artifact_url and its credentials"),
        (503, 3, "answered 503 Service Unavailable (tried 3 times); check that this host reaches it"),
    ],
)
def test_artifact_that_is_refused(live, served, http_server, status, requests, message):
    code, result = live.run("stage", **served(status))
    assert (code, len(http_server.requests)) == (1, requests)
    assert result["msg"].endswith(f"/r3.tar.gz {message}")
    assert (artifacts(live), live.path("r3").exists()) == ([], False)


def test_artifact_that_breaks_off(live, served):
    code, result = live.run("stage", **served(Content_Length="999999"))
    assert code == 1
    assert re.search(r"/r3.tar.gz cannot be read from this host: it broke off after \d+ of 999999 bytes", result["msg"])
    assert artifacts(live) == []


def test_artifact_from_a_server_that_is_down(live):
    code, result = live.run("stage", artifact_url="http://127.0.0.1:1/x", sha256="0" * 64)
    assert code == 1
    assert "http://127.0.0.1:1/x cannot be read from this host: [Errno 111] Connection refused" in result["msg"]


def test_artifact_by_its_address_with_another_checksum(live, served):
    code, result = live.run("stage", **{**served(), "sha256": "0" * 64})
    assert code == 1
    assert f"not {'0' * 64}: it is another artifact, or was damaged; nothing was unpacked" in result["msg"]
    assert (artifacts(live), live.path("r3").exists()) == ([], False)


def test_credentials_are_not_for_where_the_artifact_was_moved(live, served, http_server):
    given = served()
    moved = http_server(302, "", Location=given["artifact_url"]).replace("//", "//ci:s3cr3t@")
    code, dummy = live.run("stage", artifact_url=moved, sha256=given["sha256"])
    assert (code, len(http_server.authorizations)) == (0, 2)
    assert http_server.authorizations[1] is None


@pytest.mark.parametrize("address", ["ftp://x/y", "/srv/x.tar.gz", "https://", "http://[x"])
def test_address_that_is_none(live, address):
    code, result = live.run("stage", artifact_url=address, sha256="0" * 64)
    assert (code, "is no address of a web server" in result["msg"]) == (1, True)


def test_checksum_that_is_none(live):
    result = live.run("stage", artifact_url="http://127.0.0.1:1/x", sha256="abc")[1]
    assert result["msg"] == "stage: sha256 abc is not 64 hexadecimal digits; take it from the build"


def test_artifact_that_does_not_say_its_commit(live):
    (live.home / "tree").mkdir()
    code, result = live.run("stage", **live.pack(live.home / "tree"))
    assert (code, "does not say which commit it was built from" in result["msg"]) == (1, True)
    assert not list((live.root / ".slipway").glob("staging-*"))


def test_stage_can_be_repeated(live):
    artifact = live.artifact()
    live.run("stage", **artifact)
    code, result = live.run("stage", **artifact)
    assert (code, result["changed"]) == (0, False)


def test_command_that_fails_while_staging(live):
    artifact = live.artifact(fail={"route:cache": "syntax error, unexpected token"})
    code, result = live.run("stage", **artifact)
    assert code == 1
    assert "artisan route:cache exited 1 in" in result["msg"]
    assert result["msg"].endswith("In web.php line 14: syntax error, unexpected token")
    assert live.current() == "r2"


def assets(site, release):
    return sorted(path.name for path in (site.path(release) / "public/build").iterdir())


def stage_with_assets(site, release, *names):
    """Stage a release with these assets, each holding the name of the release."""
    from_conftest = site.artifact()
    tree = site.home / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-xzf", from_conftest["artifact"], "-C", tree], check=True)
    for name in ("manifest.json", *names):
        path = tree / "public/build" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(release)
    site.lock()
    code, result = site.run("stage", release=release, **site.pack(tree))
    assert code == 0, result.get("msg")
    return evidence(result).get("bridged")


def test_assets_are_bridged_for_exactly_one_release(site):
    assert stage_with_assets(site, "r1", "app-1.js") == 0
    site.go_live("r1")
    assert stage_with_assets(site, "r2", "app-2.js") == 1
    assert assets(site, "r2") == ["app-1.js", "app-2.js", "manifest.json"]
    assert (site.path("r2") / "public/build/manifest.json").read_text() == "r2"
    site.go_live("r2")
    assert stage_with_assets(site, "r3", "app-3.js") == 1
    assert assets(site, "r3") == ["app-2.js", "app-3.js", "manifest.json"]


def test_web_server_can_read_bridged_assets_whatever_the_umask(site, umask):
    stage_with_assets(site, "r1", "js/app-1.js")
    site.go_live("r1")
    umask(0o027)
    stage_with_assets(site, "r2", "app-2.js")
    assert (site.path("r2") / "public/build/js").stat().st_mode & 0o777 == 0o755


def test_assets_bridged_twice_stay_for_one_release(site):
    stage_with_assets(site, "r1", "app-1.js")
    site.go_live("r1")
    stage_with_assets(site, "r2", "app-2.js")
    assert site.run("stage", release="r2")[0] == 0
    site.go_live("r2")
    stage_with_assets(site, "r3", "app-3.js")
    assert assets(site, "r3") == ["app-2.js", "app-3.js", "manifest.json"]


def test_live_release_has_the_assets_of_the_one_that_comes(site):
    """For pages of a host that has switched already, and for those that are open when all go back."""
    stage_with_assets(site, "r1", "app-1.js")
    site.go_live("r1")
    stage_with_assets(site, "r2", "app-2.js")
    assert assets(site, "r1") == ["app-1.js", "app-2.js", "manifest.json"]
    assert (site.path("r1") / "public/build/manifest.json").read_text() == "r1"
    assert (site.path("r1") / "public/build/app-2.js").read_text() == "r2"
    # Lent for as long as the release may go live: what comes after does not inherit it.
    stage_with_assets(site, "r3", "app-3.js")
    assert assets(site, "r3") == ["app-1.js", "app-3.js", "manifest.json"]


@pytest.mark.parametrize("again", [False, True])
def test_what_a_release_lent_that_never_went_live_goes_with_the_next_one(site, again):
    stage_with_assets(site, "r1", "app-1.js")
    site.go_live("r1")
    before = assets(site, "r1")
    for _time in range(2 if again else 1):
        stage_with_assets(site, "r2", "app-2.js", "app-22.js")
    assert site.run("revert", release="r2", previous="r1")[0] == 0
    assert not site.path("r2").exists()
    # It may have been live on another host.
    assert assets(site, "r1") == sorted([*before, "app-2.js", "app-22.js"])
    (site.path("r1") / "public/build/app-2.js").unlink()
    stage_with_assets(site, "r3", "app-3.js")
    site.go_live("r3")
    site.lock()
    assert site.run("finish", release="r3")[0] == 0
    assert assets(site, "r1") == sorted([*before, "app-3.js"])
    assert assets(site, "r3") == ["app-1.js", "app-3.js", "manifest.json"]


def test_revert_finds_the_release_that_the_controller_never_heard_of(site):
    """The connection was lost in the run of the module that has built and staged it."""
    stage_with_assets(site, "r1", "app-1.js")
    site.go_live("r1")
    stage_with_assets(site, "r2", "app-2.js")
    assert json.loads((site.root / ".slipway/run.json").read_text())["release"] == "r2"
    assert site.run("revert", release="", previous="r1")[0] == 0
    assert (site.path("r2").exists(), site.current(), site.locked()) == (False, "r1", False)
    # Nor is what is live taken for it.
    site.lock()
    (site.root / ".slipway/run.json").write_text(json.dumps({"run": "run-1", "release": "r1"}))
    assert site.run("revert", release="", previous="r1")[0] == 0
    assert (site.path("r1").exists(), site.current()) == (True, "r1")


def test_compressed_twin_is_not_put_beside_the_file_of_another_release(site):
    stage_with_assets(site, "r1", "sw.js")
    site.go_live("r1")
    stage_with_assets(site, "r2", "sw.js", "sw.js.gz", "new.js", "new.js.gz")
    assert assets(site, "r1") == ["manifest.json", "new.js", "new.js.gz", "sw.js"]


def test_live_release_that_cannot_be_written_stops_no_stage(site, monkeypatch):
    stage_with_assets(site, "r1", "app-1.js")
    site.go_live("r1")
    place = _assets._place

    def refused(source, target, copy):
        if "/r1/" in target:
            raise PermissionError(13, "Permission denied", target)
        place(source, target, copy)

    monkeypatch.setattr(_assets, "_place", refused)
    assert stage_with_assets(site, "r2", "app-2.js") == 1
    assert assets(site, "r1") == ["app-1.js", "manifest.json"]


def test_damaged_manifest_stops_no_way_back(site):
    for number in (1, 2):
        stage_with_assets(site, f"r{number}", f"app-{number}.js")
        site.go_live(f"r{number}")
    site.lock()
    (site.path("r2") / ".slipway.json").write_text("{")
    assert site.run("revert", release="r2", previous="r1")[1]["current"] == "r1"


def test_commands_of_a_stage_cannot_write_into_the_live_release(site):
    stage_with_assets(site, "r1", "app-1.js")
    site.go_live("r1")
    stage_with_assets(site, "r2", "app-2.js")
    assert os.stat(site.path("r2") / "public/build/app-1.js").st_nlink == 1
    assert os.stat(site.path("r1") / "public/build/app-2.js").st_nlink == 2, "which costs no room"


def test_revert_tells_the_release_that_it_was_about(live):
    live.lock()
    code, result = live.run("revert", release="r2", previous="r1")
    assert (code, result["release"], result["current"]) == (0, "r2", "r1")


@pytest.mark.parametrize("phase", ["switch", "revert"])
def test_older_release_that_goes_live_again_has_the_assets_of_the_newer_one(site, phase):
    for number in (1, 2, 3):
        stage_with_assets(site, f"r{number}", f"app-{number}.js")
        site.go_live(f"r{number}")
    site.lock()
    release = {"switch": {"release": "r1"}, "revert": {"release": "r3", "previous": "r1"}}[phase]
    code, result = site.run(phase, **release)
    assert (code, site.current()) == (0, "r1"), result.get("msg")
    assert "app-3.js" in assets(site, "r1")
    assert (site.path("r1") / "public/build/manifest.json").read_text() == "r1"


def test_rollback_in_batches_exchanges_assets_beforehand(site):
    """A page of the one may ask a host for its assets where the other is live."""
    for number in (1, 2, 3):
        stage_with_assets(site, f"r{number}", f"app-{number}.js")
        site.go_live(f"r{number}")
    site.lock()
    assert "app-1.js" not in assets(site, "r3")
    planned = evidence(site.run("exchange", release="r1", _ansible_check_mode=True)[1])
    found = [evidence(site.run("exchange", release="r1")[1]) for dummy in range(2)]
    assert (planned["changed"], [entry["changed"] for entry in found], site.current()) == (False, [True, False], "r3")
    assert {"app-1.js", "app-3.js"} <= {*assets(site, "r1")} & {*assets(site, "r3")}


def test_assets_that_cannot_be_handed_on_stop_no_rollback(site, monkeypatch):
    for number in (1, 2, 3):
        stage_with_assets(site, f"r{number}", f"app-{number}.js")
        site.go_live(f"r{number}")
    site.lock()

    def full(source, target, **_options):
        open(target, "w").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_assets.os, "link", lambda *_paths: full("", os.devnull))
    monkeypatch.setattr(_assets.shutil, "copy2", full)
    code, result = site.run("switch", release="r1")
    assert (code, site.current()) == (0, "r1")
    assert not list((site.path("r1") / "public/build").glob("*.slipway"))
    warnings = json.dumps(result.get("warnings")) + " ".join(site.stderr().split())
    assert "pages of r3 that are open in browsers may miss assets" in warnings


def test_assets_of_another_owner_are_copied_whole(site, monkeypatch):
    stage_with_assets(site, "r1", "app-1.js")
    site.go_live("r1")

    def refused(*_paths, **_options):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(_assets.os, "link", refused)
    stage_with_assets(site, "r2", "app-2.js")
    assert assets(site, "r1") == ["app-1.js", "app-2.js", "manifest.json"]
    assert os.stat(site.path("r1") / "public/build/app-2.js").st_nlink == 1


def test_no_assets_are_bridged_where_none_are_asked_for(site):
    stage_with_assets(site, "r1", "app-1.js")
    site.go_live("r1")
    (site.path("r2") / "public/build").mkdir(parents=True)
    site.add("r2")
    assert evidence(site.run("stage", release="r2", assets_dir="")[1])["bridged"] == 0


def test_release_that_is_not_well_is_not_staged(live):
    code, result = live.run("stage", **live.artifact(health=503))
    assert code == 1
    assert f"the application in {live.path('r3')} answered /up with 503; see " in result["msg"]


def test_without_fpm_the_application_is_asked_by_the_name_of_its_site(live):
    artifact = live.artifact(trusts="shop.example.com")
    assert "answered /up with 400; see " in live.run("stage", **artifact)[1]["msg"]
    code, result = live.run("stage", health_host="shop.example.com", **artifact)
    assert (code, evidence(result)["probe"]) == (0, "the application answered /up with 200")


def test_release_that_needs_its_migrations_is_probed_again(live):
    code, result = live.run("stage", **live.artifact(migrations=["add_column"], needs_migration="add_column"))
    assert (code, evidence(result)["probe_again"]) == (0, True)
    assert evidence(result)["probe"].startswith("not well before its migrations (")
    assert live.run("probe")[0] == 1
    (live.home / "database.json").write_text('["add_column"]')
    assert evidence(live.run("probe")[1])["probe"] == "the application answered /up with 200"


def test_release_answers_through_fpm_before_it_is_live(live, fpm):
    code, result = live.run("stage", fpm_socket=fpm.address, health_host="shop.example.com", **live.artifact())
    assert (code, evidence(result)["probe"]) == (0, "PHP-FPM answered /up")
    assert fpm.requests[-1]["SCRIPT_FILENAME"] == str(live.path("r3") / "public/index.php")
    assert fpm.requests[-1]["HTTP_HOST"] == "shop.example.com"


def test_fpm_that_answers_badly_stops_the_stage(live, fpm):
    fpm.stdout = b"Status: 500\r\n\r\nWhoops"
    code, result = live.run("stage", fpm_socket=fpm.address, **live.artifact())
    assert code == 1
    assert result["msg"].endswith("answered 500: Whoops")


@pytest.mark.parametrize("phase, changed", [("stage", True), ("probe", False), ("restart", True), ("verify", False)])
def test_check_mode_does_nothing(live, phase, changed):
    before = sorted(live.root.rglob("*"))
    code, result = live.run(phase, _ansible_check_mode=True)
    assert (code, result["changed"]) == (0, changed)
    assert sorted(live.root.rglob("*")) == before


# switch


@pytest.mark.parametrize("check", [False, True])
def test_switch(live, check):
    live.add("r3")
    code, result = live.run("switch", _ansible_check_mode=check)
    assert (code, result["changed"], evidence(result)["previous"]) == (0, True, "r2")
    assert live.current() == result["current"] == ("r2" if check else "r3")
    assert live.history() == (["r1", "r2"] if check else ["r1", "r2", "r3"])
    assert result["diff"] == {"before": "current -> r2\n", "after": "current -> r3\n"}


def test_switch_to_what_is_live_changes_nothing(live):
    code, result = live.run("switch", release="r2")
    assert (code, result["changed"], live.history()) == (0, False, ["r1", "r2"])


def test_there_is_no_moment_without_a_live_release(live):
    live.add("r3")
    watch = (
        "import os, sys\nprint(flush=True)\n"
        "while os.path.exists(sys.argv[2]):\n    assert os.readlink(sys.argv[1])[-2:] in ('r2', 'r3')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-ISc", watch, live.root / "current", live.root / ".slipway/lock"], stdout=subprocess.PIPE
    ) as watcher:
        watcher.stdout.readline()
        for release in ["r3", "r2"] * 5:
            live.run("switch", release=release)
        (live.root / ".slipway/lock").unlink()
        assert watcher.wait(5) == 0


# restart


def test_restart_ends_the_workers_of_other_releases_only(live, worker):
    old, current = worker("r1"), worker("r2", "horizon")
    code, result = live.run("restart", release="r2")
    assert (code, result["changed"], evidence(result)["stopped"]) == (0, True, [old.pid])
    assert old.wait(5) == -signal.SIGTERM
    assert current.poll() is None


def test_restart_waits_for_a_worker_that_heeds_no_signal(live, worker):
    """Laravel listens for signals in its loop only: one of cron would be torn out of its job."""
    once = worker("r1", "queue:work", "--once")
    threading.Timer(2, once.kill).start()
    started = time.monotonic()
    code, result = live.run("restart", "verify", release="r2", timeout=20)
    assert (code, result["phases"][0]["stopped"], evidence(result)["finishing"]) == (0, [], [])
    assert time.monotonic() - started > 1, "it was waited for"


def test_restart_of_all_workers(live, worker):
    """After their database was restored under them."""
    current = worker("r2", "horizon")
    assert evidence(live.run("restart", release="r2", restart_all=True)[1])["stopped"] == [current.pid]
    assert current.wait(5) == -signal.SIGTERM


@pytest.mark.parametrize("server", SERVERS, ids=["swoole", "roadrunner", "frankenphp"])
@pytest.mark.parametrize("in_batch", [False, True])
def test_restart_asks_the_server_of_octane_to_end_and_not_its_command(live, octane, worker, server, in_batch):
    """The command would kill Swoole with its requests, and not wait for RoadRunner."""
    queue = worker("r1")
    octane("r1", [COMMAND, server])
    octane("r2", [COMMAND, server[:1]])
    expected = [of_line(live, "r1", server[0]), *([] if in_batch else [queue.pid])]
    result = live.run("restart", release="r2", verify_workers=not in_batch)[1]
    assert sorted(evidence(result)["stopped"]) == sorted(expected)


def test_restart_ends_the_command_of_octane_that_has_no_server(live, octane):
    command = octane("r1", [COMMAND])
    assert evidence(live.run("restart", release="r2")[1])["stopped"] == [command.pid]


def test_restart_in_a_batch_leaves_workers_and_the_commands_for_them_alone(live, worker):
    queue = worker("r1")
    code, result = live.run("restart", release="r2", verify_workers=False, restart_commands=[["false"]])
    assert (code, result["changed"], queue.poll()) == (0, False, None)


def test_restart_without_workers_changes_nothing(live):
    assert live.run("restart", release="r2")[1]["changed"] is False


def test_restart_commands(live):
    commands = [["sudo", "-n", "supervisorctl", "start", "app:*"], ["touch", f"{live.home}/second"]]
    assert live.run("restart", release="r2", restart_commands=commands)[0] == 0
    assert "sudo -n supervisorctl start app:*\n" in (live.home / "calls").read_text()
    assert (live.home / "second").exists()


@pytest.mark.parametrize(
    "running, commands, interrupted",
    [("r1", ["schedule:interrupt"], True), ("r1", [], False), ("r2", ["schedule:interrupt"], False)],
)
def test_scheduler_of_another_release_is_interrupted(live, worker, running, commands, interrupted):
    live.add("r2", commands={name: [] for name in commands})
    scheduler = worker(running, "schedule:run")
    code, result = live.run("restart", release="r2")
    assert (code, evidence(result)["schedule_interrupted"], scheduler.poll()) == (0, interrupted, None)
    # An older Laravel is asked, and does not know it.
    assert ("artisan schedule:interrupt" in (live.home / "calls").read_text()) is (running == "r1")


def test_restart_command_that_fails(live):
    code, result = live.run(
        "restart", release="r2", restart_commands=[["ls", "/nowhere"], ["touch", f"{live.home}/no"]]
    )
    assert code == 1
    assert result["msg"].startswith("restart: ls /nowhere exited 2: ls: ")
    assert not (live.home / "no").exists()


RELOAD = ["sudo", "-n", "systemctl", "reload", "php{version}-fpm.service"]


def opcache(free, keys):
    status = {
        "memory_usage": {"used_memory": 100 - free, "free_memory": free, "wasted_memory": 0},
        "opcache_statistics": {"num_cached_keys": keys, "max_cached_keys": 100},
    }
    return b"Content-Type: application/json\r\n\r\n" + json.dumps(status).encode()


@pytest.mark.parametrize(
    "when, answer, reason",
    [
        ("auto", opcache(50, 50), ""),
        ("auto", opcache(19, 50), "OPcache has 0 of 0 MiB left"),
        ("auto", opcache(50, 81), "OPcache has 19 of 100 keys left"),
        ("auto", b'\r\n\r\n{"opcache_enabled": true, "file_cache": "/tmp", "file_cache_only": true}', ""),
        ("auto", b"\r\n\r\nfalse", ""),
        ("auto", b"\r\n\r\nnonsense", ""),
        ("always", opcache(50, 50), "always"),
        ("never", opcache(1, 99), ""),
    ],
)
def test_fpm_is_reloaded_where_it_is_needed(live, fpm, when, answer, reason):
    fpm.by_script["opcache.php"] = answer
    args = {"fpm_socket": fpm.address, "fpm_reload": when, "fpm_reload_command": RELOAD}
    code, result = live.run("restart", release="r2", **args)
    assert (code, result["changed"], evidence(result)["fpm_reloaded"]) == (0, bool(reason), reason)
    reloaded = "sudo -n systemctl reload php8.4-fpm.service\n" in (live.home / "calls").read_text()
    assert reloaded is bool(reason)


@pytest.mark.parametrize("before", ["opcache.php", "opcache-012345abcdef.php", ""])
def test_full_disk_keeps_no_host_from_asking_php_fpm_whether_it_needs_a_reload(live, fpm, monkeypatch, before):
    """By what another version of the collection has left, if there is something."""
    if before:
        (live.root / ".slipway" / before).touch()

    def full(path, _text):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(_fpm_scripts, "write_atomic", full)
    fpm.by_script["opcache.php"] = opcache(19, 50)
    code, result = live.run("restart", release="r2", fpm_socket=fpm.address, fpm_reload_command=RELOAD)
    assert (code, bool(evidence(result)["fpm_reloaded"])) == (0, bool(before)), result.get("msg")
    asked = [os.path.basename(request["SCRIPT_FILENAME"]) for request in fpm.requests]
    assert set(asked) == ({before} if before else set())


# verify


def test_verify(live, worker, http_server, fpm):
    running = worker("r2")
    url = http_server(X_Release_Id="r2")
    code, result = live.run(
        "verify", release="r2", workers={"queue:work": 1}, fpm_socket=fpm.address, health_url=f"{url}/up"
    )
    assert (code, result["changed"]) == (0, False)
    started = evidence(result)["workers"][0].pop("started")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", started)
    assert evidence(result)["workers"] == [{"pid": running.pid, "command": "queue:work", "release": "r2"}]
    assert fpm.requests[0]["SCRIPT_FILENAME"] == str(live.path("r2") / "public/index.php")


def test_verify_names_everything_that_is_not_well(live, worker, http_server, fpm):
    fpm.stdout = b"Status: 500\r\n\r\nWhoops"
    old = worker("r1")
    url = http_server(X_Release_Id="r1")
    args = {"workers": {"queue:work": 2}, "fpm_socket": fpm.address, "health_url": url}
    code, result = live.run("verify", release="r2", **args)
    assert code == 1
    assert result["msg"].startswith("verify: r2 is not well after 0 s: through PHP-FPM ")
    assert f"{url} is served by release r1, not by r2; " in result["msg"]
    assert f"still on another release: queue:work (pid {old.pid}); 0 of 2 queue:work run r2" in result["msg"]


@pytest.mark.parametrize("other", ["octane:start", "pulse:check", "schedule:work", "horizon"])
def test_no_other_command_stands_in_for_a_worker(live, worker, other):
    worker("r2")
    worker("r2", other)
    wanted = {"queue:work": 2, "horizon": int(other == "horizon"), "reverb:start": 0}
    code, result = live.run("verify", release="r2", workers=wanted)
    assert (code, result["msg"]) == (1, "verify: r2 is not well after 0 s: 1 of 2 queue:work run r2")
    worker("r2")
    assert live.run("verify", release="r2", workers=wanted)[0] == 0


def test_worker_in_a_shell_under_supervisor_counts(live):
    shell = "echo; " + shlex.join([sys.executable, "-ISc", "import time; time.sleep(60)", "artisan", "queue:work"])
    spawn = f"import subprocess; subprocess.run(['sh', '-c', {shell + '; true'!r}], cwd={str(live.path('r2'))!r})"
    argv = [sys.executable, "-ISc", spawn, "/usr/bin/supervisord"]
    with subprocess.Popen(argv, cwd="/", stdout=subprocess.PIPE, start_new_session=True) as child:
        child.stdout.readline()
        code, result = live.run("verify", release="r2", workers={"queue:work": 1}, timeout=10)
        os.killpg(child.pid, 9)
    assert code == 0, result.get("msg")
    assert [worker["command"] for worker in evidence(result)["workers"]] == ["sh", "queue:work"]


@pytest.mark.parametrize("workers", [{"queue:work": "two"}, {"horizon": True}])
def test_numbers_of_workers_that_are_none(live, workers):
    assert live.run("verify", release="r2", workers=workers)[1]["msg"].startswith("workers has numbers by command")


def test_verify_in_a_batch_waits_for_octane_alone(live, worker, octane):
    worker("r1")
    assert live.run("verify", release="r2", verify_workers=False, workers={"queue:work": 3})[0] == 0
    octane("r1", [COMMAND, SWOOLE])
    code, result = live.run("verify", release="r2", verify_workers=False, workers={"queue:work": 3}, timeout=0)
    assert (code, "still on another release: octane:start (pid" in result["msg"]) == (1, True), result
    assert "queue:work" not in result["msg"]


def test_verify_waits_until_the_deadline(live, worker):
    assert (
        "r2 is not well after 1 s: " in live.run("verify", release="r2", workers={"queue:work": 1}, timeout=1)[1]["msg"]
    )
    threading.Timer(0.5, worker("r1").kill).start()
    assert live.run("verify", release="r2", timeout=20)[0] == 0


def test_pages_that_are_not_well_are_not_shown_for_as_long_as_a_job_may_take(live, worker, http_server):
    old = worker("r1")
    args = {"release": "r2", "timeout": 30, "health_timeout": 1}
    started = time.monotonic()
    assert "r2 is not well after 1 s: " in live.run("verify", health_url=http_server(500), **args)[1]["msg"]
    assert time.monotonic() - started < 10
    # Meanwhile a page may be not well for a moment, also late.
    threading.Timer(2.5, old.kill).start()
    unwell = iter([500, 500])
    later = time.monotonic() + 1.5
    url = http_server(lambda _request: 200 if time.monotonic() < later else next(unwell, 200))
    assert live.run("verify", health_url=url, **args)[0] == 0


def test_worker_that_ends_as_soon_as_it_has_started_is_not_well(live, worker, monkeypatch, at_age):
    monkeypatch.setattr(_phases, "_SETTLED", 1.0)
    at_age(0.0)
    running = worker("r2")
    threading.Timer(0.2, running.kill).start()
    code, result = live.run("verify", release="r2", workers={"queue:work": 1})
    assert (code, f"queue:work (pid {running.pid}) ended as soon as it had started" in result["msg"]) == (1, True)


def test_worker_that_ends_once_it_was_counted_is_not_well(live, worker, monkeypatch, at_age):
    monkeypatch.setattr(_phases, "_SETTLED", 1.0)
    at_age(0.9)
    running = worker("r2")

    def burst(_self):
        running.kill()
        running.wait()
        return 0, None

    monkeypatch.setattr(_phases.Phases, "_burst", burst)
    code, result = live.run("verify", release="r2", workers={"queue:work": 1})
    assert (code, f"queue:work (pid {running.pid}) ended as soon as it had started" in result["msg"]) == (1, True)


def test_worker_that_lasts_is_waited_for_no_longer_than_that(live, worker, monkeypatch, at_age):
    worker("r2")
    slept = []
    monkeypatch.setattr(_phases.time, "sleep", slept.append)
    monkeypatch.setattr(_phases, "_SETTLED", 1.0)
    at_age(0.25)
    assert live.run("verify", release="r2", workers={"queue:work": 1})[0] == 0
    assert slept == [0.75]
    at_age(5.0)
    assert live.run("verify", release="r2", workers={"queue:work": 1})[0] == 0
    assert slept == [0.75]


@pytest.mark.parametrize("age", [2.0, 3600.0])
def test_worker_that_has_lasted_may_end_by_design(live, worker, monkeypatch, age, at_age):
    """After so many jobs, or so long."""
    at_age(age)
    running = worker("r2")
    monkeypatch.setattr(_phases, "_SETTLED", 1.0)
    monkeypatch.setattr(_phases.Phases, "_burst", lambda _self: (running.kill(), (0, None))[1])
    assert live.run("verify", release="r2", workers={"queue:work": 1})[0] == 0


@pytest.mark.parametrize("followed", [True, False])
def test_worker_that_ends_after_each_job_has_a_successor(live, worker, monkeypatch, followed, at_age):
    running = worker("r2", "queue:work", "--once")
    monkeypatch.setattr(_phases, "_SETTLED", 1.0)
    at_age(0.9)

    def burst(_self):
        running.kill()
        running.wait()
        if followed:
            worker("r2", "queue:work", "--once")
        return 0, None

    monkeypatch.setattr(_phases.Phases, "_burst", burst)
    assert live.run("verify", release="r2", workers={"queue:work": 1})[0] == int(not followed)


def test_what_a_worker_started_comes_and_goes(live, monkeypatch):
    child = "import time; print(flush=True); time.sleep(1)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-ISc', {child!r}, 'artisan', 'horizon:work'])"
    argv = [sys.executable, "-ISc", f"{code}; import time; time.sleep(60)", "artisan", "horizon"]
    monkeypatch.setattr(_phases, "_SETTLED", 2.0)
    with subprocess.Popen(argv, cwd=live.path("r2"), stdout=subprocess.PIPE) as parent:
        parent.stdout.readline()
        assert live.run("verify", release="r2", workers={"horizon": 1})[0] == 0
        parent.kill()


def test_worker_need_not_last_in_maintenance(live, worker, monkeypatch, at_age):
    worker("r2")
    slept = []
    monkeypatch.setattr(_phases.time, "sleep", slept.append)
    monkeypatch.setattr(_phases, "_SETTLED", 1.0)
    at_age(0.25)
    marker = live.root / ".slipway/maintenance.json"
    marker.write_text('{"run": "run-1", "since": "2026-11-21T12:00:00Z", "secret": ""}')
    assert live.run("verify", release="r2", workers={"queue:work": 1})[0] == 0
    assert slept == []


# A job that takes longer than is waited for


RENDERER = "inertia:start-ssr"


def test_server_of_inertia_changes_to_the_new_release(live, worker, warned):
    old = worker("r1", RENDERER)
    code, result = live.run("restart", release="r2")
    assert (code, evidence(result)["stopped"], old.wait(5)) == (0, [old.pid], -signal.SIGTERM)
    worker("r2", RENDERER)
    assert live.run("verify", release="r2")[0] == 0
    assert [text for text in warned if RENDERER in text] == []


@pytest.mark.parametrize("known", [True, False])
def test_server_of_inertia_that_does_not_come_back_is_no_reason_to_go_back(live, worker, monkeypatch, warned, known):
    monkeypatch.setattr(_phases, "_RENDERER_STARTS", 0)
    if known:
        worker("r1", RENDERER)
    assert live.run("restart", "verify", release="r2", timeout=20)[0] == 0
    told = f"{RENDERER} ran until r2 came and does not run it"
    assert [told in text for text in warned if RENDERER in text] == [True] * known


def test_server_of_inertia_that_ends_again_is_no_reason_to_go_back(live, worker, monkeypatch, at_age):
    monkeypatch.setattr(_phases, "_SETTLED", 1.0)
    at_age(0.9)
    running = worker("r2", RENDERER)
    monkeypatch.setattr(_phases.Phases, "_burst", lambda _self: (running.kill(), running.wait(), (0, None))[2])
    assert live.run("verify", release="r2")[0] == 0


@pytest.fixture
def busy(site):
    """Start workers that end on SIGTERM only after a minute: busy(release, *words)."""
    started = []
    code = "import signal, time; signal.signal(15, lambda *_: time.sleep(60)); print(flush=True); time.sleep(60)"

    def start(release, *words):
        argv = [sys.executable, "-ISc", code, "artisan", *(words or ("queue:work",))]
        started.append(subprocess.Popen(argv, cwd=site.path(release), stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1]

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_job_that_takes_longer_is_no_reason_to_go_back(live, busy, worker):
    old, _new = busy("r1"), worker("r2")
    once = worker("r1", "queue:work", "--once")
    args = {"release": "r2", "workers": {"queue:work": 2}, "timeout": 2}
    started = time.monotonic()
    code, result = live.run("restart", "verify", **args)
    assert (code, time.monotonic() - started > 2) == (0, True), result.get("msg")
    found = {(each["pid"], each["command"], each["release"]) for each in evidence(result)["finishing"]}
    assert found == {(old.pid, "queue:work", "r1"), (once.pid, "queue:work", "r1")}
    warnings = json.dumps(result.get("warnings")) + " ".join(live.stderr().split())
    assert f"job in hand of queue:work (pid {old.pid}) of r1" in warnings
    # Its release stays as long as that.
    live.go_live("r3")
    live.run("finish", release="r3", keep=1)
    assert (live.path("r1").exists(), old.poll()) == (True, None)


def test_verify_in_another_run_of_the_module_knows_who_was_asked(live, busy):
    old = busy("r1")
    assert live.run("restart", release="r2")[0] == 0
    assert [each["pid"] for each in evidence(live.run("verify", release="r2")[1])["finishing"]] == [old.pid]


def test_way_back_does_not_wait_for_a_job_either(live, busy):
    live.go_live("r3")
    failed = busy("r3")
    code, result = live.run("revert", previous="r2", timeout=0)
    assert (code, evidence(result)["reverted"], failed.poll()) == (0, True, None)


@pytest.mark.parametrize(
    "workers, running, text",
    [
        # As many are missing as have a job in hand, and one more.
        ({"queue:work": 2}, ["queue:work"], "1 of 2 queue:work run r2"),
        ({"horizon": 1}, ["queue:work"], "0 of 1 horizon run r2"),
        # Nobody waits for the job of a server.
        ({}, ["reverb:start"], "still on another release: reverb:start (pid "),
        ({}, ["queue:work", "octane:start"], "still on another release: octane:start (pid "),
    ],
)
def test_what_else_is_wrong_is_a_reason(live, busy, workers, running, text):
    for command in running:
        busy("r1", command)
    code, result = live.run("restart", "verify", release="r2", workers=workers)
    assert (code, text in result["msg"]) == (1, True), result["msg"]


def test_worker_that_was_started_in_the_old_release_since_then_is_a_reason(live, busy):
    live.run("restart", release="r2")
    old = busy("r1")
    assert f"still on another release: queue:work (pid {old.pid})" in live.run("verify", release="r2")[1]["msg"]


def test_pages_that_are_not_well_are_a_reason(live, busy, http_server):
    busy("r1")
    code, result = live.run("restart", "verify", release="r2", health_url=http_server(500))
    assert (code, " answered 500" in result["msg"], "another release" in result["msg"]) == (1, True, False)


def test_verify_of_a_release_that_is_not_live(live):
    live.add("r3")
    assert f"{live.root}/current points at r2" in live.run("verify")[1]["msg"]


# revert


def test_revert_before_the_switch_removes_what_was_staged(live):
    live.run("stage", **live.artifact(health=500))
    assert live.path("r3").exists()
    code, result = live.run("revert", previous="r2")
    assert (code, result["changed"], evidence(result)["reverted"], result["current"]) == (0, False, False, "r2")
    assert not live.path("r3").exists()
    assert not live.locked()
    assert live.history() == ["r1", "r2"]


def test_revert_after_the_switch_goes_back_and_marks_the_release_bad(live, worker):
    live.go_live("r3")
    failed = worker("r3")
    # A worker takes a moment to end, and this one has to be gone before the release it goes back to is well.
    code, result = live.run("revert", previous="r2", timeout=20)
    assert (code, result["changed"], evidence(result)["reverted"], result["current"]) == (0, True, True, "r2")
    assert failed.wait(5) == -signal.SIGTERM
    assert [entry["release"] for entry in live.state() if entry.get("bad")] == ["r3"]
    assert not live.locked()
    assert evidence(live.run("preflight", release="")[1])["rollback_target"] == "r1"


@pytest.mark.parametrize(("holder", "lost"), [("run-2", "taken"), ("", "given back")])
def test_revert_without_the_lock_tells_what_it_leaves_live(live, holder, lost):
    live.go_live("r3")
    live.lock(holder)
    if not holder:
        (live.root / ".slipway/lock").unlink()
    code, result = live.run("revert", previous="r2")
    assert (code, result["current"], evidence(result)["reverted"]) == (0, "r3", False)
    assert evidence(result)["lost"] == lost
    # Of a run that has not made anything live.
    for args in ({"release": ""}, {"release": "r3", "previous": "r3"}, {"release": "r4"}):
        assert evidence(live.run("revert", **{"previous": "r2", **args})[1])["lost"] == ""


def test_revert_of_the_very_first_release(site):
    site.go_live("r3")
    code, result = site.run("revert", previous="")
    assert (code, evidence(result)["reverted"], result["current"]) == (0, True, None)
    assert not site.locked()
    site.go_live("r4")
    assert evidence(site.run("preflight", release="")[1])["rollback_target"] is None, "r3 was bad"


def test_revert_of_a_rollback_that_went_wrong(live):
    live.add("r3")
    live.go_live("r3")
    live.lock()
    live.run("switch", release="r2")
    code, result = live.run("revert", release="r2", previous="r3")
    assert (code, result["current"], evidence(result)["reverted"]) == (0, "r3", True)


@pytest.mark.parametrize("previous", ["r2", ""])
def test_revert_goes_back_on_a_full_disk(live, worker, full_disk, warned, previous):
    """As after a release that floods it."""
    live.go_live("r3")
    failed = worker("r3")
    live.run("verify", workers={"queue:work": 2})
    assert (live.root / ".slipway/run.json").exists()
    full_disk()
    code, result = live.run("revert", previous=previous, timeout=20)
    assert (code, evidence(result)["reverted"], live.current()) == (0, True, previous or None), result
    assert failed.wait(5) == -signal.SIGTERM
    assert not live.locked()
    assert not (live.root / ".slipway/run.json").exists()
    assert "that r3 was bad could not be noted (No space left on device)" in str(warned)
    assert live.history() == ["r1", "r2", "r3"]


def test_next_release_after_a_way_back_that_was_not_noted(live, monkeypatch, full_disk):
    live.go_live("r3")
    full_disk()
    assert live.run("revert", previous="r2")[0] == 0
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    live.go_live("r4")
    assert live.history() == ["r1", "r2", "r3", "r2", "r4"]
    assert evidence(live.run("preflight", release="")[1])["rollback_target"] == "r2"


def test_revert_gives_the_lock_back_where_it_cannot_note_what_is_unproven(live, full_disk, warned):
    live.go_live("r3")
    live.lock()
    unproven = {"run": "killed", "release": "r3", "owner": "ann"}
    state = {"run": "run-1", "release": "r4", "owner": "ann", "unproven": unproven}
    (live.root / ".slipway/run.json").write_text(json.dumps(state))
    full_disk()
    code, result = live.run("revert", release="r4", previous="r3")
    assert (code, live.locked()) == (0, False), result
    assert json.loads((live.root / ".slipway/run.json").read_text()) == state, "the next run finds r3 unproven in it"
    assert "run.json could not be written: No space left on device" in str(warned)


@pytest.mark.parametrize("stage", [True, False])
def test_revert_removes_the_artifact_of_a_release_that_never_was_live(live, stage):
    artifact = live.artifact()
    for kept in ("r1", "r2"):
        (live.root / f".slipway/artifacts/{kept}.tar.gz").touch()
    if stage:
        assert live.run("stage", **artifact)[0] == 0
    assert live.run("revert", previous="r2")[0] == 0
    assert sorted(path.name for path in (live.root / ".slipway/artifacts").iterdir()) == ["r1.tar.gz", "r2.tar.gz"]


@pytest.mark.parametrize("holder", ["run-2", None])
def test_revert_leaves_alone_what_another_run_holds(live, holder):
    live.go_live("r3")
    live.lock("run-2") if holder else (live.root / ".slipway/lock").unlink()
    code, result = live.run("revert", previous="r2")
    assert (code, result["changed"], evidence(result)["reverted"], live.current()) == (0, False, False, "r3")
    assert live.locked() is bool(holder)


def test_revert_that_is_not_well_is_loud_and_says_what_is_live(live):
    live.go_live("r3")
    code, result = live.run("revert", previous="r2", health_url="http://127.0.0.1:1/up")
    assert (code, result["failed_phase"], result["current"]) == (1, "revert", "r2")
    assert result["msg"].startswith("revert: r2 is not well after 0 s: ")
    assert evidence(result)["reverted"] is True, "r3 is not live any more, which is what the record counts by"
    assert not live.locked(), "the run is over"


@pytest.mark.parametrize("release", ["8", "9"])
def test_revert_never_removes_a_release_of_another_tool(site, release):
    for name in ("8", "9"):
        site.add(name)
        (site.path(name) / ".slipway.json").unlink()
    (site.root / "current").symlink_to("releases/9")
    site.lock()
    code, result = site.run("revert", release=release, previous="9")
    assert (code, result["changed"], site.current()) == (0, False, "9")
    assert site.path(release).exists()


def test_revert_never_removes_a_release_that_was_live(live):
    code, result = live.run("revert", release="r1", previous="r2")
    assert (code, result["changed"], live.current()) == (0, False, "r2")
    assert live.path("r1").exists()


@pytest.mark.parametrize("release, reverted", [("r3", True), ("r4", False)])
def test_revert_in_check_mode(live, release, reverted):
    live.go_live("r3")
    live.add("r4")
    code, result = live.run("revert", release=release, previous="r2", _ansible_check_mode=True)
    assert (code, result["changed"]) == (0, reverted)
    assert result["diff"]["after"] == ("current -> r2\n" if reverted else "current -> r3\n")
    assert live.current() == "r3"
    assert live.path("r4").exists()


# finish


@pytest.fixture
def many(site):
    """A site with r1 to r6 live in this order."""
    site.go_live("r1", "r2", "r3", "r4", "r5", "r6")
    return site


@pytest.mark.parametrize("check", [False, True])
def test_finish_prunes_the_oldest_and_gives_the_lock_back(many, check):
    code, result = many.run("finish", release="r6", keep=4, _ansible_check_mode=check)
    assert (code, result["changed"], evidence(result)["removed"]) == (0, True, ["r1", "r2"])
    assert many.path("r1").exists() is check
    assert many.path("r3").exists()
    assert many.locked() is check


def test_finish_keeps_the_live_one_its_predecessor_and_what_processes_use(many, worker):
    worker("r2", "tinker")
    code, result = many.run("finish", release="r6", keep=0)
    assert code == 0
    assert evidence(result)["removed"] == ["r1", "r3", "r4"]
    assert evidence(many.run("preflight", release="")[1])["rollback_target"] == "r5"


def test_finish_keeps_what_was_made_live_by_hand_before(many):
    (many.root / "current").unlink()
    (many.root / "current").symlink_to("releases/r1")
    many.go_live("r7")
    code, result = many.run("finish", release="r7", keep=5)
    assert (code, evidence(result)["removed"]) == (0, ["r2"])
    assert evidence(many.run("preflight", release="")[1])["rollback_target"] == "r1"


def test_finish_after_a_rollback_marks_the_bad_release(many):
    many.run("switch", release="r5")
    many.run("finish", release="r5", bad="r6", keep=9)
    found = evidence(many.run("preflight", release="")[1])
    assert found["rollback_target"] == "r4"
    assert [entry["release"] for entry in many.state() if entry.get("bad")] == ["r6"]


def test_finish_removes_the_artifacts_of_releases_that_are_gone(many):
    for release in ("r1", "r6", "aborted"):
        (many.root / f".slipway/artifacts/{release}.tar.gz").touch()
    many.run("finish", release="r6", keep=5)
    assert [path.name for path in (many.root / ".slipway/artifacts").iterdir()] == ["r6.tar.gz"]


def test_release_is_proven_also_where_it_cannot_be_tidied_up_after(many, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device", "state.json")

    assert many.run("preflight", "restart", release="r6")[0] == 0
    monkeypatch.setattr(_phases._assets, "take_back", full)
    code, result = many.run("verify", "finish", release="r6")
    assert (code, evidence(result)["error"]) == (0, "No space left on device: state.json")
    assert not many.locked()
    assert evidence(many.run("preflight", release="", run="next")[1])["unproven"] == ""


def test_finish_only_warns_about_what_cannot_be_removed(many, monkeypatch):
    real = shutil.rmtree

    def rmtree(path, *args, **kwargs):
        if str(path).endswith("r1"):
            raise PermissionError(13, "Permission denied", path)
        real(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    code, result = many.run("finish", release="r6", keep=4)
    assert (code, evidence(result)["removed"]) == (0, ["r2"])
    # Where the controller's code was imported before, by another test, Ansible takes warnings out of the result.
    warnings = json.dumps(result.get("warnings")) + " ".join(many.stderr().split())
    assert "r1 could not be removed" in warnings
    assert not many.locked()


def test_finish_after_the_proof_fails_nothing(many, monkeypatch):
    def prunable(*_args):
        raise OSError(5, "Input/output error", "releases")

    monkeypatch.setattr(_layout.Layout, "prunable", prunable)
    assert many.run("finish", release="r6")[0] == 1
    code, result = many.run("verify", "finish", release="r6")
    assert (code, result["phases"][1]["error"]) == (0, "Input/output error: releases")
    assert "finish: Input/output error" in json.dumps(result.get("warnings")) + many.stderr()


# All together


def test_a_whole_release_in_one_run(live):
    artifact = live.artifact()
    code, result = live.run("preflight", *[phase for phase in ALL if phase != "probe"], **artifact)
    assert (code, result["changed"], live.current()) == (0, True, "r3")
    assert [entry["phase"] for entry in result["phases"]] == [
        "preflight",
        "stage",
        "switch",
        "restart",
        "verify",
        "finish",
    ]
    assert not live.locked()
