"""Runs the role release on two hosts that are directories of this machine, while they fail, go away and come back.

The runs are made once, in an order that an operator could have made them in; each test looks at one of them.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time

import pytest
from fleet import HOSTS, ROOT, Fleet, write

# At most, for a whole release: a host that takes part, and the one that builds and migrates.
MODULE_RUNS = {"web1": 8, "web2": 6}

DRAIN = """
- name: Take a note of it
  ansible.builtin.lineinfile:
    path: "{{ drained }}"
    line: "{{ release_drain_state }} {{ release_drain_batch | join(' ') }} {{ now().timestamp() }}"
    create: true
    mode: "0644"
  when: inventory_hostname == release_drain_batch | first
"""

TASKS = """
- name: Take a note of it
  ansible.builtin.lineinfile:
    path: "{{ noted }}"
    line: "{{ release_hook }} tasks {{ inventory_hostname }} {{ release_hook_release }}"
    create: true
    mode: "0644"
  throttle: 1
"""


class Stage:
    """What the tests do to the fleet."""

    def __init__(self, home):
        self.home, self.fleet = home, Fleet(home)
        self.notes = home / "notes"
        write(home / "drain.yml", DRAIN)
        write(home / "tasks.yml", TASKS)
        self.fleet.lay_out()

    def release(self, version, **variables):
        # The default would keep a test waiting for a host that is not meant to come back.
        variables = {"release_reconnect_timeout": 1, **variables}
        return self.fleet.release(version, "-e", json.dumps(variables))

    def rollback(self, **variables):
        return self.fleet.play(ROOT / "rollback.yml", "-e", json.dumps(variables))

    def note(self, hook, **more):
        line = f'echo "$SLIPWAY_HOOK $SLIPWAY_HOST $SLIPWAY_RELEASE" >> {self.notes}'
        return {hook: [{"command": ["/bin/sh", "-c", line], **more}]}

    def noted(self):
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return lines

    def goes_away(self, hook, host="web2"):
        """A hook in which a host goes away."""
        return {hook: [{"command": ["/bin/touch", str(self.home / "away" / host)], "hosts": "localhost"}]}

    def comes_back(self, host="web2"):
        (self.home / "away" / host).unlink()

    def comes_back_soon(self, host="web2"):
        """Come back once the host could not be told to go back."""
        path = self.home / "away" / host

        def wait():
            while not path.exists():
                time.sleep(0.2)
            while self.unreached() < 2:
                time.sleep(0.02)
            path.unlink()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    def unreached(self):
        """How often a host was not reached in the run that is at work."""
        records = sorted(self.fleet.records.glob("[0-9]*.jsonl"), key=lambda path: path.stat().st_mtime)
        return records[-1].read_text().count("unreachable: ") if records else 0

    def locked(self):
        return [host for host in HOSTS if (self.home / "hosts" / host / ".slipway/lock").exists()]

    def releases(self):
        return {
            host: sorted(path.name for path in (self.home / "hosts" / host / "releases").iterdir()) for host in HOSTS
        }

    def log(self, name):
        path = self.home / name
        return [line.rpartition(" ")[0] for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    made = Stage(tmp_path_factory.mktemp("fleet"))
    yield made
    made.fleet.close()


def told(run):
    """What the run said, without the line breaks of the console."""
    return " ".join((run.output + run.error).split())


def test_hooks_around_the_phases(stage):
    hooks = {
        **stage.note("before_preflight", hosts="web2"),
        **stage.note("after_stage", once=True),
        **stage.note("before_switch", hosts="localhost"),
        "after_switch": [{"tasks": str(stage.home / "tasks.yml"), "hosts": ["web2"]}],
        **stage.note("succeeded", hosts=["laravel"], once=True),
        **stage.note("failed"),
    }
    run = stage.release("v1", release_hooks=hooks, noted=str(stage.notes))
    assert run.status == 0, run.output
    release = run.live["web1"]
    assert stage.noted() == [
        "before_preflight web2 ",
        f"after_stage web1 {release}",
        f"before_switch web1 {release}",
        f"after_switch tasks web2 {release}",
        f"succeeded web1 {release}",
    ]


def test_second_release_costs_few_module_runs(stage):
    before = stage.releases()
    run = stage.release("v2")
    assert run.status == 0, run.output
    assert set(run.live.values()) == {run.outcome()["release"]}
    counted = run.outcome()["module_runs"]
    assert {host for host in HOSTS if counted[host] > MODULE_RUNS[host]} == set(), counted
    assert counted["web2"] >= 5
    assert run.outcome()["live"] == run.live
    assert f"module runs: web1 {counted['web1']}" in run.output or f"web1 {counted['web1']}" in run.output
    assert stage.releases()["web2"] == sorted([*before["web2"], run.live["web2"]])


def test_release_in_check_mode_of_what_is_new(stage):
    before = (stage.releases(), stage.fleet.live("web1"))
    run = stage.fleet.release("v1", "--check")
    assert run.status == 0, run.output
    assert (stage.releases(), stage.fleet.live("web1")) == before
    assert stage.locked() == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"release_hooks": {"before_swich": []}}, "before_swich, which is no hook"),
        ({"release_hooks": {"before_revert": [{"tasks": "/etc/hosts"}]}}, "hook 1: it needs command, a list of words"),
        ({"release_hooks": {"failed": [{"command": "sh -c x"}]}}, "command is a list of words"),
        (
            {"release_drain": "nowhere.yml"},
            "release_drain (nowhere.yml) names a task file that is not there, looked for in /",
        ),
        ({"release_migrate": False, "release_seeders": ["S"]}, "release_seeders (S) run with the migrations, which"),
        ({"release_drain": "nginx"}, "release_drain needs the load balancers in release_drain_hosts"),
        ({"release_hooks": {"failed": [{"tasks": "/nowhere.yml"}]}}, "task files that are not there: /nowhere.yml"),
        (
            {"release_drain": "/dev/null", "release_strategy": "rolling", "release_serial": 2},
            "in one batch (web1, web2)",
        ),
        (
            {"release_drain": "/dev/null", "release_strategy": "rolling", "release_serial": "150%"},
            "release_serial (150%) has all hosts that get requests in one batch",
        ),
        (
            {"release_strategy": "rolling", "release_serial": "all"},
            "release_serial is a number of hosts or a percentage",
        ),
        ({"release_build_host": "web9"}, "release_build_host (web9)"),
        ({"release_artifact_url": "http://127.0.0.1/x", "release_artifact_sha256": "abc"}, "64 hexadecimal digits"),
    ],
)
def test_impossible_request_is_refused_before_anything(stage, variables, message):
    run = stage.release("v1", **variables)
    assert run.status != 0
    assert message in told(run)
    assert (run.files, stage.locked()) == ([], [])


def test_clocks_that_differ_stop_the_release_before_the_build(stage):
    before = (stage.releases(), stage.fleet.live("web1"))
    # Hosts that share a clock are less apart than any limit but this.
    run = stage.release("v1", release_max_clock_skew=-1)
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    assert "s apart, more than release_max_clock_skew (-1 s): web1 " in told(run)
    assert (stage.releases(), stage.fleet.live("web1"), stage.locked()) == (*before, [])
    assert run.phases("web1") == ["preflight", "revert"]


OWN = """
- name: Release in a play of our own
  hosts: laravel
  gather_facts: false
  serial: "{{ in_batches | default('100%') }}"
  tasks:
    - name: Leave one out
      ansible.builtin.meta: end_host
      when: left_out | default('') == inventory_hostname
    - name: Release
      ansible.builtin.import_role:
        name: slipway.laravel.release
