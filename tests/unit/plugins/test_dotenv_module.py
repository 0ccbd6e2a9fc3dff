from __future__ import annotations

import json
import os
import stat

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils._dotenv import merge, parse_dotenv

SECRET = "s3" + "cr3t value"
FILE = """\
# The shop
APP_NAME="The shop"  # shown to users

export APP_ENV=production
DB_PASSWORD=old # of the database
MOTD="two
lines, with DB_PASSWORD=\\"x\\" in them"
URL=http://${HOST}/x
HOST=a
"""


@pytest.fixture
def env(tmp_path, run_module):
    class Env:
        path = tmp_path / ".env"

        def run(self, **args):
            return run_module("dotenv", **{"path": str(self.path), **args})

    Env.path.write_text(FILE)
    Env.path.chmod(0o600)
    return Env()


# merge


@pytest.mark.parametrize(
    "values, before, after",
    [
        ({"APP_ENV": "local"}, "export APP_ENV=production\n", "export APP_ENV=local\n"),
        ({"DB_PASSWORD": "a b"}, "DB_PASSWORD=old # of", 'DB_PASSWORD="a b" # of'),
        ({"APP_NAME": "Shop"}, '"The shop"  # shown', "Shop  # shown"),
        ({"MOTD": "one"}, 'MOTD="two\nlines, with DB_PASSWORD=\\"x\\" in them"\n', "MOTD=one\n"),
        ({"NEW": True}, "HOST=a\n", "HOST=a\nNEW=true\n"),
        ({"APP_NAME": "The shop", "HOST": "a"}, "", ""),
    ],
)
def test_merge_changes_one_value_and_nothing_else(values, before, after):
    assert merge(FILE, values) == FILE.replace(before, after)


def test_merge_changes_the_line_that_counts():
    assert merge("A=1\nA=2\n", {"A": 3}) == "A=1\nA=3\n"


def test_merge_keeps_a_value_that_another_one_would_change():
    text = "HOST=a\nURL=http://${HOST}/x\n"
    assert parse_dotenv(merge(text, {"HOST": "b", "URL": "http://a/x"})) == {"HOST": "b", "URL": "http://a/x"}
    assert merge(text, {"HOST": "b"}) == "HOST=b\nURL=http://${HOST}/x\n"


@pytest.mark.parametrize("text, merged", [("", "A=1\n"), ("B=2", "B=2\nA=1\n"), ("B=2\r\n", "B=2\r\nA=1\n")])
def test_merge_at_the_end(text, merged):
    assert merge(text, {"A": 1}) == merged


def test_value_over_several_lines_is_read():
    assert parse_dotenv(FILE)["MOTD"] == 'two\nlines, with DB_PASSWORD="x" in them'
    assert parse_dotenv('A="never closed\nB=1\n') == {"A": '"never closed', "B": "1"}


@pytest.mark.parametrize("text", ["vertical\x0btab", "next\x85line", "line\u2028separator"])
def test_what_only_python_takes_for_a_line_end_stays_in_its_value(text):
    assert parse_dotenv(merge("", {"A": text, "B": 1})) == {"A": text, "B": "1"}


# The module


def test_merged(env):
    code, result = env.run(values={"DB_PASSWORD": SECRET, "NEW": 1}, _ansible_diff=True)
    assert (code, result["changed"]) == (0, True)
    assert (result["added"], result["modified"], result["removed"]) == (["NEW"], ["DB_PASSWORD"], [])
    assert result["diff"]["prepared"] == f"{env.path}: + NEW\n{env.path}: ~ DB_PASSWORD\n"
    assert parse_dotenv(env.path.read_text()) == {**parse_dotenv(FILE), "DB_PASSWORD": SECRET, "NEW": "1"}
    assert env.run(values={"DB_PASSWORD": SECRET, "NEW": 1})[1]["changed"] is False


def test_replaced(env):
    code, result = env.run(values={"APP_ENV": "production", "B": None}, state="replaced")
    assert (code, result["added"], result["modified"]) == (0, ["B"], [])
    assert result["removed"] == ["APP_NAME", "DB_PASSWORD", "MOTD", "URL", "HOST"]
    assert env.path.read_text() == "APP_ENV=production\nB=null\n"


