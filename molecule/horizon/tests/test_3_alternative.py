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
    pid = wait_for(lambda: host.check_output("supervisorctl pid app-horizon:app-horizon_00"))
    assert host.check_output("xargs -0 echo < /proc/%s/cmdline", pid) == (
        "/usr/bin/php artisan horizon --environment=production"
    )
    assert host.check_output("stat -c %%U /proc/%s", pid) == "media"
    assert "HORIZON_PREFIX=shop:" in host.check_output("tr '\\0' '\\n' < /proc/%s/environ", pid).splitlines()
    program = host.file("/etc/supervisor/conf.d/app-horizon.conf").content_string
    assert "stopwaitsecs=50\n" in program
    assert "directory=/srv/shop/current\n" in program
    assert "media ALL" in host.file("/etc/sudoers.d/app-horizon").content_string
