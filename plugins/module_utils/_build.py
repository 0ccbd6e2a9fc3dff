# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Building the artifact of a release: one commit, its packages and its front end in one compressed tar.

Private to this collection; its faces are the module ``release_build`` and the phase ``build`` of module ``release``.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.slipway.laravel.plugins.module_utils import _artifact, _git, _parts, _requirements
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import take_environment
from ansible_collections.slipway.laravel.plugins.module_utils._frontend import FrontEnd
from ansible_collections.slipway.laravel.plugins.module_utils._layout import (
    MANIFEST,
    Layout,
    readable_by_all,
    write_atomic,
)
from ansible_collections.slipway.laravel.plugins.module_utils._runner import BuildError, Runner, without_password

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# So up to April 2026; since then it is config('view.compiled').
_LIVEWIRE_SHARES = re.compile(r"""storage_path\(\s*["']framework/views/livewire["']\s*\)""")

_COMPOSER_FLAGS = ["--no-interaction", "--no-ansi"]

# The options of a build: those of the module release_build, and of the phase build of the module release.
SPEC: dict[str, Any] = {
    "root": {"type": "path", "required": True},
    "repository": {"type": "str"},
    "version": {"type": "str"},
    "path": {"type": "str", "default": ""},
    "submodules": {"type": "bool", "default": False},
    "ssh_key": {"type": "path", "no_log": False},
    "known_hosts": {"type": "path"},
    "artifact": {"type": "path"},
    "artifact_url": {"type": "str", "no_log": True},
    "sha256": {"type": "str"},
    "release": {"type": "str", "default": ""},
    "live_commit": {"type": "str", "default": ""},
    "force": {"type": "bool", "default": False},
    "run": {"type": "str", "default": ""},
    "offers": {"type": "dict", "default": {}},
    "kind": {"type": "str", "choices": ["laravel", "node"], "default": "laravel"},
    "composer": {"type": "str", "default": "composer"},
    "composer_auth": {"type": "dict", "default": {}, "no_log": True},
    "package_manager": {"type": "str", "choices": ["auto", "npm", "yarn", "pnpm"], "default": "auto"},
    "npm": {"type": "str", "default": "npm"},
    "npm_script": {"type": "str", "default": "build"},
    "node_prune": {"type": "bool", "default": True},
    "precompress": {"type": "bool", "default": True},
    "reuse": {"type": "bool", "default": True},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    # For the action plugin of the module release_build.
    "handover": {"type": "bool", "default": False},
}
RULES: dict[str, Any] = {
    "required_one_of": [["repository", "artifact", "artifact_url"]],
    "mutually_exclusive": [["repository", "artifact", "artifact_url"]],
    "required_by": {"repository": ["version"], "artifact_url": ["sha256"]},
}
EMPTY = "repository is empty; give the address of the git repository"

# Directories of a commit that nothing of an application serves or loads.
_UNUSED = (".github/", "docs/", "tests/")

# What the record of a release keeps of a build.
_RECORDED = ("commit", "sha256", "size", "commits", "steps", "reused", "parts")

# What a later run needs to go on with this one.
_NOTED = ("release", "commit", "artifact", "sha256")


def take_composer_auth(module: AnsibleModule) -> tuple[str, list[str]]:
    """Return the parameter ``composer_auth`` as Composer's environment has it, and the secrets in it.

    It is taken out of what the module shows. User names stay out of what ``no_log`` blots from results: with the user
    ``deploy`` it would be the path of the artifact.
    """
    given: dict[str, Any] = module.params["composer_auth"]
    module.params["composer_auth"] = {}
    secrets, users = _composer_secrets(given)
    module.no_log_values -= users
    return json.dumps(given) if given else "", secrets


def _composer_secrets(given: Any, name: str = "") -> tuple[list[str], set[str]]:
    """Return all texts below ``composer_auth``, and those that are names of users."""
    if isinstance(given, dict):
        found = [_composer_secrets(value, key) for key, value in given.items()]
        return [text for texts, dummy in found for text in texts], set().union(*(users for dummy, users in found))
    if not isinstance(given, str) or not given:
        return [], set()
    return [given], {given} if name == "username" else set()


