from __future__ import annotations

import time

testinfra_hosts = ["ansible://role_hosts"]


def wait_for(ready, seconds=15):
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_every_option_is_in_effect(host):
    pid = host.check_output("supervisorctl pid app-reverb:app-reverb_00")
    assert host.check_output("xargs -0 echo < /proc/%s/cmdline", pid) == (
        "/usr/bin/php artisan reverb:start --host=0.0.0.0 --port=8081 --hostname=ws.example.com --debug"
    )
    assert host.check_output("stat -c %%U /proc/%s", pid) == "media"
    assert host.check_output("grep 'open files' /proc/%s/limits", pid).split()[3] == "900"
    assert "REVERB_APP_KEY=key" in host.check_output("tr '\\0' '\\n' < /proc/%s/environ", pid).splitlines()
    assert "stopwaitsecs=20\n" in host.file("/etc/supervisor/conf.d/app-reverb.conf").content_string
    wait_for(lambda: "0.0.0.0:8081" in host.check_output("ss -Hltn"))
    assert "127.0.0.1:8080" not in host.check_output("ss -Hltn")
