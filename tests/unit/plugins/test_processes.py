from __future__ import annotations

import calendar
import mmap
import os
import shutil
import subprocess
import sys
import time

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _processes


@pytest.fixture
def process(tmp_path):
    """Start processes that sleep: process(release, words) runs in that release, with these words in its arguments.

    With parent, a word, it is the child of another one with that word in its arguments; with title it is called so.
    """
    started = []

    def start(release, *words, parent="", title="", cwd=""):
        directory = tmp_path / "releases" / release
        directory.mkdir(parents=True, exist_ok=True)
        argv = [
            sys.executable,
            "-ISc",
            "import os; print(os.getpid(), flush=True); import time; time.sleep(60)",
            *words,
        ]
        if title:
            argv = ["bash", "-c", 'echo $$; exec -a "$0" sleep 60', title]
        options = {"cwd": cwd or directory, "stdout": subprocess.PIPE, "start_new_session": True}
        if parent:
            spawn = f"import subprocess; subprocess.run({argv!r}, cwd={str(directory)!r})"
            argv, options["cwd"] = [sys.executable, "-ISc", spawn, parent], "/"
        started.append(subprocess.Popen(argv, **options))
        return int(started[-1].stdout.readline())

    yield start
    for child in started:
        os.killpg(child.pid, 9)
        child.communicate()


def workers(tmp_path, **args):
    return [
        (worker["pid"], worker["kind"], worker["command"], worker["release"])
        for worker in _processes.workers(str(tmp_path), **args)
    ]


def test_workers_and_the_releases_in_use(process, tmp_path):
    before = int(time.time())
    worker = process("r1", "artisan", "queue:work", "redis")
    process("r2", "artisan", "tinker")
    os.symlink(tmp_path, tmp_path / "link")
    found = _processes.workers(str(tmp_path / "link"))
    started = calendar.timegm(time.strptime(found[0].pop("started"), "%Y-%m-%dT%H:%M:%SZ"))
    # The time of the boot is known in whole seconds.
    assert before - 2 <= started <= time.time() + 2
    assert 0 <= found[0].pop("age") < 60
    lasts = {"once": False, "short": False}
    assert found == [{"pid": worker, "kind": "artisan", "command": "queue:work", "release": "r1", "parent": 0, **lasts}]
    assert _processes.releases_in_use(str(tmp_path / "link")) == {"r1", "r2"}
    assert _processes.workers(str(tmp_path / "releases")) == []


def test_processes_where_releases_is_a_link(process, tmp_path):
    (tmp_path / "data/releases/r1").mkdir(parents=True)
    os.symlink("data/releases", tmp_path / "releases")
    worker = process("r1", "artisan", "queue:work")
    stray = process("r1", f"{tmp_path}/releases/r1/artisan", "schedule:work", cwd="/")
    assert workers(tmp_path) == [(worker, "artisan", "queue:work", "r1")]
    assert _processes.releases_in_use(str(tmp_path)) == {"r1"}
    assert _processes.artisan(str(tmp_path), ("queue:work",)) == {worker: "r1"}
    assert f"schedule:work (pid {stray}) of this application work" in _processes.stray_problem(str(tmp_path))


@pytest.mark.parametrize(
    "option, once, short",
    [
        ("--once", True, True),
        ("--stop-when-empty", False, True),
        ("--max-jobs=1", False, True),
        ("--max-jobs=1000", False, False),
        ("--max-time=3600", False, False),
    ],
)
def test_workers_that_end_soon_by_themselves(process, tmp_path, option, once, short):
    process("r1", "artisan", "queue:work", "redis", option)
    assert [(found["once"], found["short"]) for found in _processes.workers(str(tmp_path))] == [(once, short)]


def test_a_process_that_only_shares_a_word_is_no_worker(process, tmp_path):
    process("r1", "vim", "horizon")
    assert workers(tmp_path) == []


