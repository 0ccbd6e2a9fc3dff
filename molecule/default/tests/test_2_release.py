"""Release, what can go wrong before a release, the next release, and the way back. The tests follow each other."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

testinfra_hosts = ["ansible://laravel"]
ROOT = "/var/www/logbook"
RELEASE_ID = r"\d{8}T\d{6}Z-[0-9a-f]{8}"
WORKER = "logbook-queue-default"


def wait_for(ready: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := ready():
            return found
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds} s, but not so: {what}")


class Site:
    """What users and operators see of the live release."""

    def __init__(self, host, http):
        self.host, self.http = host, http

    @property
    def live(self) -> str:
        return Path(self.host.file(f"{ROOT}/current").linked_to).name

    def workers(self) -> dict[str, str]:
        """Process id and release of each queue worker."""
        listing = self.host.run("supervisorctl pid %s:%s_00", WORKER, WORKER).stdout.split()
        return {pid: Path(self.host.check_output("readlink /proc/%s/cwd", pid)).name for pid in listing}

    def note(self, body: str) -> dict:
        """Write a note, and return it once a worker has handled it."""
        written = self.http("/notes", post={"body": body})
        assert written.status == 201, written.body
        number = written.json["note"]["id"]

        def handled() -> dict | None:
            note = self.http(f"/notes/{number}").json["note"]
            return note if note["handled_at"] else None

        return wait_for(handled, f"note {number} is handled")

    def snapshot(self) -> dict:
        """What a run that fails before the switch must not change."""
        return {
            "live": self.live,
            "previous": self.host.file(f"{ROOT}/.slipway/state.json").content_string,
            "releases": sorted(self.host.file(f"{ROOT}/releases").listdir()),
            "served": self.http("/release").json["release"],
            "workers": self.workers(),
            "locked": self.host.file(f"{ROOT}/.slipway/lock").exists,
        }


@pytest.fixture
def site(host, http):
    return Site(host, http)


@pytest.fixture(scope="module")
def ids() -> dict[str, str]:
    """Release ids by version, as the tests make them."""
    return {}


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    return {}


@pytest.fixture
def notes_before(site, kept) -> list[dict]:
    """The notes as they were when a test first asked."""
    if "notes" not in kept:
        kept["notes"] = site.http("/notes").json["notes"]
    return kept["notes"]


def expect_live(site: Site, version: str) -> str:
    """Every way to ask which release is live gives the same answer."""
    live = site.live
    assert re.fullmatch(RELEASE_ID, live)
    for path in ("/", "/up", "/release", "/notes"):
        answer = site.http(path, headers={"Accept": "text/html"} if path == "/" else None)
        assert answer.status == 200, answer.body
        assert answer.headers["x-release-id"] == live, path
        assert live in answer.body, path
    assert site.http("/release").json["version"] == version
    assert set(site.workers().values()) == {live}
    assert not site.host.file(f"{ROOT}/.slipway/lock").exists
    return live


def test_check_mode_of_the_first_release_changes_nothing(play, site):
    checked = play("release.yml", "--check", release_version="v1.0.0")
    assert checked.status == 0, checked.errors
    assert not site.host.file(f"{ROOT}/current").exists
    assert site.host.file(f"{ROOT}/releases").listdir() == []
    assert not site.host.file(f"{ROOT}/.slipway/lock").exists


def test_first_release(play, site, ids):
    released = play("release.yml", release_version="v1.0.0")
    assert released.status == 0, released.errors
    ids["v1.0.0"] = expect_live(site, "v1.0.0")


def test_page_has_built_assets(site):
    page = site.http("/", headers={"Accept": "text/html"}).body
    assets = re.findall(r'(?:href|src)="(?:https?://[^/"]+)?(/build/[^"]+)"', page)
    assert assets
    for asset in assets:
        answer = site.http(asset)
        assert answer.status == 200, asset
        assert "immutable" in answer.headers["cache-control"]


def test_note_is_handled_by_a_worker(site):
    note = site.note("written by the test")
    assert note["handled_by"] == site.live


def test_upload_stays_in_shared_storage(site):
    site.host.check_output("printf tested >/tmp/upload.txt")
    script = (
        "curl --silent --fail --form file=@/tmp/upload.txt --header Accept:application/json http://127.0.0.1/uploads"
    )
    assert json.loads(site.host.check_output(script))["release"] == site.live
    assert "tested" in site.host.check_output(
        "cat $(find %s/shared/storage/app -type f -newer /tmp/upload.txt | tail -1)", ROOT
    )


def test_scheduler_beats(site):
    beats = wait_for(lambda: site.http("/beats").json["beats"], "cron has run the scheduled command", seconds=75)
    assert beats


def test_release_of_what_is_live_does_nothing(play, site):
    before = site.snapshot()
    again = play("release.yml", release_version="v1.0.0")
    assert again.status == 0, again.errors
    assert "is live already" in again.output
    assert site.snapshot() == before


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({}, "release_version is not given"),
        ({"release_version": "v9.9.9"}, "v9.9.9"),
        (
            {"release_version": "v1.1.0", "release_repository": "ssh://git@demo-nowhere/srv/git/app.git"},
            "demo-nowhere",
        ),
    ],
    ids=["no version", "unknown version", "unreachable repository"],
)
def test_impossible_request_is_one_clear_error(play, site, extra, message):
    before = site.snapshot()
    failed = play("release.yml", **extra)
    assert failed.status != 0
    assert_one_clear_error(failed, message)
    assert site.snapshot() == before


def test_repository_by_the_key_that_an_agent_holds(host):
    """Without a deploy key the user's agent answers; host keys are checked all the same."""
    agent, key, known = f"{ROOT}/.slipway/agent", f"{ROOT}/.slipway/deploy_key", f"{ROOT}/.slipway/known_hosts"
    start = "ssh-agent -a %s >/dev/null && SSH_AUTH_SOCK=%s ssh-add -q %s"
    host.check_output("runuser -u deploy -- sh -c %s", start % (agent, agent, key))

    def build(known_hosts, **environment):
        repository = "ssh://git@demo-git/srv/git/app.git"
        given = {"root": f"{ROOT}/by-agent", "repository": repository, "version": "v1.0.0", "known_hosts": known_hosts}
        user = {"ansible_become_user": "deploy"}
        line = json.dumps({**given, "environment": environment})
        try:
            return host.ansible("slipway.laravel.release_build", line, become=True, extra_vars=user)
        except host.ansible.AnsibleException as refused:
            return refused.result

    try:
        assert "mbstring" in build(known, SSH_AUTH_SOCK=agent)["requires"]["extensions"]
        assert "Permission denied (publickey" in build(known)["msg"]
        assert "host key is known for demo-git" in build("/dev/null", SSH_AUTH_SOCK=agent)["msg"]
    finally:
        host.check_output("pkill -u deploy -x ssh-agent")


