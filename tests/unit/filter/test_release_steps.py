"""The order of a release: what shares a run of the module, and where hooks, batches and drains stand."""

from __future__ import annotations

import itertools

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.filter.release_hook_faults import release_hook_faults
from ansible_collections.slipway.laravel.plugins.filter.release_steps import release_steps

HOSTS = ["app1", "app2", "worker1"]
GROUPS = {"laravel": HOSTS, "web": ["app1", "app2"], "mail": ["mail1"]}
LIVE = ["switch", "restart", "verify"]
MIGRATED = {"snapshot": ["app1"], "migrate": ["app1"]}


def told(phases, hosts=HOSTS, **options):
    """The steps in short: what runs, and how many hosts it runs on when that is not all."""
    return [
        step["label"] if step["hosts"] == hosts else f"{step['label']} @ {' '.join(step['hosts'])}"
        for step in release_steps(phases, hosts, groups=GROUPS, **options)
    ]


def test_workers_wait_until_the_last_host_has_switched():
    assert told(LIVE) == ["switch", "restart, verify"]


def test_a_single_host_waits_for_nobody():
    assert told(LIVE, ["app1"]) == ["switch, restart, verify"]


def test_a_single_host_tidies_up_at_once():
    (step,) = release_steps([*LIVE, "finish"], ["app1"])
    assert (step["phases"], step["file"]) == ([*LIVE, "finish"], "phase")
    assert [step["file"] for step in release_steps([*LIVE, "finish"], HOSTS)] == ["phase", "phase", "finish"]


def test_a_single_host_brings_the_release_in_one_run_or_in_one_for_each_phase():
    phases = ["preflight", "build", "stage"]
    at = {"build": ["app1"]}
    (step,) = release_steps(phases, ["app1"], at=at)
    assert (step["file"], step["phases"], step["label"]) == ("preflight_to_stage", phases, "preflight, build, stage")
    hooks = {"before_preflight": [{"command": ["a"]}], "after_stage": [{"command": ["b"]}]}
    assert told(phases, ["app1"], at=at, hooks=hooks) == [
        "before_preflight: a",
        "preflight, build, stage",
        "after_stage: b",
    ]
    for hook, number in (("after_preflight", 1), ("before_build", 1), ("after_build", 2), ("before_stage", 2)):
        parted = [*phases[:number], f"{hook}: a", *phases[number:]]
        steps = release_steps(phases, ["app1"], at=at, hooks={hook: [{"command": ["a"]}]})
        assert [step["label"] for step in steps] == parted
        assert [step["file"] for step in steps if "hook" not in step] == phases
    files = [step["file"] for step in release_steps(phases, ["app1"], at={"build": ["localhost"]})]
    assert files == ["preflight", "build_on_controller", "stage"]
    assert [step["file"] for step in release_steps(phases, HOSTS, at=at)] == phases


def test_what_a_rollback_goes_to_is_loaded_on_every_host_before_any_switches():
    assert told(["recache", "load", *LIVE]) == ["recache, load", "switch", "restart, verify"]
    assert told(["recache", "load", *LIVE], ["app1"]) == ["recache, load, switch, restart, verify"]
    assert told(["load", "maintenance", *LIVE], ["app1"])[0] == "load"


def test_database_work_is_one_run_on_one_host():
    assert told(["snapshot", "migrate", *LIVE], at=MIGRATED)[0] == "snapshot, migrate @ app1"


def test_the_host_that_migrates_probes_in_the_same_run():
    at = {**MIGRATED, "probe": ["app1", "app2"]}
    assert told(["migrate", "probe", "switch"], at=at) == ["migrate, probe @ app1", "probe @ app2", "switch"]
    assert told(["migrate", "probe", "switch"], at={**MIGRATED, "probe": ["app1"]})[1] == "switch"


def test_under_maintenance_the_probe_needs_no_run_of_its_own():
    at = {**MIGRATED, "probe": ["app1", "app2"]}
    phases = ["maintenance", "snapshot", "migrate", "probe", *LIVE, "up"]
    # The site opens on no host before all are proven.
    shared = ["maintenance", "snapshot, migrate @ app1", "probe, switch, restart, verify", "up"]
    assert told(phases, at=at) == shared
    assert told(phases, ["app1"], at=at)[-1] == "probe, switch, restart, verify, up"


