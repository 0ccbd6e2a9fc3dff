from __future__ import annotations

import json
import time

testinfra_hosts = ["ansible://role_hosts"]


def wait_for(ready, seconds=15):
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


NAME = "app-reverb:app-reverb_00"

# A client: what the server says after the handshake, after a ping, and when it is asked to end (by the given command).
CLIENT = r"""
import json, socket, subprocess, sys
client = socket.create_connection(("127.0.0.1", 8080), timeout=10)
client.sendall(b"GET /app/key?protocol=7 HTTP/1.1\r\nHost: ws.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
stream = client.makefile("rb")
head = []
while line := stream.readline().strip():
    head.append(line.decode())
def frame():
    kind, length = stream.read(2)
    return [kind & 15, stream.read(length).decode("latin-1")]
said = {"head": head, "hello": frame()}
client.sendall(bytes([0x89, 0x84, 1, 2, 3, 4]) + bytes(a ^ b for a, b in zip(b"ping", (1, 2, 3, 4))))
said["pong"] = frame()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
said["goodbye"] = frame()
print(json.dumps(said))
"""


def server(host):
    words = host.run("supervisorctl status %s", NAME).stdout.split()
    return words[3].strip(",") if words[1:2] == ["RUNNING"] else None


def test_it_runs_in_the_current_release_and_listens_for_nginx_only(host):
    pid = wait_for(lambda: server(host))
    assert host.check_output("xargs -0 echo < /proc/%s/cmdline", pid) == (
        "php artisan reverb:start --host=127.0.0.1 --port=8080"
    )
    assert host.check_output("readlink /proc/%s/cwd", pid) == "/var/www/app/releases/r1"
    assert host.check_output("stat -c %%U /proc/%s", pid) == "deploy"
    assert host.check_output("grep 'open files' /proc/%s/limits", pid).split()[3] == "1024"
    listening = wait_for(lambda: host.check_output("ss -Hltn 'sport = :8080'"))
    assert [line.split()[3] for line in listening.splitlines()] == ["127.0.0.1:8080"]


def test_a_server_that_dies_is_started_again(host):
    pid = server(host)
    host.run_test("kill -KILL %s", pid)
    assert wait_for(lambda: server(host) not in (None, pid))
    wait_for(lambda: host.run("ss -Hltn 'sport = :8080'").stdout)


def test_a_browser_is_greeted_and_told_of_the_end(host):
    said = host.run("python3 -c %s supervisorctl stop app-reverb:*", CLIENT)
    assert said.rc == 0, said.stderr
    heard = json.loads(said.stdout)
    assert heard["head"][0] == "HTTP/1.1 101 Switching Protocols"
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in heard["head"]
    assert json.loads(heard["hello"][1])["event"] == "pusher:connection_established"
    assert heard["pong"] == [10, "ping"]
    assert heard["goodbye"][0] == 8


def test_the_user_may_start_it_and_nothing_else(host):
    def asks(*words):
        return host.run("runuser -u deploy -- sudo -n /usr/bin/supervisorctl " + "%s " * len(words), *words).rc

    assert asks("start", "app-reverb:*") == 0
    assert server(host)
    assert [asks("stop", "app-reverb:*"), asks("restart", "app-reverb:*"), asks("start", "all")] == [1, 1, 1]