@pytest.mark.parametrize(
    "place, words, stray",
    [
        ("current", ["queue:work"], True),
        ("current", ["octane:start", "--server=swoole"], True),
        ("releases/r9", ["horizon"], True),
        ("link/current", ["reverb:start"], True),
        # Short ones have the code of what is live when they start.
        ("current", ["schedule:run"], False),
        ("current", ["tinker"], False),
        ("current", ["queue:work", "--once"], False),
        ("current", ["queue:work", "--stop-when-empty"], False),
        # Another application below this one.
        ("other/current", ["queue:work"], False),
        ("../currents", ["queue:work"], False),
    ],
)
def test_workers_outside_of_every_release(process, tmp_path, place, words, stray):
    root = tmp_path / "app"
    (root / "releases/r1").mkdir(parents=True)
    (root / "current").symlink_to("releases/r1")
    (root / "link").symlink_to(root)
    artisan = str(root / place / "artisan")
    pid = process("r1", artisan, *words)
    process("r1", "artisan", "queue:work")
    inside = process("r1", artisan, *words, cwd=root / "releases/r1")
    found = _processes.stray_problem(str(root / "link"))
    assert found.startswith(f"{words[0]} (pid {pid}) of this application work in none") == stray
    assert (bool(found), str(inside) in found) == (stray, False)


def test_worker_of_a_removed_release(process, tmp_path):
    worker = process("r1", "artisan", "horizon")
    (tmp_path / "releases/r1").rmdir()
    assert workers(tmp_path) == [(worker, "artisan", "horizon", "r1")]


def test_what_a_worker_has_started_has_it_as_parent(process, tmp_path):
    directory = tmp_path / "releases/r1"
    directory.mkdir(parents=True)
    code = "import subprocess, sys; subprocess.run([sys.executable, '-ISc', 'print(flush=True); import time;"
    code += " time.sleep(60)', 'artisan', 'horizon:work'])"
    argv = [sys.executable, "-ISc", code, "artisan", "horizon"]
    with subprocess.Popen(argv, cwd=directory, stdout=subprocess.PIPE, start_new_session=True) as child:
        child.stdout.readline()
        found = {worker["command"]: worker for worker in _processes.workers(str(tmp_path))}
        os.killpg(child.pid, 9)
    assert (found["horizon"]["parent"], found["horizon:work"]["parent"]) == (0, child.pid)


@pytest.mark.parametrize(
    "title, command",
    [("/app/rr", "rr"), ("frankenphp", "frankenphp"), ("swoole_http_server: master process for App", None)],
)
def test_servers_of_octane(process, tmp_path, title, command):
    server = process("r1", title=title)
    wait_for_title(server, title)
    assert workers(tmp_path) == [(server, "octane", command or "swoole_http_server", "r1")]


@pytest.mark.parametrize(
    "line, kind",
    [
        ("/usr/bin/php8.4 swoole-server /srv/shared/storage/logs/octane-server.json", ("octane", "swoole-server")),
        ("/usr/bin/php8.4 /srv/releases/r1/vendor/bin/roadrunner-worker", ("octane", "roadrunner-worker")),
        ("/srv/releases/r1/rr -c /srv/releases/r1/.rr.yaml -o http.address=127.0.0.1:8000 serve", ("octane", "rr")),
        ("/usr/local/bin/frankenphp run -c /srv/releases/r1/vendor/laravel/octane/Caddyfile", ("octane", "frankenphp")),
        ("php artisan octane:start --server=swoole", ("artisan", "octane:start")),
        ("php artisan octane:swoole", ("artisan", "octane:swoole")),
        ("php artisan octane:roadrunner", ("artisan", "octane:roadrunner")),
        ("/usr/bin/php8.4 /srv/releases/r1/artisan octane:frankenphp", ("artisan", "octane:frankenphp")),
        ("php artisan octane:reload", ("", "octane:reload")),
    ],
)
def test_command_lines_of_octane(line, kind):
    """As laravel/octane 2 makes them."""

    class Process:
        words = line.split()

    assert _processes._kind(Process(), 0, False) == kind


def wait_for_title(pid, title):
    deadline = time.monotonic() + 5
    while _processes.command_line(pid)[0] != title and time.monotonic() < deadline:
        time.sleep(0.01)