def test_unreachable_database_is_one_clear_error(play, site, host):
    before = site.snapshot()
    host.check_output("systemctl stop mariadb")
    try:
        failed = play("release.yml", release_version="v1.1.0")
    finally:
        host.check_output("systemctl start mariadb")
    assert failed.status != 0
    assert_one_clear_error(failed, "database")
    wait_for(lambda: site.http("/up").status == 200, "the site is back with its database")
    # Workers that lost their connection end, and supervisor starts them again: other processes of the same release.
    after = site.snapshot()
    assert set(after.pop("workers").values()) == set(before.pop("workers").values())
    assert after == before


def assert_one_clear_error(failed: Any, message: str) -> None:
    """One error names the cause; what may follow is the word that nothing was touched."""
    causes = [text for text in failed.errors if "did not go live" not in text]
    assert len(causes) == 1, failed.output
    assert message in causes[0]
    assert "Traceback" not in failed.output


def test_second_release(play, site, ids):
    workers = site.workers()
    released = play("release.yml", release_version="v1.1.0")
    assert released.status == 0, released.errors
    ids["v1.1.0"] = expect_live(site, "v1.1.0")
    assert ids["v1.1.0"] != ids["v1.0.0"]
    assert not workers.keys() & site.workers().keys()
    assert site.http("/notes/archive").status == 200
    assert site.note("written after the second release")["handled_by"] == ids["v1.1.0"]


def test_old_page_finds_its_assets_after_the_switch(site, ids):
    old = site.host.file(f"{ROOT}/releases/{ids['v1.0.0']}/public/build").listdir()
    new = site.host.file(f"{ROOT}/releases/{ids['v1.1.0']}/public/build").listdir()
    assert set(old) <= set(new)


def test_site_changes_nothing_on_a_released_host(play):
    again = play("site.yml")
    assert again.status == 0, again.errors
    assert again.changed == 0, again.changes


def test_rollback(play, site, ids):
    back = play("rollback.yml")
    assert back.status == 0, back.errors
    assert expect_live(site, "v1.0.0") == ids["v1.0.0"]
    assert site.http("/notes/archive").status == 404
    assert site.note("written after the rollback")["handled_by"] == ids["v1.0.0"]


def test_destructive_migration_waits_for_a_yes(play, site):
    before, notes = site.snapshot(), site.http("/notes").body
    refused = play("release.yml", release_version="v2.0.0")
    assert refused.status != 0
    assert_one_clear_error(refused, "these migrations destroy")
    assert "truncate table notes: every row is lost" in refused.output
    assert "-e release_allow_destructive=true" in refused.output
    assert site.snapshot() == before
    assert site.http("/notes").body == notes


