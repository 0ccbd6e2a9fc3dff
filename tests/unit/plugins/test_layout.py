from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _layout
from ansible_collections.slipway.laravel.plugins.module_utils._layout import (
    Heartbeat,
    Layout,
    LayoutError,
    LockedError,
    write_atomic,
)


@pytest.fixture
def layout(tmp_path):
    for name in ("releases/r1", "releases/r2", "releases/r3", "releases/r4", "shared", ".slipway"):
        (tmp_path / name).mkdir(parents=True)
    return Layout(str(tmp_path))


def switch(layout, *releases):
    for release in releases:
        layout.switch(release)


def age_lock(layout, seconds):
    then = time.time() - seconds
    os.utime(layout.lock_path, (then, then))


def test_first_switch(layout):
    assert layout.current() is None
    layout.switch("r1")
    assert os.readlink(layout.current_link) == "releases/r1"
    assert layout.current() == "r1"
    assert [entry["release"] for entry in layout.history()] == ["r1"]
    assert sorted(os.listdir(layout.root)) == [".slipway", "current", "releases", "shared"]


def test_switch_remembers_a_release_of_another_tool(layout):
    os.symlink(f"{layout.root}/releases/r1/", layout.current_link)
    layout.switch("r2")
    assert [entry["release"] for entry in layout.history()] == ["r1", "r2"]
    assert layout.rollback_target() == "r1"


def test_switch_goes_on_when_the_state_was_lost(layout):
    switch(layout, "r1", "r2")
    os.unlink(f"{layout.private_dir}/state.json")
    assert layout.rollback_target() is None
    layout.switch("r3")
    assert layout.rollback_target() == "r2"


def test_switch_remembers_what_was_made_live_by_hand(layout, tmp_path):
    """By an operator who went back past several releases, or by another tool."""
    switch(layout, "r1", "r2", "r3")
    os.unlink(layout.current_link)
    os.symlink("releases/r1", layout.current_link)
    assert layout.rollback_target() is None
    layout.switch("r4")
    assert [entry["release"] for entry in layout.history()] == ["r1", "r2", "r3", "r1", "r4"]
    assert layout.rollback_target() == "r1"
    # Back by a rollback: it is in the history as what was live last.
    layout.switch("r1")
    layout.mark_bad("r4")
    assert [entry["release"] for entry in layout.history()] == ["r1", "r2", "r3", "r1", "r4", "r1"]
    assert layout.rollback_target() is None
    assert layout.installed() == ["r1", "r2", "r3", "r4"]


@pytest.mark.parametrize(
    "switches, bad, target",
    [
        ([], [], None),
        (["r1"], [], None),
        (["r1", "r2", "r3"], [], "r2"),
        (["r1", "r2", "r3"], ["r2"], "r1"),
        (["r1", "r2"], ["r1"], None),
        (["r1", "r2", "gone", "r3"], [], "r2"),
        # back from r3 to r2: the next one back is r1, and then there is none
        (["r1", "r2", "r3", "r2"], ["r3"], "r1"),
        (["r1", "r2", "r3", "r2", "r1"], ["r3", "r2"], None),
        # forward again after a rollback
        (["r1", "r2", "r1", "r3"], ["r2"], "r1"),
    ],
)
def test_rollback_target(layout, switches, bad, target):
    switch(layout, *switches)
    for release in bad:
        layout.mark_bad(release)
    assert layout.rollback_target() == target


def manifest(layout, release, **values):
    os.makedirs(layout.release_path(release), exist_ok=True)
    write_atomic(f"{layout.release_path(release)}/.slipway.json", json.dumps({"release": release, **values}))


def test_installed_is_ordered_by_the_first_switch_not_by_name_or_time(layout):
    os.mkdir(layout.release_path("r10"))
    switch(layout, "r3", "r1", "r3")
    os.utime(layout.release_path("r3"))
    assert layout.installed() == ["r2", "r4", "r10", "r3", "r1"], "what nobody knows the age of is the oldest"


