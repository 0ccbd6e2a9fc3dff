"""Who is told of a release, and what: a chat, a mail server and Sentry, played by servers on this machine."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import socketserver
import threading
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fleet import HOSTS, Fleet

SECRETS = {"WEBHOOK": "w3bh00k-of-the-chat", "SENTRY": "t0ken-of-sentry", "MAIL": "pa55-of-the-mailbox"}
WEBHOOK = f"/services/T0001/B0002/{SECRETS['WEBHOOK']}"


class Web(ThreadingHTTPServer):
    """Takes what is posted, as a chat and as Sentry."""

    def __init__(self):
        taken = self.taken = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append((self.path, dict(self.headers), json.loads(body)))
                chat = self.path == WEBHOOK
                answer = b"ok" if chat else json.dumps({"version": "taken"}).encode()
                self.send_response(200 if chat else 201)
                self.send_header("Content-Type", "text/html" if chat else "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_words):
                pass

        super().__init__(("127.0.0.1", 0), Handler)


class Mail(socketserver.ThreadingTCPServer):
    """A mail server that wants a login; it keeps logins, and messages with their envelope."""

    daemon_threads = True

    def __init__(self):
        logins, taken = self.logins, self.taken = [], []

        class Handler(socketserver.StreamRequestHandler):
            def say(self, line):
                self.wfile.write(line.encode() + b"\r\n")

            def handle(self):
                self.say("220 mail.example.com ESMTP")
                envelope = []
                for raw in self.rfile:
                    line = raw.decode().strip()
                    word = line.split(" ")[0].upper()
                    if word == "EHLO":
                        self.say("250-mail.example.com")
                        self.say("250 AUTH PLAIN")
                    elif word == "AUTH":
                        logins.append(b64decode(line.split(" ")[2]).decode().split("\0")[1:])
                        self.say("235 2.7.0 welcome")
                    elif word == "DATA":
                        self.say("354 go on")
                        lines = iter(self.rfile.readline, b".\r\n")
                        taken.append((envelope, email.message_from_bytes(b"".join(lines), policy=email.policy.default)))
                        self.say("250 2.0.0 taken")
                    elif word == "QUIT":
                        self.say("221 2.0.0 goodbye")
                        return
                    else:
                        envelope += [line] if word in ("MAIL", "RCPT") else []
                        self.say("250 2.0.0 well")

        super().__init__(("127.0.0.1", 0), Handler)


class Station:
    """A fleet, and the servers that are told of its releases."""

    def __init__(self, home):
        self.fleet, self.web, self.mail = Fleet(home), Web(), Mail()
        self.servers = [self.web, self.mail]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.fleet.lay_out()

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
        self.fleet.close()

    def release(self, version, web=0, mail=0):
        """Release, and tell of it on these ports."""
        address = f"http://127.0.0.1:{web or self.web.server_address[1]}"
        inbox = {"kind": "mail", "host": "127.0.0.1", "port": mail or self.mail.server_address[1]}
        login = {"username": "robot", "password": SECRETS["MAIL"]}
        variables = {
            "release_notify": [
                {"kind": "slack", "url": address + WEBHOOK},
                {**inbox, **login, "to": ["ops@example.com", "dev@example.com"], "from": "deploy@example.com"},
            ],
            "release_sentry": {"url": address, "token": SECRETS["SENTRY"], "org": "acme", "projects": ["shop", "api"]},
        }
        for server in self.servers:
            server.taken.clear()
        # Seen with the results of all tasks.
        return self.fleet.release(version, "-vv", "-e", json.dumps(variables))

    def told_the_chat(self):
        return [(headers, body) for path, headers, body in self.web.taken if path == WEBHOOK]

    def told_sentry(self):
        return [(path, headers, body) for path, headers, body in self.web.taken if path != WEBHOOK]


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    made = Station(tmp_path_factory.mktemp("station"))
    yield made
    made.close()


def assert_no_secret(run):
    shown = run.output + run.error + run.report + json.dumps(run.entries)
    assert [secret for secret in SECRETS.values() if secret in shown] == []


def commit_of(run):
    return next(phase["commit"] for phase in run.of("phase") if phase["phase"] == "build")


def test_good_end_is_told_once_to_everybody(station):
    run = station.release("v1")
    assert run.status == 0, run.output
    text = "Release v1 is live\non web1, web2, by ann\nmigrations: create_notes"
    ((headers, body),) = station.told_the_chat()
    assert headers["Content-Type"] == "application/json"
    assert body == {"text": text}

    ((envelope, message),) = station.mail.taken
    # The module hands the recipients over as a set.
    assert sorted(line.partition(" BODY=")[0].partition(" size=")[0] for line in envelope) == [
        "mail FROM:<deploy@example.com>",
        "rcpt TO:<dev@example.com>",
        "rcpt TO:<ops@example.com>",
    ]
    assert message["Subject"] == "Release v1 is live"
    assert message.get_body().get_content().strip() == text
    assert station.mail.logins[-1] == ["robot", SECRETS["MAIL"]]

    ((path, headers, body),) = station.told_sentry()
    assert path == "/api/0/organizations/acme/releases/"
    assert headers["Authorization"] == f"Bearer {SECRETS['SENTRY']}"
    released = body.pop("dateReleased")
    assert run.live["web1"].startswith(released[:10].replace("-", ""))
    assert body == {"version": run.live["web1"], "ref": commit_of(run), "projects": ["shop", "api"]}
    assert "did not take the notification" not in run.output
    assert_no_secret(run)


def test_release_that_was_taken_back_is_told_but_not_to_sentry(station):
    before = station.fleet.live("web1")
    run = station.release("v3-is-not-well")
    assert (run.status, run.outcome()["outcome"]) == (2, "reverted"), run.output
    lines = ["Release v3-is-not-well did not go live", *(f"{host}: live is {before}" for host in HOSTS)]
    assert [body for _headers, body in station.told_the_chat()] == [{"text": "\n".join(lines)}]
    ((_envelope, message),) = station.mail.taken
    assert message["Subject"] == lines[0]
    assert message.get_body().get_content().split("\n")[: len(lines)] == lines
    assert station.told_sentry() == []
    assert_no_secret(run)


def test_nobody_listens_and_the_release_is_live_all_the_same(station):
    with socket.socket() as nobody:
        # Bound, but nothing listens on it.
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        run = station.release("v2", web=port, mail=port)
    assert (run.status, run.outcome()["outcome"]) == (0, "success"), run.output
    said = " ".join(run.output.split())
    assert "WARNING: the chat, the mail server, Sentry did not take the notification" in said
    assert_no_secret(run)
