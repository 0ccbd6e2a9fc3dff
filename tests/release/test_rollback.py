"""Rollbacks of a fleet after what goes wrong: a bad migration, hosts on different releases, a run that was killed.

Two hosts that are directories of this machine share an SQLite file, which is snapshot and restored for real. The runs
are made once, in an order that an operator could have made them in; each test looks at one of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import time

import pytest
from fleet import HOSTS, ROOT, Fleet, write

# Asked without the web server, which does not know of maintenance.
HEADLESS = {"release_http_url": "", "release_reconnect_timeout": 1}


def failing(hook):
    return {"release_hooks": {hook: [{"command": ["/bin/false"], "hosts": "web1"}]}}


# Copies of the database's file take the place of what a provider keeps. A restore fails half way when there is a file
# broken in their directory, or one of the snapshot's name with .broken behind it.
MANAGED = """
case $1 in
take) cp {home}/db.sqlite {home}/backups/$2 && echo "copied"; echo "$2" ;;
restore)
  if [ -e {home}/backups/broken ] || [ -e {home}/backups/$2.broken ]; then
    echo half > {home}/db.sqlite
    echo "$2 is not complete" >&2
    exit 3
  fi
  cp {home}/backups/$2 {home}/db.sqlite ;;
esac
"""

# The second batch does not come to its switch.
DRAIN = """
- name: Break off
  ansible.builtin.fail:
    msg: the balancer does not answer
  when: release_drain_state == 'drain' and 'web2' in release_drain_batch
"""

TWICE = """
- hosts: web1
  gather_facts: false
  roles: [{role: slipway.laravel.release, release_force: true}]

- hosts: web1
  gather_facts: false
  roles: [slipway.laravel.release]
