"""Signatures, with the real ssh-keygen and ssh-agent."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import (
    Signer,
    SigningError,
    check,
    find_signer,
    principals,
)

KINDS = {"ed25519": [], "ecdsa": [], "rsa": ["-b", "2048"]}


def ssh(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A key of each kind, one with a passphrase, and who they belong to."""
    home = tmp_path_factory.mktemp("keys")
    for kind, words in KINDS.items():
        ssh("ssh-keygen", "-q", "-t", kind, *words, "-N", "", "-C", kind, "-f", home / kind)
    ssh("ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", home / "locked")
    ssh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "stranger")
    owners = {"ed25519": "ann@example.com", "ecdsa": "bob@example.com", "rsa": "cem@example.com", "locked": "dee"}
    lines = [f"{who} {(home / f'{key}.pub').read_text()}" for key, who in owners.items()]
    (home / "allowed_signers").write_text("".join(lines))
    return home


@pytest.fixture(autouse=True)
def _no_keys_of_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")


# Signatures


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_key_signs(keys, kind):
    allowed = str(keys / "allowed_signers")
    signer = find_signer(str(keys / kind), "", allowed, "somebody@host")
    assert signer.identity == {"ed25519": "ann", "ecdsa": "bob", "rsa": "cem"}[kind] + "@example.com"
    signature = signer.sign("text\n")
    fault, key = check("text\n", signature, signer.identity, allowed)
    assert (fault, key.split()[0]) == ("", kind.upper())
    assert check("text\n", signature, "anybody", "")[0] == ""
    assert check("changed\n", signature, signer.identity, allowed)[0] == "the signature does not fit what it signs"
    assert check("text\n", "nonsense", signer.identity, allowed)[0] == "the signature does not fit what it signs"
    assert "not by zoe" in check("text\n", signature, "zoe", allowed)[0]


def test_a_key_that_is_not_listed(keys):
    signer = find_signer(str(keys / "stranger"), "", str(keys / "allowed_signers"), "eve@host")
    assert signer.identity == "eve@host"
    fault, _key = check("text", signer.sign("text"), "eve@host", str(keys / "allowed_signers"))
    assert "does not list" in fault
    assert check("text", signer.sign("text"), "ann@example.com", str(keys / "allowed_signers"))[0] == fault


def test_a_key_counts_for_the_time_and_the_purpose_that_it_is_listed_for(keys, tmp_path):
    allowed = tmp_path / "allowed_signers"
    public = (keys / "ed25519.pub").read_text()
    signature = Signer("ann", str(keys / "ed25519")).sign("text")
    allowed.write_text(f'ann valid-before="20260101Z" {public}')
    assert check("text", signature, "ann", str(allowed), "2025-12-31T23:00:00.000000Z")[0] == ""
    assert "does not list for that time" in check("text", signature, "ann", str(allowed), "2026-01-02T00:00:00Z")[0]
    allowed.write_text(f'ann namespaces="git" {public}')
    assert "does not let ann sign for slipway-release" in check("text", signature, "ann", str(allowed))[0]
    allowed.write_text(f"*@example.com {public}")
    assert check("text", signature, "ann@example.com", str(allowed))[0] == ""
    assert find_signer(str(keys / "ed25519"), "", str(allowed), "ann@host").identity == "ann@host"


@pytest.fixture
def agent(tmp_path, monkeypatch):
    socket = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    while not os.path.exists(socket):
        time.sleep(0.02)
    monkeypatch.setenv("SSH_AUTH_SOCK", socket)
    yield
    process.terminate()
    process.wait()


def test_a_locked_key_says_so_at_once(keys):
    began = time.monotonic()
    with pytest.raises(SigningError, match="passphrase and no agent holds it; add it with: ssh-add"):
        find_signer(str(keys / "locked"), "", "", "dee")
    assert time.monotonic() - began < 10


def test_a_locked_key_says_so_at_once_on_a_terminal(keys):
    """Nothing may ask on the terminal that the run has."""
    code = (
        "from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import *\n"
        f"try: find_signer({str(keys / 'locked')!r}, '', '', 'dee')\n"
        "except SigningError as exc: print('said:', exc)"
    )
    result = subprocess.run(
        ["script", "-qec", f'{sys.executable} -c "{code}"', "/dev/null"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "said: " in result.stdout, result.stdout
    assert "Enter passphrase" not in result.stdout


@pytest.mark.usefixtures("agent")
def test_an_agent_signs_with_a_locked_key(keys):
    askpass = keys / "askpass"
    askpass.write_text("#!/bin/sh\necho a passphrase\n")
    askpass.chmod(0o755)
    environment = {**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    ssh("ssh-add", "-q", keys / "locked", env=environment)
    allowed = str(keys / "allowed_signers")
    for key in (str(keys / "locked"), str(keys / "locked.pub"), ""):  # the last one: what the agent has
        signer = find_signer(key, "", allowed, "dee@host")
        assert signer.identity == "dee"
        assert check("text", signer.sign("text"), "dee", allowed)[0] == ""


def test_the_usual_keys_are_found(keys, tmp_path):
    (tmp_path / "home/.ssh").mkdir(parents=True)
    with pytest.raises(SigningError, match=r"there is no key in ~/\.ssh and none in an agent"):
        find_signer("", "", "", "ann@host")
    shutil.copy(keys / "locked", tmp_path / "home/.ssh/id_ed25519")
    shutil.copy(keys / "ecdsa", tmp_path / "home/.ssh/id_ecdsa")
    assert find_signer("", "", "", "ann@host") == Signer("ann@host", str(tmp_path / "home/.ssh/id_ecdsa"))
    with pytest.raises(SigningError, match="nowhere is not there"):
        find_signer(str(tmp_path / "nowhere"), "", "", "ann@host")


def test_a_security_key_is_not_touched_for_a_trial(tmp_path):
    key = tmp_path / "id_ed25519_sk"
    key.write_text("held by the security key")
    (tmp_path / "id_ed25519_sk.pub").write_text("sk-ssh-ed25519@openssh.com AAAA ann\n")
    assert find_signer(str(key), "ann", "", "").key == str(key)
    assert principals("nonsense", str(key)) == []