def test_a_site_that_is_shut_has_no_batches():
    phases = ["maintenance", *LIVE, "up"]
    shut = ["maintenance", "switch, restart, verify", "up"]
    for size in (1, "50%", 3):
        assert told(phases, batch=size, web=HOSTS[:2], drain=True) == shut


def test_no_host_has_more_than_six_runs_and_those_of_the_build_and_the_migrations():
    """Hooks and sign-offs aside, which part what shares a run."""
    given = itertools.product(
        ("app1", "app2", "localhost"),
        ([], ["app1"], ["app2"], ["app1", "worker1"], HOSTS),
        ([], ["migrate"], ["snapshot", "migrate"]),
        (False, True),
        (False, True),
        ("", 1, 2, 3),
    )
    for builds, again, pending, shut, drain, batch in given:
        phases = [*pending, *(["probe"] if again else []), *LIVE]
        phases = ["maintenance", *phases, "up", "finish"] if shut else [*phases, "finish"]
        options = {"at": {**MIGRATED, "build": [builds], "probe": again}, "batch": batch, "drain": drain}
        steps = [
            step
            for part in (["preflight"], ["build", "stage"], phases)
            for step in release_steps(part, HOSTS, web=HOSTS[:2], unproven=True, **options)
            if "phases" in step and not step["file"].endswith("_on_controller")
        ]
        for host in HOSTS:
            found = [step["label"] for step in steps if host in step["hosts"]]
            more = (host == builds) + (host == "app1" and len(pending) > 0)
            assert len(found) <= 6 + more, (host, found)


def test_the_module_calls_maintenance_down():
    assert release_steps(["maintenance"], HOSTS)[0]["phases"] == ["down"]


@pytest.mark.parametrize(
    ("size", "parts"),
    [(1, 3), ("1", 3), (2, 2), ("34%", 3), ("67%", 2), ("1%", 3), ("100%", 1), (9, 1)],
)
def test_batches(size, parts):
    assert [label.partition(" @")[0] for label in told(LIVE, batch=size)] == [
        *["switch, restart, verify"] * parts,
        "restart, verify",
    ]


def test_a_batch_is_proven_without_its_workers_before_it_gets_requests_again():
    steps = release_steps(LIVE, HOSTS, batch=2, drain=True)
    assert [(step["file"], step["hosts"], step.get("phases")) for step in steps] == [
        ("drain", ["app1", "app2"], None),
        ("phase", ["app1", "app2"], ["switch", "restart", "verify"]),
        ("drain", ["app1", "app2"], None),
        ("drain", ["worker1"], None),
        ("phase", ["worker1"], ["switch", "restart", "verify"]),
        ("drain", ["worker1"], None),
        ("phase", HOSTS, ["restart", "verify"]),
    ]
    assert [step["state"] for step in steps if step["file"] == "drain"] == ["drain", "undrain"] * 2
    assert [step["workers"] for step in steps if step["file"] == "phase"] == [False, False, True]


@pytest.mark.parametrize(
    ("web", "others", "size", "first"),
    [
        (["web1", "web2"], ["worker1", "worker2", "worker3", "worker4", "worker5", "worker6"], "25%", ["web1"]),
        (["app1", "app2"], ["worker1", "reverb1"], "50%", ["app1"]),
        (["app1", "app2"], ["worker1", "reverb1"], 1, ["app1"]),
        (["web1", "web2", "web3", "web4"], ["worker1"], "50%", ["web1", "web2"]),
    ],
)
def test_batches_are_of_the_hosts_that_get_requests(web, others, size, first):
    # Wherever the others stand in the inventory.
    hosts = [*others[:1], *web, *others[1:]]
    steps = release_steps(LIVE, hosts, batch=size, web=web, drain=True)
    drained = [step["hosts"] for step in steps if step.get("state") == "drain"]
    switched = [step["hosts"] for step in steps if "switch" in step.get("phases", [])]
    assert drained[0] == switched[0] == first
    assert [host for part in drained for host in part] == web, "nobody asks the others for anything"
    assert switched[-1] == drained[-1] + others, "which go with the last batch"
    assert steps[-1]["hosts"] == hosts, "and have their workers with those of all"