def test_programs_of_supervisor_and_pm2(process, tmp_path):
    one = process("r1", "--token=hidden", parent="/usr/bin/supervisord")
    two = process("r1", "secret", parent="PM2 v5: God Daemon")
    process("r1", parent="bash")
    python = os.path.basename(sys.executable)
    assert sorted(workers(tmp_path)) == sorted([(one, "supervisord", python, "r1"), (two, "pm2", python, "r1")])


def test_javascript_processes(process, tmp_path):
    # What a program is counts, since Next.js gives its processes another title.
    shutil.copy(shutil.which("sleep"), tmp_path / "bun")
    (tmp_path / "releases/r1").mkdir(parents=True)
    with subprocess.Popen([tmp_path / "bun", "60"], cwd=tmp_path / "releases/r1") as child:
        wait_for_title(child.pid, str(tmp_path / "bun"))
        assert workers(tmp_path, node=True) == [(child.pid, "node", "bun", "r1")]
        assert workers(tmp_path) == []
        child.kill()


def wait_for_bun(tmp_path):
    deadline, found = time.monotonic() + 5, []
    while "bun" not in [worker["command"] for worker in found] and time.monotonic() < deadline:
        time.sleep(0.01)
        found = _processes.workers(str(tmp_path), node=True)
    return found


def test_what_npm_starts_in_a_shell_comes_from_it(tmp_path):
    (tmp_path / "releases/r1").mkdir(parents=True)
    for name, program in (("node", "bash"), ("bun", "sleep")):
        shutil.copy(shutil.which(program), tmp_path / name)
    # Neither shell becomes its last command.
    script = f"sh -c '{tmp_path}/bun 60; true'; true"
    argv = [tmp_path / "node", "-c", script]
    with subprocess.Popen(argv, cwd=tmp_path / "releases/r1", start_new_session=True) as child:
        found = wait_for_bun(tmp_path)
        os.killpg(child.pid, 9)
    parents = {worker["command"].split()[0]: worker["parent"] for worker in found}
    assert parents == {"node": 0, "bun": child.pid}


def test_pm2_is_none_of_the_servers_that_it_runs(tmp_path):
    (tmp_path / "releases/r1").mkdir(parents=True)
    for name, program in (("node", "bash"), ("bun", "sleep")):
        shutil.copy(shutil.which(program), tmp_path / name)
    title = "PM2 v7.0.4: God Daemon (/run/node-shop)"
    # It was started in a release, whose directory it keeps.
    argv = ["bash", "-c", 'exec -a "$0" "$1" -c "$2"', title, tmp_path / "node", f"{tmp_path}/bun 60; true"]
    with subprocess.Popen(argv, cwd=tmp_path / "releases/r1", start_new_session=True) as child:
        found = wait_for_bun(tmp_path)
        os.killpg(child.pid, 9)
    assert [(worker["kind"], worker["command"], worker["parent"]) for worker in found] == [("pm2", "bun", 0)]


def test_release_whose_program_or_library_runs_elsewhere_is_in_use(process, tmp_path):
    program = tmp_path / "releases/r2/rr"
    program.parent.mkdir(parents=True)
    shutil.copy(shutil.which("sleep"), program)
    (tmp_path / "releases/r3").mkdir()
    library = tmp_path / "releases/r3/a library.so"
    library.write_bytes(b"x" * 4096)
    with subprocess.Popen([program, "60"], cwd="/") as child, open(library, "rb") as handle:
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ):
            wait_for_title(child.pid, str(program))
            assert _processes.releases_in_use(str(tmp_path)) == {"r2", "r3"}
        child.kill()


def test_processes_of_a_pool(process):
    # A name that nothing else on this machine has.
    pool = f"shop{os.getpid()}"
    for title in (f"php-fpm: pool {pool}", f"php-fpm: pool {pool}", f"php-fpm: pool {pool}2"):
        wait_for_title(process("r1", title=title), title)
    assert _processes.fpm_processes(f"/run/php/{pool}.sock") == 2
    assert _processes.fpm_processes("127.0.0.1:9000") >= 3
