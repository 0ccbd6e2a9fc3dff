#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_build
short_description: Build the artifact of a Laravel release
version_added: 0.1.0
description:
  - Resolves a version to one commit, exports that commit, installs its Composer packages, builds its front end with npm,
    and packs the result as one compressed tar with a checksum.
  - Runs on one host of a release; the other hosts get the artifact. Needs C(git), and C(composer) and C(npm) where the
    application has a C(composer.json) or a C(package.json).
  - The build has a directory of its own below O(root), which is removed at the end; nothing that is live is touched.
author:
  - The slipway.laravel authors (@slipway)
options:
  root:
    description:
      - Directory of the application, which holds C(current), C(releases) and C(shared).
    type: path
    required: true
  repository:
    description:
      - Address of the git repository, in any form that git takes.
      - A password in it is never shown, and is not handed over on a command line.
    type: str
    required: true
  version:
    description:
      - Tag, branch or commit to build; a tag wins over a branch of the same name. Commits need 7 to 40 digits.
    type: str
    required: true
  ssh_key:
    description:
      - File on the host with the private key for the repository. Without it SSH uses what the user has (agent, own keys).
    type: path
  known_hosts:
    description:
      - File on the host with the host keys of the repository's server. Without it the user's and the system's are used.
      - Host keys are always checked.
    type: path
  live_commit:
    description:
      - Commit that is live now. When O(version) is the same commit, nothing is built and RV(up_to_date) is true.
    type: str
    default: ""
  force:
    description:
      - Build even when O(live_commit) is the same commit.
    type: bool
    default: false
  run:
    description:
      - Name of the run that holds the lock of O(root); the build renews it.
    type: str
    default: ""
  composer:
    description:
      - Name or path of Composer.
    type: str
    default: composer
  npm:
    description:
      - Name or path of npm.
    type: str
    default: npm
  npm_script:
    description:
      - Script of C(package.json) that builds the front end. Where there is no such script nothing is built.
    type: str
    default: build
extends_documentation_fragment:
  - slipway.laravel.laravel
attributes:
  check_mode:
    description: Resolves the version against the repository and builds nothing.
    support: full
  diff_mode:
    description: The artifact is new each time; there is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Build v1.4.0
  slipway.laravel.release_build:
    root: /var/www/app
    repository: git@git.example.com:shop/app.git
    version: v1.4.0
  register: build
"""

RETURN = r"""
release:
  description: Release id, C(<UTC time>-<first 8 digits of the commit>).
  returned: success
  type: str
commit:
  description: The commit, 40 digits.
  returned: success
  type: str
up_to_date:
  description: Whether the version is what is live already, so that nothing was built.
  returned: success
  type: bool
artifact:
  description: Path of the artifact on this host.
  returned: when it was built
  type: str
sha256:
  description: Checksum of the artifact.
  returned: when it was built
  type: str
size:
  description: Size of the artifact in bytes.
  returned: when it was built
  type: int
commits:
  description: Subjects of the commits since O(live_commit), newest first, 50 at most.
  returned: when it was built and O(live_commit) is known
  type: list
  elements: str
steps:
  description: Seconds that each step took.
  returned: when it was built
  type: dict
phases:
  description: One entry for the phase C(build), as the record of the release keeps it.
  returned: success
  type: list
  elements: dict
