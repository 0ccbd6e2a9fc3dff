"""haproxy_drain against an HAProxy that is played; the scenario fleet has the real one."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from ansible_collections.slipway.laravel.plugins.modules import haproxy_drain

HEAD = "# pxname,svname,scur,status,check_status,check_code,last_chk,"


class Played(threading.Thread):
    """An HAProxy with servers, each with what it has and what its commands make of it."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.servers = {}
        self.commands = []
        self.visitors = dict.fromkeys(("drain", "maint"), 0)
        self.well_after = 0
        self.level = "admin"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.start()

    def add(self, name, status="UP"):
        self.servers[name] = {"status": status, "sessions": 0}

    def run(self):
        while True:
            connection, _address = self.listener.accept()
            with connection, connection.makefile("rw") as stream:
                stream.write(self.answer(stream.readline().split()))

    def answer(self, words):
        if words[:2] == ["show", "stat"]:
            return f"{HEAD}\n{''.join(map(self.row, self.servers))}\n"
        if self.level != "admin":
            return "Permission denied\n\n"
        name, state = words[2], words[4]
        self.commands.append(f"{name} {state}")
        server = self.servers[name]
        server["sessions"] = self.visitors.get(state, 0)
        before = server["status"]
        server["status"] = {"drain": "DRAIN", "maint": "MAINT", "ready": "UP 1/3"}[state]
        if before == "no check" or server.get("unchecked"):
            server["unchecked"] = True
            server["status"] = "no check" if state == "ready" else server["status"]
        return "\n"

    def row(self, name):
        server = self.servers[name]
        told = ",".join([*name.split("/"), str(server["sessions"]), server["status"], "L7STS,503,Service Unavailable,"])
        # Sessions end one after another, and a check comes after a while.
        server["sessions"] = max(0, server["sessions"] - 1) if server["sessions"] < 100 else server["sessions"]
        if server["status"] == "UP 1/3":
            server["asked"] = server.get("asked", 0) + 1
            if server["asked"] > self.well_after:
                server["status"] = "UP" if self.well_after < 9 else "DOWN"
        return told + "\n"


@pytest.fixture(name="proxy")
def proxy_fixture(tmp_path):
    proxy = Played(tmp_path / "admin.sock")
    for name in ("shop/app1", "shop/app2"):
        proxy.add(name)
    return proxy


@pytest.fixture(name="drain", autouse=True)
def drain_fixture(run_module, tmp_path, monkeypatch):
    monkeypatch.setattr(haproxy_drain, "INTERVAL", 0.01)

    def drain(state, *servers, **options):
        options = {"socket": str(tmp_path / "admin.sock"), "timeout": 1, "name": "HAProxy of lb1", **options}
        code, result = run_module("haproxy_drain", state=state, servers=list(servers), **options)
        # Where Ansible takes the test for a controller, warnings are printed.
        return code, {**result, "warned": json.dumps(result.get("warnings")) + " ".join(run_module.stderr.split())}

    return drain


def test_a_server_goes_out_for_new_visitors_and_then_for_all(drain, proxy):
    proxy.visitors["drain"] = 3
    code, result = drain("drained", "app1", known=["app1", "app2"])
    assert (code, result["changed"], proxy.commands) == (0, True, ["shop/app1 drain", "shop/app1 maint"])
    assert result["servers"] == [{"backend": "shop", "name": "app1", "status": "MAINT", "sessions": 0}]


def test_visitors_that_are_bound_to_a_server_get_half_of_the_time(drain, proxy):
    proxy.visitors["drain"] = 1000
    assert drain("drained", "app1")[1]["servers"][0]["sessions"] == 0, "in maintenance they went elsewhere"
    proxy.visitors["maint"] = 1000
    assert drain("drained", "app1")[1]["servers"][0]["sessions"] == 1000, "a websocket is no failure"


def test_a_server_that_comes_back_is_waited_for_until_a_check_found_it_well(drain, proxy):
    proxy.servers["shop/app1"]["status"] = "MAINT"
    proxy.well_after = 4
    code, result = drain("ready", "app1")
    assert (code, result["changed"], proxy.commands) == (0, True, ["shop/app1 ready"])
    assert result["servers"][0]["status"] == "UP", "and not UP 1/3, which it is at once"


def test_a_server_without_checks_is_back_at_once(drain, proxy):
    proxy.add("shop/app3", "no check")
    drain("drained", "app3")
    assert drain("ready", "app3")[1]["servers"][0]["status"] == "no check"


def test_a_server_that_is_not_up_in_time_is_a_failure(drain, proxy):
    proxy.well_after = 9
    code, result = drain("ready", "app1")
    assert code == 1
    assert result["msg"].startswith(
        "HAProxy of lb1 has not taken back into use within 1 s: shop/app1 is DOWN (L7STS 503 Service Unavailable). See "
    )


def test_a_server_whose_next_check_is_far_off_counts_as_back(drain, proxy):
    proxy.well_after = 10**6
    assert drain("ready", "app1", timeout=0)[1]["servers"][0]["status"] == "UP 1/3"


@pytest.mark.parametrize("backend", ["", "shop"])
def test_a_server_that_is_not_known_stops_before_anything_is_drained(drain, proxy, backend):
    code, result = drain("drained", "app1", known=["app1", "web9"], backend=backend)
    assert (code, proxy.commands) == (1, [])
    where = " in backend shop" if backend else ""
    assert result["msg"].startswith(
        f"HAProxy of lb1 has no server web9{where}, only app1, app2; nothing was changed. Let"
    )
    assert drain("ready", "app1", "web9")[0] == 0, "which is in nobody's way back"


def test_the_last_server_of_a_backend_stays(drain, proxy):
    proxy.add("admin/app1")
    assert "HAProxy of lb1: admin/app1 stays in use" in drain("drained", "app1")[1]["warned"]
    assert proxy.servers["admin/app1"]["status"] == "UP"
    assert (proxy.servers["shop/app1"]["status"], proxy.servers["shop/app2"]["status"]) == ("MAINT", "UP")
    assert "shop/app2 stays in use" in drain("drained", "app2")[1]["warned"]


def test_only_the_backend_that_is_named(drain, proxy):
    proxy.add("other/app1")
    proxy.add("other/app2")
    drain("drained", "app1", backend="other")
    assert proxy.commands == ["other/app1 drain", "other/app1 maint"]


def test_check_mode_tells_and_changes_nothing(drain, proxy):
    assert drain("drained", "app1", _ansible_check_mode=True)[1]["changed"] is True
    proxy.servers["shop/app1"]["status"] = "MAINT"
    assert drain("ready", "app1", _ansible_check_mode=True)[1]["changed"] is True
    assert proxy.commands == []
    assert drain("drained", "web9", _ansible_check_mode=True)[1]["changed"] is False


def test_what_haproxy_refuses_is_told(drain, proxy, tmp_path):
    proxy.level = "user"
    message = "HAProxy of lb1 does not make shop/app1 drain: Permission denied"
    assert drain("drained", "app1")[1]["msg"] == message
    assert f"cannot be asked at {tmp_path}/none: " in drain("drained", "app1", socket=f"{tmp_path}/none")[1]["msg"]
