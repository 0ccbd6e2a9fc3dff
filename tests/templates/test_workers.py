"""What keeps the application's processes running: supervisor, queue workers, Horizon, Reverb, the scheduler."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible.template import trust_as_template

PROGRAM = "etc/supervisor/conf.d/program.conf.j2"


def settings(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@pytest.fixture
def shop(role):
    def load(name, **given):
        return role(name, laravel_app="shop", laravel_root="/srv/shop", laravel_user="shop", **given)

    return load


@pytest.fixture
def program(role, shop):
    def load(name, **given):
        (found,) = shop(name, **given).value(f"__{name}_programs")
        return settings(role("supervisor").render(PROGRAM, item=found))

    return load


def test_queue_worker(program):
    worker = {"name": "mail", "queue": ["mail", "low"], "timeout": 300, "processes": 2, "backoff": [1, 5]}
    found = program("queue_worker", laravel_queue_workers=[worker])
    assert found["command"] == (
        "php artisan queue:work --queue=mail,low --tries=3 --timeout=300 --sleep=1 --memory=256"
        " --max-time=3600 --backoff=1,5"
    )
    assert found["directory"] == "/srv/shop/current"
    assert (found["user"], found["numprocs"], found["stopwaitsecs"]) == ("shop", "2", "310")
    assert (found["autorestart"], found["stopasgroup"]) == ("true", "true")


@pytest.mark.parametrize(
    ("worker", "cut"),
    [
        ({"timeout": 90}, []),
        ({"timeout": 90, "stopwaitsecs": 90}, ["x (timeout 90, stopwaitsecs 90)"]),
        ({"timeout": 0}, ["x (timeout 0, stopwaitsecs 10)"]),
        ({"timeout": 0, "stopwaitsecs": 3600}, []),
    ],
)
def test_a_worker_that_would_be_killed_in_a_job(shop, worker, cut):
    assert shop("queue_worker", queue_worker_list=[{"name": "x", **worker}]).value("__queue_worker_cut") == cut


@pytest.mark.parametrize(
    ("worker", "live", "twice"),
    [
        ({"timeout": 60}, "", []),
        ({"timeout": 90}, "", ["x (timeout 90, retry_after 90)"]),
        ({"timeout": 90}, '{"database": 60, "": 120}', []),
        ({"timeout": 90}, '{"database": 120, "": 60}', ["x (timeout 90, retry_after 60)"]),
        ({"timeout": 90, "connection": "redis"}, '{"redis": 120, "": 60}', []),
        ({"timeout": 60, "connection": "slow"}, '{"redis": 120, "slow": 30}', ["x (timeout 60, retry_after 30)"]),
        ({"timeout": 300, "retry_after": 330}, '{"redis": 120}', []),
    ],
)
def test_a_job_that_two_workers_would_do(shop, worker, live, twice):
    loaded = shop("queue_worker", queue_worker_list=[{"name": "x", **worker}], __queue_worker_config={"stdout": live})
    assert loaded.value("__queue_worker_twice") == twice


def test_horizon(program):
    found = program("horizon", horizon_job_timeout=900, horizon_environment="staging", laravel_php_version="8.3")
    assert found["command"] == "php8.3 artisan horizon --environment=staging"
    assert (found["stopwaitsecs"], found["numprocs"]) == ("930", "1")
    # The master asks its workers to end; whatever is left after the wait is killed with it.
    assert (found["stopasgroup"], found["killasgroup"]) == ("false", "true")


def test_horizon_beside_workers(shop):
    workers = [
        "command=php artisan queue:work redis --queue=mail,high --tries=3",
        "command=php artisan queue:work database --queue=default --tries=3",
        "command=php artisan queue:work --queue=low --tries=3",
    ]
    loaded = shop("horizon", horizon_queues=["default", "high", "low"], __horizon_workers={"stdout_lines": workers})
    assert sorted(loaded.value("__horizon_shared")) == ["high", "low"]


def test_reverb(program):
    found = program("reverb", reverb_hostname="ws.example.com", reverb_open_files=4096)
    assert found["command"] == (
        "/usr/bin/prlimit --nofile=4096: php artisan reverb:start --host=127.0.0.1 --port=8080"
        " --hostname=ws.example.com"
    )


@pytest.mark.parametrize("name", ["horizon", "reverb"])
def test_what_is_not_enabled_has_no_program(shop, name):
    assert shop(name, **{f"{name}_enabled": False}).value(f"__{name}_programs") == []


def test_program(role):
    program = {"name": "x", "command": "date +%s %(process_num)s", "directory": "/", "user": "root"}
    more = {"environment": {"B": "100%", "A": 'a "b" c'}, "settings": {"priority": 10}, "autostart": False}
    found = settings(role("supervisor").render(PROGRAM, item=program | more | {"exitcodes": [0, 2]}))
    assert found["command"] == "date +%%s %(process_num)s"
    assert found["environment"] == 'A=\'a "b" c\',B="100%%"'
    assert (found["priority"], found["autostart"], found["exitcodes"]) == ("10", "false", "0,2")
    assert "stderr_logfile" not in found


def test_listeners_keep_their_output_to_themselves(role):
    listener = {"name": "x", "command": "ears", "directory": "/", "user": "root", "events": ["PROCESS_STATE", "TICK_5"]}
    text = role("supervisor").render(PROGRAM, item=listener, __supervisor_kind="eventlistener")
    assert "[eventlistener:x]\n" in text
    found = settings(text)
    assert (found["events"], found["redirect_stderr"]) == ("PROCESS_STATE,TICK_5", "false")
    assert (found["stdout_logfile"], found["stderr_logfile"]) == ("NONE", "/var/log/supervisor/x.err.log")


@pytest.mark.parametrize(
    ("program", "where"),
    [
        ({"command": "echo a;b#c"}, []),
        ({"command": "sh -c 'a ; b'"}, ["x: command"]),
        ({"environment": {"A": "it's", "B": '"'}}, ["x: environment B"]),
        ({"environment": {"A": "x #1"}}, ["x: environment A"]),
        ({"environment": {"A": "both \" and ' inside"}}, ["x: environment A"]),
    ],
)
def test_what_supervisor_cannot_be_told(role, program, where):
    full = {"name": "x", "command": "true", "directory": "/", "user": "root", **program}
    assert role("supervisor", supervisor_programs=[full]).value("__supervisor_unsayable") == where


def test_what_supervisor_cannot_be_told_for_all(role):
    loaded = role("supervisor", supervisor_environment={"A": 'the "end"'})
    assert loaded.value("__supervisor_unsayable") == ["supervisor_environment: environment A"]


@pytest.mark.parametrize(("capabilities", "permitted"), [("000001ffffffffff", 1048576), ("00000000a82c35fb", 20000)])
def test_files_that_the_kernel_permits(role, capabilities, permitted):
    kernel = f"Max open files   1024   20000   files\nCapEff:\t{capabilities}\n1048576"
    loaded = role("supervisor", supervisor_minfds=4096, __supervisor_kernel={"stdout": kernel})
    assert int(loaded.value("__supervisor_files_permitted")) == permitted
    assert int(loaded.value("__supervisor_program_files")) == 20000


def test_web_page_has_a_digest_for_a_password(role):
    given = {"supervisor_http_listen": "127.0.0.1:9001", "supervisor_http_password": "open"}
    text = role("supervisor", **given).render("etc/supervisor/supervisord.conf.j2")
    assert "\nport=127.0.0.1:9001\n" in text
    assert "password={SHA}" in text
    assert "open" not in text.split("password=")[1].splitlines()[0]
    assert "inet_http_server" not in role("supervisor").render("etc/supervisor/supervisord.conf.j2")


def test_sudo_starts_programs_of_the_user_and_restarts_those_of_others(role, tmp_path):
    programs = [
        {"name": "a-queue-x", "command": "true", "directory": "/", "user": "deploy"},
        {"name": "a-queue-y", "command": "true", "directory": "/", "user": "media"},
    ]
    loaded = role("supervisor", supervisor_programs=programs, supervisor_sudo_user="deploy")
    text = loaded.render("etc/sudoers.d/programs.j2")
    assert text.splitlines()[-2:] == [
        r"deploy ALL=(root) NOPASSWD: /usr/bin/supervisorctl start a-queue-x\:\*",
        r"deploy ALL=(root) NOPASSWD: /usr/bin/supervisorctl restart a-queue-y\:\*",
    ]
    if shutil.which("visudo"):
        (tmp_path / "sudoers").write_text(text)
        test = subprocess.run(["visudo", "-cf", tmp_path / "sudoers"], capture_output=True, text=True, check=False)
        assert test.returncode == 0, test.stderr


def test_release_restarts_what_holds_code(role):
    workers = [{"name": "default", "processes": 2}, {"name": "media", "user": "media"}]
    groups = ["laravel_horizon", "laravel_reverb"]
    release = role("release", laravel_app="shop", laravel_queue_workers=workers, group_names=groups)
    commands = [command[2:] for command in release.value("__release_start_commands")]
    wanted = {"queue-default": "start", "queue-media": "restart", "horizon": "start", "reverb": "start"}
    assert commands == [["/usr/bin/supervisorctl", verb, f"shop-{name}:*"] for name, verb in wanted.items()]
    assert release.value("__release_processes") == {"queue:work": 2, "horizon": 1, "reverb:start": 1}
    alone = role("release", release_workers=[{"name": "default"}], group_names=[])
    assert alone.value("__release_processes") == {"queue:work": 1, "horizon": 0, "reverb:start": 0}
    # The same inventory, for its application of Node.
    node = role("release", release_kind="node", laravel_queue_workers=workers, group_names=groups)
    assert node.value("__release_processes") == {"node": 0}


@pytest.mark.parametrize(
    ("apps", "given", "count"),
    [
        ([{"directory": "/srv/shop/current"}], {}, 1),
        ([{"directory": "/srv/shop/current/.next/standalone/", "instances": "3"}], {}, 3),
        ([{"directory": "/srv/shop/current", "instances": 2}, {"directory": "/srv/shop/current"}], {}, 3),
        ([{"directory": "/srv/shop/current", "instances": 2}], {"release_root": "/srv/shop/"}, 2),
        # Not of this application.
        (
            [{"directory": "/srv/shop2/current"}, {"directory": "/srv/shop/currently"}, {"directory": "/srv/shop"}],
            {},
            0,
        ),
        # Not to be seen by who releases.
        ([{"directory": "/srv/shop/current", "user": "media"}], {}, 0),
        ([{"directory": "/srv/shop/current"}], {"node_user": "media"}, 0),
        ([{"directory": "/srv/shop/current", "user": "media"}], {"release_user": "media"}, 1),
        ([{"directory": "/srv/shop/current", "user": "media"}], {"release_node_processes": 2}, 2),
    ],
)
def test_servers_of_node_that_a_release_has_to_find(shop, apps, given, count):
    # Secrets may need a vault that is shut in a release.
    apps = [{"name": "web", "port": 3000, "environment": {"TOKEN": "{{ vault_token }}"}, **app} for app in apps]
    node = shop("release", release_kind="node", node_apps=apps, group_names=[], **given)
    assert node.value("__release_processes") == {"node": count}


def test_cron_waits_for_the_first_release(shop):
    text = shop("scheduler").render("etc/cron.d/app.j2")
    assert 'MAILTO=""\n' in text
    entries = [line for line in text.splitlines() if line.startswith("*")]
    assert entries == [
        "* * * * * shop test ! -f /srv/shop/current/artisan || (cd /srv/shop/current && "
        "php artisan schedule:run --no-interaction --no-ansi) >>/var/log/shop-scheduler.log 2>&1"
    ]


def test_runs_that_do_not_overlap_wait_within_their_minute(shop):
    command = shop("scheduler", scheduler_overlap=False).value("__scheduler_command")
    assert "current && flock --wait 50 --conflict-exit-code 0 /srv/shop php artisan schedule:run " in command
    assert "flock" not in shop("scheduler", scheduler_overlap=False, scheduler_type="systemd").value(
        "__scheduler_command"
    )


@pytest.mark.parametrize(
    ("given", "files"),
    [
        ({}, {"/etc/cron.d/shop", "/etc/logrotate.d/shop-scheduler"}),
        ({"scheduler_output": "/dev/null"}, {"/etc/cron.d/shop"}),
        ({"scheduler_enabled": False}, set()),
        (
            {"scheduler_type": "systemd", "scheduler_output": "/var/log/shop/schedule.log"},
            {
                "/etc/systemd/system/shop-scheduler.service",
                "/etc/systemd/system/shop-scheduler.timer",
                "/etc/systemd/system/timers.target.wants/shop-scheduler.timer",
                "/var/log/shop",
                "/etc/logrotate.d/shop-scheduler",
            },
        ),
    ],
)
def test_files_of_the_scheduler(shop, given, files):
    assert {file["path"] for file in shop("scheduler", **given).value("__scheduler_files")} == files


def test_the_timer_runs_the_same_line(shop):
    loaded = shop("scheduler", scheduler_type="systemd")
    text = loaded.render("etc/systemd/system/scheduler.service.j2")
    assert f"ExecStart=/bin/sh -c '{loaded.value('__scheduler_command')}'\n" in text
    assert "User=shop\n" in text


@pytest.mark.parametrize(("name", "group"), [("scheduler", "laravel_scheduler"), ("reverb", "laravel_reverb")])
def test_a_host_that_has_it_no_longer_does_not_count(shop, name, group):
    hosts = {"worker1": {f"{name}_enabled": False}, "worker2": {}, "worker3": {f"{name}_enabled": "yes"}}
    given = {"groups": {group: list(hosts)}, "hostvars": hosts}
    assert shop(name, group_names=[group], **given).value(f"__{name}_hosts") == ["worker2", "worker3"]


@pytest.mark.parametrize("name", ["scheduler", "reverb"])
def test_as_many_hosts_as_do_not_disturb_one_another(shop, name):
    # Where a playbook enables it by a variable of the role, the inventory may have it off everywhere.
    def refused(**hosts):
        hosts = {host: {f"{name}_enabled": enabled} for host, enabled in hosts.items()}
        group = f"laravel_{name}"
        loaded = shop(name, groups={group: list(hosts)}, group_names=[group], hostvars=hosts)
        tasks = loaded.loader.load_from_file(str(loaded.path / "tasks/preflight.yml"), trusted_as_template=True)
        (that,) = (task["ansible.builtin.assert"]["that"] for task in tasks if f"__{name}_hosts" in str(task))
        return not loaded.template(trust_as_template("{{ " + that + " }}"))

    assert not refused(worker1=False, worker2=False)
    assert not refused(worker1=False, worker2=True)
    assert refused(worker1=True, worker2=True)


@pytest.fixture
def schedulers(shop, tmp_path):
    """Who starts the scheduler, as the role finds it in files and units of a host."""
    etc, programs = tmp_path / "etc", tmp_path / "bin"
    for folder in (etc / "cron.d", etc / "systemd/system", programs):
        folder.mkdir(parents=True)
    (programs / "systemctl").write_text(f'#!/bin/sh\ntest -e "{tmp_path}/active/$3"\n')
    (programs / "systemctl").chmod(0o755)
    (tmp_path / "active").mkdir()

    def find(active=(), **files):
        for name, text in files.items():
            (etc / name.replace("__", "/").replace("_d", ".d").replace("_service", ".service")).write_text(text)
        for unit in active:
            (tmp_path / "active" / unit).touch()
        loaded = shop("scheduler")
        (task, _assert) = loaded.loader.load_from_file(str(loaded.path / "tasks/assert.yml"), trusted_as_template=True)
        script = loaded.template(task["ansible.builtin.shell"]).replace("/etc/", f"{etc}/")
        argv = ["env", f"PATH={programs}:/usr/bin:/bin", "sh", "-c", script]
        found = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return found.replace(str(tmp_path), "").splitlines()

    return find


UNIT = "[Service]\nExecStart=/bin/sh -c 'cd {}/current && php artisan schedule:{}'\n"


def test_units_that_run_the_scheduler_under_another_name_are_found(schedulers):
    found = schedulers(
        active=["shop-scheduler.timer", "old-scheduler.timer", "by-hand.service", "other.timer"],
        cron_d__shop="* * * * * shop cd /srv/shop/current && php artisan schedule:run\n",
        **{
            "systemd__system__shop-scheduler_service": UNIT.format("/srv/shop", "run"),
            "systemd__system__old-scheduler_service": UNIT.format("/srv/shop", "run"),
            "systemd__system__by-hand_service": UNIT.format("/srv/shop", "work"),
            "systemd__system__asleep_service": UNIT.format("/srv/shop", "run"),
            "systemd__system__other_service": UNIT.format("/srv/shop-2", "run"),
        },
    )
    assert found == ["/etc/cron.d/shop", "shop-scheduler.timer", "by-hand.service", "old-scheduler.timer"]
