#!/usr/bin/env python3
"""A load of requests on hosts until SIGTERM, about 20 a second each; every answer becomes a line of JSON.

Every fourth request is for the page, whose assets are asked for at once; the others are for /release, which needs no
database and no session. A new connection each time, as new visitors come.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

CLIENTS = 2
PAUSE = 0.1  # seconds between two requests of a client
TIMEOUT = 10
PAGE = "/"


@dataclasses.dataclass
class Answer:
    """What one request came to; times are of the monotonic clock of this machine."""

    host: str
    path: str
    began: float
    ended: float = 0.0
    status: int = 0
    error: str = ""
    served: str = ""  # the release that nginx names
    ran: str = ""  # the release whose code ran
    told: str = ""  # the release that the body names
    assets: list[str] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)


def get(address: str, path: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "Connection": "close"})
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        return response.status, {name.lower(): value for name, value in response.getheaders()}, body
    finally:
        connection.close()


def ask(host: str, address: str, path: str) -> Answer:
    answer = Answer(host, path, time.monotonic())
    try:
        answer.status, headers, body = get(address, path)
        answer.ended = time.monotonic()
        answer.served, answer.ran = headers.get("x-release-id", ""), headers.get("x-app-release", "")
        if answer.status == 200 and path == PAGE:
            found = re.search(r'<meta name="release" content="([^"]*)"', body)
            answer.told = found[1] if found else "none"
            answer.assets = sorted(set(re.findall(r'(?:href|src)="(/build/[^"]+)"', body)))
            answer.missing = [name for name in answer.assets if get(address, name)[0] != 200]
        elif answer.status == 200:
            answer.told = json.loads(body)["release"]
        else:
            answer.error = " ".join(re.sub(r"<[^>]*>", " ", body).split())[:200]
    except (OSError, http.client.HTTPException, ValueError) as exc:
        answer.error = f"{type(exc).__name__}: {exc}"
    answer.ended = answer.ended or time.monotonic()
    return answer


def main() -> None:
    # Where the hosts are: a file, since a host may have another address when it was started again.
    where, out = Path(sys.argv[1]), Path(sys.argv[2])
    stop, writing = threading.Event(), threading.Lock()
    signal.signal(signal.SIGTERM, lambda *_words: stop.set())
    with out.open("w", encoding="utf-8") as handle:

        def client(host: str, number: int) -> None:
            count = number
            while not stop.wait(PAUSE):
                count += 1
                address: Any = json.loads(where.read_text())[host]
                answer = ask(host, address, PAGE if count % 4 == 0 else "/release")
                with writing:
                    handle.write(json.dumps(dataclasses.asdict(answer)) + "\n")

        threads = [
            threading.Thread(target=client, args=(host, number))
            for host in json.loads(where.read_text())
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def read(path: Path) -> list[Answer]:
    return [Answer(**json.loads(line)) for line in path.read_text().splitlines()]


def problems(answers: list[Answer], order: list[str]) -> tuple[list[Answer], list[str]]:
    """The failed requests, and what is mixed: of one answer, of a release's pages, or in the order of releases.

    :param order: the releases in the order in which a host may show them; one that was taken back is in it once, and
        the one before it twice
    """
    failed = [answer for answer in answers if answer.error or answer.missing]
    well = [answer for answer in answers if not answer.error]
    mixed = [
        f"{a.host}{a.path} named {a.served or 'none'} in nginx, {a.ran} in the code, {a.told} in the page"
        for a in well
        if len({a.served or a.ran, a.ran, a.told}) > 1
    ]
    for release in sorted({answer.told for answer in well}):
        kinds = {tuple(answer.assets) for answer in well if answer.told == release and answer.path == PAGE}
        mixed += [f"pages of {release} have different assets: {sorted(kinds)}"] if len(kinds) > 1 else []
    for host in sorted({answer.host for answer in well}):
        mixed += out_of_order([answer for answer in well if answer.host == host], order)
    return failed, mixed


def out_of_order(answers: list[Answer], order: list[str]) -> list[str]:
    """Go along the order as the answers of one host do; one that no step of it explains is out of order.

    Requests at the same time may be answered either way round, so only what began after the end of another follows it.
    """
    found = []
    reached: dict[int, float] = {}  # when the first answer of each step had come
    for answer in sorted(answers, key=lambda answer: answer.ended):
        least = max((step for step, ended in reached.items() if ended <= answer.began), default=0)
        fits = [step for step in range(least, len(order)) if order[step] == answer.told]
        if fits:
            reached.setdefault(fits[0], answer.ended)
        else:
            found.append(f"{answer.host} showed {answer.told} when it should show {' or '.join(order[least:])}")
    return found


if __name__ == "__main__":
    main()
