"""config_files on a real file system: sets of files, the way back, what is remembered; rendering through a playbook."""

from __future__ import annotations

import fcntl
import grp
import json
import os
import pwd
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ansible_collections.slipway.laravel.plugins.modules import config_files

ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}
CHECK = [sys.executable, "-c"]


@pytest.fixture(name="apply")
def apply_fixture(run_module, tmp_path):
    """Run the module on files given as {name: content or options}; the names lie in tmp_path."""

    def apply(files, name="web", **options):
        entries = []
        for file, what in files.items():
            entry = {"content": what} if isinstance(what, str) else what
            entries.append({"path": str(tmp_path / "etc" / file), **ME, **entry})
        return run_module("config_files", name=name, files=entries, state_dir=str(tmp_path / "state"), **options)

    return apply


@pytest.fixture(name="etc")
def etc_fixture(tmp_path):
    return tmp_path / "etc"


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_writes_files_links_and_directories_and_then_changes_nothing(apply, etc):
    files = {
        "main.conf": {"content": "a", "mode": "0640"},
        "on/site.conf": {"link": "../main.conf"},
        "empty": {"state": "directory", "mode": "0700"},
    }
    status, result = apply(files)
    assert (status, result["changed"]) == (0, True)
    assert sorted(result["changed_paths"]) == sorted(str(etc / name) for name in files)
    assert (etc / "main.conf").stat().st_mode & 0o7777 == 0o640
    assert os.readlink(etc / "on/site.conf") == "../main.conf"
    assert (etc / "empty").stat().st_mode & 0o7777 == 0o700
    status, result = apply(files)
    assert (status, result["changed"], result["changed_paths"], result["diff"]) == (0, False, [], [])


def test_a_new_mode_is_a_change_and_content_stays(apply, etc):
    apply({"a": "x"})
    assert apply({"a": {"content": "x", "mode": "0600"}})[1]["changed"]
    assert ((etc / "a").read_text(), (etc / "a").stat().st_mode & 0o7777) == ("x", 0o600)


def test_what_is_no_longer_listed_is_removed_and_what_others_made_stays(apply, etc):
    apply({"sites/one": "1", "sites/two": "2", "on/two": {"link": "../sites/two"}, "empty": {"state": "directory"}})
    (etc / "sites/by-hand").write_text("3")
    result = apply({"sites/one": "1"})[1]
    assert sorted(result["removed_paths"]) == sorted(str(etc / name) for name in ("empty", "on/two", "sites/two"))
    assert tree(etc) == {"sites/one": "1", "sites/by-hand": "3"}
    assert not apply({"sites/one": "1"})[1]["changed"]


