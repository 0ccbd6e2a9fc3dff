"""Requests to the demo's site, which always listens on this machine."""

from __future__ import annotations

import dataclasses
import http.client
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    release: str
    body: str

    def json(self) -> dict[str, Any]:
        loaded = json.loads(self.body)
        return loaded if isinstance(loaded, dict) else {}


def request(port: int, path: str, data: dict[str, str] | None = None, timeout: float = 10) -> Answer | None:
    """GET a path, or POST data to it as JSON; None when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    try:
        if data is None:
            connection.request("GET", path, headers={"Accept": "application/json"})
        else:
            connection.request("POST", path, json.dumps(data), headers)
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return Answer(response.status, response.getheader("X-Release-Id", ""), body)
