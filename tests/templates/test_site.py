"""What site.yml works out for a host that has left a group, with files as the roles write them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

SITE = Path(__file__).parents[2] / "playbooks/site.yml"
GROUPS = {name: [] for name in ("laravel_workers", "laravel_horizon", "laravel_reverb", "laravel_scheduler")}
GROUP_OF = {
    "shop-queue": "laravel_workers",
    "shop-horizon": "laravel_horizon",
    "shop-reverb": "laravel_reverb",
    "shop-scheduler": "laravel_scheduler",
}


STOP = "Stop what other hosts run now"
STOP_SCHEDULER = "Stop the scheduler that another host runs now"


@pytest.fixture(name="plays")
def plays_fixture():
    plays = DataLoader().load_from_file(str(SITE), trusted_as_template=True)
    return {play["name"]: play for play in plays}


def templated(text, **variables):
    variables = {"groups": GROUPS, "group_names": ["laravel"], "laravel_app": "shop", **variables}
    return Templar(loader=DataLoader(), variables=variables).template(text)


@pytest.fixture(name="moved")
def moved_fixture(plays):
    """A variable of the play that stops what has moved."""

    def value(name, **given):
        return templated(plays[STOP]["vars"][name], **given, **plays[STOP]["vars"])

    return value


@pytest.fixture(name="stopped")
def stopped_fixture(plays):
    """The sets that a task goes through; its own variables are in force then, as Ansible has it."""

    def value(play, **given):
        task = plays[play]["tasks"][-1]
        return templated(task["loop"], **(given | plays[play]["vars"] | task["vars"]))

    return value


@pytest.fixture(name="host")
def host_fixture(role, tmp_path):
    """A host with all that an application runs, as the roles and config_files leave it."""

    def make(app, root, **given):
        given = {"laravel_app": app, "laravel_root": root, **given}
        entry = "etc/cron.d/app.j2"
        if given.get("scheduler_type") == "systemd":
            entry = "etc/systemd/system/scheduler.service.j2"
        files = {f"{app}-scheduler": [role("scheduler", **given).render(entry), "rotated"]}
        for name in ("queue_worker", "horizon", "reverb"):
            programs = role(name, **given).value(f"__{name}_programs")
            program = "etc/supervisor/conf.d/program.conf.j2"
            texts = [role("supervisor").render(program, item=item) for item in programs]
            files[f"{app}-{name.removesuffix('_worker')}"] = [*texts, "[Service]\nKillMode=mixed\n"]
        for name, texts in files.items():
            paths = [tmp_path / f"{name}.{number}" for number, _text in enumerate(texts)]
            for path, text in zip(paths, texts, strict=True):
                path.write_text(text)
            known = {"paths": list(map(str, paths)), "by": {str(path): ["application shop"] for path in paths}}
            (tmp_path / f"{name}.json").write_text(json.dumps(known, indent=1) + "\n")
        (tmp_path / f"{app}-pool.json").write_text(json.dumps({"paths": [f"{tmp_path}/{app}-queue.0"]}, indent=1))

    return make


def looked(moved, tmp_path, root):
    argv = ["sh", "-c", moved("site_look"), "sh", str(tmp_path), root]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("kind", ["cron", "systemd"])
def test_what_runs_an_application_is_found_by_its_root(host, moved, tmp_path, kind):
    host("shop", "/srv/shop", scheduler_type=kind)
    host("blog", "/srv/shop-blog", scheduler_type=kind)
    assert sorted(looked(moved, tmp_path, "/srv/shop")) == sorted(GROUP_OF)
    assert looked(moved, tmp_path, "/srv/none") == []
    # A set that was emptied keeps what belongs to supervisor itself, or nothing.
    (tmp_path / "shop-reverb.json").write_text(json.dumps({"paths": [f"{tmp_path}/shop-reverb.1"]}, indent=1))
    (tmp_path / "blog-scheduler.json").write_text(json.dumps({"paths": []}, indent=1))
    assert sorted(looked(moved, tmp_path, "/srv/shop")) == sorted(GROUP_OF.keys() - {"shop-reverb"})


def test_a_host_without_any_of_it_has_nothing_to_stop(moved, tmp_path):
    assert looked(moved, tmp_path / "none", "/srv/shop") == []
    assert moved("site_left") == []
    assert moved("site_left", site_looked={"stdout_lines": []}) == []


@pytest.mark.parametrize("name", GROUP_OF)
def test_a_host_stops_what_it_did_for_a_group_that_it_has_left(moved, name):
    found = {"stdout_lines": [name]}
    assert moved("site_left", site_looked=found) == [name]
    assert moved("site_left", site_looked=found, group_names=["laravel", GROUP_OF[name]]) == []
    # An inventory without the group has another way to say who runs what.
    others = {group: [] for group in GROUPS if group != GROUP_OF[name]}
    assert moved("site_left", site_looked=found, groups=others) == []


def test_a_renamed_application_leaves_no_programs_behind(moved):
    left = moved(
        "site_left",
        site_looked={"stdout_lines": ["shop-queue", "shop-scheduler", "store-horizon"]},
        group_names=["laravel", "laravel_workers", "laravel_horizon", "laravel_scheduler"],
        laravel_app="store",
        horizon_app="store",
        scheduler_app="shop",
    )
    assert left == ["shop-queue"]


def test_programs_of_a_second_name_stay_beside_those_of_the_first(moved):
    found = {"stdout_lines": ["shop-mail-queue", "shop-queue"]}
    assert moved("site_left", site_looked=found, group_names=["laravel", "laravel_workers"]) == []
    assert moved("site_left", site_looked=found) == found["stdout_lines"]


@pytest.mark.parametrize("play", [STOP, STOP_SCHEDULER])
def test_names_of_their_own_are_no_renamed_application(stopped, play):
    names = {"queue_worker_app": "jobs", "horizon_app": "jobs", "reverb_app": "live", "scheduler_app": "nightly"}
    found = ["jobs-queue", "jobs-horizon", "live-reverb", "nightly-scheduler"]
    looked = {"stdout_lines": found}
    assert stopped(play, **names, site_looked=looked, group_names=[*GROUPS]) == []
    assert stopped(play, **names, site_looked=looked) == (found[:3] if play == STOP else found[3:])
