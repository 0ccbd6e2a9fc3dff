"""Fixtures of both runs."""

from __future__ import annotations

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


@pytest.fixture
def slow(host):
    """Start a request of three seconds, and get its answer later."""
    host.run("python3 -c %s /run/php/shop.sock /srv/www/slow.php / >/run/slow.txt 2>&1 & sleep 0.5", CLIENT)
    return lambda: host.check_output(
        "while pgrep -f [/]srv/www/slow.php; do sleep 0.1; done >/dev/null; cat /run/slow.txt"
    )