"""

import json
import os
import re
import shutil
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import error_text
from ansible_collections.slipway.laravel.plugins.module_utils._layout import MANIFEST, Layout, write_atomic


class Build:
    """One build; every command failure ends the module with a message that names the step."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        self.layout = Layout(self.params["root"])
        self.mirror = os.path.join(self.layout.private_dir, "repository.git")
        self.steps: dict[str, float] = {}
        self.started = time.time()
        # What stands before the @ of a web address is a password or a token.
        self.shown = re.sub(r"^(https?://)[^/@]*@", r"\1", self.params["repository"])
        ssh = ["ssh", "-o BatchMode=yes", "-o StrictHostKeyChecking=yes", "-o ConnectTimeout=15"]
        if self.params["ssh_key"]:
            ssh.append(f"-i '{self.params['ssh_key']}' -o IdentitiesOnly=yes")
        if self.params["known_hosts"]:
            ssh.append(f"-o UserKnownHostsFile='{self.params['known_hosts']}'")
        self.environment = {
            "LC_ALL": "C.UTF-8",
            **{key: str(value) for key, value in self.params["environment"].items()},
            "GIT_SSH_COMMAND": " ".join(ssh),
            "GIT_TERMINAL_PROMPT": "0",
            # The address by environment: a command line is visible to every user of the host.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "remote.origin.url",
            "GIT_CONFIG_VALUE_0": self.params["repository"],
        }

    def fail(self, message: str, **details: Any) -> None:
        message = message.replace(self.params["repository"], self.shown)
        seconds = round(time.time() - self.started, 3)
        phase = {"phase": "build", "seconds": seconds, "changed": False, "error": message}
        self.module.fail_json(msg=message, phases=[phase], **details)

    def run(self, step: str, argv: list[str], cwd: str | None = None) -> str:
        """Run a command of a step; its time counts for the step."""
        started = time.monotonic()
        try:
            rc, out, err = self.module.run_command(
                argv, cwd=cwd, environ_update=self.environment, handle_exceptions=False
            )
        except OSError as exc:
            self.fail(f"build: {step} needs {argv[0]}, which cannot be run on this host ({exc}); install it there")
        self.steps[step] = round(self.steps.get(step, 0) + time.monotonic() - started, 3)
        if rc != 0:
            told = error_text(out, err)
            self.fail(f"build: {step} failed, {os.path.basename(argv[0])} exited {rc}: {told}", rc=rc, stderr=err[-4000:])
        return str(out)

    def git(self, *arguments: str) -> tuple[int, str, str]:
        argv = ["git", f"--git-dir={self.mirror}", *arguments]
        try:
            rc, out, err = self.module.run_command(argv, environ_update=self.environment, handle_exceptions=False)
        except OSError as exc:
            self.fail(f"build: git cannot be run on this host ({exc}); install it there")
        return rc, out.strip(), err.strip()

    def unreachable(self, error: str) -> None:
        lines = [line for line in error.splitlines() if line.strip()]
        # git adds general advice below the reason.
        reason = next((line for line in lines if not line.startswith("Warning:")), "git said nothing")
        self.fail(
            f"repository {self.shown} cannot be read from this host: {reason}; "
            f"check release_repository, release_deploy_key and release_known_hosts"
        )

    def unknown(self, tags: list[str]) -> None:
        hint = f"its newest tags are {', '.join(tags[:5])}" if tags else "it has no tags"
        self.fail(f"{self.params['version']} is no tag, branch or commit of {self.shown}; {hint}")

    def fetch(self) -> None:
        started = time.monotonic()
        if not os.path.isdir(self.mirror):
            self.run("fetch", ["git", "init", "--quiet", "--bare", self.mirror])
        refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        rc, dummy, err = self.git("fetch", "--quiet", "--prune", "--no-write-fetch-head", "origin", *refs)
        if rc != 0:
            self.unreachable(err)
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
                return out
        self.unknown(self.git("tag", "--sort=-version:refname")[1].split())
        raise AssertionError("fail_json does not return")

    def resolve_remote(self) -> str:
        """Return the commit of the version by asking the repository, changing nothing (for check mode)."""
        rc, out, err = self.module.run_command(["git", "ls-remote", "origin"], environ_update=self.environment, cwd="/")
        if rc != 0:
            self.unreachable(err.strip())
        refs = {name: commit for commit, name in (line.split("\t") for line in out.splitlines())}
        version = self.params["version"]
        for name in (f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}"):
            if name in refs:
                return refs[name]
        if re.fullmatch(r"[0-9a-fA-F]{7,40}", version):
            return next((commit for commit in refs.values() if commit.startswith(version.lower())), version.lower())
        self.unknown([name[len("refs/tags/") :] for name in reversed(list(refs)) if re.match(r"refs/tags/[^^]+$", name)])
        raise AssertionError("fail_json does not return")

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
                self.fail("build: the commit has no composer.lock; commit it, so that every build installs the same packages")
            flags = ["--no-dev", "--optimize-autoloader", "--prefer-dist", "--no-interaction", "--no-progress", "--no-ansi"]
            self.run("composer", [self.params["composer"], "install", *flags], cwd=tree)
        package = os.path.join(tree, "package.json")
        if not os.path.isfile(package):
            return
        with open(package, encoding="utf-8") as handle:
            scripts = json.load(handle).get("scripts", {})
        if self.params["npm_script"] not in scripts:
            return
        if not os.path.isfile(os.path.join(tree, "package-lock.json")):
            self.fail("build: the commit has no package-lock.json; commit it, so that every build installs the same packages")
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


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "repository": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "ssh_key": {"type": "path", "no_log": False},
            "known_hosts": {"type": "path"},
            "live_commit": {"type": "str", "default": ""},
            "force": {"type": "bool", "default": False},
            "run": {"type": "str", "default": ""},
            "composer": {"type": "str", "default": "composer"},
            "npm": {"type": "str", "default": "npm"},
            "npm_script": {"type": "str", "default": "build"},
            "environment": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    build = Build(module)
    if module.params["run"]:
        build.layout.holds_lock(module.params["run"])
    if module.check_mode:
        commit = build.resolve_remote()
    else:
        build.fetch()
        commit = build.resolve()
    release = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(build.started)) + "-" + commit[:8]
    up_to_date = commit == module.params["live_commit"] and not module.params["force"]
    result: dict[str, Any] = {"release": release, "commit": commit, "up_to_date": up_to_date}
    if not up_to_date and not module.check_mode:
        result.update(build.make(release, commit))
        result.update(commits=build.commits(commit), steps=build.steps)
    evidence = {key: result[key] for key in ("commit", "sha256", "size", "commits", "steps") if key in result}
    phase = {"phase": "build", "seconds": round(time.time() - build.started, 3), "changed": not up_to_date, **evidence}
    module.exit_json(changed=not up_to_date, version=module.params["version"], phases=[phase], **result)


if __name__ == "__main__":
    main()