def test_a_rollback_in_batches_waits_for_the_assets_of_all():
    steps = release_steps(["exchange", *LIVE], HOSTS, batch=2)
    assert [(step["hosts"], step["phases"]) for step in steps][:2] == [
        (HOSTS, ["exchange"]),
        (HOSTS[:2], ["switch", "restart", "verify"]),
    ]


def test_batches_of_a_fleet_that_gets_no_requests_are_of_all_its_hosts():
    assert told(LIVE, batch=2, web=[]) == told(LIVE, batch=2)


@pytest.mark.parametrize("size", ["all", "%", "x%"])
def test_a_batch_that_is_no_number_is_refused(size):
    with pytest.raises(AnsibleFilterError, match="release_serial is a number of hosts or a percentage"):
        release_steps(LIVE, HOSTS, batch=size)


def test_hooks_stand_around_their_phase_and_divide_runs():
    hooks = {
        "before_migrate": [{"command": ["a"]}],
        "before_restart": [{"command": ["b"], "hosts": "web"}],
        "after_restart": [{"tasks": "c.yml"}, {"command": ["d", 1], "hosts": ["worker1", "web"], "once": True}],
        "after_verify": [{"command": ["e"], "hosts": "localhost"}],
    }
    assert told(["snapshot", "migrate", *LIVE], at=MIGRATED, hooks=hooks) == [
        "snapshot @ app1",
        "before_migrate: a",
        "migrate @ app1",
        "switch",
        "before_restart: b @ app1 app2",
        "restart",
        "after_restart: c.yml",
        "after_restart: d 1 @ app1",
        "verify",
        "after_verify: e @ app1",
    ]


def test_a_switch_in_batches_has_its_hooks_once():
    hooks = {name: [{"command": [name]}] for name in ("before_switch", "after_switch", "before_verify", "after_verify")}
    assert told(LIVE, batch=2, hooks=hooks) == [
        "before_switch: before_switch",
        "switch, restart, verify @ app1 app2",
        "switch, restart, verify @ worker1",
        "after_switch: after_switch",
        "restart",
        "before_verify: before_verify",
        "verify",
        "after_verify: after_verify",
    ]


def test_a_hook_on_the_controller_is_said_to_be_there():
    hooks = {"before_stage": [{"command": ["a"], "hosts": "localhost"}, {"command": ["b"]}]}
    steps = release_steps(["stage"], HOSTS, hooks=hooks)
    assert [(step["file"], step.get("on_controller")) for step in steps] == [
        ("hook_command", True),
        ("hook_command", False),
        ("stage", None),
    ]


def test_hooks_at_the_end():
    hooks = {"succeeded": [{"command": ["a"]}], "failed": [{"command": ["b"]}], "after_finish": [{"command": ["c"]}]}
    assert told(["finish", "succeeded"], hooks=hooks) == ["finish", "after_finish: c", "succeeded: a"]
    assert told(["failed"], hooks=hooks) == ["failed: b"]


def around(phase):
    return {f"{when}_{phase}": [{"command": [phase]}] for when in ("before", "after")}


def test_hooks_around_the_end_of_maintenance():
    hooks = around("up")
    end = ["restart, verify", "before_up: up", "up"]
    assert told([*LIVE, "up"], hooks=hooks) == ["switch", *end]
    assert told(["after_up", "finish"], hooks=hooks) == ["after_up: up", "finish"], "nothing goes back any more"
    assert told([*LIVE, "up"], ["app1"], hooks={"before_up": hooks["before_up"]}) == [
        "switch, restart, verify",
        "before_up: up",
        "up",
    ]
    assert told(LIVE, hooks=hooks) == ["switch", "restart, verify"], "the site was not shut"