def uncover(module: AnsibleModule, given: dict[str, Any]) -> None:
    """Let results show what is no secret of a parameter with the options of a build, which is ``no_log`` as a whole.

    Everything in it would be blotted out wherever it occurs: with the version ``main`` a part of "domain".
    """
    public = {str(given[name]) for name in given if not SPEC.get(name, {}).get("no_log")}
    module.no_log_values -= public | _composer_secrets(given.get("composer_auth"))[1]


# Where a build has no releases beside it, which its artifacts would go with.
_ARTIFACTS_KEPT = 3


class Scoped:
    """The module that runs, with the options of a build in place of its own.

    :param given: what a parameter ``build`` holds
    :raises ValueError: these are not the options of a build
    """

    def __init__(self, module: AnsibleModule, given: dict[str, Any]) -> None:
        self._module = module
        checked = ArgumentSpecValidator(SPEC, **RULES).validate(given)
        self.params: dict[str, Any] = checked.validated_parameters
        if checked.error_messages:
            raise ValueError("; ".join(checked.error_messages))
        if self.params["repository"] == "":
            raise ValueError(EMPTY)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class Build:
    """One build."""

    def __init__(self, module: AnsibleModule | Scoped) -> None:
        self.module = module
        self.params = module.params
        self.layout = Layout(self.params["root"])
        self.started = time.time()
        address: str = self.params["repository"] or ""
        # The result of a module holds its parameters.
        self.params["repository"] = without_password(address) or None
        self.artifact_url = _artifact.take_address(module) if self.params["artifact_url"] else ""
        # The result of the module need not repeat them.
        self.offers: dict[str, Any] = self.params.pop("offers")
        self.composer_auth, secrets = take_composer_auth(module)
        given = take_environment(module)
        self.inputs = _parts.environment_inputs(given)
        private = self.layout.private_dir
        # The same path each time: tools write the paths that they see into what they build.
        self.area = os.path.join(private, "build", "work")
        self.tree = os.path.join(self.area, "tree")
        self.app = os.path.normpath(os.path.join(self.tree, self.params["path"]))
        environment = {
            **given,
            # For packages that Composer or npm get from repositories, too.
            "GIT_SSH_COMMAND": _git.ssh_command(self.params["ssh_key"], self.params["known_hosts"]),
            "GIT_TERMINAL_PROMPT": "0",
            # Nobody may take a repository above the build for that of the application.
            "GIT_CEILING_DIRECTORIES": self.area,
        }
        self.runner = Runner(module, environment, secrets)
        self.repository = _git.Repository(self.runner, address, os.path.join(private, "repository.git"))
        self.parts = _parts.Parts(self.runner, os.path.join(private, "cache"), self.area, self.params["reuse"])

    def seconds(self) -> float:
        return round(time.time() - self.started, 3)

    def __enter__(self) -> Build:
        """Have the build area of this root to ourselves, and empty."""
        path: str = self.params["path"]
        if os.path.isabs(path) or ".." in path.split("/"):
            raise self.runner.error(f"path {path!r} is not a directory below the root of the repository")
        os.makedirs(self.layout.private_dir, mode=0o700, exist_ok=True)
        parent = os.path.dirname(self.area)
        os.makedirs(parent, exist_ok=True)
        # Given back by the kernel, however this process ends.
        self._lock = os.open(parent, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._lock)
            raise self.runner.error(f"another build is at work in {parent}; wait for it, then try again") from exc
        # Left by a build that was killed.
        self.clean()
        os.mkdir(self.area)
        return self

    def __exit__(self, *dummy: object) -> None:
        self.clean()
        self.parts.prune()
        os.close(self._lock)

    def clean(self) -> None:
        """Leave nothing in the build area."""
        if os.path.isdir(self.area):
            shutil.rmtree(self.area)

    def carry_out(self) -> dict[str, Any]:
        """Resolve the version, and build it unless it is live already; in check mode say what would be built.

        :raises ArtifactError: what was given cannot be used
        :raises BuildError: the build failed
        """
        with readable_by_all(), contextlib.nullcontext() if self.module.check_mode else self:
            return self._resolve_and_make()

    def _resolve_and_make(self) -> dict[str, Any]:
        params = self.params
        given: dict[str, Any] = {}
        if params["repository"] is None:
            given = self.describe(self.obtain())
            commit = given["manifest"]["commit"]
        elif self.module.check_mode:
            commit = self.repository.resolve_remote(params["version"])
        else:
            self.repository.fetch(params["version"])
            commit = self.repository.resolve(params["version"])
        release = params["release"] or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.started)) + "-" + commit[:8]
        if not release.endswith(f"-{commit[:8]}"):
            raise self.runner.error(
                f"release {release} is not of commit {commit[:8]}; begin a new release, without its id"
            )
        up_to_date = commit == params["live_commit"] and not params["force"]
        version = params["version"] or str(given["manifest"].get("version", ""))
        result: dict[str, Any] = {"release": release, "commit": commit, "version": version, "up_to_date": up_to_date}
        if up_to_date:
            return result
        requires = given.get("requires") or self.requires(commit)
        self.compare(requires, version or release)
        if self.module.check_mode:
            return {**result, "requires": requires} if requires else result
        packed = self.artifact_path(release)
        if given:
            if self.artifact_url:
                given["artifact"] = self.keep(given["artifact"], release)
        elif params["release"] and os.path.isfile(packed):
            # By the run that is continued: what is there was moved there when it was whole.
            given = self.describe(packed)
        result.update(given or self.make(release, commit))
        self.prune_artifacts(release)
        commits = self.repository.commits(params["live_commit"], commit) if params["repository"] else []
        return {**result, "commits": commits, "steps": self.runner.steps}

    def requires(self, commit: str) -> dict[str, Any]:
        """Return what a commit needs of each host, as far as it is known before it is built; nothing if it is not."""
        source = self.repository
        if self.module.check_mode and not source.has(commit):
            # Nothing may stay on the host.
            source = _git.Repository(self.runner, source.address, os.path.join(self.module.tmpdir, "repository.git"))
            problem = source.fetch_one(self.params["version"], commit)
            if problem:
                self.module.warn(f"what {self.params['version']} needs of the hosts is not known here: {problem}")
                return {}
        names = [os.path.normpath(os.path.join(self.params["path"], name)) for name in _artifact.SOURCES]
        files = source.read(commit, names)
        return _artifact.requirements({os.path.basename(name): files[name] for name in files}, self.params["kind"])

    def compare(self, requires: dict[str, Any], what: str) -> None:
        """Stop before anything is built when a host lacks what the release needs."""
        lacking: dict[str, list[str]] = {}
        for host, offer in self.offers.items():
            # What cannot be compared is told by stage, on each host.
            for problem in _requirements.unmet(offer, requires, lambda dummy: None) if offer else []:
                lacking.setdefault(problem, []).append(host)
        problem, note = _requirements.different(self.offers)
        if problem:
            # It names its hosts.
            lacking[problem] = []
        if note:
            self.module.warn(note)
        if not lacking:
            return
        # A host that is alone has no name here.
        listed = [": ".join(filter(None, (", ".join(hosts), problem))) for problem, hosts in lacking.items()]
        text = "".join(f"\n- {problem}" for problem in listed) if listed[1:] else f" {listed[0]}"
        # As it is: hosts and paths may have the name of a user in them, which may be one of Composer's secrets.
        raise BuildError(f"build: not ready for {what}, nothing was changed:{text}", {})

    def evidence(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what the record of a release keeps of the result of a build."""
        return {"changed": not result["up_to_date"], **{key: result[key] for key in _RECORDED if key in result}}

    def note(self, run: str, result: dict[str, Any]) -> None:
        """Leave what a later run needs to go on with this one."""
        if not result["up_to_date"]:
            self.layout.note_run(run, phase="build", **{name: result[name] for name in _NOTED})

    def artifact_path(self, release: str) -> str:
        return os.path.join(self.layout.private_dir, "artifacts", f"{release}.tar.gz")

    def prune_artifacts(self, release: str) -> None:
        """Where nothing is released, as on a controller, keep the newest artifacts besides that of this release.

        Elsewhere they go with their releases.
        """
        if os.path.isdir(self.layout.releases_dir):
            return
        own = self.artifact_path(release)
        # The names begin with the time.
        others = sorted(set(glob.glob(os.path.join(glob.escape(os.path.dirname(own)), "*.tar.gz"))) - {own})
        for old in others[: 1 - _ARTIFACTS_KEPT]:
            os.unlink(old)

    def make(self, release: str, commit: str) -> dict[str, Any]:
        """Build the tree of a commit and pack it."""
        os.makedirs(self.tree)
        left_out = self.repository.export(commit, self.tree, self.params["submodules"])
        if left_out:
            self.module.warn(f"the submodules {', '.join(left_out)} are left out; release_submodules brings them in")
        if not os.path.isdir(self.app):
            raise self.runner.error(f"path {self.params['path']} is no directory of commit {commit[:8]}")
        self._judge_pointers(_git.lfs_pointers(self.app))
        if self.params["kind"] == "laravel":
            self.composer()
            self.warn_of_livewire()
        front_end = FrontEnd(self.runner, self.parts, self.params, self.tree)
        values = _requirements.front_end_values(self.layout, self.offers)
        front_end.build(self.repository.entries(commit), self.inputs, values)
        committed_at = self.repository.committed_at(commit)
        # What is known of the commit, and nothing of this run: the same commit gives the same artifact.
        manifest = {"version": self.params["version"], "commit": commit, "committed_at": committed_at}
        write_atomic(os.path.join(self.app, MANIFEST), json.dumps(manifest, indent=1) + "\n")
        write_atomic(os.path.join(self.app, "REVISION"), commit + "\n")
        requires = _artifact.requirements(_artifact.read_tree(self.app), self.params["kind"])
        path = self.pack(release, committed_at)
        return {**self.result(path, manifest, requires), "reused": self.reused(), "parts": self.parts.report}

    def _judge_pointers(self, pointers: list[str]) -> None:
        """Stop at files that Git LFS has not brought, unless the application has no use for any of them."""
        if not pointers:
            return
        used = [name for name in pointers if not name.startswith(_UNUSED)]
        shown = used or pointers
        more = f" and {len(shown) - 3} more" if shown[3:] else ""
        told = (
            f"{', '.join(shown[:3])}{more} are pointers of Git LFS in the place of files; install git-lfs on this host "
            f"and run git lfs install as the user that builds, or keep them out of releases by export-ignore in "
            f".gitattributes"
        )
        if used:
            raise self.runner.error(f"build: {told}")
        self.module.warn(told)

    def result(self, path: str, manifest: dict[str, Any], requires: dict[str, Any]) -> dict[str, Any]:
        sha256 = self.module.sha256(path)
        size = os.stat(path).st_size
        return {"artifact": path, "sha256": sha256, "size": size, "manifest": manifest, "requires": requires}

    def reused(self) -> list[str]:
        return sorted(part for part, report in self.parts.report.items() if report["reused"])

    def composer(self) -> None:
        if not os.path.isfile(os.path.join(self.app, "composer.json")):
            return
        lock = os.path.join(self.app, "composer.lock")
        if not os.path.isfile(lock):
            raise self.runner.error(
                "build: the commit has no composer.lock; commit it, so that every build installs the same packages"
            )
        self.runner.read_json(os.path.join(self.app, "composer.json"))
        content_hash = self.runner.read_json(lock).get("content-hash")
        install = ["install", "--no-dev", "--optimize-autoloader", "--prefer-dist", "--no-progress"]
        key = self.parts.key("vendor", lambda: self._vendor_inputs(install))
        if self.parts.restore("composer", "vendor", key, self.app):
            # The classes of the application are others.
            self._composer(["dump-autoload", "--no-dev", "--optimize"])
            return
        autoload = os.path.join(self.app, "vendor/autoload.php")
        if not os.path.lexists(autoload):
            # Composer before 2.6.4 draws the name of its class, unless there is one; later ones take this same hash.
            os.makedirs(os.path.dirname(autoload), exist_ok=True)
            write_atomic(autoload, f"<?php // ComposerAutoloaderInit{content_hash or self.module.sha256(lock)}::\n")
        self._composer(install)
        self._judge_links(_parts.links_out(self.app, ["vendor/*/*"]))
        self.parts.save("composer", "vendor", key, self.app, ["vendor"])

    def warn_of_livewire(self) -> None:
        """Warn where the components that Livewire 4 has compiled would be taken for those of each release.

        It looks whether one is older than its source, and all files of a release are as old as the commit.
        """
        source = os.path.join(self.app, "vendor/livewire/livewire/src")
        provider = _parts.read_text(os.path.join(source, "LivewireServiceProvider.php"))
        names = _parts.read_text(os.path.join(source, "Compiler/CacheManager.php"))
        if not _LIVEWIRE_SHARES.search(provider) or "base_path()" not in names:
            return
        packages = self.runner.read_json(os.path.join(self.app, "composer.lock")).get("packages") or []
        version = next((each.get("version") for each in packages if each.get("name") == "livewire/livewire"), "")
        self.module.warn(
            f"{' '.join(filter(None, ('livewire/livewire', version)))} keeps compiled single-file and multi-file "
            f"components in storage/framework/views/livewire, which releases share, and takes one of another release "
            f"for its own, so that a release or a rollback may run old classes; update it to a version that keeps "
            f"them in the directory of view.compiled, which each release has for itself"
        )

    def _judge_links(self, out: dict[str, str]) -> None:
        """Stop at packages that are linked to where they are built; a place outside of that may be on each host."""
        area = os.path.realpath(self.area) + os.sep
        lost: list[str] = []
        elsewhere: list[str] = []
        for name, target in out.items():
            outside = os.path.isabs(target) and not os.path.realpath(target).startswith(area)
            (elsewhere if outside else lost).append(f"{name} -> {target}")
        remedy = (
            "remove symlink from the options of that repository in composer.json, so that Composer copies the package"
        )
        if lost:
            raise self.runner.error(f"build: {', '.join(lost)} would lead out of the release; {remedy}")
        if elsewhere:
            told = f"{', '.join(elsewhere)} leads to what each host has to have, since no release does"
            self.module.warn(f"{told}; otherwise {remedy}")

    def _composer(self, arguments: list[str]) -> str:
        environment = {"COMPOSER_AUTH": self.composer_auth} if self.composer_auth else {}
        if self.params["path"]:
            # A link to a package beside the application would lead out of the release.
            environment["COMPOSER_MIRROR_PATH_REPOS"] = "1"
        return self.runner.run(
            "composer", [self.params["composer"], *arguments, *_COMPOSER_FLAGS], self.app, **environment
        )

    def _vendor_inputs(self, install: list[str]) -> dict[str, Any]:
        inputs = _parts.vendor_inputs(self.app, self.inputs)
        # PHP with its extensions, and Composer itself.
        return {**inputs, "argv": install, "platform": self._composer(["show", "--platform", "--format=json"])}

    def pack(self, release: str, committed_at: int) -> str:
        path = self.artifact_path(release)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Order, times and owners fixed, so that equal trees give equal bytes (reproducible-builds.org/docs/archives).
        # Of 1 to 9: measured on 28 MB of code, half the time of the usual 6 for a twelfth more bytes.
        fixed = [*_parts.FIXED, f"--mtime=@{committed_at}", "--use-compress-program=gzip -n -3"]
        packed = os.path.join(self.area, "artifact")
        self.runner.run("pack", ["tar", *fixed, "-cf", packed, "-C", self.app, "."])
        os.replace(packed, path)
        return path

    def keep(self, path: str, release: str) -> str:
        """Put a downloaded artifact where one that was built would be."""
        kept = self.artifact_path(release)
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        os.replace(path, kept)
        return kept

    def obtain(self) -> str:
        """Return the path of the artifact that was given, on this host."""
        path: str = self.params["artifact"]
        if self.artifact_url:
            path = os.path.join(self.module.tmpdir if self.module.check_mode else self.area, "given")
            _artifact.download(self.artifact_url, path, self.params["sha256"])
        elif not os.path.isfile(path):
            raise _artifact.ArtifactError(f"artifact {path} is not on this host")
        elif self.params["sha256"]:
            expected, found = _artifact.check_sha256(self.params["sha256"]), self.module.sha256(path)
            if found != expected:
                raise _artifact.ArtifactError(f"{path} has sha256 {found}, not {expected}: it is another artifact")
        return path

    def describe(self, path: str) -> dict[str, Any]:
        """Return of an artifact that is there what a build returns."""
        files = _artifact.read_artifact(path)
        manifest = _artifact.manifest(path, files)
        requires = _artifact.requirements(files, self.params["kind"])
        return {**self.result(path, manifest, requires), "reused": [], "parts": {}}
