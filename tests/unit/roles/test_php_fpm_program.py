"""slipway-php-fpm: a pool moves from one version of PHP to another without a request that nobody takes up."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "roles/php_fpm/files/slipway_php_fpm.py"


@pytest.fixture(name="program")
def program_fixture(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("slipway_php_fpm", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ETC", str(tmp_path / "etc"))
    monkeypatch.setattr(module, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(module, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(module, "BOOT", str(tmp_path / "boot.conf"))
    (tmp_path / "units").mkdir()
    (tmp_path / "run").mkdir()
    return module


class Pool(threading.Thread):
    """What a version of PHP does: it takes one connection after the other, and answers with its name."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.name = path.stem
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.busy = threading.Event()
        self.busy.set()
        self.start()

    def run(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.busy.wait()
            with connection:
                if connection.recv(1):
                    connection.sendall(self.name.encode())


@pytest.fixture(name="pool")
def pool_fixture(tmp_path):
    pools = []

    def start(name):
        pools.append(Pool(tmp_path / "run" / f"{name}.sock"))
        return pools[-1]

    yield start
    for pool in pools:
        pool.listener.close()


@pytest.fixture(name="wanted")
def wanted_fixture(tmp_path):
    def make(version, *names):
        run = tmp_path / "run"
        links = {name: {f"{run}/{name}.sock": f"{run}/{name}-{version}.sock"} for name in names or ("shop",)}
        pools = [{"name": name, "version": version, "links": link} for name, link in links.items()]
        return {"versions": [version], "wait": 5, "pools": pools}

    return make


def ask(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(5)
    sock.connect(str(path))
    sock.sendall(b"?")
    return sock


def test_a_link_leads_to_the_version_that_is_wanted(program, wanted, pool, tmp_path):
    pool("shop-8.2")
    shop = tmp_path / "run/shop.sock"
    assert program.link(wanted("8.2")) == []
    assert ask(shop).recv(9) == b"shop-8.2"
    pool("shop-8.4")
    assert program.link(wanted("8.4")) == []
    assert ask(shop).recv(9) == b"shop-8.4"
    assert os.listdir(tmp_path / "run").count("shop.sock") == 1
    assert program.link(wanted("8.2")) == []
    assert ask(shop).recv(9) == b"shop-8.2"


def test_requests_find_a_version_at_any_moment(program, wanted, pool, tmp_path):
    for version in ("8.2", "8.4"):
        pool(f"shop-{version}")
    program.link(wanted("8.2"))
    answers, over = [], threading.Event()

    def visit():
        while not over.is_set():
            answers.append(ask(tmp_path / "run/shop.sock").recv(9))

    visitor = threading.Thread(target=visit)
    visitor.start()
    for version in ("8.4", "8.2") * 50:
        program.link(wanted(version))
    over.set()
    visitor.join(10)
    assert set(answers) <= {b"shop-8.2", b"shop-8.4"}
    assert answers


def test_what_is_queued_is_taken_up_before_the_old_version_may_stop(program, wanted, pool, tmp_path):
    old = pool("shop-8.2")
    program.link(wanted("8.2"))
    old.busy.clear()
    queued = [ask(tmp_path / "run/shop.sock") for _ in range(3)]
    pool("shop-8.4")
    mover = threading.Thread(target=program.link, args=(wanted("8.4"),))
    mover.start()
    while os.readlink(tmp_path / "run/shop.sock").endswith("8.2.sock"):
        time.sleep(0.01)
    assert mover.is_alive()
    old.busy.set()
    mover.join(10)
    old.listener.close()
    assert not mover.is_alive()
    assert [sock.recv(9) for sock in queued] == [b"shop-8.2"] * 3


def test_nothing_moves_before_everything_new_listens(program, wanted, pool, tmp_path):
    for name in ("shop-8.2", "admin-8.2", "shop-8.4"):
        pool(name)
    program.link(wanted("8.2", "shop", "admin"))
    (problem,) = program.link({**wanted("8.4", "shop", "admin"), "wait": 0.1})
    assert "does not listen" in problem
    assert "admin-8.4.sock" in problem
    assert ask(tmp_path / "run/shop.sock").recv(9) == b"shop-8.2"
    # Nor does the host start with links to what has never listened.
    assert (tmp_path / "boot.conf").read_text() == program.boot_text(wanted("8.2", "shop", "admin"))


def test_links_come_back_when_the_host_starts(program, wanted, pool, tmp_path):
    pool("shop-8.4")
    assert program.boot_differs(wanted("8.4"))
    program.link(wanted("8.4"))
    run = tmp_path / "run"
    line = f"L+ {run}/shop.sock - - - - {run}/shop-8.4.sock"
    assert (tmp_path / "boot.conf").read_text().splitlines()[1:] == [line]
    assert not program.boot_differs(wanted("8.4"))
    # Pools that listen on ports have none.
    ports = {"versions": ["8.4"], "wait": 5, "pools": [{"name": "shop", "version": "8.4", "links": {}}]}
    assert program.old_links(ports) == [f"{run}/shop.sock"]
    assert program.link(ports) == []
    assert not (tmp_path / "boot.conf").exists()
    assert not (run / "shop.sock").is_symlink()


def test_a_queue_without_room_is_waited_for(program, tmp_path):
    path = tmp_path / "run/full.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        queued = ask(path)
        waiter = threading.Thread(target=program.finish_queue, args=(str(path), time.monotonic() + 5))
        waiter.start()
        waiter.join(0.3)
        assert waiter.is_alive()
        for _ in range(2):
            listener.accept()[0].close()
        waiter.join(5)
        assert not waiter.is_alive()
        queued.close()


def test_a_socket_in_the_place_of_the_link_goes_first(program, wanted, pool, tmp_path):
    pool("shop")
    pool("shop-8.4")
    shop = tmp_path / "run/shop.sock"
    threading.Timer(0.3, shop.unlink).start()
    assert program.link(wanted("8.4")) == []
    assert ask(shop).recv(9) == b"shop-8.4"


def test_links_of_pools_that_are_gone_are_removed_and_those_of_others_stay(program, wanted, pool, tmp_path):
    run = tmp_path / "run"
    for name in ("shop-8.2", "gone-8.2"):
        pool(name)
    program.link(wanted("8.2", "shop", "gone"))
    (run / "php-fpm.sock").symlink_to("/etc/alternatives/php-fpm.sock")
    assert program.old_links(wanted("8.2")) == [str(run / "gone.sock")]
    assert program.link(wanted("8.2")) == []
    assert program.old_links(wanted("8.2")) == []
    assert not (run / "gone.sock").is_symlink()
    assert (run / "php-fpm.sock").is_symlink()


@pytest.mark.parametrize(
    ("files", "stops"),
    [
        (["00-slipway.conf", "shop.conf"], True),
        (["00-slipway.conf"], True),
        ([], True),
        (["00-slipway.conf", "shop.conf", "theirs.conf"], False),
        (["shop.conf"], False),
    ],
)
def test_a_version_stops_when_its_pools_have_moved_and_no_others_are_left(program, wanted, tmp_path, files, stops):
    for version in ("8.2", "8.4"):
        (tmp_path / f"units/php{version}-fpm.service").touch()
    folder = tmp_path / "etc/8.2/fpm/pool.d"
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).touch()
    assert program.unused(wanted("8.4")) == (["8.2"] if stops else [])
