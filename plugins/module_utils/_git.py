# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A git repository and its submodules: one commit resolved, and exported without a working copy.

Private to this collection.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import tarfile
from urllib.parse import unquote, urlsplit

from ansible_collections.slipway.laravel.plugins.module_utils._runner import BuildError, Runner, without_password

_COMMIT = re.compile(r"[0-9a-fA-F]{7,40}")
_WHOLE_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_WITH_CREDENTIALS = re.compile(r"(https?://)([^/\s]*)@([^/\s]*)")

# What git says last when ssh has ended.
_ADVICE = "fatal: Could not read from remote repository"

# How a pointer begins, and the size that it never has, in bytes (git-lfs, docs/spec.md).
_LFS_POINTER, _LFS_POINTER_BELOW = b"version https://git-lfs.github.com/spec/", 1024

# A credential helper that gives git the password of its environment; printf is a part of the shell, no process.
_HELPER = """!f() { [ "$1" != get ] || printf 'password=%s\\n' "$SLIPWAY_GIT_PASSWORD"; }; f"""
# One for an address with a user alone, which may be a token: no password, unless git has a program to ask for it.
_EMPTY_ANSWER = (
    """!f() { [ "$1" != get ] || [ "${GIT_ASKPASS-$(git config core.askPass || echo "$SSH_ASKPASS")}" ] """
    """|| echo password=; }; f"""
)


def ssh_command(key: str | None, known_hosts: str | None) -> str:
    """Return the SSH command line for git: host keys are always checked, and nothing is asked."""
    words = ["ssh", "-o BatchMode=yes", "-o StrictHostKeyChecking=yes", "-o ConnectTimeout=15"]
    if key:
        words.append(f"-i '{key}' -o IdentitiesOnly=yes")
    if known_hosts:
        words.append(f"-o UserKnownHostsFile='{known_hosts}'")
    return " ".join(words)


def submodule_address(parent: str, url: str) -> str:
    """Return the address of a submodule, as git reads its ``url`` in a repository of the address ``parent``.

    On the web server of the parent it gets the credentials of the parent; no other server ever sees them.
    """
    if url.startswith(("./", "../")):
        base, separator = parent.rstrip("/"), "/"
        while url.startswith(("./", "../")):
            if url.startswith("../"):
                # Of git@host:app.git the parent is what stands before the colon.
                separator = "/" if "/" in base else ":"
                base = base.rpartition(separator)[0]
            url = url.partition("/")[2]
        return base + separator + url
    ours, theirs = urlsplit(parent), urlsplit(url)
    credentials, at, server = ours.netloc.rpartition("@")
    same = ours.scheme in ("http", "https") and ours.scheme == theirs.scheme and server == theirs.netloc
    return theirs._replace(netloc=credentials + at + server).geturl() if same else url


def environment(address: str, remote: str = "origin") -> dict[str, str]:
    """Return the variables by which git knows the address of a remote, and the credentials for its server.

    git hands an address on to programs of its own as a word of their command line, which every user of the host can
    read. So the credentials do not stay in it: git asks for them when the server does, and for that server alone.
    """
    settings = []
    password = ""
    given = _WITH_CREDENTIALS.match(address)
    if given:
        scheme, credentials, server = given.groups()
        address = scheme + server + address[given.end() :]
        user, separator, password = credentials.partition(":")
        asked = f"credential.{scheme}{server}"
        settings = [(f"{asked}.username", unquote(user)), (f"{asked}.helper", _HELPER if separator else _EMPTY_ANSWER)]
        if separator:
            # Those of the user are asked only for a password that the address does not have.
            settings.insert(0, (f"{asked}.helper", ""))
    # What goes on when git has ended would have locks that the next build takes for those of a killed one.
    settings += [(f"remote.{remote}.url", address), ("gc.autoDetach", "false")]
    variables = {"GIT_CONFIG_COUNT": str(len(settings)), "SLIPWAY_GIT_PASSWORD": unquote(password)}
    for number, (key, value) in enumerate(settings):
        variables.update({f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value})
    return variables


def lfs_pointers(directory: str) -> list[str]:
    """Return the names of files below a directory that Git LFS has put a pointer in the place of."""
    found = []
    for parent, dummy, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.islink(path) or os.path.getsize(path) >= _LFS_POINTER_BELOW:
                continue
            with open(path, "rb") as handle:
                if handle.read(len(_LFS_POINTER)) == _LFS_POINTER:
                    found.append(os.path.relpath(path, directory))
    return sorted(found)