def test_staged_release_that_was_never_live_stands_where_it_was_made(layout, monkeypatch):
    for name in ("r1", "r2", "r3", "r4"):
        os.rmdir(layout.release_path(name))
    names = [f"202601{day:02}T000000Z-1a2b3c4d" for day in range(1, 6)]
    for day, name in enumerate(names, 1):
        manifest(layout, name, **({"staged_at": f"2026-01-{day:02}T00:10:00Z"} if day != 4 else {}))
    for day in (1, 3, 5):
        monkeypatch.setattr(_layout, "utc_now", lambda day=day: f"2026-01-{day:02}T00:20:00Z")
        layout.switch(names[day - 1])
    assert layout.installed() == names
    assert layout.prunable(2, set()) == names[:3]


@pytest.mark.parametrize(
    "names, log, order",
    [
        (["9", "10", "2", "11"], "", ["2", "9", "10", "11"]),
        (["20260101120000", "20251231120000"], "", ["20251231120000", "20260101120000"]),
        (
            ["b", "a"],
            '{"created_at":"2026-01-01T00:00:00+0000","release_name":"b"}\nnonsense\n[]\n'
            '{"created_at":"2026-01-02T00:00:00+0000","release_name":"a"}\n',
            ["b", "a"],
        ),
    ],
)
def test_releases_of_other_tools_are_older_than_ours(layout, names, log, order):
    for name in ("r1", "r2", "r3", "r4"):
        os.rmdir(layout.release_path(name))
    for name in names:
        os.mkdir(layout.release_path(name))
    if log:
        os.mkdir(f"{layout.root}/.dep")
        write_atomic(f"{layout.root}/.dep/releases_log", log)
    os.symlink(f"releases/{order[-1]}", layout.current_link)
    manifest(layout, "20300101T000000Z-1a2b3c4d")
    switch(layout, "20300101T000000Z-1a2b3c4d")
    assert layout.installed() == [*order, "20300101T000000Z-1a2b3c4d"]
    assert layout.rollback_target() == order[-1]


def test_what_is_known_of_a_release_of_deployer(layout):
    os.mkdir(f"{layout.root}/.dep")
    noted = {"created_at": "2026-01-01T00:00:00+0000", "release_name": "r1", "user": "ann", "target": "main"}
    write_atomic(f"{layout.root}/.dep/releases_log", json.dumps(noted))
    write_atomic(f"{layout.release_path('r1')}/REVISION", "abc\n")
    about = layout.about("r1")
    assert (about["commit"], about["version"], about["made_by"], about["bad"]) == (
        "abc",
        "main",
        "another tool",
        False,
    )
    write_atomic(f"{layout.release_path('r1')}/BAD_RELEASE", "")
    assert layout.about("r1")["bad"] is True


def test_no_rollback_to_what_deployer_marked_as_bad(layout):
    switch(layout, "r1", "r2", "r3")
    write_atomic(f"{layout.release_path('r2')}/BAD_RELEASE", "")
    assert layout.rollback_target() == "r1"


@pytest.mark.parametrize(
    "keep, protected, expected",
    [
        (4, set(), []),
        (9, set(), []),
        (2, set(), ["r2", "r1"]),
        (2, {"r1"}, ["r2"]),
        (0, {"r4"}, ["r2", "r1", "r3"]),
    ],
)
def test_prunable(layout, keep, protected, expected):
    switch(layout, "r2", "r1", "r3", "r4")
    assert layout.prunable(keep, protected) == expected


def test_remove_takes_a_release_and_its_history_but_not_what_links_point_at(layout, tmp_path):
    (tmp_path / "shared/upload").write_text("kept")
    os.symlink(tmp_path / "shared", f"{layout.releases_dir}/r1/storage")
    switch(layout, "r1", "r2")
    layout.remove("r1")
    assert layout.installed() == ["r3", "r4", "r2"]
    assert layout.rollback_target() is None
    assert (tmp_path / "shared/upload").read_text() == "kept"


def test_the_live_release_is_never_removed(layout):
    layout.switch("r1")
    with pytest.raises(LayoutError, match="r1 is live"):
        layout.remove("r1")
    assert os.path.isdir(layout.release_path("r1"))


