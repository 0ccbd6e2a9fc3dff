"""One application for any name, by HTTP."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

testinfra_hosts = ["ansible://role_hosts"]


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self):
        return json.loads(self.body)


# Runs on the host: curl for each list of arguments, and what came of each; the bytes of an answer as characters.
CURL = """
import json, subprocess, sys
for options in json.loads(sys.argv[1]):
    done = subprocess.run(["curl", "-sS", "-i", "--max-time", "10", *options], capture_output=True)
    print(json.dumps([done.stdout.decode("latin-1"), done.stderr.decode()]))
"""


def ask_all(host, requests):
    """The answers to requests, each given as curl's arguments."""
    answers = []
    for line in host.check_output("python3 -c %s %s", CURL, json.dumps(requests)).splitlines():
        out, error = json.loads(line)
        assert not error
        head, _blank, body = out.partition("\r\n\r\n")
        status, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
        answers.append(Answer(int(status.split()[1]), headers, body))
    return answers


def ask(host, *options):
    return ask_all(host, [options])[0]


def last_entries(host, number):
    """The last lines of the access log; nginx writes them when a request has ended."""
    return [json.loads(line) for line in host.check_output(f"tail -n {number} /var/log/nginx/access.log").splitlines()]


@pytest.fixture(name="outside", scope="module")
def outside_address(host):
    """An address of the host from which it comes to itself as a stranger does."""
    return host.check_output("hostname -I").split()[0]


def test_it_listens_and_starts_with_the_host(host):
    assert host.service("nginx").is_enabled
    listening = host.check_output("ss -Hltn 'sport = :80'")
    assert {line.split()[3] for line in listening.splitlines()} == {"0.0.0.0:80", "[::]:80"}


def test_php_runs_in_the_directory_of_the_release(host):
    answer = ask(host, "http://127.0.0.1/any/page?x=1")
    assert answer.status == 200
    assert answer.json["SCRIPT_FILENAME"] == "/var/www/app/releases/20260101-1/public/index.php"
    assert answer.json["DOCUMENT_ROOT"] == "/var/www/app/releases/20260101-1/public"
    assert answer.headers["x-release-id"] == "20260101-1"
    assert "x-powered-by" not in answer.headers
    assert answer.headers["server"] == "nginx"


def test_headers_and_those_of_the_application(host):
    assert ask(host, "http://127.0.0.1/").headers["x-frame-options"] == "SAMEORIGIN"
    assert ask(host, "http://127.0.0.1/missing.png").headers["x-content-type-options"] == "nosniff"
    own = ask(host, "http://127.0.0.1/own-header")
    assert own.headers["x-frame-options"] == "DENY"


def test_what_is_not_served(host):
    paths = ["/other.php", "/index.php/x", "/.env", "/.git/config"]
    assert [answer.status for answer in ask_all(host, [[f"http://127.0.0.1{path}"] for path in paths])] == [404] * 4


def test_hashed_assets_are_kept_and_compressed(host):
    answer = ask(host, "http://127.0.0.1/build/app-1a2b.css", "-HAccept-Encoding: br")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "br"
    zipped = ask(host, "http://127.0.0.1/build/app-1a2b.js", "-HAccept-Encoding: gzip")
    assert (zipped.headers["content-encoding"], zipped.headers["content-length"]) == ("gzip", "33")
    missing = ask(host, "http://127.0.0.1/build/none.js")
    assert missing.status == 404
    assert "cache-control" not in missing.headers


def test_maintenance_shuts_out_all_but_some(host, outside):
    try:
        host.check_output("touch /var/lib/slipway/maintenance/app")
        answer = ask(host, f"http://{outside}/", "-d", "x=1")
        assert (answer.status, answer.headers["retry-after"]) == (503, "120")
        assert "We are working on this site" in answer.body
        assert ask(host, "http://127.0.0.1/").status == 200
    finally:
        host.check_output("rm -f /var/lib/slipway/maintenance/app")
    assert ask(host, f"http://{outside}/").status == 200
    assert ask(host, f"http://{outside}/slipway-maintenance.html").status == 404


def test_before_the_first_release_the_answer_is_503(host):
    try:
        host.check_output("mv /var/www/app/current /var/www/app/away")
        answer = ask(host, "http://127.0.0.1/up")
        assert answer.status == 503
        assert "x-release-id" not in answer.headers
    finally:
        host.check_output("mv /var/www/app/away /var/www/app/current")


def test_certbot_may_answer_the_authority(host):
    host.check_output("mkdir -p /var/www/acme/.well-known/acme-challenge")
    host.check_output("echo proof >/var/www/acme/.well-known/acme-challenge/token")
    assert ask(host, "http://127.0.0.1/.well-known/acme-challenge/token").body == "proof\n"


def test_the_log_is_json_without_secrets(host):
    ask(
        host,
        "http://127.0.0.1/reset?token=hidden",
        '-HUser-Agent: a "quoted" \\ agent',
        "-HReferer: http://a.test/?t=hidden",
    )
    entry = last_entries(host, 1)[0]
    assert entry["uri"] == "/reset"
    assert (entry["remote_addr"], entry["method"], entry["status"]) == ("127.0.0.1", "GET", 200)
    assert entry["user_agent"] == 'a "quoted" \\ agent'
    assert entry["referer"] == "http://a.test/"
    assert entry["release"] == "20260101-1"
    assert float(entry["request_time"]) >= 0
    assert float(entry["upstream_time"]) >= 0
    assert "hidden" not in json.dumps(entry)


def test_broken_requests_leave_json_too(host):
    request = "printf 'GET /%%zz HTTP/1.1\\r\\nHost: \\377\"\\r\\n\\r\\n'"
    host.check_output("timeout 5 bash -c %s", f"exec 3<>/dev/tcp/127.0.0.1/80; ({request}) >&3; cat <&3; true")
    assert last_entries(host, 1)[0]["status"] == 400


def test_the_service_is_in_a_sandbox(host):
    shown = host.check_output("systemctl show nginx -p NoNewPrivileges -p ProtectSystem -p LimitNOFILE -p Restart")
    assert set(shown.splitlines()) == {
        "NoNewPrivileges=yes",
        "ProtectSystem=full",
        "LimitNOFILE=4096",
        "Restart=on-failure",
    }
    pid = host.check_output("systemctl show nginx -p MainPID --value")
    assert re.search(r"^NoNewPrivs:\s1$", host.file(f"/proc/{pid}/status").content_string, re.MULTILINE)


def test_logs_are_rotated_and_written_on(host):
    host.check_output("logrotate --force /etc/logrotate.d/nginx")
    ask(host, "http://127.0.0.1/after-rotation")
    assert last_entries(host, 1)[0]["uri"] == "/after-rotation"
    assert host.file("/var/log/nginx/access.log.1").exists
    rotated = host.file("/var/log/nginx/access.log")
    assert (rotated.user, rotated.group, rotated.mode) == ("www-data", "adm", 0o640)
    assert host.run("runuser -u nobody -- head -c 1 /var/log/nginx/access.log").rc != 0
