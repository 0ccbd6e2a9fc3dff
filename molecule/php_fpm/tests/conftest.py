"""Fixtures of both runs."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

CLIENT = (Path(__file__).parents[3] / "plugins/module_utils/_fastcgi.py").read_text() + (
    "\nimport sys\nanswer = get(*sys.argv[1:4])\nprint(answer.status, answer.body, sep='\\n', end='')\n"
)


@pytest.fixture
def php(host):
    """The distribution's version."""
    return {"12": "8.2", "13": "8.4"}[host.system_info.release.split(".")[0]]


@pytest.fixture
def ask(host):
    """A request as nginx would make it."""

    def request(script, socket="/run/php/shop.sock", query=""):
        done = host.run("python3 -c %s %s %s %s", CLIENT, socket, script, f"/?{query}")
        assert done.rc == 0, done.stderr
        status, _, body = done.stdout.partition("\n")
        assert status == "200", body
        return body

    return request


@pytest.fixture
def probe(ask):
    """What a script finds itself in, with the directives that are named."""

    def request(*directives, socket="/run/php/shop.sock"):
        query = "&".join(f"ini[]={name}" for name in directives)
        return json.loads(ask("/srv/www/probe.php", socket, query))

    return request


VISIT = (
    (Path(__file__).parents[3] / "plugins/module_utils/_fastcgi.py").read_text()
    + """
import json, pathlib
failed, answered = [], 0
while not pathlib.Path("/run/visitors-go").exists():
    try:
        assert get("/run/php/shop.sock", "/srv/www/probe.php", "/").status == 200
        answered += 1
    except (AssertionError, FastCGIError) as error:
        failed.append(str(error))
print(json.dumps({"failed": failed, "answered": answered}))
"""
)


@pytest.fixture
def visitors(host):
    """Three visitors, one request after the other each, for as long as the block takes."""

    @contextlib.contextmanager
    def come():
        found = {"failed": [], "answered": 0}
        start = "python3 -c %s >/run/visitor-{0}.txt 2>&1 & echo $! >/run/visitor-{0}.pid"
        host.run("rm -f /run/visitor*")
        for number in range(3):
            host.run(start.format(number), VISIT)
        try:
            yield found
        finally:
            host.run("touch /run/visitors-go")
            wait = "for file in /run/visitor-*.pid; do while kill -0 $(cat $file); do sleep 0.1; done; done 2>/dev/null"
            told = host.run(f"{wait}; cat /run/visitor-*.txt").stdout
        for line in told.splitlines():
            one = json.loads(line)
            found["failed"] += one["failed"]
            found["answered"] += one["answered"]

    return come


@pytest.fixture
def slow(host):
    """Start a request of three seconds, and get its answer later."""
    host.run("python3 -c %s /run/php/shop.sock /srv/www/slow.php / >/run/slow.txt 2>&1 & sleep 0.5", CLIENT)
    return lambda: host.check_output(
        "while pgrep -f [/]srv/www/slow.php; do sleep 0.1; done >/dev/null; cat /run/slow.txt"
    )
