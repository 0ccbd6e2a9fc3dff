# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The front end of an application, or a Node application: npm, yarn or pnpm install and build it.

Private to this collection.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils import _parts, _ssr
from ansible_collections.slipway.laravel.plugins.module_utils._dotenv import compiled, parse_dotenv

if TYPE_CHECKING:
    from ansible_collections.slipway.laravel.plugins.module_utils._runner import Runner

LOCKS = {
    "npm": ("package-lock.json", "npm-shrinkwrap.json"),
    "yarn": ("yarn.lock",),
    "pnpm": ("pnpm-lock.yaml",),
}
# What an install leaves, none of which a built front end needs.
_INSTALLED = ("node_modules", ".pnp.cjs", ".pnp.loader.mjs", ".yarn")
# Notes of the package managers for their next install; they hold the time.
_NOTES = (
    *("node_modules/.package-lock.json", "node_modules/.yarn-integrity", "node_modules/.yarn-state.yml"),
    *("node_modules/.modules.yaml", "node_modules/.pnpm-workspace-state.json"),
    *("node_modules/.pnpm-workspace-state-v1.json", ".yarn/install-state.gz", ".yarn/build-state.yml"),
)
# What tools leave there for their next run.
_CACHES = tuple(f"node_modules/{name}" for name in (".cache", ".tmp", ".vite", ".vite-temp"))

# Web servers send nothing else compressed that is not compressed already; below 1 KiB it saves no packet.
_COMPRESSED = (".css", ".html", ".js", ".json", ".mjs", ".svg", ".txt", ".webmanifest", ".xml")
_COMPRESSED_FROM = 1024
_SERVED = ("public/", ".next/static/")
# What builds the front end of Laravel 8 and older instead of ``build``.
_OF_MIX = frozenset(("prod", "production"))
# Files that Vite reads itself; ``vite build`` is of the mode production unless it is given another.
_ENV_FILES = (".env", ".env.local", ".env.{}", ".env.{}.local")
_MODE = re.compile(r"(?:--mode|-m)[ =]([\w-]+)")
# Words of one command line.
_BATCH = 500


