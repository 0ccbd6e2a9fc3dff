"""The host that attacks, and what it can connect to."""

from __future__ import annotations

import os

import pytest
import testinfra

REACH = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
except OSError as error:
    print(type(error).__name__)
else:
    print("open")
"""


@pytest.fixture
def attacker():
    return testinfra.get_hosts(["ansible://attackers"], ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])[0]


@pytest.fixture
def connect():
    """Whether one host can connect to a port of another: open, or the error's name."""
    return lambda source, address, port: source.check_output("python3 -c %s %s %s", REACH, address, str(port)).strip()


@pytest.fixture
def reach(host, attacker, connect):
    """Whether the attacker can connect to a port of the host."""
    address = host.interface("eth0").addresses[0]
    return lambda port: connect(attacker, address, port)