class Repository:
    """A bare copy of a repository on this host."""

    def __init__(self, runner: Runner, address: str, mirror: str) -> None:
        self.runner = runner
        self.address = address
        self.mirror = mirror
        self.shown = without_password(address)
        # The address by environment: a command line is visible to every user of the host.
        self._environment = environment(address)

    def git(self, step: str, *arguments: str) -> tuple[int, str, str]:
        rc, out, err = self.runner.attempt(step, ["git", f"--git-dir={self.mirror}", *arguments], **self._environment)
        return rc, out.strip(), err.strip()

    def _unreachable(self, error: str) -> BuildError:
        # ssh frames with @ what it finds worst.
        lines = [line.strip("@ ").rstrip(".") for line in error.splitlines()]
        lines = [line for line in lines if line and not line.startswith("Warning: Permanently added")]
        # git adds advice below. Of what ssh says, the first line has the cause, and the last one what came of it.
        said = lines[: max(1, lines.index(_ADVICE))] if _ADVICE in lines else lines or ["git said nothing"]
        reason = "; ".join(dict.fromkeys((said[0], said[-1])))
        return self.runner.error(f"repository {self.shown} cannot be read from this host: {reason}; {self._remedy()}")

    def _remedy(self) -> str:
        params = self.runner.module.params
        if params["ssh_key"] or params["known_hosts"]:
            return (
                "check release_repository, release_deploy_key and release_known_hosts, and run the site playbook "
                "(--tags layout), which writes them to the hosts"
            )
        return (
            f"check release_repository, and the SSH keys and known_hosts of the user that builds (id {os.geteuid()}); "
            f"release_deploy_key and release_known_hosts are used on hosts alone, once the site playbook has written "
            f"them there (--tags layout)"
        )

    def _unknown(self, version: str, tags: list[str]) -> BuildError:
        hint = f"its newest tags are {', '.join(tags[:5])}" if tags else "it has no tags"
        return self.runner.error(f"{version} is no tag, branch or commit of {self.shown}; {hint}")

    def fetch(self, version: str = "") -> None:
        """Bring the copy up to date: branches and tags, and the commit of a version that is the whole id of one."""
        # A build that was killed may have left locks in it, or less than a copy; nobody else has it meanwhile.
        for lock in glob.glob(os.path.join(glob.escape(self.mirror), "**", "*.lock"), recursive=True):
            os.unlink(lock)
        self.runner.run("fetch", ["git", "init", "--quiet", "--bare", self.mirror])
        refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        rc, dummy, err = self._fetch("--prune", *refs)
        if rc != 0:
            raise self._unreachable(err)
        if _WHOLE_COMMIT.fullmatch(version) and not self.has(version):
            # On no branch, as in the checkouts of CI: servers give a commit that is named, if they have it.
            self._fetch(version)

    def _fetch(self, *words: str) -> tuple[int, str, str]:
        # From a checkout without all of its history too, as CI makes them: without this, git leaves its branches out.
        return self.git("fetch", "fetch", "--quiet", "--no-write-fetch-head", "--update-shallow", "origin", *words)

    def resolve(self, version: str) -> str:
        """Return the commit of a version from the copy."""
        names = [f"refs/tags/{version}", f"refs/heads/{version}"]
        if _COMMIT.fullmatch(version):
            names.append(version)
        for name in names:
            rc, out, dummy = self.git(
                "fetch", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
            )
            if rc == 0:
                return out
        raise self._unknown(version, self.git("fetch", "tag", "--sort=-version:refname")[1].split())

    def resolve_remote(self, version: str) -> str:
        """Return the commit of a version by asking the repository, changing nothing (for check mode)."""
        rc, out, err = self.runner.attempt("fetch", ["git", "ls-remote", "origin"], "/", **self._environment)
        if rc != 0:
            raise self._unreachable(err.strip())
        refs = {name: commit for commit, name in (line.split("\t") for line in out.splitlines())}
        for name in (f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}"):
            if name in refs:
                return refs[name]
        if _COMMIT.fullmatch(version):
            return next((commit for commit in refs.values() if commit.startswith(version.lower())), version.lower())
        tags = [name[len("refs/tags/") :] for name in reversed(list(refs)) if re.match(r"refs/tags/[^^]+$", name)]
        raise self._unknown(version, tags)

    def fetch_one(self, version: str, commit: str) -> str:
        """Bring the commit of a version into a new copy, without its history; return why it cannot be had, or ''."""
        self.runner.run("fetch", ["git", "init", "--quiet", "--bare", self.mirror])
        # Servers need not give a commit by its id, such as that of an annotated tag.
        for name in (f"refs/tags/{version}", f"refs/heads/{version}", commit):
            err = self.git("fetch", "fetch", "--quiet", "--depth=1", "--no-write-fetch-head", "origin", name)[2]
            if self.has(commit):
                return ""
        return self.runner.shown(" ".join(err.split())[:300])

    def read(self, commit: str, names: list[str]) -> dict[str, str]:
        """Return the text of those files that an export of a commit has, by name; links are not followed."""
        lines = self.git("export", "ls-tree", "-z", commit, "--", *names)[1].split("\0")
        there = [line.partition("\t")[2] for line in lines if line.startswith("100")]
        if not there:
            return {}
        # Not by their blobs: what .gitattributes keeps out of an export is not in the release either.
        archive = os.path.join(self.runner.module.tmpdir, "read.tar")
        self._archive(archive, commit, *there)
        texts = {}
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content:
                    texts[member.name] = content.read().decode("utf-8", "replace")
        os.unlink(archive)
        return texts

    def _archive(self, archive: str, commit: str, *names: str) -> None:
        # Git LFS asks the server of the remote for what it brings in.
        argv = ["git", f"--git-dir={self.mirror}", "archive", f"--output={archive}", commit, *names]
        self.runner.run("export", argv, **self._environment)

    def committed_at(self, commit: str) -> int:
        rc, out, err = self.git("export", "show", "--no-patch", "--format=%ct", commit)
        if rc != 0:
            raise self.runner.error(
                f"build: {self.mirror}, the copy of {self.shown}, lacks a part of {commit} "
                f"({' '.join(err.split())[:300]}); remove it, then try again"
            )
        return int(out)

    def commits(self, since: str, commit: str) -> list[str]:
        """Return the subjects of the commits after another one, newest first."""
        if not since:
            return []
        rc, out, dummy = self.git("fetch", "log", "--max-count=50", "--format=%h %s", f"{since}..{commit}", "--")
        return out.splitlines() if rc == 0 else []

    def entries(self, commit: str) -> dict[str, str]:
        """Return the names at the top of a commit, each with what git knows it by: mode, kind and hash."""
        listing = self.runner.run("export", ["git", f"--git-dir={self.mirror}", "ls-tree", "-z", commit])
        return {name: known for known, dummy, name in (line.partition("\t") for line in listing.split("\0") if line)}

    def _submodules(self, commit: str) -> list[tuple[str, str]]:
        """Return the path and the pinned commit of each submodule."""
        listing = self.runner.run("export", ["git", f"--git-dir={self.mirror}", "ls-tree", "-r", "-z", commit])
        entries = [line.partition("\t") for line in listing.split("\0") if line.startswith("160000 ")]
        return [(path, known.split()[2]) for known, dummy, path in entries]

    def export(self, commit: str, directory: str, submodules: bool) -> list[str]:
        """Write the files of a commit into a directory that exists; return the submodules that were left out."""
        archive = f"{directory}.tar"
        self._archive(archive, commit)
        self.runner.run("export", ["tar", "-xf", archive, "-C", directory])
        os.unlink(archive)
        found = self._submodules(commit)
        if not submodules or not found:
            return [path for path, dummy in found]
        addresses = self._addresses(commit)
        for path, pinned in found:
            if path not in addresses:
                raise self.runner.error(
                    f"build: {path} of {self.shown} is a submodule that .gitmodules lacks; add its path and url there"
                )
            address = submodule_address(self.address, addresses[path])
            name = hashlib.sha256(without_password(address).encode()).hexdigest()[:16]
            mirror = os.path.join(os.path.dirname(self.mirror), f"submodule-{name}.git")
            submodule = Repository(self.runner, address, mirror)
            submodule.obtain(pinned, path)
            target = os.path.join(directory, path)
            os.makedirs(target, exist_ok=True)
            submodule.export(pinned, target, submodules)
        return []

    def _addresses(self, commit: str) -> dict[str, str]:
        """Return the url of each path in .gitmodules."""
        rc, out, dummy = self.git(
            "export", "config", "--blob", f"{commit}:.gitmodules", "-z", "--get-regexp", r"^submodule\..*\.(path|url)$"
        )
        known: dict[str, dict[str, str]] = {}
        for line in out.split("\0") if rc == 0 else []:
            key, dummy, value = line.partition("\n")
            name, dummy, what = key.rpartition(".")
            known.setdefault(name, {})[what] = value
        return {entry["path"]: entry["url"] for entry in known.values() if "path" in entry and "url" in entry}

    def obtain(self, commit: str, path: str) -> None:
        """Have the commit of the submodule at a path in the copy."""
        if not self.has(commit):
            self.fetch(commit)
        if not self.has(commit):
            raise self.runner.error(
                f"build: submodule {path} is pinned to {commit}, which {self.shown} does not have; push it there"
            )

    def has(self, commit: str) -> bool:
        return self.git("fetch", "cat-file", "-e", f"{commit}^{{commit}}")[0] == 0
