"""A host that is alone: preflight, build and stage are one run of the module, and what goes wrong ends as elsewhere."""

from __future__ import annotations

import json

import pytest
from fleet import Fleet

BEFORE = ["preflight", "build", "stage", "plan"]
LIVE = ["switch", "restart", "verify", "finish"]


class Host:
    def __init__(self, home):
        self.fleet = Fleet(home)
        self.root = home / "hosts/web1"
        self.fleet.lay_out()

    def release(self, version, *words, **variables):
        variables = {"release_left_out": "web2", **variables}
        return self.fleet.release(version, "--limit=web1", "-e", json.dumps(variables), *words)

    def state(self):
        """What is live, which releases and artifacts there are, and whether the lock is held."""
        places = ("releases", ".slipway/artifacts")
        names = [sorted(path.name for path in (self.root / place).glob("*")) for place in places]
        return self.fleet.live("web1"), *names, (self.root / ".slipway/lock").exists()


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    made = Host(tmp_path_factory.mktemp("single"))
    yield made
    made.fleet.close()


def test_host_that_is_left_out_of_a_migration_has_to_be_named(host):
    run = host.release("v1", release_left_out=[])
    assert (run.status, run.outcome()["outcome"], run.live["web1"]) == (2, "aborted", None), run.output
    assert host.state()[1:] == ([], [], False)
    said = " ".join((run.output + run.error).split())
    assert said.count("--limit leaves out web2: what is live there stays as it is") == 1
    assert "would go on with a database that these migrations change (create_notes). Leave --limit away." in said
    assert "run the same again with -e release_left_out=web2, and before it serves again the same with" in said
    assert run.of("run")[0]["left_out"] == ["web2"]


def test_first_release_takes_three_module_runs(host):
    run = host.release("v1")
    assert "  left out    web2\n" in run.output
    assert "| Left out by --limit | web2 |" in run.report
    assert (run.status, run.outcome()["outcome"]) == (0, "success"), run.output
    assert run.phases("web1") == [*BEFORE, "snapshot", "migrate", *LIVE]
    assert run.outcome()["module_runs"] == {"web1": 3}
    assert run.live["web1"] == run.outcome()["release"]
    build = next(phase for phase in run.of("phase") if phase["phase"] == "build")
    assert run.live["web1"].endswith(build["commit"][:8])
    assert not host.state()[-1]
    (pages,) = (phase["pages"] for phase in run.of("phase") if phase["phase"] == "verify")
    assert [(page["url"].rpartition("/")[2], page["status"]) for page in pages] == [("up", 200), ("", 404)]


def test_what_is_live_already_is_not_built_again(host):
    before = host.state()
    run = host.release("v1")
    assert (run.status, run.files) == (0, []), run.output
    assert f"is live already as {before[0]}" in " ".join(run.output.split())
    assert host.state() == before


def test_layout_says_what_the_live_release_does_not_see_of_a_changed_environment(host):
    playbook, limit = host.fleet.home / "layout.yml", "--limit=web1"
    other = json.dumps({"release_env": "{{ laravel_env | combine({'APP_NAME': 'Other', 'DB_DATABASE': omitted}) }}"})
    said = "and the live release goes on with what it has cached"
    run = host.fleet.play(playbook, limit, "-e", other, "-e", "omitted=elsewhere")
    assert run.status == 0, run.output
    assert f"WARNING: APP_NAME, DB_DATABASE changed in shared/.env, {said}" in " ".join(run.output.split())
    # As it was; and when nothing changes, nothing is said.
    assert said in " ".join(host.fleet.play(playbook, limit).output.split())
    assert said not in " ".join(host.fleet.play(playbook, limit).output.split())


def test_check_mode_predicts_and_leaves_everything(host):
    before = host.state()
    run = host.release("v2", "--check")
    assert run.status == 0, run.output
    assert host.state() == before


def test_a_hook_between_parts_the_run(host):
    hook = {"before_stage": [{"command": ["/bin/sh", "-c", 'test -n "$SLIPWAY_RELEASE"']}]}
    run = host.release("v2", release_hooks=hook)
    assert (run.status, run.outcome()["outcome"]) == (0, "success"), run.output
    assert run.outcome()["module_runs"] == {"web1": 6}
    assert run.phases("web1")[:4] == BEFORE


def test_environment_that_is_kept_by_hand_is_not_thrown_away(host):
    path = host.root / "shared/.env"
    before = path.read_text()
    assert before.startswith("# Written by Ansible")
    path.write_text("PAYMENT_KEY=by-hand\n")
    run = host.fleet.play(host.fleet.home / "layout.yml", "--limit=web1")
    said, kept = " ".join((run.output + run.error).split()), path.read_text()
    path.write_text(before)
    assert (run.status, kept) == (2, "PAYMENT_KEY=by-hand\n")
    assert f"{path} was not written by Ansible, and has PAYMENT_KEY, which the inventory lacks" in said
    assert "by-hand" not in said
    assert host.fleet.play(host.fleet.home / "layout.yml", "--limit=web1").output.count("changed=0") == 1


def test_run_without_a_host_is_no_success(host):
    for words in (["-e", "laravel_hosts=larvel"], ["-e", "laravel_hosts=larvel", "--check"]):
        run = host.release("v1", *words)
        assert (run.status != 0, run.files) == (True, []), run.output
        assert "matches larvel, so that nothing would be done" in " ".join(run.error.split())


def test_hooks_around_the_end_of_maintenance(host):
    shut = ".slipway/maintenance.json"
    hooks = {
        "before_up": [{"command": ["/usr/bin/test", "-e", shut]}],
        "after_up": [{"command": ["/usr/bin/test", "!", "-e", shut]}],
    }
    # Asked without the web server, which does not know of maintenance.
    given = {"release_maintenance": "always", "release_http_url": "", "release_force": True}
    run = host.release("v2", release_hooks=hooks, **given)
    assert (run.status, run.outcome()["outcome"]) == (0, "success"), run.output
    assert run.phases("web1")[len(BEFORE) :] == ["down", "switch", "restart", "verify", "up", "finish"]
    assert run.outcome()["module_runs"] == {"web1": 7}
    plain = host.release("v2", **given)
    assert plain.phases("web1") == run.phases("web1")
    assert plain.outcome()["module_runs"] == {"web1": 3}


@pytest.mark.parametrize(
    ("version", "variables", "said", "phases"),
    [
        ("v9", {}, "v9 is no tag, branch or commit", ["preflight", "build"]),
        ("v5-does-not-build", {}, "php ^9 is not satisfied", ["preflight", "build"]),
        ("v1", {"release_min_free_mb": 10**9}, "MiB free", ["preflight"]),
        ("v1", {"release_stage_commands": [["no:such"]]}, "no:such", ["preflight", "build", "stage"]),
    ],
)
def test_what_fails_leaves_the_live_release_and_no_lock(host, version, variables, said, phases):
    before = host.state()
    run = host.release(version, **variables)
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    assert said in " ".join((run.output + run.error).split())
    assert run.phases("web1") == [*phases, "revert"]
    shown = [line.split()[0] for line in run.output.splitlines() if line.startswith("  ") and line[2:3].islower()]
    assert shown[: len(phases) - 1] == phases[:-1], "what went well before it is shown"
    assert host.state()[0] == before[0]
    assert host.state()[1] == before[1]
    assert not host.state()[-1]


def test_a_migration_that_fails_leaves_the_live_release(host):
    before = host.state()
    run = host.release("v4-does-not-migrate")
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    assert (host.state()[0], host.state()[-1]) == (before[0], False)