"""


@pytest.mark.parametrize("playbook", ["release.yml", "playbooks/maintenance.yml"])
def test_host_that_failed_before_is_not_left_behind(stage, playbook):
    before = (stage.releases(), dict(zip(HOSTS, map(stage.fleet.live, HOSTS), strict=True)))
    # What the role's arguments are validated by is no part of what it can stop at.
    given = {
        "release_version": "v1",
        "release_force": True,
        "release_maintenance_state": "on",
        "release_keep": "{{ 'many' if inventory_hostname == 'web2' else 5 }}",
        "release_lock_ttl": "{{ 'long' if inventory_hostname == 'web2' else 3600 }}",
    }
    run = stage.fleet.play(ROOT / playbook, "-e", json.dumps(given))
    assert run.status == 2, run.output
    assert "nothing was changed: web2 failed before this began, see above" in told(run)
    assert "--limit 'all:!web2'" in told(run)
    assert (stage.releases(), run.live, stage.locked()) == (*before, [])
    assert not list((stage.home / "hosts").glob("*/.slipway/maintenance.json"))


def test_batches_of_the_play_are_refused_and_hosts_that_it_leaves_out_are_not(stage):
    before = stage.fleet.live("web1")
    write(stage.home / "own.yml", OWN)
    batches = stage.fleet.play(stage.home / "own.yml", "-e", "release_version=v1 release_force=true in_batches=1")
    assert (batches.status, batches.live) == (2, dict.fromkeys(HOSTS, before)), batches.output
    assert "serial of this play has web2 in another batch" in told(batches)
    ended = stage.fleet.play(stage.home / "own.yml", "--check", "-e", "release_version=v1 left_out=web2")
    assert ended.status == 0, ended.output


def test_failing_hook_stops_as_its_phase_does(stage):
    before = (stage.releases(), stage.fleet.live("web1"))
    hooks = {"before_switch": [{"command": ["/bin/false"], "hosts": "web2"}], **stage.note("failed", once=True)}
    run = stage.release("v1", release_hooks=hooks)
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    assert (stage.releases(), stage.fleet.live("web1")) == before
    assert stage.locked() == []
    assert stage.noted() == [f"failed web1 {run.outcome()['release']}"]


def test_hook_that_fails_after_the_release_is_live_changes_nothing(stage):
    run = stage.release("v1", release_hooks={"after_finish": [{"command": ["/bin/false"]}]})
    assert (run.status, run.outcome()["outcome"]) == (0, "success"), run.output
    assert set(run.live.values()) == {run.outcome()["release"]}


def test_release_that_one_host_could_not_finish_is_one_to_go_back_to(stage):
    run = stage.release("v2", release_hooks=stage.goes_away("before_finish"))
    stage.comes_back()
    assert (run.status, run.outcome()["outcome"], stage.locked()) == (0, "success", ["web2"]), run.output
    failed = stage.release("v3-is-not-well")
    assert (failed.status, failed.outcome()["outcome"], failed.live) == (2, "reverted", run.live), failed.output


def test_host_that_goes_away_before_the_switch_stops_the_release(stage):
    before = (stage.releases(), dict(zip(HOSTS, map(stage.fleet.live, HOSTS), strict=True)))
    run = stage.release("v2", release_hooks=stage.goes_away("after_build"))
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    assert run.live == before[1]
    assert stage.releases() == before[0]
    assert stage.locked() == ["web2"], "it could not be told"
    assert run.outcome()["live"]["web1"] == before[1]["web1"]
    text = told(run)
    assert "this host cannot be reached. live was " in text
    assert "run the same again, from elsewhere with -e release_takeover=true" in text
    assert "web2: not reached, so what is live there is not known" in text
    stage.comes_back()


def test_lock_of_a_run_elsewhere_stays(stage):
    path = stage.home / "hosts/web2/.slipway/lock"
    ours = json.loads(path.read_text())
    path.write_text(json.dumps({**ours, "controller": "elsewhere 1 2"}))
    refused = stage.release("v2")
    assert refused.status != 0
    assert "is held by ann since" in told(refused)
    assert stage.locked() == ["web2"], "what belongs to another run stays"
    path.write_text(json.dumps(ours))


def test_plain_run_after_that_takes_the_lock_of_the_run_that_has_ended(stage):
    run = stage.release("v2")
    assert (run.status, run.outcome()["outcome"]) == (0, "success"), run.output
    assert stage.locked() == []


def test_host_that_goes_away_after_the_switch_and_stays_away(stage):
    before = stage.fleet.live("web1")
    run = stage.release("v1", release_hooks=stage.goes_away("after_switch"))
    assert (run.status, run.outcome()["outcome"]) == (2, "partial"), run.output
    assert run.live == {"web1": before, "web2": run.outcome()["release"]}
    assert run.outcome()["live"] == {"web1": before, "web2": "unknown"}
    assert f"it may be {run.outcome()['release']} now" in told(run)
    assert f"web1: live is {before}" in told(run)
    stage.comes_back()
    again = stage.release("v1")
    assert again.status == 0, again.output
    assert set(again.live.values()) == {again.outcome()["release"]}


def test_what_a_host_was_left_with_is_nothing_to_go_back_to(stage):
    before = stage.fleet.live("web1")
    left = stage.release("v2", release_hooks=stage.goes_away("after_switch"))
    stage.comes_back()
    assert left.live["web2"] != before, "web2 has a release that was never found to be well"
    run = stage.release("v3-is-not-well")
    assert (run.status, run.outcome()["outcome"]) == (2, "reverted"), run.output
    assert run.live == {"web1": before, "web2": before}


def test_host_that_comes_back_in_time_goes_back_with_the_others(stage):
    before = stage.fleet.live("web1")
    thread = stage.comes_back_soon()
    run = stage.release("v2", release_hooks=stage.goes_away("after_switch"), release_reconnect_timeout=60)
    thread.join()
    assert (run.status, run.outcome()["outcome"]) == (2, "reverted"), run.output
    assert run.live == {"web1": before, "web2": before}
    assert stage.locked() == []


def test_rolling_release_drains_each_batch(stage):
    log = stage.home / "rolling"
    variables = {"release_strategy": "rolling", "release_drain": str(stage.home / "drain.yml"), "drained": str(log)}
    run = stage.release("v2", **variables)
    assert (run.status, run.outcome()["outcome"]) == (0, "success"), run.output
    assert stage.log("rolling") == ["drain web1", "undrain web1", "drain web2", "undrain web2"]
    assert run.phases("web2")[-6:] == ["switch", "restart", "verify", "restart", "verify", "finish"]
    counted = run.outcome()["module_runs"]
    # The note of who was drained is a module of the test's own.
    assert {host for host in HOSTS if counted[host] - 2 > MODULE_RUNS[host]} == set(), counted


def test_failing_batch_takes_back_those_before_it(stage):
    before = stage.fleet.live("web1")
    log = stage.home / "failing"
    variables = {"release_strategy": "rolling", "release_drain": str(stage.home / "drain.yml"), "drained": str(log)}
    run = stage.release("v3-is-not-well", **variables)
    assert (run.status, run.outcome()["outcome"]) == (2, "reverted"), run.output
    assert run.live == {"web1": before, "web2": before}
    assert stage.log("failing") == ["drain web1", "undrain web1", "drain web2", "undrain web1 web2"]


def test_hooks_around_going_back_keep_no_host_from_it(stage):
    before = stage.fleet.live("web1")
    hooks = {
        "before_revert": [
            *stage.note("before_revert", once=True)["before_revert"],
            {"command": ["/bin/false"]},
            {"command": ["/bin/sleep", "30"], "hosts": "web2"},
        ],
        "after_revert": [{"command": ["/bin/false"]}, *stage.note("after_revert", once=True)["after_revert"]],
        **stage.note("failed", once=True),
    }
    run = stage.release(
        "v3-is-not-well",
        release_hooks=hooks,
        __release_hook_patience=8,
        release_strategy="rolling",
        release_drain=str(stage.home / "drain.yml"),
        drained=str(stage.notes),
    )
    assert (run.status, run.outcome()["outcome"]) == (2, "reverted"), run.output
    assert (run.live, stage.locked()) == (dict.fromkeys(HOSTS, before), [])
    assert [line.split()[:2] for line in stage.noted()[-5:]] == [
        ["drain", "web2"],
        ["before_revert", "web1"],
        ["after_revert", "web1"],
        ["undrain", "web1"],
        ["failed", "web1"],
    ]
    assert "Timed out after 8 second" in told(run)
    assert told(run).count("(ignored)") == 5


def test_host_that_nginx_does_not_know_stops_the_release_before_anything_is_built(stage):
    before = stage.fleet.live("web1")
    upstreams = stage.home / "upstreams.conf"
    text = "upstream shop {\n    server app1:80;\n    server app9:80;\n}\n"
    write(upstreams, text)
    variables = {
        "release_strategy": "rolling",
        "release_drain": "nginx",
        "release_drain_hosts": ["web1"],
        "release_drain_become": False,
        "release_drain_nginx_file": str(upstreams),
        "release_drain_nginx_reload": ["/bin/true"],
        "release_drain_server": "{{ inventory_hostname | replace('web', 'app') }}",
        "release_force": True,
    }
    run = stage.release("v2", **variables)
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    assert "in an upstream for app2; nothing was changed" in told(run)
    assert f"{upstreams} of web1 has no line" in told(run)
    assert run.phases("web1") == ["preflight", "revert"]
    assert (upstreams.read_text(), run.live) == (text, dict.fromkeys(HOSTS, before))


def test_host_that_haproxy_does_not_know_stops_the_release_before_anything_is_built(stage):
    before = stage.fleet.live("web1")
    told_to = []
    # A played HAProxy with web1 and a server of somebody else; haproxy_drain's own tests have more of one.
    rows = "# pxname,svname,scur,status,\nshop,web1,0,UP,\nshop,app9,0,UP,\n"

    class Admin(socketserver.StreamRequestHandler):
        def handle(self):
            told_to.append(self.rfile.readline().decode().strip())
            self.wfile.write(rows.encode() if told_to[-1].startswith("show stat") else b"\n")

    path = stage.home / "admin.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), Admin) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = stage.release(
            "v2",
            release_strategy="rolling",
            release_drain="haproxy",
            release_drain_hosts=["web1"],
            release_drain_become=False,
            release_drain_haproxy_socket=str(path),
            release_force=True,
        )
        server.shutdown()
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    assert "HAProxy of web1 has no server web2, only app9, web1; nothing was changed. Let release_drain_server" in told(
        run
    )
    assert run.phases("web1") == ["preflight", "revert"]
    assert run.live == dict.fromkeys(HOSTS, before)
    # What it does know is in use, as it was.
    assert [command for command in told_to if command.startswith("set")] == ["set server shop/web1 state ready"]


def test_hosts_that_get_no_requests_go_with_the_last_batch_and_are_not_drained(stage):
    log = stage.home / "one-web-host"
    variables = {
        "release_drain": str(stage.home / "drain.yml"),
        "drained": str(log),
        "release_force": True,
        "release_strategy": "rolling",
    }
    # A single host that gets requests is not taken out: there would be nobody.
    only = "{{ '' if inventory_hostname == 'web1' else release_drain_url }}"
    url = json.loads((stage.home / "inventories/production/hosts.json").read_text())["laravel"]["vars"][
        "release_http_url"
    ]
    run = stage.release("v2", release_http_url=only, release_drain_url=url, **variables)
    assert (run.status, run.outcome()["outcome"]) == (0, "success"), run.output
    assert stage.log(log.name) == ["undrain web2"], "as a run that was killed may have drained it"
    assert run.phases("web2")[-4:] == ["switch", "restart", "verify", "finish"]


def test_rolling_rollback(stage):
    log = stage.home / "rollback"
    run = stage.rollback(release_strategy="rolling", release_drain=str(stage.home / "drain.yml"), drained=str(log))
    assert (run.status, run.outcome()["outcome"]) == (0, "rolled back"), run.output
    assert stage.log("rollback") == ["drain web1", "undrain web1", "drain web2", "undrain web2"]
    assert run.live["web1"] == run.live["web2"]


def test_build_on_the_controller(stage):
    cache = stage.home / "cache"
    run = stage.release("v2", release_build_host="localhost", release_build_dir=str(cache), release_force=True)
    assert (run.status, run.outcome()["outcome"]) == (0, "success"), run.output
    assert run.live["web1"] == run.live["web2"]
    assert (cache / ".slipway").stat().st_mode & 0o777 == 0o700
    assert run.outcome()["module_runs"]["web1"] <= 6


def test_nothing_is_left_on_the_controller(stage):
    assert not list((stage.home / ".ansible/tmp").rglob("*.tar.gz"))


def test_single_host_tidies_up_in_the_run_that_proves_the_release(stage):
    words = ["-e", '{"release_force": true}', "--limit=web1"]
    run = stage.fleet.release("v2", *words)
    assert run.status == 0, run.output
    assert run.outcome()["module_runs"] == {"web1": 2}
    assert run.phases("web1")[-4:] == ["switch", "restart", "verify", "finish"]
    assert "may be left" not in run.output
    assert stage.locked() == []
    # Not with a hook between, which is a run itself.
    hook = {"release_hooks": stage.note("after_verify")}
    run = stage.fleet.release("v2", *words, "-e", json.dumps(hook))
    assert (run.status, len(stage.noted()), run.outcome()["module_runs"]) == (0, 1, {"web1": 4})
    assert stage.locked() == []


def test_what_hosts_lack_is_told_before_the_build_and_in_check_mode(stage):
    origin = stage.home / "origin"
    write(origin / "composer.json", json.dumps({"require": {"ext-redis": "*"}}))
    write(origin / ".env.example", "APP_KEY=\nSHOP_COLOUR=\n")
    (origin / "composer-error").unlink()
    stage.fleet.commit("v6-wants-more")
    with open(stage.home / "hosts/web1/shared/.env", "a") as env:
        env.write("SHOP_COLOUR=red\n")
    before = stage.releases()
    for words in (["--check"], []):
        run = stage.fleet.release("v6-wants-more", *words)
        assert run.status != 0
        assert "not ready for v6-wants-more, nothing was changed: " in told(run)
        assert "- web1, web2: php has no extension redis, which the release asks for; " in told(run)
        assert f"- web2: {stage.home}/hosts/web2/shared/.env has no SHOP_COLOUR, which " in told(run)
    assert (stage.releases(), stage.locked()) == (before, [])


def test_hosts_with_another_key_each_are_told_before_the_build(stage):
    env = stage.home / "hosts/web2/shared/.env"
    text = env.read_text()
    key = next(line for line in text.splitlines() if line.startswith("APP_KEY="))
    other = "base64:OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk="
    env.write_text(text.replace(key, f"APP_KEY={other}") + "DB_HOST=db2\n")
    before = stage.releases()
    run = stage.fleet.release("v2", "-v", "-e", '{"release_force": true}')
    env.write_text(text)
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    said = told(run)
    assert "the hosts have another APP_KEY each (web1 / web2): what one of them" in said
    assert "the hosts have another .env each: DB_HOST" in said
    assert other not in said
    record = next(path for path in run.files if path.suffix == ".jsonl").read_text()
    assert "prints" not in record
    assert other not in record
    assert (stage.releases(), stage.locked()) == (before, [])
    run = stage.fleet.release("v2", "-e", '{"release_force": true}')
    # The test before has left a key on one of them.
    assert (run.status, "another APP_KEY" in told(run), "DB_HOST" in told(run)) == (0, False, False), run.output
