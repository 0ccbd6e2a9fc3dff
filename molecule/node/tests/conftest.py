"""Requests to the servers of the host, and a reload while they come in."""

from __future__ import annotations

import json

import pytest

# Requests until a file appears, some of them slow: how many each release has answered, and failures.
LOAD = """
import collections, json, os, sys, threading, time, urllib.request
answers, ports = collections.Counter(), [int(port) for port in sys.argv[1].split(",")]
def ask(path):
    while not os.path.exists("/tmp/stop"):
        time.sleep(0.01)
        for port in list(ports):
            try:
                url = "http://127.0.0.1:%d%s" % (port, path)
                answers[json.load(urllib.request.urlopen(url, timeout=60))["release"]] += 1
                break
            except (urllib.error.URLError, ConnectionError) as error:
                # As nginx does with a GET: a connection that is refused, or reset before it answers, goes to the next
                # server.
                if port == ports[-1]:
                    answers[repr(error)] += 1
            except Exception as error:
                answers[repr(error)] += 1
                break
threads = [threading.Thread(target=ask, args=(path,)) for path in ("/", "/slow")]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(answers))
"""


@pytest.fixture
def ask(host):
    """What the server on a port of the host says of itself."""
    script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"

    def request(port):
        return json.loads(host.check_output("python3 -c %s %s", script, f"http://127.0.0.1:{port}/"))

    return request


@pytest.fixture
def reload_under_load(host):
    """Switch to a release and reload as the user may; how many requests each release answered meanwhile, or failed."""
    script = (
        "rm -f /tmp/stop; python3 -c %s %s & load=$!; sleep .5; "
        "ln -s %s /srv/web/new && mv -T /srv/web/new /srv/web/current; "
        "runuser -u %s -- sudo -n /usr/bin/systemctl reload-or-restart node-web.service; status=$?; "
        "sleep .5; touch /tmp/stop; wait $load; rm /tmp/stop; exit $status"
    )

    def reload(ports, user, release):
        done = host.run(script, LOAD, ",".join(map(str, ports)), f"releases/{release}", user)
        assert done.rc == 0, done.stderr
        return json.loads(done.stdout)

    return reload
