# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records that a team shares through git: committed and pushed when a release has ended.

When somebody else pushed first, both histories are merged, and what a chain got here is added anew behind what it got
there. So nothing is lost, and the chain stays one.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import (
    ChainError,
    ChainFile,
    lines_of,
    parse,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import NAME, Ledger
from ansible_collections.slipway.laravel.plugins.plugin_utils.masking import Masker
from ansible_collections.slipway.laravel.plugins.plugin_utils.report import markdown
from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import Signer, SigningError

# Seconds that one command may take, and times that we try again when others push at the same time.
PATIENCE = 60
ATTEMPTS = 10


class GitError(Exception):
    """The records could not be committed or shared; the message says why."""


def added_here(theirs: bytes, ours: bytes) -> list[bytes]:
    """Return the lines that we have after the last one that both have."""
    both = 0
    for one, other in zip(lines_of(theirs), lines_of(ours), strict=False):
        if one != other:
            break
        both += 1
    return lines_of(ours)[both:]


class Shared:
    """A directory of records that is a git repository of its own."""

    def __init__(self, root: str, signer: Signer | None, identity: str) -> None:
        self.root, self.signer = os.path.realpath(root), signer
        self._words = ["-c", "commit.gpgSign=false"]
        self._ssh = os.environ.get("GIT_SSH_COMMAND", "")
        top = self._try("rev-parse", "--show-toplevel")
        # Never the repository of something else that the records happen to lie in.
        if top.returncode != 0 or os.path.realpath(top.stdout.strip()) != self.root:
            raise GitError(f"{root} is not a git repository of its own; make it one with git clone or git init")
        # What the environment says wins over what the repository says, as in git itself.
        configured = self._try("config", "core.sshCommand").stdout.strip() or "ssh"
        self._ssh = self._ssh or f"{configured} -o BatchMode=yes"
        if not self._try("config", "user.email").stdout.strip():
            self._words += ["-c", f"user.name={identity.partition('@')[0]}", "-c", f"user.email={identity}"]

    # git

    def _try(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run git, which may not ask anybody anything."""
        environment = {
            **os.environ,
            "GIT_SSH_COMMAND": self._ssh,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_MERGE_AUTOEDIT": "no",
            "LC_ALL": "C",
        }
        # Where Ansible is run by a hook of git, they name another repository.
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            environment.pop(name, None)
        try:
            return subprocess.run(
                ["git", *self._words, *words],
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as exc:
            raise GitError(f"git {words[0]} took longer than {PATIENCE} s") from exc
        except OSError as exc:
            raise GitError(f"git cannot be run: {exc}") from exc

    def _git(self, *words: str) -> str:
        result = self._try(*words)
        if result.returncode != 0:
            raise GitError(f"git {words[0]} failed: {said(result)}")
        return result.stdout

    def _remote(self) -> tuple[str, str]:
        """Return the remote and the branch there that we push to; nothing when there is none."""
        branch = self._try("symbolic-ref", "--short", "HEAD").stdout.strip()
        if not branch and self._git("remote").split():
            raise GitError("HEAD is detached; check out a branch")
        remote = self._try("config", f"branch.{branch}.remote").stdout.strip()
        target = self._try("config", f"branch.{branch}.merge").stdout.strip()
        if remote and target:
            return remote, target
        remotes = self._git("remote").split()
        return (remotes[0], f"refs/heads/{branch}") if remotes else ("", "")

    # One at a time

    @contextmanager
    def _lock(self) -> Iterator[None]:
        path = self._git("rev-parse", "--git-path", "slipway.lock").strip()
        with open(os.path.join(self.root, path), "w", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _ledgers(self) -> list[Ledger]:
        names = sorted(os.listdir(self.root))
        paths = [os.path.join(self.root, name) for name in names]
        return [Ledger(path, self.signer) for path in paths if os.path.isfile(os.path.join(path, NAME))]

    @contextmanager
    def _still(self) -> Iterator[list[Ledger]]:
        """Keep other runs from entering a record while files change."""
        ledgers = self._ledgers()
        with ExitStack() as stack:
            for ledger in ledgers:
                stack.enter_context(ledger.lock())
            yield ledgers

    # Sharing

    def share(self, message: str) -> None:
        """Commit what has been entered, and push it.

        :raises GitError: it was not pushed
        """
        with self._lock():
            with self._still() as ledgers:
                self._stage(ledgers)
                if self._try("diff", "--cached", "--quiet").returncode != 0:
                    self._git("commit", "--quiet", "--message", message)
            remote, target = self._remote()
            if not remote:
                return
            for _attempt in range(ATTEMPTS):
                pushed = self._try("push", "--quiet", "--set-upstream", remote, f"HEAD:{target}")
                if pushed.returncode == 0:
                    return
                if not self._take(remote, target):
                    break  # it was not for what others pushed
            raise GitError(f"git push failed: {said(pushed)}")

    def take(self) -> None:
        """Bring what others pushed.

        :raises GitError: it could not be brought
        """
        with self._lock():
            remote, target = self._remote()
            if remote:
                self._take(remote, target)

    def _stage(self, ledgers: list[Ledger]) -> None:
        """Stage all files, except those of runs that are at work. What was removed stays in the repository."""
        for ledger in ledgers:
            name = os.path.basename(ledger.directory)
            out = [f":(exclude,literal){os.path.relpath(path, self.root)}" for path in ledger.open_ends()]
            # Pages are made anew from the records wherever they are: shared, they would only get into each other's way.
            out += [":(exclude)*.new", ":(exclude)*.html", ":(exclude)*.json"]
            self._git("add", "--ignore-removal", "--", f":(literal){name}", *out)

    def _take(self, remote: str, target: str) -> bool:
        """Fetch, and merge what is new; say whether anything was."""
        fetched = self._try("fetch", "--quiet", remote, target)
        if fetched.returncode != 0:
            if "couldn't find remote ref" in fetched.stderr:
                return False  # nobody has pushed anything yet
            raise GitError(f"git fetch failed: {said(fetched)}")
        theirs = self._git("rev-parse", "FETCH_HEAD").strip()
        if self._try("merge-base", "--is-ancestor", theirs, "HEAD").returncode == 0:
            return False
        with self._still():
            try:
                if self._try("merge", "--ff-only", "--quiet", theirs).returncode != 0:
                    self._merge(theirs)
            except (GitError, ChainError, SigningError, OSError) as exc:
                self._try("merge", "--abort")
                raise GitError(f"what others pushed could not be merged: {exc}") from exc
        return True

    def _changed(self, base: str, commit: str) -> set[str]:
        if not base:
            return set(self._git("ls-tree", "-r", "-z", "--name-only", commit).split("\0")) - {""}
        return set(self._git("diff", "--name-only", "-z", base, commit).split("\0")) - {""}

    def _file(self, commit: str, path: str) -> bytes:
        result = subprocess.run(
            ["git", "cat-file", "blob", f"{commit}:{path}"], cwd=self.root, capture_output=True, check=False
        )
        return result.stdout if result.returncode == 0 else b""

    def _merge(self, theirs: str) -> None:
        ours = self._git("rev-parse", "HEAD").strip()
        base = self._try("merge-base", ours, theirs).stdout.strip()
        both = self._changed(base, ours) & self._changed(base, theirs)
        merged = self._try("merge", "--no-commit", "--no-ff", "--quiet", "--allow-unrelated-histories", theirs)
        left = self._git("diff", "--name-only", "--diff-filter=U", "-z").split("\0")
        if merged.returncode != 0 and not any(left):
            raise GitError(said(merged))
        directories = sorted({os.path.dirname(path) for path in both if path.endswith(f"/{NAME}")})
        for name in directories:
            ledger = Ledger(os.path.join(self.root, name), self.signer)
            here = sorted(path for path in both if os.path.dirname(path) == name)
            for path in here:
                with open(os.path.join(self.root, path), "wb") as handle:
                    handle.write(self._file(theirs, path))
            records = [path for path in here if path.endswith(".jsonl") and os.path.basename(path) != NAME]
            for path in records:
                self._add_anew(os.path.join(self.root, path), self._added(theirs, ours, path))
            self._enter_anew(ledger, self._added(theirs, ours, f"{name}/{NAME}"), records)
            self._git("add", "--", *here)
        rest = [path for path in left if path and os.path.dirname(path) not in directories]
        if rest:
            raise GitError(f"{', '.join(sorted(rest))} was changed there and here; merge it by hand")
        self._git("commit", "--quiet", "--message", "Merge the records of others")

    def _added(self, theirs: str, ours: str, path: str) -> list[dict[str, Any]]:
        """Return the entries of a file that only our commit has."""
        lines = added_here(self._file(theirs, path), self._file(ours, path))
        entries = [parse(line) for line in lines]
        if None in entries:
            raise ChainError(f"{path} was changed: one of its lines is no entry")
        return [entry for entry in entries if entry]

    def _add_anew(self, path: str, added: list[dict[str, Any]]) -> None:
        """Let a record of theirs have our entries as well."""
        file = ChainFile(path, create=False)
        try:
            for entry in added:
                file.append(entry["event"], entry["data"], entry["time"])
            with open(os.path.splitext(path)[0] + ".md", "w", encoding="utf-8") as handle:
                handle.write(markdown(file.entries))
        finally:
            file.close()

    def _enter_anew(self, ledger: Ledger, added: list[dict[str, Any]], records: list[str]) -> None:
        """Let their ledger have our entries as well; a record that got entries of both is signed with all of them."""
        again = {os.path.basename(path) for path in records}
        for entry in added:
            data = entry["data"]
            if data["record"] in again:
                path = os.path.join(ledger.directory, data["record"])
                with open(path, "rb") as handle:
                    content = handle.read()
                described = ledger.describe(data["record"], content, ledger.may_sign(data["record"], content, path))
                data = ledger.sign({**data, **described})
            before = ledger.entries()
            ledger.add({**data, "previous": before[-1]["data"]["record"] if before else ""}, entry["time"])


def said(result: subprocess.CompletedProcess[str]) -> str:
    """Return what git said, in one line and without passwords of addresses."""
    lines = [line for line in result.stderr.splitlines() + result.stdout.splitlines() if not line.startswith("hint:")]
    return Masker().text(" ".join(" ".join(lines).split())) or f"exit status {result.returncode}"