def test_hooks_around_a_probe_are_there_once_and_only_when_it_is():
    at = {**MIGRATED, "probe": ["app1", "app2"]}
    hooks = around("probe")
    assert told(["migrate", "probe", "switch"], at=at, hooks=hooks) == [
        "migrate @ app1",
        "before_probe: probe",
        "probe @ app1",
        "probe @ app2",
        "after_probe: probe",
        "switch",
    ]
    assert told(["maintenance", "migrate", "probe", "switch"], at=at, hooks=hooks)[2:] == [
        "before_probe: probe",
        "probe",
        "after_probe: probe",
        "switch",
    ]
    assert told(["migrate", "probe", "switch"], at={**MIGRATED, "probe": ["app1"]}, hooks=hooks)[3:] == [
        "after_probe: probe",
        "switch",
    ]
    assert told(["migrate", "switch"], at=MIGRATED, hooks=hooks) == ["migrate @ app1", "switch"]


def test_hooks_around_going_back_stand_alone():
    hooks = around("revert")
    assert told(["before_revert"], hooks=hooks) == ["before_revert: revert"]
    assert told(["after_revert"], hooks=hooks) == ["after_revert: revert"]
    assert told(["before_revert"]) == []


def test_a_build_on_the_controller_has_one_host_to_speak_for_it():
    (step,) = release_steps(["build"], HOSTS, at={"build": ["localhost"]})
    assert (step["file"], step["hosts"]) == ("build_on_controller", ["app1"])


def test_each_run_knows_its_task_file():
    phases = ["preflight", "build", "stage", "maintenance", "snapshot", "migrate", *LIVE, "finish"]
    assert [step["file"] for step in release_steps(phases, HOSTS, at={**MIGRATED, "build": ["app2"]})] == [
        "preflight",
        "build",
        "stage",
        "down",
        "migrate",
        "phase",
        "finish",
    ]
    assert [step["file"] for step in release_steps(["snapshot", "restore"], HOSTS)] == ["snapshot", "restore"]


@pytest.mark.parametrize(
    ("hooks", "fault"),
    [
        ([], "is a dictionary"),
        ({"before_swich": []}, "before_swich, which is no hook; there are before_<phase>"),
        ({"before_switch": {"command": ["a"]}}, "before_switch is a list"),
        ({"failed": ["a"]}, "hook 1: it needs either tasks"),
        ({"failed": [{"command": ["a"]}, {}]}, "failed, hook 2: it needs either tasks"),
        ({"failed": [{"command": ["a"], "tasks": "b.yml"}]}, "it needs either tasks"),
        ({"failed": [{"command": "php artisan about"}]}, "command is a list of words"),
        ({"failed": [{"command": []}]}, "command is a list of words"),
        ({"failed": [{"command": {"cmd": "uptime"}}]}, "command is a list of words"),
        ({"failed": [{"command": 5}]}, "command is a list of words"),
        ({"failed": [{"tasks": None}]}, "tasks is the path of one task file"),
        ({"failed": [{"tasks": ""}]}, "tasks is the path of one task file"),
        ({"failed": [{"tasks": ["a.yml", "b.yml"]}]}, "each file has a hook of its own"),
        ({"failed": [{"command": ["a"], "hosts": 5}]}, "hosts is the name of a host or group, or a list of names"),
        ({"failed": [{"command": ["a"], "hosts": ["app1", 5]}]}, "hosts is the name of"),
        ({"failed": [{"command": ["a"], "hosts": {"app1": None}}]}, "hosts is the name of"),
        ({"failed": [{"command": ["a"], "host": "app1", "when": 1}]}, "it has host, when; it may have"),
        ({"failed": [{"command": ["a"], "hosts": "mail"}]}, "no host of this release is in hosts: mail"),
        ({"before_plan": [{"command": ["a"]}]}, "before_plan, but plan is the end of stage and shares its run: take"),
        ({"after_plan": []}, "before_stage or after_stage, or before_snapshot"),
        ({"before_revert": [{"tasks": "a.yml"}]}, "before_revert, hook 1: it needs command, a list of words;"),
        ({"after_revert": [{"tasks": "a.yml"}]}, "for they could stop the way back"),
    ],
)
def test_faults_of_hooks(hooks, fault):
    (found,) = release_hook_faults(hooks, HOSTS, GROUPS)
    assert fault in found