PRODUCTION = ["inventory production", "application shop"]
STAGING = ["inventory staging", "application shop-staging"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_files_of_another_inventory_are_not_removed(apply, etc, check_mode):
    apply({"main": "m", "shop": "1"}, by=PRODUCTION)
    status, result = apply({"main": "other", "staging": "2"}, by=STAGING, _ansible_check_mode=check_mode)
    assert status == 1
    assert f"{etc / 'shop'} came from application shop, inventory production, and inventory staging" in result["msg"]
    assert "would remove it: this task has changed nothing. A host" in result["msg"]
    assert tree(etc) == {"main": "m", "shop": "1"}
    # That it was refused changes nothing for the one whose files they are.
    assert apply({"main": "m"}, by=PRODUCTION)[1]["removed_paths"] == [str(etc / "shop")]


@pytest.mark.parametrize(
    "later",
    [
        PRODUCTION,
        # A renamed application, another inventory directory, a run of CI from an inventory of its own.
        ["inventory production", "application store"],
        ["inventory prod", "application shop"],
        ["inventory hosts", "application shop"],
        # The module alone, and a host of an earlier version.
        [],
    ],
)
def test_files_are_removed_for_who_wrote_them_under_either_name(apply, etc, later):
    apply({"main": "m", "shop": "1"}, by=PRODUCTION)
    assert apply({"main": "m"}, by=later)[1]["removed_paths"] == [str(etc / "shop")]


def test_files_that_nobody_has_put_a_name_to_are_removed(apply, etc, tmp_path):
    apply({"main": "m", "shop": "1"})
    paths = [str(etc / "main"), str(etc / "shop")]
    (tmp_path / "state/web.json").write_text(json.dumps({"paths": paths}))
    assert apply({"main": "m"}, by=STAGING)[1]["removed_paths"] == [str(etc / "shop")]


def test_files_that_both_have_written_are_removed_by_either(apply, etc):
    apply({"main": "m", "tuning": "1"}, by=PRODUCTION)
    status, result = apply({"main": "m", "tuning": "1"}, by=STAGING)
    assert (status, result["changed"]) == (0, False)
    assert apply({"main": "m"}, by=PRODUCTION)[1]["removed_paths"] == [str(etc / "tuning")]


def test_an_inventory_takes_over_a_host(apply, etc):
    apply({"main": "m", "shop": "1"}, by=PRODUCTION)
    result = apply({"main": "m"}, by=STAGING, take_over=True)[1]
    assert result["removed_paths"] == [str(etc / "shop")]
    assert apply({"main": "m", "a": "1"}, by=STAGING)[0] == 0
    assert apply({"main": "m"}, by=STAGING)[1]["removed_paths"] == [str(etc / "a")]


def test_what_is_kept_goes_with_a_later_run(apply, etc):
    apply({"one/pool": "1", "one/main": "1", "two/other": "2"})
    keep = [f"{etc}/one/*", f"{etc}/none"]
    result = apply({"two/pool": "1"}, keep=keep)[1]
    assert (result["removed_paths"], result["kept_paths"]) == (
        [str(etc / "two/other")],
        [str(etc / "one/main"), str(etc / "one/pool")],
    )
    result = apply({"two/pool": "1"}, keep=keep)[1]
    assert (result["changed"], len(result["kept_paths"])) == (False, 2)
    result = apply({"two/pool": "1"})[1]
    assert (sorted(result["removed_paths"]), result["kept_paths"]) == (
        [str(etc / "one/main"), str(etc / "one/pool")],
        [],
    )
    assert tree(etc) == {"two/pool": "1"}


def test_what_is_kept_of_another_inventory_stays_theirs(apply, etc):
    apply({"one/pool": "1"}, by=PRODUCTION)
    assert apply({"two/pool": "2"}, by=STAGING, keep=[f"{etc}/one/*"])[1]["kept_paths"] == [str(etc / "one/pool")]
    assert apply({"two/pool": "2"}, by=STAGING)[0] == 1
    assert tree(etc) == {"one/pool": "1", "two/pool": "2"}


def test_a_directory_that_others_use_is_left(apply, etc):
    apply({"pool": {"state": "directory"}})
    (etc / "pool/theirs").write_text("x")
    assert not apply({})[1]["changed"]
    assert (etc / "pool/theirs").exists()


def test_sets_of_other_names_do_not_see_each_other(apply, etc):
    apply({"a": "1"}, name="one")
    apply({"b": "2"}, name="two")
    assert tree(etc) == {"a": "1", "b": "2"}


def test_absent_removes_a_file_that_the_set_never_wrote(apply, etc):
    etc.mkdir()
    (etc / "default").write_text("stock")
    assert apply({"default": {"state": "absent"}})[1]["removed_paths"] == [str(etc / "default")]
    assert not apply({"default": {"state": "absent"}})[1]["changed"]


def test_a_failed_check_puts_everything_back(apply, etc, tmp_path):
    apply({"a": "old", "gone": "old", "was/link": {"link": "x"}})
    before = tree(tmp_path)
    script = f"import sys, os; assert os.path.exists({str(etc / 'new/b')!r}); sys.exit('emerg: no such directive')"
    status, result = apply({"a": "new", "new/b": "b", "was/link": "file now"}, check=[*CHECK, script])
    assert status == 1
    assert "the old ones are back: emerg: no such directive" in result["msg"]
    assert tree(tmp_path) == before
    assert os.readlink(etc / "was/link") == "x"
    assert not (etc / "new").exists()


def test_an_interrupted_run_puts_everything_back(apply, etc, tmp_path, monkeypatch):
    apply({"a": "old", "b": "old"})
    before, put = tree(tmp_path), config_files.put

    def interrupted(path, state):
        if path.endswith("/b") and state.content == b"new":
            raise KeyboardInterrupt
        put(path, state)

    monkeypatch.setattr(config_files, "put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        apply({"a": "new", "b": "new"})
    assert tree(tmp_path) == before


def test_the_check_does_not_run_when_nothing_changes(apply):
    apply({"a": "1"})
    assert apply({"a": "1"}, check=[*CHECK, "raise SystemExit(1)"])[0] == 0


def test_validate_refuses_a_file_before_it_is_in_place(apply, etc):
    apply({"sudoers": "good"})
    looks = "import sys; text = open(sys.argv[1]).read(); sys.exit(text != 'good' and 'syntax error near line 1')"
    status, result = apply(
        {"other": "x", "sudoers": {"content": "bad", "validate": [sys.executable, "-c", looks, "%s"]}}
    )
    assert status == 1
    assert "nothing was changed: syntax error near line 1" in result["msg"]
    assert tree(etc) == {"sudoers": "good"}


def test_check_mode_predicts_and_writes_nothing(apply, etc, tmp_path):
    apply({"a": "1", "b": "2"})
    before = tree(tmp_path)
    result = apply({"a": "new", "c/d": {"content": "3", "owner": "nobody-yet"}}, _ansible_check_mode=True)[1]
    assert sorted(result["changed_paths"] + result["removed_paths"]) == sorted(str(etc / n) for n in ("a", "c/d", "b"))
    assert tree(tmp_path) == before


def test_a_secret_is_not_in_the_diff(apply):
    apply({"a": {"content": "hunter1", "secret": True}, "b": "open"})
    result = apply({"a": {"content": "hunter2", "secret": True}, "b": "changed"})[1]
    assert "hunter" not in json.dumps(result["diff"])
    assert "changed" in json.dumps(result["diff"])


def test_no_file_is_in_the_log_of_the_host(apply, monkeypatch):
    logged = []
    monkeypatch.setattr("syslog.syslog", lambda *words: logged.append(words))
    result = apply({"a": {"content": "hunter1", "secret": True}, "b": "hunter1, that is a"})[1]
    assert "hunter" not in json.dumps(logged)
    assert "NOT_LOGGING_PARAMETER" in json.dumps(logged)
    assert "hunter1, that is a" in json.dumps(result["diff"]), "nothing is blotted out"
    assert [Path(path).name for path in result["changed_paths"]] == ["a", "b"]


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_link_that_takes_the_place_of_a_new_file_gives_nothing_away(apply, led_astray):
    assert apply({"a": {"content": "x", "owner": "nobody", "mode": "0644"}})[0] == 0
    assert (led_astray.stat().st_uid, led_astray.stat().st_mode & 0o7777) == (0, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives directories away")
def test_directory_is_given_away_through_a_link_of_root_or_of_its_owner_alone(apply, etc, tmp_path):
    etc.mkdir()
    (tmp_path / "there").mkdir(mode=0o700)
    (etc / "data").symlink_to("../there")
    os.lchown(etc / "data", 4711, 4711)
    data = {"data": {"state": "directory", "owner": "nobody", "mode": "0750"}}
    status, result = apply(data)
    assert status == 1
    assert f"{etc}/data leads to {tmp_path}/there, which its owner does not own" in result["msg"]
    assert ((tmp_path / "there").stat().st_uid, (tmp_path / "there").stat().st_mode & 0o7777) == (0, 0o700)
    os.lchown(etc / "data", 0, 0)
    assert apply(data)[1]["changed"]
    assert ((tmp_path / "there").owner(), (tmp_path / "there").stat().st_mode & 0o7777) == ("nobody", 0o750)
    assert os.readlink(etc / "data") == "../there"
    assert not apply(data)[1]["changed"]


@pytest.mark.parametrize(
    ("files", "options", "says"),
    [
        ({"a": {"content": "x", "owner": "nobody-here"}}, {}, "the user nobody-here that a file shall belong to"),
        ({"a": {"content": "x", "mode": "u=rw"}}, {}, "has to be octal digits such as 0644, not u=rw"),
        ({"../a": "x"}, {}, "has to be an absolute path without detours"),
        ({"a": "x"}, {"name": "No Spaces"}, "a set is named with small letters"),
        ({"dir": "x"}, {}, "is a directory; remove it"),
    ],
)
def test_refuses_what_it_cannot_write(apply, etc, files, options, says):
    (etc / "dir").mkdir(parents=True)
    status, result = apply(files, **options)
    assert status == 1
    assert says in result["msg"]
    assert tree(etc) == {}


def test_refuses_a_memory_that_it_cannot_read(apply, tmp_path):
    apply({"a": "x"})
    (tmp_path / "state/web.json").write_text("{")
    assert "cannot be read" in apply({"a": "x"})[1]["msg"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (["[warn] not unique", "[warn] 2", "[warn] 3", "[emerg] no such directive"], "[emerg] no such directive"),
        (["reading", "unknown option x"], "unknown option x"),
        (["one", "two", "three", "four"], "two; three; four"),
        ([], "it said nothing"),
    ],
)
def test_what_a_checker_complains_of_is_shown(said, shown):
    assert config_files.complaint("", "\n".join(said)) == shown


PLAY = """
- hosts: localhost
  gather_facts: false
  vars: {sites: [{name: one}, {name: two}], depth: 3}
  tasks:
    - slipway.laravel.config_files:
        name: play
        state_dir: "{{ root }}/state"
        files:
          - path: "{{ root }}/{name}.conf"
            template: site.j2
            each: "{{ sites }}"
            vars: {port: 80}
            owner: "{{ owner }}"
            group: "{{ group }}"
          - {path: "{{ root }}/on/{name}", link: "../{name}.conf", each: "{{ sites }}", owner: "{{ owner }}",
             group: "{{ group }}"}
      register: done
    - assert: {that: "'invocation' not in done"}
"""


def test_waits_for_another_run_on_this_host(apply, etc):
    root = os.open("/", os.O_RDONLY)
    fcntl.flock(root, fcntl.LOCK_EX)
    seen = []

    def release():
        seen.append((etc / "main.conf").exists())
        os.close(root)

    threading.Timer(0.5, release).start()
    assert apply({"main.conf": "a"})[0] == 0
    assert seen == [False]


@pytest.fixture(name="playbook")
def playbook_fixture(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/site.j2").write_text("{{ item.name }} on {{ port }}, {{ depth }} deep\n")
    (tmp_path / "play.yml").write_text(PLAY)

    def run(**extra):
        variables = {"root": f"{tmp_path}/out", "ansible_python_interpreter": sys.executable, **ME, **extra}
        argv = ["ansible-playbook", "play.yml", "-i", "localhost,", "-c", "local", "-e", json.dumps(variables)]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer"}
        return subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return run


def test_a_template_is_rendered_once_for_each_element(playbook, tmp_path):
    done = playbook()
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "out/one.conf").read_text() == "one on 80, 3 deep\n"
    assert (tmp_path / "out/on/two").read_text() == "two on 80, 3 deep\n"


def test_a_playbook_writes_in_the_name_of_inventory_and_application(playbook, tmp_path):
    assert playbook(laravel_app="{{ 'sh' ~ 'op' }}").returncode == 0
    known = json.loads((tmp_path / "out/state/play.json").read_text())
    assert set(map(tuple, known["by"].values())) == {("application shop", "inventory adhoc")}
    assert list(known["by"]) == known["paths"]


def test_an_element_without_the_key_is_named(playbook):
    done = playbook(sites=[{"title": "x"}])
    assert done.returncode != 0
    assert "names {name}, which an element of each lacks" in done.stdout + done.stderr
