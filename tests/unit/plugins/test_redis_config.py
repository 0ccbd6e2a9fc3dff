"""redis_config against a server that is played, and its parts that need none."""

from __future__ import annotations

import io
import socket
import threading

import pytest
from ansible_collections.slipway.laravel.plugins.modules import redis_config


class Played(threading.Thread):
    """A Redis that knows a few settings, in memory."""

    def __init__(self):
        super().__init__(daemon=True)
        self.password = "secret"  # noqa: S105
        self.config = {"maxmemory": "1048576", "port": "6379", "appendonly": "no"}
        self.received = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            connection, _address = self.listener.accept()
            with connection, connection.makefile("rwb", buffering=0) as stream:
                self.known = False
                while line := stream.readline():
                    words = []
                    for _word in range(int(line[1:])):
                        words.append(stream.read(int(stream.readline()[1:]) + 2)[:-2].decode())
                    stream.write(self.answer(words))

    def answer(self, words):
        self.received.append(words)
        match words:
            case ["AUTH", password]:
                self.known = password == self.password
                return b"+OK\r\n" if self.known else b"-WRONGPASS wrong\r\n"
            case _ if not self.known:
                return b"-NOAUTH log in\r\n"
            case ["CONFIG", "GET", name]:
                found = [name, self.config[name]] if name in self.config else []
                return b"*%d\r\n" % len(found) + b"".join(self.bulk(word) for word in found)
            case ["CONFIG", "SET", "port", _]:
                return b"-ERR can't set immutable config\r\n"
            case ["CONFIG", "SET", name, value]:
                self.config[name] = value
                return b"+OK\r\n"
            case ["INFO", "persistence"]:
                return self.bulk("aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n")
            case ["INFO", "memory"]:
                return self.bulk("maxmemory_policy:noeviction\r\n")
            case ["INFO", "keyspace"]:
                return self.bulk("# Keyspace\r\ndb0:keys=3,expires=0\r\ndb1:keys=4,expires=0\r\n")
        return b"+OK\r\n"

    def bulk(self, text):
        return b"$%d\r\n%s\r\n" % (len(text), text.encode())


@pytest.fixture
def server():
    return Played()


def instance(server, **more):
    common = {"name": "x", "host": "127.0.0.1", "ports": [server.port], "socket": None, "tls_ca": None, "user": None}
    return common | {"passwords": ["secret"], "settings": {}, "reload": [], "load_acl": False, "policy": None} | more


def test_it_sets_what_differs_and_names_what_waits(server):
    wanted = {"maxmemory": "1mb", "port": "6380", "appendonly": "yes"}
    result = redis_config.work(instance(server, settings=wanted), check_mode=False)
    assert result == {"changed": ["appendonly"], "pending": ["port"], "keys": 7}
    assert server.config["appendonly"] == "yes"


def test_check_mode_sets_nothing(server):
    result = redis_config.work(instance(server, settings={"appendonly": "yes"}), check_mode=True)
    assert result["changed"] == ["appendonly"]
    assert server.config["appendonly"] == "no"


def test_the_password_of_before_holds_until_it_is_changed(server):
    assert redis_config.work(instance(server, passwords=["new", "secret"]), check_mode=False)["keys"] == 7


@pytest.mark.parametrize(("passwords", "says"), [(["wrong"], "WRONGPASS"), ([], "NOAUTH")])
def test_it_is_kept_out(server, passwords, says):
    with pytest.raises(redis_config.Refused, match=says):
        redis_config.work(instance(server, passwords=passwords), check_mode=False)


def test_a_policy_elsewhere(server):
    assert redis_config.work(instance(server, policy="noeviction"), check_mode=False)["changed"] == []
    with pytest.raises(OSError, match="maxmemory-policy is noeviction, not allkeys-lru"):
        redis_config.work(instance(server, policy="allkeys-lru"), check_mode=False)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError, match=f"127.0.0.1:{port}: "):
        redis_config.dial({"socket": None, "host": "127.0.0.1", "ports": [port], "tls_ca": None})


def test_answers_of_every_kind():
    server = object.__new__(redis_config.Server)
    server._file = io.BytesIO(b"*4\r\n$2\r\nok\r\n:7\r\n$-1\r\n+yes\r\n")
    assert server._answer() == ["ok", 7, None, "yes"]


@pytest.mark.parametrize(("text", "value"), [("1gb", "1073741824"), ("2k", "2000"), ("64MB", "67108864"), (" x ", "x")])
def test_sizes_in_one_spelling(text, value):
    assert redis_config.plain(text) == value
