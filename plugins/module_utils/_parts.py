# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a build that are used again when all that they were made from is the same.

Private to this collection. A part is named by a keyed sha256 over its inputs and kept as a tar whose name holds its own
sha256. Where it is not certain what a part is made from, it is made anew: ``Unproven`` says why.
"""

from __future__ import annotations

import glob
import hashlib
import hmac
import json
import os
import platform
import re
import secrets
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.slipway.laravel.plugins.module_utils._layout import write_atomic

if TYPE_CHECKING:
    from ansible_collections.slipway.laravel.plugins.module_utils._runner import Runner

# The branch that is released, the one before and a hotfix find theirs.
_KEPT = 3

# Equal content gives equal bytes.
FIXED = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"]

# Run by `composer install` alone: what they do to vendor/ would be missing after `composer dump-autoload`.
_INSTALL_EVENTS = frozenset(
    ("pre-install-cmd", "post-install-cmd", "pre-package-install", "post-package-install", "pre-operations-exec")
)
# Besides these, with each install and each `composer dump-autoload`.
_DUMP_EVENTS = frozenset(("pre-autoload-dump", "post-autoload-dump"))
# Scripts of Laravel and its packages; what they write is made of packages alone.
_HARMLESS_SCRIPT = re.compile(
    r"Illuminate\\Foundation\\ComposerScripts::\w+"
    r"|@?php (?:\./)?artisan (?:package:discover|filament:upgrade|[\w-]+:publish)(?: --[\w=-]+)*"
)
# They work when the autoloader is dumped, which is done each time.
_PLUGINS_OF_THE_DUMP = frozenset(("php-http/discovery",))

# Scripts that npm, yarn and pnpm run with an install; they may read anything.
_INSTALL_SCRIPTS = frozenset(
    ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare")
)
# Packages from the tree itself, or changed by it.
# In locks of Yarn the package itself is the workspace ".", and some packages have patches that Yarn brings.
_FROM_THE_TREE = re.compile(
    r"""["'@ +](?:file|link|portal):|["' ]workspace:|@workspace:(?!\.["'])|@patch:(?!\S*builtin)|"link": true"""
)
_PACKAGE_FILES = (".npmrc", ".yarnrc", ".yarnrc.yml", ".pnpmfile.cjs", "pnpm-workspace.yaml")

# PHP that no front end reads, unless something below says otherwise.
_PHP = ("app", "bootstrap", "config", "database", "routes", "tests")
_PHP_FILES = ("artisan", "phpunit.xml", "phpunit.xml.dist", "phpstan.neon", "pint.json")
# Tailwind CSS 4 looks for class names in every file of the project (tailwindcss.com, "Detecting classes").
_SCANS_ALL = ("@tailwindcss/node", "@tailwindcss/oxide")
_READS_PHP = re.compile(r"laravel|php|artisan|wayfinder|ziggy|blade|livewire|filament", re.IGNORECASE)
_HARMLESS = re.compile(r"laravel-vite-plugin|laravel-mix|laravel-echo|@laravel/echo-\w+|laravel-precognition[\w-]*")
_DIRECTORIES = "|".join(_PHP)
# One of several directories, as in ./{app,resources}/**.
_CHOICE = rf"""["'`]!?(?:\./)?\{{[\w,./-]*\b(?:{_DIRECTORIES})\b"""
# A directory of PHP in a path, a command of PHP (not a file *.php), or all files below the root.
_NAMES_PHP = re.compile(
    rf"""["'`(/!{{,](?:{_DIRECTORIES})(?:/|["'`])|{_CHOICE}|(?<!\.)\bphp\b|\bartisan\b|["'`](?:\./)?\*"""
)
# In directories: a path that leads there from here, or files from the root of the project on, as Tailwind CSS 3 takes
# them wherever its configuration is. A module beside it, as in import './routes/shop', is neither.
_LEAVES_FOR_PHP = re.compile(
    rf"""\.\./(?:{_DIRECTORIES})/|["'`!{{,](?:\./)?(?:{_DIRECTORIES})/[^"'`\s]*(?:\*|\.php\b)|{_CHOICE}"""
)
# Directories without the sources of a front end, besides those of PHP.
_NO_SOURCES = frozenset((*_PHP, "lang", "node_modules", "public", "storage", "vendor"))
# Programs that a script may call PHP by.
_CALLS_PHP = re.compile(r"\b(?:composer|make|sail)\b")
_FRONT_END = (
    *(".js", ".cjs", ".mjs", ".jsx", ".ts", ".cts", ".mts", ".tsx", ".vue", ".svelte"),
    *(".css", ".scss", ".sass", ".less", ".styl", ".json"),
)

_READ_BY_TOOLS = re.compile(r"(?:VITE|MIX|NEXT|NUXT|NODE|NPM_CONFIG|YARN|PNPM|COMPOSER)_", re.IGNORECASE)


class Unproven(Exception):
    """It is not certain that the same inputs give the same part; the message says why."""


def read_text(path: str) -> str:
    """Return the text of a file, '' when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except (FileNotFoundError, IsADirectoryError):
        return ""


def environment_inputs(given: dict[str, str]) -> dict[str, str]:
    """Return the variables that count as inputs.

    :param given: the variables that the operator gave, on top of those of the process
    """
    own = {name: value for name, value in os.environ.items() if _READ_BY_TOOLS.match(name)}
    # Logins for packages, which change with each job of some CI; the lock says what is fetched by them.
    return {name: value for name, value in {**own, **given}.items() if name != "COMPOSER_AUTH"}


def links_out(app: str, patterns: list[str]) -> dict[str, str]:
    """Return the links in a directory that lead out of it, each with its target: a release would not have that.

    :param patterns: where to look, from the directory on
    """
    found = {}
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(glob.escape(app), pattern))):
            if os.path.islink(path):
                target = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
                if os.path.isabs(os.readlink(path)) or not target.startswith(app + os.sep):
                    found[os.path.relpath(path, app)] = os.readlink(path)
    return found


def vendor_inputs(app: str, environment: dict[str, str]) -> dict[str, Any]:
    """Return what decides the packages of Composer, without the platform."""
    manifest = json.loads(read_text(os.path.join(app, "composer.json")))
    lock = json.loads(read_text(os.path.join(app, "composer.lock")))
    config = manifest.get("config") or {}
    for name, usual in (("vendor-dir", "vendor"), ("bin-dir", "vendor/bin")):
        if config.get(name, usual) != usual:
            raise Unproven(f"composer.json sets {name}")
    if os.path.lexists(os.path.join(app, "vendor")):
        raise Unproven("the commit has files in vendor")
    events = _INSTALL_EVENTS.intersection(manifest.get("scripts") or {})
    if events:
        raise Unproven(f"composer.json has the script {min(events)}")
    allowed = config.get("allow-plugins") or {}
    for package in lock.get("packages") or []:
        name, kind = package.get("name"), package.get("type")
        refused = isinstance(allowed, dict) and allowed.get(name) is False
        if kind in ("composer-plugin", "composer-installer") and not refused and name not in _PLUGINS_OF_THE_DUMP:
            raise Unproven(f"{name} is a plugin of Composer")
        source = package.get("dist") or package.get("source") or {}
        if source.get("type") == "path":
            raise Unproven(f"{name} comes from a path")
        if kind != "metapackage" and not (source.get("reference") or source.get("shasum")):
            raise Unproven(f"composer.lock pins no reference of {name}")
    return {
        "files": {name: read_text(os.path.join(app, name)) for name in ("composer.json", "composer.lock")},
        "environment": {name: value for name, value in environment.items() if name.startswith("COMPOSER_")},
    }


def modules_inputs(app: str, lock: str, environment: dict[str, str]) -> dict[str, Any]:
    """Return what decides the packages of npm, yarn or pnpm, without the versions of the programs."""
    files = {name: read_text(os.path.join(app, name)) for name in ("package.json", lock, *_PACKAGE_FILES)}
    package = json.loads(files["package.json"])
    scripts = _INSTALL_SCRIPTS.intersection(package.get("scripts") or {})
    if scripts:
        raise Unproven(f"package.json has the script {min(scripts)}")
    if "workspaces" in package or re.search(r"^packages:", files["pnpm-workspace.yaml"], re.MULTILINE):
        raise Unproven("the package has workspaces")
    if os.path.lexists(os.path.join(app, "node_modules")):
        raise Unproven("the commit has files in node_modules")
    if os.path.exists(os.path.join(app, "binding.gyp")):
        raise Unproven("binding.gyp is compiled by the install")
    for name in ("package.json", lock):
        if _FROM_THE_TREE.search(files[name]) or "patchedDependencies" in files[name]:
            raise Unproven(f"{name} names packages that come from the tree or are patched by it")
    system = [platform.system(), platform.machine(), *platform.libc_ver()]
    return {"files": files, "environment": environment, "system": system}


def without_php(app: str, entries: dict[str, str], lock: str) -> dict[str, str]:
    """Return the entries of the application's directory that its front end may be made from.

    :param entries: its names, each with what git knows it by
    """
    unread = () if _reads_php(app, entries, lock) else (*_PHP, *_PHP_FILES)
    return {name: known for name, known in entries.items() if name not in unread}


def _reads_php(app: str, entries: dict[str, str], lock: str) -> bool:
    """Say whether the front end may depend on PHP that is not in resources/ or a package of Composer."""
    package = json.loads(read_text(os.path.join(app, "package.json")))
    locked = read_text(os.path.join(app, lock))
    if any(name in locked for name in _SCANS_ALL):
        return True
    direct = [name for kind in ("dependencies", "devDependencies") for name in package.get(kind) or {}]
    if any(_READS_PHP.search(name) and not _HARMLESS.fullmatch(name) for name in direct):
        return True
    if _composer_may_write(app):
        return True
    scripts = [str(script) for script in (package.get("scripts") or {}).values()]
    if any(_CALLS_PHP.search(script) for script in scripts):
        return True
    words = [word for script in scripts for word in script.split()]
    texts = [f'"{word}"' for word in words]
    # Programs of the commit; a word from the root on, such as /dev/null, is none.
    texts += [read_text(f"{app}/{word}") for word in words if os.path.isfile(f"{app}/{word}")]
    texts += [
        read_text(os.path.join(app, name))
        for name in entries
        if name.endswith(_FRONT_END) and name not in (lock, "package.json", "composer.json")
    ]
    if any(_NAMES_PHP.search(text) for text in texts):
        return True
    for name in entries.keys() - _NO_SOURCES:
        for directory, dummy, files in os.walk(os.path.join(app, name)):
            paths = (os.path.join(directory, file) for file in files if file.endswith(_FRONT_END))
            if any(_LEAVES_FOR_PHP.search(read_text(path)) for path in paths):
                return True
    return False


def _composer_may_write(app: str) -> bool:
    """Say whether an install by Composer runs scripts that may write sources of the front end out of PHP."""
    scripts = json.loads(read_text(os.path.join(app, "composer.json")) or "{}").get("scripts") or {}
    for event in (_INSTALL_EVENTS | _DUMP_EVENTS).intersection(scripts):
        commands = scripts[event] if isinstance(scripts[event], list) else [scripts[event]]
        if not all(_HARMLESS_SCRIPT.fullmatch(str(command).strip()) for command in commands):
            return True
    return False


class Parts:
    """The parts that are kept on this host; ``report`` has for each what it was made from and whether it was reused."""

    def __init__(self, runner: Runner, directory: str, work: str, enabled: bool) -> None:
        self.runner = runner
        self.directory = directory
        self.work = work
        self.enabled = enabled
        self.report: dict[str, dict[str, Any]] = {}

    def key(self, part: str, inputs: Callable[[], dict[str, Any]]) -> str:
        """Return the sha256 over the inputs of a part, '' when it must be made anew."""
        if not self.enabled:
            return ""
        try:
            material = json.dumps(inputs(), sort_keys=True)
        except Unproven as exc:
            self.report[part] = {"reused": False, "reason": str(exc)}
            return ""
        # A plain checksum over a short secret would give it away.
        key = hmac.new(self._secret(), material.encode(), hashlib.sha256).hexdigest()
        self.report[part] = {"reused": False, "inputs": key}
        return key

    def _secret(self) -> bytes:
        path = os.path.join(self.directory, "key")
        if not os.path.isfile(path):
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            write_atomic(path, secrets.token_hex(32) + "\n", 0o600)
        return read_text(path).encode()

    def restore(self, step: str, part: str, key: str, target: str) -> bool:
        """Unpack a part into a directory, if it is there and whole."""
        for path in glob.glob(os.path.join(self.directory, f"{part}-{key}-*.tar")) if key else []:
            sha256 = self.runner.module.sha256(path)
            if not path.endswith(f"-{sha256}.tar"):
                self.runner.module.warn(f"{path} is damaged; it was removed and its part is made anew")
                os.unlink(path)
                continue
            self.runner.run(step, ["tar", "-xpf", path, "-C", target])
            os.utime(path)
            self.report[part].update(reused=True, sha256=sha256)
            return True
        return False

    def save(self, step: str, part: str, key: str, source: str, names: list[str], recursive: bool = True) -> None:
        """Keep files and directories of a directory as a part."""
        if not key:
            return
        made, listing = os.path.join(self.work, "part"), os.path.join(self.work, "names")
        with open(listing, "w", encoding="utf-8", errors="surrogateescape") as handle:
            handle.write("".join(f"{name}\0" for name in names))
        recursion = "--recursion" if recursive else "--no-recursion"
        given = ["-C", source, "--null", "--verbatim-files-from", recursion, f"--files-from={listing}"]
        rc, dummy, err = self.runner.attempt(step, ["tar", *FIXED, "--mtime=@0", "-cf", made, *given])
        if rc != 0:
            # The build does not need it.
            self.runner.module.warn(f"{part} cannot be kept for the next build: {' '.join(err.split())[:300]}")
            return
        sha256 = self.runner.module.sha256(made)
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        os.replace(made, os.path.join(self.directory, f"{part}-{key}-{sha256}.tar"))
        self.report[part]["sha256"] = sha256

    def prune(self) -> None:
        """Keep the parts that were used last."""
        paths = glob.glob(os.path.join(self.directory, "*.tar"))
        for part in {os.path.basename(path).partition("-")[0] for path in paths}:
            ours = [path for path in paths if os.path.basename(path).startswith(f"{part}-")]
            for path in sorted(ours, key=os.path.getmtime, reverse=True)[_KEPT:]:
                os.unlink(path)