def test_destructive_migration_runs_after_a_snapshot(play, site, ids, notes_before):
    assert notes_before
    released = play("release.yml", release_version="v2.0.0", release_allow_destructive="true")
    assert released.status == 0, released.errors
    ids["v2.0.0"] = expect_live(site, "v2.0.0")
    assert site.http("/notes").json["notes"] == []
    (snapshot,) = site.host.file(f"{ROOT}/.slipway/snapshots").listdir()[:1]
    assert site.host.file(f"{ROOT}/.slipway/snapshots/{snapshot}").mode == 0o600


def test_rollback_restores_the_database_when_that_is_confirmed(play, site, ids, notes_before):
    before = site.snapshot()
    asked = play("rollback.yml", rollback_restore_snapshot="true")
    assert asked.status != 0
    assert site.snapshot() == before
    confirm = re.search(r"rollback_confirm=([\w.-]+)", asked.output)
    assert confirm, asked.output
    back = play("rollback.yml", rollback_restore_snapshot="true", rollback_confirm=confirm[1])
    assert back.status == 0, back.errors
    assert expect_live(site, "v1.0.0") == ids["v1.0.0"]
    assert site.http("/notes").json["notes"] == notes_before


def test_maintenance(play, site):
    shut = play("playbooks/maintenance.yml", release_maintenance_state="on")
    assert shut.status == 0, shut.errors
    assert site.http("/notes").status == 503
    opened = play("playbooks/maintenance.yml", release_maintenance_state="off")
    assert opened.status == 0, opened.errors
    expect_live(site, "v1.0.0")


def test_artifact_by_url(play, site, ids):
    name = f"{ids['v1.1.0']}.tar.gz"
    artifacts = f"{ROOT}/.slipway/artifacts"
    digest = site.host.check_output("sha256sum %s/%s", artifacts, name).split()[0]
    serve = "systemd-run --collect --unit artifacts --working-directory=%s python3 -m http.server --bind 127.0.0.1 8555"
    site.host.check_output(serve, artifacts)
    try:
        wait_for(lambda: site.host.socket("tcp://127.0.0.1:8555").is_listening, "the artifact is served")
        url = f"http://127.0.0.1:8555/{name}"
        damaged = play("release.yml", release_artifact_url=url, release_artifact_sha256="0" * 64)
        assert damaged.status != 0
        assert digest in damaged.output
        released = play("release.yml", release_artifact_url=url, release_artifact_sha256=digest)
    finally:
        site.host.run("systemctl stop artifacts")
    assert released.status == 0, released.errors
    assert expect_live(site, "v1.1.0") not in ids.values()


def entries(path: Path) -> list[dict]:
    """The entries of a record, checked without the code that wrote them."""
    previous = "0" * 64
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for number, entry in enumerate(found, 1):
        body = {key: value for key, value in entry.items() if key != "hash"}
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert (entry["seq"], entry["prev"]) == (number, previous), path
        assert entry["hash"] == hashlib.sha256(text.encode()).hexdigest(), path
        previous = entry["hash"]
    return found


def test_records(ids, records):
    (folder,) = records.iterdir()
    for version in ("v1.0.0", "v1.1.0"):
        record = entries(folder / f"{ids[version]}.jsonl")
        events = [entry["event"] for entry in record]
        assert (events[0], events[-1]) == ("run", "outcome")
        phases = [entry["data"]["phase"] for entry in record if entry["event"] == "phase"]
        assert set(phases) >= {"preflight", "build", "stage", "switch", "restart", "verify", "finish"}
        report = (folder / f"{ids[version]}.md").read_text()
        assert ids[version] in report
        assert version in report
    # Runs that failed have records too, and so has the rollback.
    outcomes = [entries(path)[-1]["data"] for path in folder.glob("[0-9]*.jsonl")]
    assert sum(outcome.get("outcome") == "rolled back" for outcome in outcomes) == 2
    assert max(max(outcome["module_runs"].values()) for outcome in outcomes if "module_runs" in outcome) <= 8


def test_no_secret_in_records(host, records):
    env = host.file(f"{ROOT}/shared/.env").content_string
    secrets = re.findall(r"^(?:APP_KEY|DB_PASSWORD|REDIS_PASSWORD)=\"?([^\"\n]{8,})", env, re.MULTILINE)
    assert len(secrets) == 3
    for path in records.rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_text() for secret in secrets), path


def test_web_server_logged_no_failure_of_php(host):
    # Not every line of PHP: the framework of a distribution may be older than its PHP, which then calls it deprecated.
    failures = r"PHP (Fatal|Parse|Warning)|upstream (prematurely|timed out)|connect\(\) .*failed|\[emerg\]"
    assert host.run("grep --extended-regexp %s /var/log/nginx/error.log", failures).stdout == ""