@pytest.mark.parametrize("text", ["", "{", '["r1"]'])
def test_damaged_state_is_named_and_left_alone(layout, text):
    path = f"{layout.private_dir}/state.json"
    with open(path, "w") as handle:
        handle.write(text)
    with pytest.raises(LayoutError, match=r"state\.json .*; restore it or move it away"):
        layout.switch("r1")
    assert layout.current() is None
    with open(path) as handle:
        assert handle.read() == text


def test_problems(layout, tmp_path):
    assert layout.problems() == []
    (tmp_path / "current").mkdir()
    assert layout.problems() == [
        f"{tmp_path}/current is not a symbolic link; move it away, so that releases can be switched"
    ]
    (tmp_path / "shared").rmdir()
    assert layout.problems()[0].startswith(f"{tmp_path}/shared does not exist")


@pytest.mark.parametrize("target", ["releases/r1", "./releases/r1/", "{root}/releases/r1", "{root}/link/r1"])
def test_links_of_other_tools_are_understood(layout, tmp_path, target):
    (tmp_path / "link").symlink_to("releases")
    os.symlink(target.format(root=tmp_path), layout.current_link)
    assert layout.problems() == []
    assert layout.current() == "r1"
    layout.switch("r2")
    assert os.readlink(layout.current_link) == "releases/r2"
    assert layout.rollback_target() == "r1"


def test_link_that_leads_elsewhere(layout, tmp_path):
    os.symlink("/srv/other/r1", layout.current_link)
    assert layout.problems()[0].startswith(f"{tmp_path}/current points at /srv/other/r1, which is not in")


@pytest.mark.parametrize("laid_out", [False, True])
def test_problem_of_a_checkout(tmp_path, laid_out):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/artisan").touch()
    # By the site playbook, which knows nothing of what else is there.
    for name in ("releases/r1", "shared", ".slipway") if laid_out else ():
        (tmp_path / "site" / name).mkdir(parents=True)
    found = Layout(f"{tmp_path}/site")
    assert found.problems() == [
        f"{tmp_path}/site is a checkout of the application itself; give the releases a directory of their own "
        f"(laravel_root), run the site playbook, and follow docs/takeover.md"
    ]


def test_what_lies_beside_releases_that_are_served_is_no_problem(layout, tmp_path):
    (tmp_path / "artisan").touch()
    os.symlink("releases/r1", layout.current_link)
    assert layout.problems() == []


def test_releases_on_another_disk(layout, tmp_path):
    """Relative links of a release lead elsewhere from there, unless what is shared lies beside it."""
    (tmp_path / "disk").mkdir()
    os.rename(tmp_path / "releases", tmp_path / "disk/releases")
    (tmp_path / "releases").symlink_to("disk/releases")
    assert layout.problems() == [
        f"{tmp_path}/releases is a link to {tmp_path}/disk/releases, from where a release does not find what it "
        f"shares; let all of {tmp_path} lie there, by a link or a mount at {tmp_path}"
    ]


@pytest.mark.parametrize("by", ["link beside it", "move"])
def test_releases_and_what_they_share_in_one_place(layout, tmp_path, by):
    (tmp_path / "data").mkdir()
    os.rename(tmp_path / "releases", tmp_path / "data/app-releases")
    (tmp_path / "releases").symlink_to("data/app-releases")
    if by == "move":
        os.rename(tmp_path / "shared", tmp_path / "data/shared")
        (tmp_path / "shared").symlink_to("data/shared")
    else:
        (tmp_path / "data/shared").symlink_to("../shared")
    assert layout.problems() == []