def test_replaced_by_the_same_values_in_another_order(env):
    env.path.write_text("A=1\nB=2\n")
    result = env.run(values={"B": 2, "A": 1}, state="replaced")[1]
    assert (result["changed"], result["diff"]["prepared"]) == (True, f"{env.path}: order, comments or quoting\n")


def test_no_value_is_in_any_output(env, monkeypatch):
    logged = []
    monkeypatch.setattr("syslog.syslog", lambda *words: logged.append(words))
    code, result = env.run(values={"DB_PASSWORD": SECRET, "a": "a"}, backup=True, _ansible_diff=True)
    assert (code, result["added"], logged != []) == (0, ["a"], True), "masking must not touch names"
    assert SECRET not in json.dumps([result, logged])
    assert "of the database" not in json.dumps(result), "nor is anything of the file"
    code, result = env.run(values={"A B": SECRET})
    assert (code, result["msg"]) == (1, "values: 'A B' is no name of an environment variable")
    code, result = env.run(values={"A": [SECRET]})
    assert (code, result["msg"]) == (1, "values: A must be text, a number or a boolean, not list")
    assert SECRET not in json.dumps(result)


def test_check_mode(env):
    code, result = env.run(values={"NEW": 1}, mode="0640", _ansible_check_mode=True)
    assert (code, result["changed"], result["added"]) == (0, True, ["NEW"])
    assert env.path.read_text() == FILE
    assert stat.S_IMODE(env.path.stat().st_mode) == 0o600


def test_a_new_file_is_for_its_owner_only(env):
    env.path.unlink()
    old = os.umask(0)
    try:
        assert env.run(values={"A": 1})[1]["changed"] is True
    finally:
        os.umask(old)
    assert stat.S_IMODE(env.path.stat().st_mode) == 0o600
    assert os.listdir(env.path.parent) == [".env"]


def test_mode_alone(env):
    env.path.chmod(0o644)
    result = env.run()[1]
    assert (result["changed"], result["diff"]["prepared"]) == (True, f"{env.path}: owner, group or mode\n")
    assert stat.S_IMODE(env.path.stat().st_mode) == 0o600
    assert env.run(mode="0640")[1]["changed"] is True
    assert stat.S_IMODE(env.path.stat().st_mode) == 0o640


def test_link_stays_and_its_file_is_written(env, tmp_path):
    (tmp_path / "release").mkdir()
    link = tmp_path / "release/.env"
    link.symlink_to("../.env")
    assert env.run(path=str(link), values={"NEW": 1})[1]["path"] == str(env.path)
    assert link.is_symlink()
    assert "NEW=1" in env.path.read_text()


def test_backup(env):
    result = env.run(values={"NEW": 1}, backup=True)[1]
    with open(result["backup_file"]) as handle:
        assert handle.read() == FILE
    assert stat.S_IMODE(os.stat(result["backup_file"]).st_mode) == 0o600
    assert "backup_file" not in env.run(values={"NEW": 1}, backup=True)[1]


@pytest.mark.parametrize("check", [False, True])
def test_file_by_hand_is_not_replaced_while_names_of_it_would_be_lost(env, check):
    values = {"APP_NAME": SECRET, "APP_ENV": "local", "MOTD": "", "NEW": 1}
    code, result = env.run(values=values, state="owned", _ansible_check_mode=check)
    assert (code, env.path.read_text(), os.listdir(env.path.parent)) == (1, FILE, [".env"])
    assert "was not written by Ansible, and has DB_PASSWORD, URL, HOST, which the inventory lacks" in result["msg"]
    assert "Add them to laravel_env" in result["msg"]
    assert SECRET not in json.dumps(result)
    assert "http://" not in json.dumps(result)


def test_file_by_hand_is_kept_beside_the_one_that_replaces_it(env):
    env.path.write_text("A=old\n")
    env.path.chmod(0o644)
    code, result = env.run(values={"A": "new", "B": 1}, state="owned")
    assert (code, result["changed"], result["modified"], result["added"]) == (0, True, ["A"], ["B"])
    with open(result["backup_file"]) as handle:
        assert handle.read() == "A=old\n"
    assert stat.S_IMODE(os.stat(result["backup_file"]).st_mode) == 0o640, "it holds secrets"
    assert parse_dotenv(env.path.read_text()) == {"A": "new", "B": "1"}
    assert stat.S_IMODE(env.path.stat().st_mode) == 0o600
    assert env.path.read_text().startswith("# Written by Ansible")
    assert env.run(values={"A": "new", "B": 1}, state="owned")[1]["changed"] is False
    # From now on the inventory alone says what is in it.
    code, result = env.run(values={"B": 1}, state="owned")
    assert (code, result["removed"], "backup_file" in result) == (0, ["A"], False)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone is led by a link of somebody else")
