from __future__ import annotations

import json
import os
import time

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import error_text


def migrations_are(home, *names):
    (home / "database.json").write_text(json.dumps(names))


def behave(application, **behaviour):
    (application / "app.json").write_text(json.dumps(behaviour))


def calls(home):
    return [line for line in (home / "calls").read_text().splitlines() if "list --format" not in line]


@pytest.fixture
def artisan(run_module, application):
    def run(*commands, **args):
        return run_module("artisan", release=str(application), commands=[list(words) for words in commands], **args)

    return run


# error_text

BOX = """
In Connection.php line 760:

  SQLSTATE[42S02]: Base table or view not found:
  1146 Table 'notes' doesn't exist

In PDOConnection.php line 1:

  SQLSTATE[42S02]
"""
COLLISION = """

   Error

  Class "App\\Missing" not found

  at routes/web.php:14
    12\u2502
"""


@pytest.mark.parametrize(
    "stdout, stderr, text",
    [
        ("", "", "it printed nothing"),
        ("one\ntwo\nthree\nfour", "", "two; three; four"),
        ("out", "err", "err; out"),
        ("+----+\n| ---- |\nsaid", "", "said"),
        (
            "Running migrations.",
            BOX,
            "In Connection.php line 760: SQLSTATE[42S02]: Base table or view not found: "
            "1146 Table 'notes' doesn't exist",
        ),
        (
            BOX.replace("SQLSTATE", "X"),
            "a warning",
            "In Connection.php line 760: X[42S02]: Base table or view not found:",
        ),
        (COLLISION, "", 'Class "App\\Missing" not found; at routes/web.php:14; 12\u2502'),
        ("In a.php line 1:\nfirst\nat b.php:2", "", "In a.php line 1: first"),
    ],
)
def test_error_text(stdout, stderr, text):
    assert error_text(stdout, stderr).startswith(text)


# What changes, and what does not


@pytest.mark.parametrize(
    "command", ["config:cache", "route:cache", "event:cache", "view:cache", "storage:link", "down"]
)
def test_a_command_changes_something_the_first_time_only(artisan, command):
    code, result = artisan([command])
    assert (code, result["changed"], result["results"][0]["rc"]) == (0, True, 0)
    assert result["diff"][0]["before"] != result["diff"][0]["after"]
    code, result = artisan([command])
    assert (code, result["changed"], result["diff"]) == (0, False, [])


def test_a_changed_environment_changes_the_cache_again(artisan, application):
    artisan(["config:cache"])
    (application / ".env").write_text("APP_NAME=other\n")
    assert artisan(["config:cache"])[1]["changed"] is True


@pytest.mark.parametrize("make, undo", [("config:cache", "config:clear"), ("view:cache", "view:clear"), ("down", "up")])
def test_undoing_changes_something_only_where_something_is(artisan, make, undo):
    assert artisan([undo])[1]["changed"] is False
    artisan([make])
    assert artisan([undo])[1]["changed"] is True


def test_maintenance_that_is_kept_in_the_cache(artisan, application):
    behave(application, maintenance_driver="cache")
    for check_mode in ({"_ansible_check_mode": True}, {}):
        assert artisan(["up"], **check_mode)[1]["changed"] is False
        assert artisan(["down"], **check_mode)[1]["changed"] is True
    for check_mode in ({"_ansible_check_mode": True}, {}):
        assert artisan(["down"], **check_mode)[1]["changed"] is False
        assert artisan(["up"], **check_mode)[1]["changed"] is True


def test_reading_changes_nothing_and_a_command_that_is_not_known_changes_something(artisan):
    assert artisan(["about"])[1]["changed"] is False
    assert artisan(["key:generate", "--show"])[1]["changed"] is False
    assert artisan(["cache:clear"])[1]["changed"] is True


def test_commands_run_in_order_and_each_has_its_result(artisan, home):
    code, result = artisan(["down", "--retry=60"], ["cache:clear"], ["up"])
    assert code == 0
    assert [entry["command"][0] for entry in result["results"]] == ["down", "cache:clear", "up"]
    assert all(entry["seconds"] >= 0 for entry in result["results"])
    assert "php artisan down --retry=60 --no-ansi --no-interaction" in calls(home)
    assert "migrations" not in result