def test_good_hooks_have_no_fault():
    hooks = {
        "before_preflight": [{"tasks": "a.yml"}],
        "after_restore": [{"command": ["a"], "hosts": ["web"], "once": True, "chdir": "/"}],
        "before_probe": [{"tasks": "a.yml"}],
        "after_up": [{"tasks": "a.yml"}],
        "before_revert": [{"command": ["a"], "hosts": "localhost"}],
        "failed": [{"command": ["a"], "hosts": "localhost"}],
        "succeeded": [],
    }
    assert release_hook_faults(hooks, HOSTS, GROUPS) == []


def test_program_of_the_controller_is_in_one_of_the_places(tmp_path):
    (tmp_path / "purge.sh").touch()
    places = ["/none", str(tmp_path)]

    def faults(word, hosts=HOSTS, places=places, **entry):
        hooks = {"after_verify": [{"command": [word, "all"], "hosts": "localhost", **entry}]}
        return release_hook_faults(hooks, hosts, GROUPS, places)

    (lost,) = faults("bin/purge.sh")
    assert lost == f"release_hooks.after_verify, hook 1: bin/purge.sh is not there, looked for in /none, {tmp_path}"
    assert faults("bin/purge.sh", hosts=["localhost"]) == faults("bin/purge.sh", hosts=HOSTS, chdir="/srv") == []
    assert faults("./x", places=[]) == []
    for word in ("./purge.sh", "purge", "/usr/bin/purge", "~/purge", "$HOME/purge", 7):
        assert faults(word) == []
    hooks = {"after_verify": [{"command": ["./x"]}, {"command": ["./x"], "hosts": "web"}, {"tasks": "a.yml"}]}
    assert release_hook_faults(hooks, HOSTS, GROUPS, places) == []


def test_localhost_of_the_play_is_a_host_like_others():
    (step,) = release_steps(["build"], ["localhost"], at={"build": ["localhost"]})
    assert (step["file"], step["hosts"]) == ("build", ["localhost"])


def test_sign_offs_stand_between_the_phases_and_share_no_run_with_them():
    signed = ["checks during after_verify", "signoff during after_verify"]
    assert told(["switch", "restart", "verify", *signed, "up"]) == ["switch", "restart, verify", *signed, "up"]
    assert told(["probe", "signoff during before_switch", "switch"], ["app1"]) == [
        "probe",
        "signoff during before_switch",
        "switch",
    ]


def test_hooks_before_a_phase_follow_the_sign_offs_before_it():
    hooks = {"before_switch": [{"command": ["true"]}]}
    assert told(["migrate", "signoff during before_switch", "switch"], hooks=hooks)[1:] == [
        "signoff during before_switch",
        "before_switch: true",
        "switch",
    ]


def test_step_of_a_sign_off_says_stage_and_moment():
    plan, looks, signs = release_steps(["signoff plan", "checks during before_switch", "signoff pre_deploy"], HOSTS)
    assert (plan["file"], looks["file"], signs["file"]) == ("signoff_plan", "signoff_checks", "signoff_stage")
    assert [(step["stage"], step["at"], step["key"]) for step in (looks, signs)] == [
        ("during", "before_switch", "during before_switch"),
        ("pre_deploy", "", "pre_deploy"),
    ]


def test_hosts_know_that_others_have_begun_to_leave_what_is_unproven():
    hooks = {"before_switch": [{"command": ["true"]}]}
    phases = ["migrate", "switch", "restart", "verify"]
    left = "leave what is unproven"
    assert told(phases, hooks=hooks, unproven=True) == [
        "migrate",
        "before_switch: true",
        left,
        "switch",
        "restart, verify",
    ]
    assert told(phases, batch=1, drain=True, unproven=True).count(left) == 1
    assert left not in told(phases, ["app1"], unproven=True)