def test_link_of_a_user_does_not_choose_what_root_overwrites(env, tmp_path):
    link = tmp_path / "link"
    for target in ("of-root", "not-there"):
        link.unlink(missing_ok=True)
        (tmp_path / "of-root").write_text("kept\n")
        link.symlink_to(target)
        os.lchown(link, 4711, 4711)
        code, result = env.run(path=str(link), values={"A": 1}, state="owned")
        assert (code, result["msg"]) == (
            1,
            f"{link} leads to {tmp_path}/{target}, which its owner does not own; put the file in its place",
        )
    assert (tmp_path / "of-root").read_text() == "kept\n"
    # One that root has made, or that leads to a file of its own owner.
    for uid in (0, 4711):
        os.chown(env.path, 4711, 4711)
        link.unlink()
        link.symlink_to(".env")
        os.lchown(link, uid, uid)
        assert env.run(path=str(link), values={"NEW": uid})[1]["changed"] is True


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_link_that_takes_the_place_of_the_new_file_gives_nothing_away(env, led_astray):
    os.chown(env.path, 4711, 4711)
    code, _result = env.run(values={"NEW": 1}, mode="0640")
    assert (code, led_astray.stat().st_uid, stat.S_IMODE(led_astray.stat().st_mode)) == (0, 0, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_owner_alone(env):
    assert env.run(owner="4711", group="4711", _ansible_check_mode=True)[1]["changed"] is True
    assert env.path.stat().st_uid == 0
    assert env.run(owner="4711", group="4711")[1]["diff"]["prepared"] == f"{env.path}: owner, group or mode\n"
    assert (env.path.stat().st_uid, env.path.stat().st_gid) == (4711, 4711)
    assert env.run(owner="4711", mode="u=rw,go=")[1]["changed"] is False
    # What is there already tells the owner of what replaces it.
    assert env.run(values={"NEW": 1}, backup=True)[1]["changed"] is True
    assert [os.stat(env.path.parent / name).st_uid for name in os.listdir(env.path.parent)] == [4711, 4711]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"owner": "nobody-here"}, "nobody-here does not exist on this host; correct owner"),
        ({"group": "nobody-here"}, "nobody-here does not exist on this host; correct group"),
        ({"mode": "readable"}, "mode: bad symbolic permission for mode: readable"),
        ({"mode": "100600"}, "mode: 100600 is more than permissions"),
    ],
)
def test_attributes_that_no_file_can_have(env, given, says):
    assert env.run(**given)[1]["msg"] == says
    code, result = env.run(values={"NEW": 1}, **given)
    assert (code, result["msg"], env.path.read_text()) == (1, says, FILE)


def test_user_whom_check_mode_has_not_made(env):
    code, result = env.run(owner="nobody-yet", group="nobody-yet", _ansible_check_mode=True)
    assert (code, result["changed"]) == (0, True)


def test_example(env, tmp_path):
    example = tmp_path / ".env.example"
    example.write_text("APP_NAME=\nMAIL_HOST=\nNEW=\n")
    assert env.run(values={"NEW": 1}, example=str(example))[1]["missing"] == ["MAIL_HOST"]
    code, result = env.run(example=f"{example}.no")
    assert (code, result["msg"]) == (1, f"{example}.no does not exist; correct example")


def test_errors_name_the_file_and_no_content(env, tmp_path):
    env.path.write_bytes(b"A=\xffsecret\n")
    assert env.run(values={"A": 1})[1]["msg"] == f"{env.path} cannot be read: it is not UTF-8"
    code, result = env.run(path=f"{tmp_path}/no/.env", values={"A": 1})
    assert (code, result["msg"]) == (
        1,
        f"{tmp_path}/no cannot be written to: No such file or directory; make it, or correct path",
    )