"""


class Stage:
    def __init__(self, home):
        self.home, self.fleet = home, Fleet(home)
        write(home / "twice.yml", TWICE)
        write(home / "drain.yml", DRAIN)
        self.fleet.lay_out()
        self.write_note("first")

    def release(self, version, *words, **variables):
        return self.fleet.release(version, "-e", json.dumps(HEADLESS | variables), *words)

    def rollback(self, *words, **variables):
        return self.fleet.play(ROOT / "rollback.yml", "-e", json.dumps(HEADLESS | variables), *words)

    def kill(self, playbook, hook, **variables):
        """Begin a run, and kill it when it gets to a hook."""
        reached = self.home / "reached"
        reached.unlink(missing_ok=True)
        wait = {hook: [{"command": ["/bin/sh", "-c", f"touch {reached}; exec sleep 20"], "hosts": "localhost"}]}
        variables = HEADLESS | {"release_hooks": wait} | variables
        words = ["-i", self.home / "inventories/production", "-e", json.dumps(variables)]
        process = subprocess.Popen(
            ["ansible-playbook", ROOT / playbook, *words],
            cwd=self.home,
            env=self.fleet.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not reached.exists():
            assert process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return {host: self.fleet.live(host) for host in HOSTS}

    def write_note(self, text):
        with contextlib.closing(sqlite3.connect(self.home / "db.sqlite")) as database, database:
            database.execute("create table if not exists notes (body text)")
            database.execute("insert into notes values (?)", [text])

    def notes(self):
        with contextlib.closing(sqlite3.connect(self.home / "db.sqlite")) as database:
            return [row[0] for row in database.execute("select body from notes order by rowid")]

    def left(self, name):
        """The hosts on which a run has left a file of its own."""
        return [host for host in HOSTS if (self.home / "hosts" / host / ".slipway" / name).exists()]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    made = Stage(tmp_path_factory.mktemp("fleet"))
    yield made
    made.fleet.close()


def told(run):
    """What the run said, without the line breaks of the console."""
    return " ".join((run.output + run.error).split())


def offered(run):
    """The snapshot that a refused rollback offers."""
    found = re.search(r"rollback_confirm=(\S+)", run.output)
    assert found, run.output
    return found[1]


@pytest.fixture(scope="module")
def live(stage):
    """The releases of v1 and v2, live in this order."""
    runs = [stage.release(version) for version in ("v1", "v2")]
    assert [run.status for run in runs] == [0, 0], runs[-1].output
    return [run.live["web1"] for run in runs]


def test_bad_migration_is_taken_back_while_its_release_never_was_live(stage, live):
    failed = stage.release("v4-does-not-migrate")
    assert (failed.status, set(failed.live.values())) == (2, {live[1]}), failed.output
    stage.write_note("of the bad schema")
    asked = stage.rollback(rollback_restore_snapshot=True)
    assert (asked.status, asked.live, stage.left("lock")) == (2, failed.live, []), asked.output
    assert f"for {live[1]} (which stays live) takes the database back to" in told(asked)
    assert stage.notes() == ["first", "of the bad schema"]

    back = stage.rollback(rollback_restore_snapshot=True, rollback_confirm=offered(asked))
    assert (back.status, back.outcome()["outcome"], back.live) == (0, "rolled back", failed.live), back.output
    assert stage.notes() == ["first"]
    assert f"-e release_rollback_to={live[1]} -e rollback_restore_snapshot=true -e rollback_confirm=" in told(back)
    assert (stage.left("lock"), stage.left("maintenance.json")) == ([], [])


def test_restore_without_maintenance_is_refused(stage, live):
    run = stage.rollback(rollback_restore_snapshot=True, release_maintenance="never", release_rollback_to=live[0])
    assert run.status == 2
    assert "release_maintenance=never cannot stand" in told(run)


def test_restore_under_a_maintenance_that_is_in_the_database_is_refused(stage, live):
    files = [stage.home / "hosts" / host / "releases" / live[1] / "app.json" for host in HOSTS]
    before = [file.read_text() for file in files]
    for file, text in zip(files, before, strict=True):
        file.write_text(json.dumps({**json.loads(text), "keeps": ["maintenance", "queue"]}))
    run = stage.rollback(rollback_restore_snapshot=True, release_rollback_to=live[0])
    for file, text in zip(files, before, strict=True):
        file.write_text(text)
    assert (run.status, stage.left("lock"), stage.left("maintenance.json")) == (2, [], [])
    assert "would open web1, web2 while it is loaded; let its .env have APP_MAINTENANCE_DRIVER=file" in told(run)
    assert "jobs that were waiting then, also those done since, are run again" in told(run)


def test_rollback_to_another_environment_is_refused(stage, live):
    file = stage.home / "hosts/web2/shared/.env"
    before, times = file.read_text(), file.stat()
    file.write_text(before + "REDIS_PASSWORD=of-another-server\n")
    run = stage.rollback()
    file.write_text(before)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (run.status, set(run.live.values()), stage.left("lock")) == (2, {live[1]}, []), run.output
    assert f"{live[0]} was cached with other values than shared/.env has now, on web2, of: REDIS_PASSWORD." in told(run)
    assert "of-another-server" not in run.output


def test_rollback_to_what_is_live_everywhere_is_refused(stage, live):
    assert "is live already on every host" in told(stage.rollback(release_rollback_to=live[1]))


def test_split_fleet_comes_together(stage, live):
    # Nothing is unpacked, so that a full disk is told and no more.
    alone = stage.rollback("--limit=web2", release_min_free_mb=10**9)
    assert alone.live == {"web1": live[1], "web2": live[0]}, alone.output
    assert "preflight goes on in spite of this: " in told(alone)
    assert "MiB free, two releases need 1000000000 MiB" in told(alone)
    failed = stage.rollback(**failing("before_switch"))
    assert (failed.status, failed.live) == (2, {"web1": live[1], "web2": live[0]}), failed.output
    # One after the other, each with the assets of both releases by then.
    run = stage.rollback(release_strategy="rolling")
    assert (run.status, run.live) == (0, dict.fromkeys(HOSTS, live[0])), run.output
    assert [run.phases(host)[:3] for host in HOSTS] == [["preflight", "load", "exchange"]] * 2
    state = json.loads((stage.home / "hosts/web2/.slipway/state.json").read_text())["history"]
    assert [entry["release"] for entry in state if entry.get("bad")] == [live[1]], "what is live is not bad"


def test_two_plays_of_one_run_know_nothing_of_each_other(stage, live):
    run = stage.fleet.play(stage.home / "twice.yml", "-e", json.dumps({**HEADLESS, "release_version": "v1"}))
    assert run.status == 0, run.output
    assert "is live already" in told(run)
    assert stage.left("lock") == []


def test_maintenance_is_ended_past_the_lock_of_a_dead_run(stage, live):
    lock = stage.home / "hosts/web1/.slipway/lock"
    write(lock, json.dumps({"run": "dead", "owner": "ann", "since": "now", "ttl": 3600}))
    words = [ROOT / "playbooks/maintenance.yml", "-e", json.dumps({**HEADLESS, "release_maintenance_state": "off"})]
    assert stage.fleet.play(*words).status != 0
    assert lock.exists()
    run = stage.fleet.play(*words, "-e", "release_takeover=true")
    assert (run.status, stage.left("lock")) == (0, []), run.output


def test_site_that_was_shut_stays_so_when_maintenance_cannot_be_turned_on_everywhere(stage, live):
    def maintenance(state):
        given = json.dumps({**HEADLESS, "release_maintenance_state": state})
        return stage.fleet.play(ROOT / "playbooks/maintenance.yml", "-e", given)

    away = stage.home / "away/web2"
    for before in ([], HOSTS):
        if before:
            assert maintenance("on").status == 0
        away.touch()
        run = maintenance("on")
        away.unlink()
        assert (run.status != 0, stage.left("lock"), stage.left("maintenance.json")) == (True, [], before), run.output
        assert "the hosts that could be reached are as they were" in told(run)
    assert (maintenance("off").status, stage.left("maintenance.json")) == (0, [])


def test_maintenance_that_yaml_took_for_a_boolean_tells_the_secret_that_opens_the_site(stage, live):
    def maintenance(state):
        given = json.dumps({**HEADLESS, "release_maintenance_state": state})
        return stage.fleet.play(ROOT / "playbooks/maintenance.yml", "-e", given)

    first, again = maintenance(True), maintenance(True)
    assert (first.status, again.status, stage.left("maintenance.json")) == (0, 0, HOSTS), first.output
    told = re.search(r"The application answers those who opened \S+/(\w+) in their browser first", first.output)
    assert told
    marker = json.loads((stage.home / "hosts/web2/.slipway/maintenance.json").read_text())
    assert marker["secret"] == told[1]
    # The one of the second run opens nothing.
    assert "The application answers" not in again.output
    assert "The application was in maintenance before, on web1, web2" in again.output
    assert marker["secret"] not in again.output
    assert (maintenance(False).status, stage.left("maintenance.json")) == (0, [])


def test_address_of_an_artifact_is_shown_without_its_secrets(stage, live):
    address = "http://ann:s3cret-of-ann@127.0.0.1:1/shop.tar.gz?X-Signature=s1gnature"
    notify = [{"kind": "mail", "to": "ops@example.com", "host": "127.0.0.1", "port": 1}]
    given = {"release_artifact_url": address, "release_artifact_sha256": "a" * 64, "release_notify": notify}
    run = stage.release("", "-vv", **given)
    assert run.status == 2
    assert "Release http://127.0.0.1:1/shop.tar.gz did not go live" in told(run)
    shown = run.output + run.error + run.report + json.dumps(run.entries)
    assert [secret for secret in ("s3cret-of-ann", "s1gnature") if secret in shown] == []


def test_check_mode_tells_nobody(stage, live):
    notify = [{"kind": "slack", "url": "http://127.0.0.1:1/hook"}, {"kind": "mail", "to": "a@example.com", "port": 1}]
    run = stage.release("v1", "--check", release_notify=notify, release_force=True)
    assert run.status == 0, run.output
    assert "did not take the notification" not in told(run)


def test_rollback_that_fails_gives_the_newer_release_its_database_back(stage, live):
    newer = stage.release("v2", release_force=True).live
    stage.write_note("of v2")
    asked = stage.rollback(rollback_restore_snapshot=True, release_rollback_to=live[0])
    confirm = {"rollback_restore_snapshot": True, "rollback_confirm": offered(asked)}
    run = stage.rollback(release_rollback_to=live[0], **confirm, **failing("after_switch"))
    assert (run.status, run.outcome()["outcome"]) == (2, "reverted"), run.output
    assert run.live == newer
    assert stage.notes() == ["first", "of v2"]
    assert "and then made what it was before again" in told(run)
    assert (stage.left("lock"), stage.left("maintenance.json")) == ([], [])


# A managed database: its snapshots are taken and restored by commands


class Managed:
    """A release that migrated after a snapshot by a command, and what was written since."""

    def __init__(self, stage):
        self.stage, self.backups = stage, stage.home / "backups"
        write(self.backups / "tool", MANAGED.format(home=stage.home))
        tool = ["sh", str(self.backups / "tool")]
        self.take = {"release_snapshot_command": [*tool, "take", "{release}"]}
        self.both = self.take | {"release_restore_command": [*tool, "restore", "{snapshot}"]}
        self.before = stage.fleet.live("web1")
        write(stage.home / "database.json", '["create_notes"]')
        stage.write_note("before")
        self.run = stage.release("v2", release_force=True, **self.take)
        self.live = self.run.live
        stage.write_note("after")
        self.notes = stage.notes()

    def rollback(self, confirm="", **variables):
        wanted = {"rollback_restore_snapshot": True, "release_rollback_to": self.before, "rollback_confirm": confirm}
        return self.stage.rollback(**(self.both | wanted | variables))

    def left(self):
        return [self.stage.left(name) for name in ("lock", "maintenance.json")]


@pytest.fixture(scope="module")
def managed(stage, live):
    made = Managed(stage)
    assert made.run.status == 0, made.run.output
    return made


def test_managed_snapshot_is_refused_without_a_command_before_anything_is_changed(stage, managed):
    run = managed.rollback(managed.live["web1"], release_restore_command=[])
    assert (run.status, run.phases("web1"), run.live) == (2, ["preflight", "revert"], managed.live), run.output
    assert "was taken by release_snapshot_command; name the command that restores such a one" in told(run)
    # The snapshot is called as the release before which it was taken.
    assert (managed.left(), stage.notes()) == ([[], []], managed.notes)


def test_impossible_rollback_is_refused_before_anything(managed):
    run = managed.rollback(managed.live["web1"], release_snapshot_command=[], release_hooks={"before_plan": []})
    assert (run.status, run.files) == (2, []), run.output
    assert "restores what release_snapshot_command has taken, which is not set" in told(run)
    assert "before_plan, but plan is the end of stage" in told(run)


def test_managed_restore_that_fails_gives_back_what_was_there(stage, managed):
    marker = managed.backups / f"{managed.live['web1']}.broken"
    marker.touch()
    run = managed.rollback(managed.live["web1"])
    marker.unlink()
    assert (run.status, run.outcome()["outcome"], run.live) == (2, "aborted", managed.live), run.output
    assert "exited 3:" in told(run)
    assert "The database is what it was before, from " in told(run)
    assert (managed.left(), stage.notes()) == ([[], []], managed.notes)


@pytest.mark.long
def test_managed_database_that_nobody_knows_keeps_the_site_shut_until_it_is_restored(stage, managed):
    (managed.backups / "broken").touch()
    run = managed.rollback(managed.live["web1"])
    (managed.backups / "broken").unlink()
    assert (run.status, run.live, managed.left()) == (2, managed.live, [[], HOSTS]), run.output
    assert "take it that it IS NOT WHOLE" in told(run)
    assert "THE SITE STAYS SHUT" in told(run)
    assert f"-e release_rollback_to={managed.live['web1']} -e rollback_restore_snapshot=true" in told(run)
    safety = re.search(r"the state before is in snapshot (\S+-before-restore)", told(run))[1]
    assert f"-e rollback_confirm={safety}" in told(run), "the command that is advised"

    for other in (stage.release("v2", release_force=True), stage.rollback(rollback_restore_snapshot=False)):
        assert (other.status, other.live, managed.left()) == (2, managed.live, [[], HOSTS]), other.output
        assert f"could not restore snapshot {managed.live['web1']}, and the database is not whole" in told(other)
    asked = managed.rollback()
    assert (asked.status, managed.left(), "THE SITE STAYS SHUT" in told(asked)) == (2, [[], HOSTS], True), asked.output

    back = managed.rollback(safety, release_rollback_to=managed.live["web1"])
    assert (back.status, back.live, managed.left()) == (0, managed.live, [[], []]), back.output
    assert stage.notes() == managed.notes


def test_managed_database_goes_back_with_the_release(stage, managed):
    run = managed.rollback(managed.live["web1"])
    assert (run.status, run.outcome()["outcome"]) == (0, "rolled back"), run.output
    assert (set(run.live.values()), managed.left()) == ({managed.before}, [[], []])
    assert stage.notes() == managed.notes[:-1]
    restored = next(phase for phase in run.of("phase") if phase["phase"] == "restore")
    assert (restored["id"], restored["safety"][-15:]) == (managed.live["web1"], "-before-restore")
    assert f"rollback_confirm={restored['safety']}" in told(run), "the way back"


def test_managed_rollback_that_fails_later_gives_the_newer_release_its_database_back(stage, managed):
    newer = stage.release("v2", release_force=True).live
    stage.write_note("of the newer")
    notes = stage.notes()
    run = managed.rollback(managed.live["web1"], **failing("after_switch"))
    assert (run.status, run.outcome()["outcome"], run.live) == (2, "reverted", newer), run.output
    assert (managed.left(), stage.notes()) == ([[], []], notes)


def test_hook_that_fails_when_the_site_is_open_takes_nothing_back(stage, managed):
    run = managed.rollback(managed.live["web1"], **failing("after_up"))
    assert (run.status, run.outcome()["outcome"]) == (0, "rolled back"), run.output
    assert "Run after_up: /bin/false" in told(run)
    assert (set(run.live.values()), managed.left()) == ({managed.before}, [[], []])
    assert stage.notes() == managed.notes[:-1]


def test_site_of_a_restore_that_was_killed_stays_shut_until_the_operator_opens_it(stage, managed):
    killed = ["sh", "-c", "kill -9 $PPID", "{snapshot}"]
    run = managed.rollback(managed.live["web1"], release_restore_command=killed)
    assert (run.status, managed.left()) == (2, [[], HOSTS]), run.output
    assert "how that ended is not known" in told(run)
    refused = stage.release("v1", release_force=True)
    assert (refused.status, managed.left(), "is held shut since" in told(refused)) == (2, [[], HOSTS], True)
    words = [ROOT / "playbooks/maintenance.yml", "-e", json.dumps({**HEADLESS, "release_maintenance_state": "off"})]
    opened = stage.fleet.play(*words)
    assert (opened.status, managed.left()) == (0, [[], []]), opened.output


@pytest.mark.long
def test_killed_rollback_is_finished_by_the_same_again(stage):
    runs = [stage.release(version, release_force=True) for version in ("v1", "v2", "v1")]
    assert [run.status for run in runs] == [0, 0, 0], runs[-1].output
    first, second, third = (run.live for run in runs)
    assert stage.kill("rollback.yml", "after_switch") == second
    # A release that fails meanwhile goes back to where the rollback has brought the hosts, and no further.
    failed = stage.release("v2", release_force=True, **failing("after_switch"))
    assert (failed.status, failed.outcome()["outcome"], failed.live) == (2, "reverted", second), failed.output

    run = stage.rollback()
    assert (run.status, run.outcome()["outcome"], run.live) == (0, "rolled back", second), run.output
    assert f"{second['web1']} was live already, since a rollback from {third['web1']} that was killed" in told(run)
    for host in HOSTS:
        state = json.loads((stage.home / "hosts" / host / ".slipway/state.json").read_text())["history"]
        assert third[host] in [entry["release"] for entry in state if entry.get("bad")]
    assert stage.left("run.json") == []
    assert stage.rollback().live == first


@pytest.mark.long
def test_hosts_leave_together_what_a_killed_release_has_left(stage):
    good = stage.release("v1", release_force=True).live
    unproven = stage.kill("release.yml", "after_switch", release_version="v2", release_force=True)
    assert unproven["web1"] == unproven["web2"] != good["web1"]
    # One that does not come to its switch leaves them as they are.
    failed = stage.release("v1", release_force=True, **failing("before_switch"))
    assert (failed.status, failed.outcome()["outcome"], failed.live) == (2, "aborted", unproven), failed.output
    drain = {"release_strategy": "rolling", "release_drain": str(stage.home / "drain.yml")}
    failed = stage.release("v1", release_force=True, **drain)
    assert (failed.status, failed.outcome()["outcome"], failed.live) == (2, "reverted", good), failed.output
    assert f"It was not live here, but {unproven['web2']}, which a killed run has left unproven" in told(failed)
    assert (stage.left("lock"), stage.left("run.json")) == ([], [])
