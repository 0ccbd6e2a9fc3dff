from __future__ import annotations

import json
import os
import time

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout, LayoutError, LockedError


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


def test_installed_is_ordered_by_the_first_switch_not_by_name_or_time(layout):
    os.mkdir(layout.release_path("r5"))
    switch(layout, "r3", "r1", "r3")
    os.utime(layout.release_path("r3"))
    assert layout.installed() == ["r3", "r1", "r2", "r4", "r5"]


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
    assert layout.installed() == ["r2", "r3", "r4"]
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


def test_lock_that_is_free(layout):
    assert layout.lock_holder() is None
    assert layout.lock("run-1", "ann", 60, False) is None
    assert layout.holds_lock("run-1")
    assert not layout.holds_lock("run-2")
    holder = layout.lock_holder()
    assert (holder["run"], holder["owner"]) == ("run-1", "ann")


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
    age_lock(layout, 50)
    with pytest.raises(LockedError, match=r"is held by ann since .*run-1.*release_takeover=true"):
        layout.lock("run-2", "bob", 60, False)
    assert layout.lock_holder()["run"] == "run-1"
    assert layout.lock_holder()["age"] >= 50, "another run must not give our heartbeat"


@pytest.mark.parametrize("age, takeover", [(61, False), (0, True)])
def test_lock_that_is_stale_or_taken_over(layout, age, takeover):
    layout.lock("run-1", "ann", 60, False)
    age_lock(layout, age)
    assert layout.lock("run-2", "bob", 60, takeover)["owner"] == "ann"
    assert layout.holds_lock("run-2")
    assert not layout.holds_lock("run-1")
    assert os.listdir(layout.private_dir) == ["lock"]


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


def test_lock_file_is_readable_for_people(layout):
    layout.lock("run-1", "ann", 60, False)
    with open(layout.lock_path) as handle:
        assert set(json.load(handle)) == {"run", "owner", "since"}
