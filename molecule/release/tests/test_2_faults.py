"""What goes wrong on one host of a fleet, under requests from outside: some of what tests/faults does."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_1_release import Visitors, addresses_fixture, release
from testinfra.utils.ansible_runner import AnsibleRunner

testinfra_hosts = ["ansible://front"]
ROOT = "/var/www/shop"
FORCED = ("-e", "release_version=v1.1.0", "-e", "release_force=true")
addresses = addresses_fixture


@pytest.fixture(name="apps")
def apps_fixture(request):
    runner = AnsibleRunner(request.config.option.ansible_inventory)
    return [runner.get_host(name) for name in sorted(runner.get_hosts("laravel_app"))]


@pytest.fixture(name="lives")
def lives_fixture(apps):
    return lambda: [Path(host.file(f"{ROOT}/current").linked_to).name for host in apps]


def test_second_release_is_told_who_is_at_work_and_disturbs_nobody(play, watched, apps, lives, addresses):
    before = lives()
    with Visitors(addresses["web1"], tls=True) as visitors:
        with watched(apps[0], ROOT, "build", "", *FORCED) as first:
            second = release(play, "v1.0.0")
        assert second.status != 0
        assert f"{ROOT}/.slipway/lock is held by" in " ".join(second.output.split())
    assert first.returncode == 0, first.output
    assert len(set(lives())) == 1
    assert lives() != before
    assert visitors.failures == []
    assert {answer.status for answer in visitors.answers} == {200}


def test_python_that_is_killed_on_one_host_before_the_switch_changes_no_host(play, watched, apps, lives, addresses):
    before = lives()
    with Visitors(addresses["web1"], tls=True) as visitors:
        with watched(apps[1], ROOT, "stage", "kill", *FORCED) as killed:
            pass
        assert killed.returncode != 0, killed.output
        assert lives() == before
        again = release(play, "v1.1.0", release_force=True)
    assert again.status == 0, again.errors
    assert len(set(lives())) == 1
    assert lives() != before
    assert visitors.failures == []
    assert {answer.status for answer in visitors.answers} == {200}