# Migrations


def test_migrations_that_were_applied_are_named(artisan, application, home):
    behave(application, migrations=["create_users", "create_notes"])
    migrations_are(home, "create_users")
    code, result = artisan(["migrate", "--force"])
    assert (code, result["changed"], result["migrations"]) == (0, True, ["create_notes"])
    assert result["diff"][0]["after"]["migrations"] == ["create_users", "create_notes"]
    code, result = artisan(["migrate", "--force"])
    assert (code, result["changed"], result["migrations"]) == (0, False, [])


def test_fresh_always_changes_something(artisan, application, home):
    behave(application, migrations=["create_users"])
    migrations_are(home, "create_users")
    assert artisan(["migrate:fresh", "--force"])[1]["changed"] is True


def test_migration_that_fails_reports_those_before_it(artisan, application, home):
    behave(application, migrations=["one", "two", "three"], failing_migration="three")
    migrations_are(home, "one")
    code, result = artisan(["cache:clear"], ["migrate", "--force"], ["config:cache"])
    assert (code, result["failed"], result["changed"], result["migrations"]) == (1, True, True, ["two"])
    assert "artisan migrate exited 1 in" in result["msg"]
    assert result["msg"].endswith("In Connection.php line 14: SQLSTATE[42S21]: Column already exists (three)")
    assert result["rc"] == 1
    assert not (application / "bootstrap/cache/config.php").exists(), "nothing runs after a failure"


def test_migration_that_fails_at_once_changed_nothing(artisan, application):
    behave(application, migrations=["one"], failing_migration="one")
    code, result = artisan(["migrate", "--force"])
    assert (code, result["changed"], result["migrations"]) == (1, False, [])


# Check mode


@pytest.mark.parametrize(
    "command, changed",
    [
        ("config:cache", True),
        ("storage:link", True),
        ("down", True),
        ("up", False),
        ("config:clear", False),
        ("view:clear", False),
        ("cache:clear", True),
        ("migrate", True),
    ],
)
def test_check_mode_predicts_and_does_nothing(artisan, application, home, command, changed):
    behave(application, migrations=["one"])
    before = sorted(application.rglob("*"))
    code, result = artisan([command], _ansible_check_mode=True)
    assert (code, result["changed"], result["results"][0]["skipped"]) == (0, changed, "check mode")
    assert sorted(application.rglob("*")) == before
    assert not (home / "database.json").exists()


@pytest.mark.parametrize("command", ["config:cache", "route:cache", "storage:link", "down", "migrate"])
def test_check_mode_predicts_no_change_where_all_is_done(artisan, application, command):
    behave(application, migrations=["one"])
    artisan([command])
    assert artisan([command], _ansible_check_mode=True)[1]["changed"] is False


def test_check_mode_predicts_a_cache_that_is_older_than_its_source(artisan, application):
    artisan(["route:cache"])
    os.utime(application / "routes/web.php", (time.time() + 60, time.time() + 60))
    assert artisan(["route:cache"], _ansible_check_mode=True)[1]["changed"] is True


def test_check_mode_names_the_pending_migrations(artisan, application, home):
    behave(application, migrations=["one", "two"])
    migrations_are(home, "one")
    assert artisan(["migrate"], _ansible_check_mode=True)[1]["migrations"] == ["two"]


def test_check_mode_runs_what_only_reads_but_not_pretend(artisan):
    result = artisan(["about"], ["migrate", "--pretend"], _ansible_check_mode=True)[1]
    assert result["changed"] is False
    assert "about ran" in result["results"][0]["stdout"]
    assert result["results"][1]["skipped"] == "check mode"


# Commands that an application does not have


