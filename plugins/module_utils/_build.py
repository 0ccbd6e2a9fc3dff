# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Building the artifact of a release: one commit, its packages and its front end in one compressed tar.

Private to this collection; the module ``release_build`` is its face.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils._artisan import error_text, take_environment
from ansible_collections.slipway.laravel.plugins.module_utils._layout import MANIFEST, Layout, write_atomic

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


class BuildError(Exception):
    """The build cannot go on; the message says why, and ``details`` has what the command printed."""

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.details = details


def without_password(text: str) -> str:
    """Return a text without what stands before the @ of web addresses in it: that is a password or a token."""
    return re.sub(r"(https?://)[^/\s]*@", r"\1", text)


class Build:
    """One build."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        self.layout = Layout(self.params["root"])
        self.mirror = os.path.join(self.layout.private_dir, "repository.git")
        self.steps: dict[str, float] = {}
        self.started = time.time()
        repository: str = self.params["repository"]
        # The result of a module holds its parameters.
        self.shown = self.params["repository"] = without_password(repository)
        ssh = ["ssh", "-o BatchMode=yes", "-o StrictHostKeyChecking=yes", "-o ConnectTimeout=15"]
        if self.params["ssh_key"]:
            ssh.append(f"-i '{self.params['ssh_key']}' -o IdentitiesOnly=yes")
        if self.params["known_hosts"]:
            ssh.append(f"-o UserKnownHostsFile='{self.params['known_hosts']}'")
        self.environment = {
            "LC_ALL": "C.UTF-8",
            **take_environment(module),
            "GIT_SSH_COMMAND": " ".join(ssh),
            "GIT_TERMINAL_PROMPT": "0",
            # The address by environment: a command line is visible to every user of the host.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "remote.origin.url",
            "GIT_CONFIG_VALUE_0": repository,
        }

    def seconds(self) -> float:
        return round(time.time() - self.started, 3)

    def error(self, message: str, **details: Any) -> BuildError:
        shown = {key: without_password(value) if isinstance(value, str) else value for key, value in details.items()}
        return BuildError(without_password(message), shown)

    def run(self, step: str, argv: list[str], cwd: str | None = None) -> str:
        """Run a command of a step; its time counts for the step."""
        started = time.monotonic()
        try:
            rc, out, err = self.module.run_command(
                argv, cwd=cwd, environ_update=self.environment, handle_exceptions=False
            )
        except OSError as exc:
            raise self.error(
                f"build: {step} needs {argv[0]}, which cannot be run on this host ({exc}); install it there"
            ) from exc
        self.steps[step] = round(self.steps.get(step, 0) + time.monotonic() - started, 3)
        if rc != 0:
            told = error_text(out, err)
            raise self.error(
                f"build: {step} failed, {os.path.basename(argv[0])} exited {rc}: {told}", rc=rc, stderr=err[-4000:]
            )
        return str(out)

    def git(self, *arguments: str) -> tuple[int, str, str]:
        argv = ["git", f"--git-dir={self.mirror}", *arguments]
        try:
            rc, out, err = self.module.run_command(argv, environ_update=self.environment, handle_exceptions=False)
        except OSError as exc:
            raise self.error(f"build: git cannot be run on this host ({exc}); install it there") from exc
        return rc, out.strip(), err.strip()

    def unreachable(self, error: str) -> BuildError:
        lines = [line for line in error.splitlines() if line.strip()]
        # git adds general advice below the reason.
        reason = next((line for line in lines if not line.startswith("Warning:")), "git said nothing")
        return self.error(
            f"repository {self.shown} cannot be read from this host: {reason}; "
            f"check release_repository, release_deploy_key and release_known_hosts"
        )

    def unknown(self, tags: list[str]) -> BuildError:
        hint = f"its newest tags are {', '.join(tags[:5])}" if tags else "it has no tags"
        return self.error(f"{self.params['version']} is no tag, branch or commit of {self.shown}; {hint}")

    def fetch(self) -> None:
        started = time.monotonic()
        if not os.path.isdir(self.mirror):
            self.run("fetch", ["git", "init", "--quiet", "--bare", self.mirror])
        refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        rc, dummy, err = self.git("fetch", "--quiet", "--prune", "--no-write-fetch-head", "origin", *refs)
        if rc != 0:
            raise self.unreachable(err)
        self.steps["fetch"] = round(time.monotonic() - started, 3)

    def resolve(self) -> str:
        """Return the commit of the version from the fetched repository."""
        version = self.params["version"]
        names = [f"refs/tags/{version}", f"refs/heads/{version}"]
        if re.fullmatch(r"[0-9a-fA-F]{7,40}", version):
            names.append(version)
        for name in names:
            rc, out, dummy = self.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            if rc == 0:
                return str(out)
        raise self.unknown(self.git("tag", "--sort=-version:refname")[1].split())

    def resolve_remote(self) -> str:
        """Return the commit of the version by asking the repository, changing nothing (for check mode)."""
        rc, out, err = self.module.run_command(["git", "ls-remote", "origin"], environ_update=self.environment, cwd="/")
        if rc != 0:
            raise self.unreachable(err.strip())
        refs = {name: commit for commit, name in (line.split("\t") for line in out.splitlines())}
        version = self.params["version"]
        for name in (f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}"):
            if name in refs:
                return str(refs[name])
        if re.fullmatch(r"[0-9a-fA-F]{7,40}", version):
            return next(
                (str(commit) for commit in refs.values() if commit.startswith(version.lower())), version.lower()
            )
        raise self.unknown(
            [name[len("refs/tags/") :] for name in reversed(list(refs)) if re.match(r"refs/tags/[^^]+$", name)]
        )

    def make(self, release: str, commit: str) -> dict[str, Any]:
        """Build the tree of a commit and pack it."""
        work = os.path.join(self.layout.private_dir, "build", release)
        tree = os.path.join(work, "tree")
        os.makedirs(tree)
        try:
            self.run("export", ["git", f"--git-dir={self.mirror}", "archive", f"--output={work}/tree.tar", commit])
            self.run("export", ["tar", "-xf", f"{work}/tree.tar", "-C", tree])
            self.install(tree)
            committed_at = self.git("show", "--no-patch", "--format=%ct", commit)[1]
            # What is known of the commit, and nothing of this run: the same commit gives the same artifact.
            manifest = {"version": self.params["version"], "commit": commit, "committed_at": int(committed_at)}
            write_atomic(os.path.join(tree, MANIFEST), json.dumps(manifest, indent=1) + "\n")
            write_atomic(os.path.join(tree, "REVISION"), commit + "\n")
            return {**self.pack(tree, work, release, committed_at), "manifest": manifest}
        finally:
            shutil.rmtree(work)

    def install(self, tree: str) -> None:
        if os.path.isfile(os.path.join(tree, "composer.json")):
            if not os.path.isfile(os.path.join(tree, "composer.lock")):
                raise self.error(
                    "build: the commit has no composer.lock; commit it, so that every build installs the same packages"
                )
            flags = [
                "--no-dev",
                "--optimize-autoloader",
                "--prefer-dist",
                "--no-interaction",
                "--no-progress",
                "--no-ansi",
            ]
            self.run("composer", [self.params["composer"], "install", *flags], cwd=tree)
        package = os.path.join(tree, "package.json")
        if not os.path.isfile(package):
            return
        with open(package, encoding="utf-8") as handle:
            scripts = json.load(handle).get("scripts", {})
        if self.params["npm_script"] not in scripts:
            return
        if not os.path.isfile(os.path.join(tree, "package-lock.json")):
            raise self.error(
                "build: the commit has no package-lock.json; commit it, so that every build installs the same packages"
            )
        self.run("npm", [self.params["npm"], "ci", "--no-audit", "--no-fund"], cwd=tree)
        self.run("npm", [self.params["npm"], "run", self.params["npm_script"]], cwd=tree)
        shutil.rmtree(os.path.join(tree, "node_modules"))

    def pack(self, tree: str, work: str, release: str, mtime: str) -> dict[str, Any]:
        artifacts = os.path.join(self.layout.private_dir, "artifacts")
        os.makedirs(artifacts, exist_ok=True)
        path = os.path.join(artifacts, f"{release}.tar.gz")
        # Order, times and owners fixed, so that equal trees give equal bytes (reproducible-builds.org/docs/archives).
        fixed = ["--sort=name", f"--mtime=@{mtime}", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"]
        packed = os.path.join(work, "artifact")
        self.run("pack", ["tar", *fixed, "--use-compress-program=gzip -n", "-cf", packed, "-C", tree, "."])
        os.replace(packed, path)
        return {"artifact": path, "sha256": self.module.sha256(path), "size": os.stat(path).st_size}

    def commits(self, commit: str) -> list[str]:
        live = self.params["live_commit"]
        if not live:
            return []
        rc, out, dummy = self.git("log", "--max-count=50", "--format=%h %s", f"{live}..{commit}", "--")
        return out.splitlines() if rc == 0 else []
