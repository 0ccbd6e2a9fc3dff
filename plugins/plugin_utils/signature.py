# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures by SSH keys, made and checked by OpenSSH's own ssh-keygen (8.9 or newer)."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass

NAMESPACE = "slipway-release"

# Where OpenSSH keeps keys. Those of security keys come last: they want to be touched.
KEYS = [f"~/.ssh/id_{kind}" for kind in ("ed25519", "ecdsa", "rsa", "ed25519_sk", "ecdsa_sk")]

# Seconds that somebody gets to touch a security key; a key in a file or an agent takes none.
PATIENCE = 60


class SigningError(Exception):
    """Nothing could be signed; the message says why and what helps."""


def openssh(*argv: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program of OpenSSH, which may not ask anybody anything: it has no terminal.

    :raises SigningError: it cannot be run, or does not end
    """
    environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C", "TZ": "UTC"}
    try:
        return subprocess.run(
            argv,
            input=data,
            env=environment,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as exc:
        raise SigningError(f"{argv[0]} took longer than {PATIENCE} s; was the security key touched?") from exc
    except OSError as exc:
        raise SigningError(f"{argv[0]} cannot be run ({exc}); install OpenSSH's client") from exc


def _run(*argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
    result = openssh(*argv, data=text.encode())
    told = [stream.decode(errors="replace") for stream in (result.stdout, result.stderr)]
    return subprocess.CompletedProcess(result.args, result.returncode, *told)


def _said(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (result.stderr + result.stdout).splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {result.returncode}"


@dataclass(frozen=True)
class Signer:
    """Somebody with a key: a file, or the public key of one that an agent holds."""

    identity: str
    key: str

    def sign(self, text: str) -> str:
        """Return the signature of a text."""
        path, public = self.key, ""
        if not path.startswith("/"):
            # The text of a public key, as the agent tells it; ssh-keygen wants a file.
            with tempfile.NamedTemporaryFile("w", suffix=".pub", delete=False) as handle:
                handle.write(self.key + "\n")
            path = public = handle.name
        try:
            result = _run("ssh-keygen", "-Y", "sign", "-q", "-f", path, "-n", NAMESPACE, text=text)
        finally:
            if public:
                os.unlink(public)
        if result.returncode != 0 or "END SSH SIGNATURE" not in result.stdout:
            reason = _said(result)
            if "passphrase" in reason.lower():
                reason = "it is protected by a passphrase and no agent holds it; add it with: ssh-add " + path
            raise SigningError(f"{self.key} cannot sign: {reason}")
        return result.stdout


def _needs_touch(key: str) -> bool:
    try:
        with open(key if key.endswith(".pub") else f"{key}.pub", encoding="utf-8") as handle:
            return handle.read(3) == "sk-"
    except OSError:
        return key.startswith("sk-") or "_sk" in os.path.basename(key)


def _candidates(key: str) -> list[str]:
    if key:
        return [os.path.abspath(os.path.expanduser(key))]
    found = [path for path in map(os.path.expanduser, KEYS) if os.path.isfile(path)]
    if os.environ.get("SSH_AUTH_SOCK"):
        agent = _run("ssh-add", "-L")
        found += agent.stdout.splitlines() if agent.returncode == 0 else []
    return found


def find_signer(key: str, identity: str, allowed_signers: str, otherwise: str) -> Signer:
    """Return the first key that signs without asking anybody, and who it is.

    :param key: path of the key; empty: any of the usual ones, or of the agent
    :param identity: who signs; empty: whoever the key belongs to in allowed_signers, and where that does not say,
        otherwise
    :raises SigningError: there is none
    """
    reasons = []
    for candidate in _candidates(key):
        if key and not os.path.isfile(candidate):
            raise SigningError(f"the key {candidate} is not there")
        signer = Signer(identity or otherwise, candidate)
        if _needs_touch(candidate):
            return signer
        try:
            trial = signer.sign("trial\n")
        except SigningError as exc:
            reasons.append(str(exc))
            continue
        owners = principals(trial, allowed_signers) if not identity else []
        return Signer(owners[0], candidate) if owners and not re.search(r"[*?!,]", owners[0]) else signer
    raise SigningError(
        "; ".join(reasons) or "there is no key in ~/.ssh and none in an agent; make one with: ssh-keygen -t ed25519"
    )


def _with_signature(signature: str, *argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".sig") as handle:
        handle.write(signature)
        handle.flush()
        return _run("ssh-keygen", "-Y", *argv, "-s", handle.name, text=text)


def at_time(time: str) -> list[str]:
    """Return what has keys looked up at the time of a signature: they may be listed for a time."""
    return [f"-Overify-time={re.sub('[^0-9]', '', time)[:14]}"] if time else []


def principals(signature: str, allowed_signers: str, time: str = "") -> list[str]:
    """Return those to whom allowed_signers says that the key belongs."""
    if not os.path.isfile(allowed_signers):
        return []
    result = _with_signature(signature, "find-principals", "-f", allowed_signers, *at_time(time))
    return result.stdout.split() if result.returncode == 0 else []


def _is_as_written(signature: str) -> bool:
    """Say whether it has the form in which OpenSSH writes it: it reads others too, and then a change does not show."""
    lines = signature.split("\n")[1:-2]
    try:
        body = base64.b64encode(base64.b64decode("".join(lines))).decode()
    except ValueError:
        return False
    wrapped = "\n".join(body[start : start + 70] for start in range(0, len(body), 70))
    return signature == f"-----BEGIN SSH SIGNATURE-----\n{wrapped}\n-----END SSH SIGNATURE-----\n"


def check(text: str, signature: str, identity: str, allowed_signers: str, time: str = "") -> tuple[str, str]:
    """Check a signature; return what is wrong with it, or nothing, and the key.

    :param allowed_signers: path; empty: only that the signature fits the text is checked, not whose it is
    :param time: of the signature, UTC
    """
    result = _with_signature(signature, "check-novalidate", "-n", NAMESPACE, text=text)
    if result.returncode != 0 or not _is_as_written(signature):
        return "the signature does not fit what it signs", ""
    found = re.search(r"with (\S+) key (\S+)", result.stdout)
    key = f"{found[1]} {found[2]}" if found else ""
    if not allowed_signers:
        return "", key
    listed = _with_signature(
        signature, "verify", "-n", NAMESPACE, "-f", allowed_signers, "-I", identity, *at_time(time), text=text
    )
    if listed.returncode == 0:
        return "", key
    owners = principals(signature, allowed_signers, time)
    if not owners:
        return f"signed with {key}, which {allowed_signers} does not list for that time", key
    if identity in owners:
        return f"{allowed_signers} does not let {identity} sign for {NAMESPACE}", key
    return f"signed by {', '.join(owners)} ({key}), not by {identity}", key