class FrontEnd:
    """The package.json of one application directory."""

    def __init__(self, runner: Runner, parts: _parts.Parts, params: dict[str, Any], tree: str) -> None:
        self.runner = runner
        self.parts = parts
        self.params = params
        self.tree = os.path.normpath(tree)
        self.app = os.path.normpath(os.path.join(tree, params["path"]))
        self.node = params["kind"] == "node"
        self.script: str = params["npm_script"]
        self.manager = "npm"
        self.lock = ""
        self.version = ""
        self.environment = {"COREPACK_ENABLE_DOWNLOAD_PROMPT": "0"}
        self.variables: dict[str, str] = {}

    def build(self, entries: dict[str, str], environment: dict[str, str], values: dict[str, str]) -> None:
        """Install the packages and run the build script; leave what the release needs of it.

        :param entries: the names at the top of the commit, each with what git knows it by
        :param environment: the variables that are inputs of the build
        :param values: what is to be compiled in of the application's ``.env``
        """
        if not os.path.isfile(os.path.join(self.app, "package.json")):
            if self.node:
                raise self.runner.error("build: the commit has no package.json; kind node needs one")
            return
        scripts = self._package().get("scripts") or {}
        scripted = self.script in scripts
        if not scripted:
            self._refuse_typing_errors(scripts)
            if not self.node:
                return
        else:
            self.variables = self._variables(str(scripts[self.script]), values)
        self._choose()
        modules = self.parts.key("node_modules", lambda: self._modules_inputs(environment))
        assets = ""
        # A Node application's build may write into node_modules, which assets have not.
        if scripted and not self.node:
            given = {**environment, **self.variables}
            assets = self.parts.key("assets", lambda: self._asset_inputs(modules, entries, given))
        if not self.parts.restore(self.manager, "assets", assets, self.app):
            self._install(modules)
            if scripted:
                self._run_script(assets)
        if self.node:
            self._keep_for_node()
        else:
            kept = ["node_modules"] if self._keep_for_ssr(modules) else []
            for name in _INSTALLED:
                if name not in kept:
                    _remove(os.path.join(self.app, name))

    def _package(self) -> dict[str, Any]:
        return self.runner.read_json(os.path.join(self.app, "package.json"))

    def _refuse_typing_errors(self, scripts: dict[str, Any]) -> None:
        """Stop where a script builds the front end, but not the one that is to do it.

        Laravel 8 brings one to every application; without a lock, nobody has ever run it.
        """
        other = _OF_MIX.intersection(scripts) and not self.node and self._locks(LOCKS)
        if self.script and (self.script != "build" or other):
            raise self.runner.error(
                f"build: package.json has no script {self.script}, only {', '.join(scripts) or 'none at all'}; name "
                f"the one that builds the front end in release_npm_script, or set that to '' to build none"
            )

    def _variables(self, script: str, values: dict[str, str]) -> dict[str, str]:
        """Return what the build script gets of the application's ``.env``, which no commit has.

        On a server that is built on, Vite and Mix read it beside ``package.json``. What they are given otherwise stays.
        """
        names: set[str] = {*os.environ, *self.runner.environment}
        for mode in _MODE.findall(script) or ["production"]:
            for file in _ENV_FILES:
                names.update(parse_dotenv(_parts.read_text(os.path.join(self.app, file.format(mode)))))
        example = compiled(parse_dotenv(_parts.read_text(os.path.join(self.app, ".env.example"))))
        # Also where release_optional_env lets them be missing on the hosts; without an ASSET_URL all is well.
        missing = [name for name in example if name not in {*names, *values, "ASSET_URL"}]
        if missing:
            self.runner.module.warn(
                f"{', '.join(missing)} of .env.example {'have' if missing[1:] else 'has'} no value, and will be "
                f"compiled into the front end as undefined; add it to the application's .env (where the inventory has "
                f"laravel_env: there, and run the site playbook) or to release_environment, empty if it is of no use"
            )
        return {name: value for name, value in values.items() if name not in names}

    def _locks(self, managers: dict[str, tuple[str, ...]]) -> dict[str, str]:
        """Return the lock files of package managers, which a workspace has in a directory above."""
        directory = self.app
        while True:
            found = {
                manager: os.path.join(directory, lock)
                for manager, locks in managers.items()
                for lock in reversed(locks)
                if os.path.isfile(os.path.join(directory, lock))
            }
            if found or directory == self.tree:
                return found
            directory = os.path.dirname(directory)

    def _choose(self) -> None:
        """Find the package manager by its lock file."""
        wanted: str = self.params["package_manager"]
        managers = LOCKS if wanted == "auto" else {wanted: LOCKS[wanted]}
        found = self._locks(managers)
        if not found:
            *names, last = (locks[0] for locks in managers.values())
            wanted = f"{', '.join(names)} or {last}" if names else last
            raise self.runner.error(
                f"build: the commit has no {wanted}; commit it, so that every build installs the same packages"
            )
        # As Corepack reads it: name@version.
        named = str(self._package().get("packageManager", "")).partition("@")[0]
        if len(found) > 1 and named not in found:
            raise self.runner.error(
                f"build: the commit has locks of {' and '.join(found)}; remove all but one, name the package manager "
                f"in packageManager of package.json, or set release_package_manager"
            )
        self.manager = named if len(found) > 1 else next(iter(found))
        self.lock = found[self.manager]
        program = [self.params["npm"] if self.manager == "npm" else self.manager]
        self.version = self._run([*program, "--version"]).strip()
        if self.manager == "yarn":
            lock_is_berry = "\n__metadata:" in _parts.read_text(self.lock)
            if lock_is_berry == self.version.startswith(("0.", "1.")):
                raise self.runner.error(
                    f"build: yarn.lock is of Yarn {'2 or later' if lock_is_berry else '1'}, but yarn on this host is "
                    f"{self.version}; install the other one there, or commit it and name it as yarnPath in .yarnrc.yml"
                )

    def _run(self, argv: list[str], cwd: str = "", **environment: str) -> str:
        return self.runner.run(self.manager, argv, cwd or self.app, **{**environment, **self.environment})

    def _argv(self, step: str) -> list[str]:
        """Return the command line of ``install``, ``run`` or ``prune``."""
        # Development packages build the front end, whatever NODE_ENV says.
        npm, classic = self.params["npm"], self.version.startswith(("0.", "1."))
        if step == "run":
            return [npm if self.manager == "npm" else self.manager, "run", self.script]
        if self.manager == "npm":
            quiet = ["--no-audit", "--no-fund"]
            if step == "install":
                return [npm, "ci", "--include=dev", *quiet]
            return [npm, "prune", "--omit=dev", "--ignore-scripts", *quiet]
        if self.manager == "pnpm":
            if step == "install":
                return ["pnpm", "install", "--frozen-lockfile", "--prod=false"]
            return ["pnpm", "prune", "--prod", "--config.ignore-scripts=true", "--config.confirm-modules-purge=false"]
        if classic:
            frozen = ["yarn", "install", "--frozen-lockfile", "--non-interactive", "--no-progress"]
            if step == "install":
                return [*frozen, "--production=false"]
            # The scripts of what stays have been run.
            return [*frozen, "--production=true", "--ignore-scripts", "--prefer-offline"]
        if step == "install":
            return ["yarn", "install", "--immutable"]
        return ["yarn", "workspaces", "focus", "--production"]

    def _modules_inputs(self, environment: dict[str, str]) -> dict[str, Any]:
        if os.path.dirname(self.lock) != self.app:
            raise _parts.Unproven("the package has workspaces")
        inputs = _parts.modules_inputs(self.app, os.path.basename(self.lock), environment)
        node = self._run(["node", "--version"]).strip()
        return {**inputs, "programs": [self.manager, self.version, node], "argv": self._argv("install")}

    def _asset_inputs(self, modules: str, entries: dict[str, str], environment: dict[str, str]) -> dict[str, Any]:
        if not modules:
            raise _parts.Unproven("its packages are installed anew")
        return {
            "node_modules": modules,
            # Of a directory in a larger repository, the front end may read what is around it.
            "entries": entries if self.params["path"] else self._without_php(entries),
            "submodules": self.params["submodules"],
            "script": self.script,
            "environment": environment,
            "compressed": self._compressors(),
        }

    def _without_php(self, entries: dict[str, str]) -> dict[str, str]:
        return _parts.without_php(self.app, entries, os.path.basename(self.lock))

    def _install(self, key: str) -> None:
        if self.parts.restore(self.manager, "node_modules", key, self.app):
            return
        # A workspace is installed from its root.
        self._run(self._argv("install"), os.path.dirname(self.lock))
        if os.path.isdir(os.path.join(self.app, "node_modules")):
            self.parts.save(self.manager, "node_modules", key, self.app, ["node_modules"])

    def _run_script(self, key: str) -> None:
        before = _listing(self.app)
        # The clock of files is a coarse one.
        time.sleep(0.02)
        began = self._clock()
        self._run(self._argv("run"), **self.variables)
        _remove(os.path.join(self.app, ".next/cache"))
        after = _listing(self.app)
        made = sorted(name for name, state in after.items() if before.get(name) != state)
        made += self._compress(made)
        if key and before.keys() - after.keys():
            self.parts.report["assets"] = {"reused": False, "reason": f"{self.script} removes files of the commit"}
        elif key and any(_ssr.imports(self.app)) and self._written(began):
            # A release with packages has them as they were installed, or the assets would go with other ones.
            self.parts.report["assets"] = {"reused": False, "reason": f"{self.script} writes into node_modules"}
        else:
            self.parts.save(self.manager, "assets", key, self.app, made, recursive=False)

    def _clock(self) -> int:
        """Return the time as files get it now."""
        path = os.path.join(self.parts.work, "clock")
        with open(path, "w", encoding="ascii"):
            return os.stat(path).st_ctime_ns

    def _written(self, began: int) -> bool:
        """Say whether something in node_modules was changed since a time, besides the caches of tools."""
        for name in _CACHES:
            _remove(os.path.join(self.app, name))
        modules = os.path.join(self.app, "node_modules")
        for directory, dummy, names in os.walk(modules):
            # That of node_modules itself changes with the caches.
            paths = [os.path.join(directory, name) for name in names] + [directory] * (directory != modules)
            if any(os.lstat(path).st_ctime_ns >= began for path in paths):
                return True
        return False

    # Rendering on the server

    def _keep_for_ssr(self, key: str) -> bool:
        """Keep the packages where the bundle for inertia:start-ssr imports some, and tell what that costs."""
        needed, asked = _ssr.imports(self.app)
        if not needed and not asked:
            return False
        modules = os.path.join(self.app, "node_modules")
        if not os.path.isdir(modules):
            self._install(key)
        for link in _parts.links_out(self.app, ["node_modules/*", "node_modules/@*/*"]):
            # It leads nowhere in a release.
            os.unlink(os.path.join(self.app, link))
        there = {name: file for name, file in {**needed, **asked}.items() if os.path.isdir(os.path.join(modules, name))}
        lacking = [name for name in needed if name not in there]
        remedy = "set ssr: { noExternal: true } in vite.config, which puts the packages into the bundle"
        if lacking:
            self.runner.module.warn(
                f"{needed[lacking[0]]} imports {_some(lacking)}, and node_modules of the application lacks "
                f"{'them' if lacking[1:] else 'it'}, so that inertia:start-ssr will not start; {remedy}"
            )
        if lacking or not there:
            return False
        for name in (*_NOTES, *_CACHES):
            _remove(os.path.join(self.app, name))
        self.runner.module.warn(
            f"{next(iter(there.values()))} imports {_some(list(there))}, so that the release keeps all of node_modules "
            f"for inertia:start-ssr, {_size(modules) / 2**20:.1f} MiB; {remedy}, and the release goes without"
        )
        return True

    # Compression

    def _compressors(self) -> list[list[str]]:
        if not self.params["precompress"]:
            return []
        path = self.runner.environment.get("PATH")
        brotli = [["brotli", "--best", "--keep", "--force", "--"]] if shutil.which("brotli", path=path) else []
        return [["gzip", "-n", "-9", "--keep", "--force", "--"], *brotli]

    def _compress(self, made: list[str]) -> list[str]:
        """Put compressed copies beside the built files that a web server sends; return their names."""
        texts = [name for name in made if name.startswith(_SERVED) and name.endswith(_COMPRESSED)]
        paths = {name: os.path.join(self.app, name) for name in texts}
        texts = [
            name
            for name, path in paths.items()
            if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) >= _COMPRESSED_FROM
        ]
        compressed = []
        for argv in self._compressors():
            suffix = ".gz" if argv[0] == "gzip" else ".br"
            # Plugins of Vite and webpack may have made them.
            missing = [name for name in texts if name + suffix not in made]
            for start in range(0, len(missing), _BATCH):
                self.runner.run("compress", [*argv, *missing[start : start + _BATCH]], self.app)
            compressed += [name + suffix for name in missing]
        return compressed

    # Node applications

    def _keep_for_node(self) -> None:
        modules = os.path.join(self.app, "node_modules")
        standalone = self._standalone()
        if standalone:
            # It serves these itself, but Next.js leaves the copying to whoever deploys.
            for name in ("public", ".next/static"):
                source, target = os.path.join(self.app, name), os.path.join(standalone, name)
                if os.path.isdir(source) and not os.path.lexists(target):
                    shutil.copytree(source, target, symlinks=True)
        if os.path.isdir(modules) and self.params["node_prune"] and os.path.dirname(self.lock) == self.app:
            self._run(self._argv("prune"))
        if not standalone:
            self._judge_packages(modules)
        if not os.path.isdir(modules):
            return
        for name in (*_NOTES, "node_modules/.cache"):
            _remove(os.path.join(self.app, name))

    def _standalone(self) -> str:
        """Return the directory of what Next.js makes with ``output: standalone``, '' if it did not.

        In a workspace it has the path that the application has below the root of that, or of what next.config.js says.
        """
        root, below = self.app, ""
        while True:
            found = os.path.normpath(os.path.join(self.app, ".next/standalone", below))
            if os.path.isfile(os.path.join(found, "server.js")):
                return found
            if root == self.tree:
                return ""
            root, below = os.path.dirname(root), os.path.join(os.path.basename(root), below)

    def _judge_packages(self, modules: str) -> None:
        """Look whether the packages of the application are in its own directory, which is all that is released."""
        dependencies = self._package().get("dependencies") or {}
        # Nitro, and so Nuxt, has put all that the server needs beside it.
        if not dependencies or os.path.isfile(os.path.join(self.app, ".output/server/index.mjs")):
            return
        remedy = (
            "let the build bundle them (in Next.js by output: 'standalone') and name what it has bundled in "
            "devDependencies, or give the application a lock outside of the workspace"
        )
        if not os.path.isdir(modules):
            raise self.runner.error(
                f"build: {self.manager} made no node_modules, so that the release would lack its packages; set "
                f"nodeLinker: node-modules in .yarnrc.yml, {remedy}"
            )
        out = _parts.links_out(self.app, [f"node_modules/{name}" for name in dependencies])
        in_workspace = os.path.dirname(self.lock) != self.app
        lacking = [name for name in dependencies if in_workspace and not os.path.isdir(os.path.join(modules, name))]
        if out:
            shown = [f"{name} -> {target}" for name, target in out.items()]
            more = f" and {len(shown) - 3} more" if shown[3:] else ""
            problem = f"{', '.join(shown[:3])}{more} would lead out of the release"
            remedy = f"for packages by file: put install-links=true into .npmrc, otherwise {remedy}"
        elif lacking:
            problem = f"node_modules of the application lacks {', '.join(lacking)}, which the workspace has at its root"
        else:
            return
        # A server that was bundled never looks there.
        self.runner.module.warn(
            f"{problem}; a server that needs them will not start, as release_probe_command shows before the switch: "
            f"{remedy}"
        )


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _some(names: list[str]) -> str:
    """Name the first ones of a list."""
    more = f" and {len(names) - 3} more" if names[3:] else ""
    return f"{', '.join(names[:3])}{more}"


def _size(root: str) -> int:
    """Return how many bytes the files below a directory have."""
    walk = os.walk(root)
    return sum(os.lstat(os.path.join(directory, name)).st_size for directory, dummy, names in walk for name in names)


def _listing(root: str) -> dict[str, tuple[int, ...]]:
    """Return the names below a directory, without node_modules, each with what changes when it is written."""
    listing: dict[str, tuple[int, ...]] = {}
    pending = [""]
    while pending:
        parent = pending.pop()
        with os.scandir(os.path.join(root, parent)) as entries:
            for entry in entries:
                name = os.path.join(parent, entry.name)
                state = entry.stat(follow_symlinks=False)
                if not stat.S_ISDIR(state.st_mode):
                    listing[name] = (state.st_mode, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
                elif entry.name != "node_modules":
                    listing[name] = (state.st_mode,)
                    pending.append(name)
    return listing