def test_releases_on_another_filesystem(layout, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if os.stat(other).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("there is only one filesystem here")
        for name in ("releases", "shared"):
            shutil.rmtree(tmp_path / name)
            os.mkdir(f"{other}/{name}")
            (tmp_path / name).symlink_to(f"{other}/{name}")
        assert layout.problems() == [
            f"{tmp_path}/releases is on another filesystem than {tmp_path}/.slipway, where a release is unpacked; let "
            f"all of {tmp_path} lie there, by a link or a mount at {tmp_path}"
        ]


def test_root_on_another_disk(layout, tmp_path):
    (tmp_path / "app").symlink_to(".")
    linked = Layout(f"{tmp_path}/app")
    linked.switch("r1")
    assert linked.problems() == []
    assert linked.current() == "r1"


def test_problem_of_deployers_lock(layout, tmp_path):
    (tmp_path / ".dep").mkdir()
    (tmp_path / ".dep/deploy.lock").touch()
    assert layout.problems()[0].startswith(f"Deployer is at work here, or was killed: {tmp_path}/.dep/deploy.lock")


@pytest.mark.parametrize(
    "path, text",
    [
        ("releases", "/releases belongs to {user} and is not writable for user id"),
        ("shared/storage/logs", "/shared/storage/logs belongs to {user} and is not writable"),
        ("shared/.env", "/shared/.env belongs to {user} and is not readable"),
    ],
)
def test_problem_of_another_owner(layout, tmp_path, monkeypatch, path, text):
    (tmp_path / "shared/storage/logs").mkdir(parents=True)
    (tmp_path / "shared/.env").touch()
    # As for a user who is not root: the tests may be.
    real = os.access
    monkeypatch.setattr(os, "access", lambda name, mode: name != f"{tmp_path}/{path}" and real(name, mode))
    user = _layout._owner(str(tmp_path))
    assert [problem.startswith(str(tmp_path) + text.format(user=user)) for problem in layout.problems()] == [True]


def test_problem_of_root_in_the_place_of_another_user(layout, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if tmp_path.stat().st_uid == 0:
        assert layout.root_problem() == ""
        os.chown(tmp_path, 65534, 65534)
    problem = f"{tmp_path} belongs to {_layout._owner(str(tmp_path))}, who could not write what root leaves there; "
    assert layout.root_problem().startswith(problem)
    # Who only looks may be root.
    assert layout.problems() == []
    with pytest.raises(LayoutError, match="take ansible_become_user, which overrules that, out of the inventory"):
        layout.lock("run", "ann", 3600, False)
    assert layout.lock_holder() is None


def test_one_restore_at_a_time(layout):
    with layout.restoring(), pytest.raises(LayoutError, match="is being restored on this host"), layout.restoring():
        pass
    with layout.restoring():
        pass


# The run


def test_what_a_run_is_about(layout):
    assert layout.run_state() == {}
    layout.note_run("run-1", phase="preflight", owner="ann")
    layout.note_run("run-1", phase="stage", release="r9", commit=None)
    assert layout.run_state() == {"run": "run-1", "phase": "stage", "owner": "ann", "release": "r9"}
    layout.adopt_run("run-2")
    layout.note_run("run-2", phase="preflight", owner="bob")
    assert layout.run_state() == {"run": "run-2", "phase": "preflight", "owner": "bob", "release": "r9"}
    layout.note_run("run-3", phase="preflight")
    assert layout.run_state() == {"run": "run-3", "phase": "preflight"}
    layout.forget_run()
    layout.forget_run()
    assert layout.run_state() == {}


def test_leftovers(layout):
    for name in ("interrupted", "begun-and-used"):
        manifest(layout, name)
    for name in ("staged", "left", "live", "before"):
        manifest(layout, name, staged_at="2026-01-01T00:00:00Z")
    switch(layout, "before", "live")
    layout.note_run("run-1", release="left")
    # r1 to r4 are another tool's.
    assert sorted(layout.leftovers({"begun-and-used"})) == ["interrupted", "left"]
    layout.note_run("run-1", release="live")
    assert layout.leftovers({"begun-and-used"}) == ["interrupted"]


# The lock


def test_lock_that_is_free(layout):
    assert layout.lock_holder() is None
    assert layout.lock("run-1", "ann", 60, False) is None
    assert layout.holds_lock("run-1")
    assert not layout.holds_lock("run-2")
    holder = layout.lock_holder()
    assert (holder["run"], holder["owner"], holder["rebooted"]) == ("run-1", "ann", False)


def test_lock_that_is_ours_gets_a_heartbeat(layout):
    layout.lock("run-1", "ann", 60, False)
    age_lock(layout, 50)
    assert layout.lock("run-1", "ann", 60, False) is None
    assert layout.lock_holder()["age"] < 5
    age_lock(layout, 50)
    assert layout.holds_lock("run-1")
    assert layout.lock_holder()["age"] < 5


def test_lock_of_another_run(layout):
    layout.lock("run-1", "ann", 60, False)
    assert layout.holds_lock("run-1", phase="stage", release="r9")
    age_lock(layout, 50)
    text = r"is held by ann since .*run-1 in phase stage, last sign of life 5\d s ago\); .*release_takeover=true"
    with pytest.raises(LockedError, match=text):
        layout.lock("run-2", "bob", 60, False)
    assert layout.lock_holder()["run"] == "run-1"
    assert layout.lock_holder()["age"] >= 50, "another run must not give our heartbeat"
    assert not layout.holds_lock("run-2", phase="switch")
    assert layout.lock_holder()["phase"] == "stage"


@pytest.mark.parametrize("age, takeover", [(61, False), (0, True)])
def test_lock_that_is_stale_or_taken_over(layout, age, takeover):
    layout.lock("run-1", "ann", 60, False, phase="stage")
    age_lock(layout, age)
    assert layout.lock("run-2", "bob", 60, takeover)["owner"] == "ann"
    assert layout.holds_lock("run-2")
    assert not layout.holds_lock("run-1")
    assert os.listdir(layout.private_dir) == ["lock"]
    taken = layout.lock_holder()["taken_from"]
    assert (taken["run"], taken["owner"], taken["phase"]) == ("run-1", "ann", "stage")


def test_lock_of_a_dead_run_waits_for_what_that_has_begun(layout):
    layout.lock("run-1", "ann", 60, False, controller="here 1 2")
    with pytest.raises(LockedError) as refused:
        layout.lock("run-2", "bob", 60, False, dead_run="run-0")
    assert refused.value.holder == {"run": "run-1", "controller": "here 1 2"}
    with layout.at_work(), pytest.raises(LockedError, match="its controller is gone, its work here goes on"):
        layout.lock("run-2", "bob", 60, False, dead_run="run-1")
    assert layout.holds_lock("run-1")
    taken = layout.lock("run-2", "bob", 60, False, dead_run="run-1")
    assert (taken["owner"], "controller" in taken) == ("ann", False)
    assert layout.holds_lock("run-2")


def test_nobody_takes_over_while_the_database_is_restored(layout):
    layout.lock("run-1", "ann", 60, False)
    layout.note_run("run-1", phase="restore")
    age_lock(layout, 61)
    for takeover in (True, False):
        with layout.at_work(), pytest.raises(LockedError, match="it restores the database here: wait for its end"):
            layout.lock("run-2", "bob", 60, takeover)
    layout.lock("run-2", "bob", 60, True)
    with layout.at_work():
        layout.lock("run-3", "bob", 60, True)


def test_lock_that_was_given_back_waits_for_what_still_works_here(layout):
    with layout.at_work(), pytest.raises(LockedError, match="is free, but a module is at work: its controller is gone"):
        layout.lock("run-1", "ann", 60, True)
    assert layout.lock_holder() is None
    assert layout.lock("run-1", "ann", 60, False) is None
    # The lock that is ours already is of no other.
    with layout.at_work():
        layout.lock("run-1", "ann", 60, False)


def test_work_is_over_with_its_process(layout):
    code = "import sys\nfrom ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout\n"
    code += "with Layout(sys.argv[1]).at_work(): print(flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", code, layout.root]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert layout.is_at_work()
        child.kill()
    assert not layout.is_at_work()


def test_a_reboot_is_told_and_frees_no_lock(layout, monkeypatch):
    layout.lock("run-1", "ann", 60, False)
    monkeypatch.setattr(_layout, "_boot_id", lambda: "another")
    with pytest.raises(LockedError, match="this host was restarted since then"):
        layout.lock("run-2", "bob", 60, False)
    assert layout.holds_lock("run-1", phase="switch"), "the run on the controller may go on"
    assert layout.lock_holder()["rebooted"] is False


def test_damaged_lock_is_held_by_nobody_known_and_can_be_taken_over(layout):
    with open(layout.lock_path, "w") as handle:
        handle.write("{")
    with pytest.raises(LockedError, match="held by unknown"):
        layout.lock("run-1", "ann", 60, False)
    layout.lock("run-1", "ann", 60, True)
    assert layout.holds_lock("run-1")


def test_unlock_is_only_for_the_holder(layout):
    layout.lock("run-1", "ann", 60, False)
    assert not layout.unlock("run-2")
    assert layout.holds_lock("run-1")
    assert layout.unlock("run-1")
    assert layout.lock_holder() is None
    assert not layout.unlock("run-1")


def test_lock_file_is_readable_for_people(layout):
    layout.lock("run-1", "ann", 60, False, release="r9")
    with open(layout.lock_path) as handle:
        assert set(json.load(handle)) == {"run", "owner", "since", "release", "ttl", "boot"}


def test_of_many_runs_that_find_a_lock_stale_one_gets_it(layout):
    layout.lock("run-0", "ann", 60, False)
    age_lock(layout, 100)
    code = (
        "import sys\n"
        "from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout, LockedError\n"
        "sys.stdin.readline()\n"
        "try:\n    Layout(sys.argv[1]).lock(sys.argv[2], 'bob', 60, False)\n"
        "except LockedError:\n    sys.exit(7)\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, layout.root, f"run-{number}"], stdin=subprocess.PIPE)
        for number in range(1, 7)
    ]
    time.sleep(0.5)
    for run in runs:
        run.stdin.close()
    assert sorted(run.wait(20) for run in runs) == [0, 7, 7, 7, 7, 7]


def test_heartbeat_while_something_long_runs(layout):
    layout.lock("run-1", "ann", 1, False)
    with Heartbeat(layout, "run-1"):
        age_lock(layout, 50)
        deadline = time.monotonic() + 5
        while layout.lock_holder()["age"] > 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert layout.lock_holder()["age"] < 5
    age_lock(layout, 50)
    time.sleep(0.5)
    assert layout.lock_holder()["age"] >= 50, "it ends with the block"


def test_no_heartbeat_for_a_lock_that_was_taken_over(layout):
    layout.lock("run-1", "ann", 1, False)
    with Heartbeat(layout, "run-1"):
        layout.lock("run-2", "bob", 1, True)
        age_lock(layout, 50)
        time.sleep(0.6)
        assert layout.lock_holder()["age"] >= 50


def test_full_disk_leaves_the_old_text_and_nothing_else(layout, monkeypatch):
    path = os.path.join(layout.private_dir, "state.json")
    write_atomic(path, "old")
    monkeypatch.setattr(_layout.os, "fsync", lambda _handle: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert os.listdir(layout.private_dir) == ["state.json"]
    with open(path) as handle:
        assert handle.read() == "old"


def test_release_that_never_was_live_goes_without_a_word_on_the_disk(layout, monkeypatch):
    monkeypatch.setattr(_layout, "write_atomic", lambda *_words: pytest.fail("it writes, and the disk may be full"))
    layout.remove("r4")
    assert not os.path.exists(layout.release_path("r4"))


def test_lock_of_a_run_is_seen_to_be_its_own_on_a_full_disk(layout, full_disk):
    layout.lock("run-1", "ann", 60, False)
    age_lock(layout, 50)
    full_disk()
    assert layout.holds_lock("run-1", phase="revert")
    holder = layout.lock_holder()
    assert (holder["run"], "phase" in holder, holder["age"] < 5) == ("run-1", False, True)
    assert os.listdir(layout.private_dir) == ["lock"]


def test_what_a_killed_process_was_writing_is_swept(layout):
    kept = [os.path.join(layout.private_dir, name) for name in ("lock", "deploy_key", f"lock.{os.getpid()}")]
    swept = [os.path.join(layout.private_dir, "lock.4711"), os.path.join(layout.root, "current.4711")]
    for path in [*kept, swept[0]]:
        with open(path, "w"):
            pass
    os.symlink("releases/r1", swept[1])
    layout.sweep_temporaries()
    assert [os.path.lexists(path) for path in [*kept, *swept]] == [True, True, True, False, False]