@pytest.mark.parametrize(
    "command, part", [(["horizon:terminate"], "horizon:terminate"), (["migrate", "--isolated=1"], "migrate --isolated")]
)
def test_absent_command_fails_before_anything_runs(artisan, home, command, part):
    code, result = artisan(["cache:clear"], command)
    assert code == 1
    assert result["msg"].startswith("the application in ")
    assert f" has no {part}; " in result["msg"]
    assert calls(home) == []


def test_absent_command_is_skipped_where_asked(artisan, home):
    code, result = artisan(["horizon:terminate"], ["cache:clear"], absent="skip")
    assert (code, result["changed"]) == (0, True)
    assert result["results"][0]["skipped"] == "this application has no horizon:terminate"
    assert [line.split()[2] for line in calls(home)] == ["cache:clear"]


def test_options_of_every_command_are_not_absent(artisan):
    assert artisan(["cache:clear", "--env=testing", "--quiet"])[0] == 0


# Failures


@pytest.mark.parametrize("command, shown", [([], "''"), ([""], "''"), (["migrate --force"], "'migrate --force'")])
def test_command_that_is_no_list_of_words(artisan, home, command, shown):
    code, result = artisan(command)
    assert code == 1
    assert result["msg"] == f"commands: {shown} is not a list of words; write it as [migrate, --force]"
    assert calls(home) == []


def test_directory_without_an_application(run_module, application):
    os.unlink(application / "vendor/autoload.php")
    for name in ("artisan", "artisan_info"):
        args = {"commands": [["about"]]} if name == "artisan" else {}
        assert run_module(name, release=str(application), **args)[1]["msg"].endswith(
            "/vendor is missing: run composer install there first"
        )
        assert "has no file 'artisan'" in run_module(name, release=str(application / "public"), **args)[1]["msg"]


def test_php_that_is_missing(artisan):
    code, result = artisan(["about"], php="php-none")
    assert code == 1
    assert result["msg"].startswith("php-none cannot be run: ")


def test_environment_reaches_the_command_and_is_not_shown(artisan, application):
    code, result = artisan(["config:cache"], environment={"VIEW_COMPILED_PATH": "/srv/own-views", "A_TOKEN": 5})
    assert code == 0
    assert "/srv/own-views" in (application / "bootstrap/cache/config.php").read_text()
    assert result["invocation"]["module_args"]["environment"] == {}


def test_only_secrets_of_the_environment_are_blotted_out_of_results(artisan, application):
    behave(application, fail={"about": "login with s3cr3t failed"})
    result = artisan(["about"], environment={"API_TOKEN": "s3cr3t", "DEBUG": "1", "MODE": "about"})[1]
    assert "s3cr3t" not in json.dumps(result)
    result = artisan(["about"], environment={"SENTRY_DSN": "s3cr3t", "DEBUG": "1", "MODE": "about"})[1]
    assert "s3cr3t" not in json.dumps(result)
    assert result["rc"] == 1
    assert result["msg"].startswith(f"artisan about exited 1 in {application}: ")


# artisan_info


def test_info(run_module, application, home):
    behave(application, version="9.52.1", migrations=["one", "two"])
    migrations_are(home, "one")
    code, result = run_module("artisan_info", release=str(application), environment={"APP_ENV": "staging"})
    assert (code, result["changed"]) == (0, False)
    assert result["application"]["version"] == "9.52.1"
    assert result["application"]["environment"] == "staging"
    assert result["application"]["migrations"] == {"ran": ["one"], "pending": ["two"]}


def test_info_of_an_application_without_database(run_module, application, home):
    (home / "database_error").write_text("Connection refused")
    code, result = run_module("artisan_info", release=str(application), _ansible_check_mode=True)
    assert code == 0
    assert result["application"]["migrations"] is None
    assert result["application"]["errors"] == {"migrations": "Connection refused"}


def test_info_of_an_application_that_does_not_boot(run_module, application):
    behave(application, boot_error="Class App\\Missing not found")
    code, result = run_module("artisan_info", release=str(application))
    assert code == 1
    assert result["msg"] == (
        f"the application in {application} cannot boot: In web.php line 14: Class App\\Missing not found"
    )
    assert result["rc"] == 1
