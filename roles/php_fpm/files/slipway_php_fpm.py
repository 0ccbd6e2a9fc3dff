# Installed by the role slipway.laravel.php_fpm.
"""Compares PHP-FPM with what the role wants of it, as /etc/slipway/php-fpm.json tells: slipway-php-fpm COMMAND

check    the files: PHP-FPM accepts them, nothing overrides what the role has written, no directive is unknown
pending  what the running services have not taken up yet, as JSON
link     leads the sockets that others know to the versions that have them now, once those listen
running  the services: every pool answers and runs with the files as they are now
"""

from __future__ import annotations

import glob
import grp
import json
import os
import pwd
import re
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable

WANTED = "/etc/slipway/php-fpm.json"
ETC = "/etc/php"
UNITS = "/usr/lib/systemd/system"
RUN = "/run/php"
# Links in /run are gone when the host starts.
BOOT = "/etc/tmpfiles.d/slipway-php-fpm.conf"
UNIT_KEYS = ("ActiveState", "UnitFileState", "NeedDaemonReload", "ExecMainStartTimestampMonotonic")
# systemd tells these in a form of its own: a set of calls, or seconds in words.
UNIT_TOLD_OTHERWISE = ("SystemCallFilter", "SystemCallErrorNumber", "TimeoutStopSec", "KillSignal")


def run(*argv: str) -> tuple[int, str]:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


# What the files say, and what PHP makes of them.


def value_of(text: str) -> str:
    """A value as both sides mean it, whatever way each writes it."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    text = {"undefined": "", "no value": ""}.get(text, text)
    word = text.lower()
    if word in ("on", "yes", "true"):
        return "1"
    if word in ("off", "no", "false", ""):
        return "0"
    return re.sub(r"^(\d+)s$", r"\1", text)


def settings_of(text: str, section: str = "") -> dict[tuple[str, str], str]:
    """The settings in a file of pools or of php.ini, by section and name."""
    found = {}
    for told in text.splitlines():
        line = re.sub(r"^\[[^]]*\] NOTICE: ", "", told).strip()
        head = re.fullmatch(r"\[([^]]+)\]", line)
        if head:
            section = head[1]
        elif "=" in line and not line.startswith((";", "#")):
            name, dummy, value = line.partition("=")
            found[section, name.strip()] = value_of(value)
    return found


def complaints(output: str) -> list[str]:
    """What PHP says about its configuration when it starts."""
    return sorted(set(re.findall(r"PHP ((?:Warning|Deprecated|Fatal error|Notice|Startup):.*)", output)))


def check_pools(version: str, pools: list[dict]) -> list[str]:
    status, output = run(f"/usr/sbin/php-fpm{version}", "-tt")
    if status != 0:
        errors = re.findall(r"(?:ERROR|ALERT|Fatal error): (.*)", output) or [output]
        return [f"PHP-FPM {version}: {error}" for error in errors]
    effective = settings_of(output)
    folder = f"{ETC}/{version}/fpm/pool.d"
    problems = []
    for name in ["00-slipway", *(pool["name"] for pool in pools)]:
        with open(f"{folder}/{name}.conf", encoding="utf-8") as handle:
            wanted = settings_of(handle.read())
        # A value may be secret: only its name is told.
        problems += [
            f"{folder}/{name}.conf: {setting} is not in effect, another file in {folder} overrides it"
            for (section, setting), value in wanted.items()
            if effective.get((section, setting), "0") != value
        ]
    return problems


def check_ini(version: str, sapi: str, program: str) -> list[str]:
    path = f"{ETC}/{version}/{sapi}/conf.d/99-slipway.ini"
    output = run(program, "-d", "error_reporting=32767", "-i")[1]
    effective = {
        line[0]: value_of(line[-1]) for line in (row.split(" => ") for row in output.splitlines()) if len(line) == 3
    }
    with open(path, encoding="utf-8") as handle:
        wanted = {name: value for (dummy, name), value in settings_of(handle.read()).items()}
    wanted.pop("error_reporting", None)
    problems = [f"PHP {version} ({sapi}): {text}" for text in complaints(output)]
    for name, value in wanted.items():
        if name not in effective:
            problems.append(f"{path}: PHP {version} ({sapi}) has no directive {name}; correct it, or add its extension")
        elif effective[name].lower() != value.lower():
            problems.append(f"{path}: {name} is {effective[name]} and not {value}, another file overrides it")
    return problems


def check(wanted: dict) -> list[str]:
    problems = []
    for version in wanted["versions"]:
        problems += check_pools(version, [pool for pool in wanted["pools"] if pool["version"] == version])
        problems += check_ini(version, "fpm", f"/usr/sbin/php-fpm{version}")
    for version in wanted["cli_versions"]:
        problems += check_ini(version, "cli", f"/usr/bin/php{version}")
    return problems


# What runs.


def unit(version: str, *more: str) -> dict[str, str]:
    names = [f"--property={name}" for name in (*UNIT_KEYS, *more)]
    lines = run("/usr/bin/systemctl", "show", f"php{version}-fpm.service", *names)[1].splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def newest(version: str) -> float:
    """When a file that PHP-FPM reads was last changed, added or removed."""
    base = f"{ETC}/{version}/fpm"
    paths = [f"{base}/{name}" for name in ("php.ini", "php-fpm.conf", "conf.d", "pool.d")]
    paths += glob.glob(f"{base}/conf.d/*.ini") + glob.glob(f"{base}/pool.d/*.conf")
    return max(os.stat(path).st_mtime for path in paths if os.path.exists(path))


def loaded(version: str) -> float:
    """When PHP-FPM has read its files: it writes this file anew at each start and reload."""
    try:
        return os.stat(f"/run/php/php{version}-fpm.pid").st_mtime
    except FileNotFoundError:
        return 0


def restart_needed(version: str, state: dict[str, str]) -> bool:
    """systemd confines a service when it starts, and never later."""
    drop_in = f"/etc/systemd/system/php{version}-fpm.service.d/slipway.conf"
    started = time.time() - time.monotonic() + int(state["ExecMainStartTimestampMonotonic"] or 0) / 1e6
    return state["NeedDaemonReload"] == "yes" or os.stat(drop_in).st_mtime > started


def wanted_links(wanted: dict) -> dict[str, str]:
    return {link: target for pool in wanted["pools"] for link, target in pool["links"].items()}


def led_to(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def old_links(wanted: dict) -> list[str]:
    """Links to the sockets of pools that are no longer there."""
    links, found = wanted_links(wanted), []
    for folder in sorted({RUN, *(os.path.dirname(link) for link in links)}):
        for name in sorted(os.listdir(folder) if os.path.isdir(folder) else []):
            path = os.path.join(folder, name)
            stem, suffix = map(re.escape, os.path.splitext(path))
            if path not in links and re.fullmatch(rf"{stem}-\d+\.\d+{suffix}", led_to(path)):
                found.append(path)
    return found


def boot_text(wanted: dict) -> str:
    lines = [f"L+ {link} - - - - {target}\n" for link, target in sorted(wanted_links(wanted).items())]
    return "".join(["# Written by slipway-php-fpm link.\n", *lines]) if lines else ""


def boot_differs(wanted: dict) -> bool:
    try:
        with open(BOOT, encoding="utf-8") as handle:
            return handle.read() != boot_text(wanted)
    except FileNotFoundError:
        return boot_text(wanted) != ""


def write_boot(wanted: dict) -> None:
    """Only now: a host that starts in the midst of a failed move serves with the version that it has."""
    text = boot_text(wanted)
    if not text:
        os.unlink(BOOT)
        return
    temporary = f"{BOOT}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as handle:
        handle.write(text)
    os.replace(temporary, BOOT)


def socket_differs(path: str, pool: dict) -> bool:
    """PHP-FPM keeps a socket over a reload as it was made."""
    if not pool["owner"] or not os.path.exists(path):
        return False
    found = os.stat(path)
    names = (pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name)
    return names != (pool["owner"], pool["group"]) or stat.S_IMODE(found.st_mode) != int(pool["mode"], 8)


def unused(wanted: dict) -> list[str]:
    """Services of versions that no pool of the role uses any more, and no pool of others either.

    Pools that moved to another version still have their files here, until this one has stopped.
    """
    moved = {"00-slipway", *(pool["name"] for pool in wanted["pools"])}
    installed = [re.search(r"php([\d.]+)-fpm", path) for path in glob.glob(f"{UNITS}/php*-fpm.service")]
    found = []
    for version in [match[1] for match in installed if match and match[1] not in wanted["versions"]]:
        pools = {os.path.basename(path)[: -len(".conf")] for path in glob.glob(f"{ETC}/{version}/fpm/pool.d/*.conf")}
        if not pools or ("00-slipway" in pools and pools <= moved):
            found.append(version)
    return found


def pending(wanted: dict) -> dict[str, list]:
    found: dict[str, list] = {"restart": [], "reload": [], "start": [], "stop": [], "sockets": [], "cli": []}
    for version in wanted["versions"]:
        state = unit(version)
        if state["ActiveState"] != "active" or state["UnitFileState"] != "enabled":
            found["start"].append(version)
        if state["ActiveState"] != "active":
            continue
        if restart_needed(version, state):
            found["restart"].append(version)
        elif newest(version) > loaded(version):
            found["reload"].append(version)
    found["links"] = [link for link, target in wanted_links(wanted).items() if led_to(link) != target]
    found["links"] += old_links(wanted) + ([BOOT] if boot_differs(wanted) else [])
    for version in unused(wanted):
        state = unit(version)
        if state["ActiveState"] == "active" or state["UnitFileState"] == "enabled":
            found["stop"].append(version)
    for pool in wanted["pools"]:
        found["sockets"] += [
            {"path": path, "owner": pool["owner"], "group": pool["group"], "mode": pool["mode"]}
            for path in pool["links"].values()
            if socket_differs(path, pool)
        ]
    program = f"/usr/bin/php{wanted['cli']}"
    if os.path.realpath("/usr/bin/php") != program:
        found["cli"].append(program)
    return found


def connect(address: str) -> socket.socket:
    if address.startswith("/"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(5)
        sock.connect(address)
        return sock
    host, dummy, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]*") or "127.0.0.1", int(port)), 5)


def wait_for(condition: Callable[[], bool], deadline: float) -> bool:
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def listens(address: str) -> bool:
    try:
        connect(address).close()
    except OSError:
        return False
    return True


def lead(link: str, target: str) -> None:
    """In one step: a request finds the old socket or the new one."""
    temporary = f"{link}.slipway-{os.getpid()}"
    os.symlink(target, temporary)
    os.replace(temporary, link)


def finish_queue(address: str, deadline: float) -> None:
    """Wait until a pool has taken up what is queued on its socket: who comes last in the queue hangs up unheard."""
    while time.monotonic() < deadline:
        try:
            with connect(address) as sock:
                sock.settimeout(max(0.1, deadline - time.monotonic()))
                sock.shutdown(socket.SHUT_WR)
                sock.recv(1)
            return
        except BlockingIOError:
            # No room in its queue, for now.
            time.sleep(0.05)
        except OSError:
            # It has gone already, or is too busy to be waited for.
            return


def link(wanted: dict) -> list[str]:
    """Nothing is led anywhere before all that is new listens."""
    deadline = time.monotonic() + wanted["wait"]
    links = {link: target for link, target in wanted_links(wanted).items() if led_to(link) != target}
    silent = [target for target in links.values() if not wait_for(lambda: listens(target), deadline)]  # noqa: B023
    if silent:
        return [f"PHP-FPM does not listen on {target}: everything leads where it did" for target in silent]
    before = [led_to(link) for link in links]
    for path, target in links.items():
        # A socket in the link's place goes with the reload, and would take the link with it.
        wait_for(lambda: os.path.islink(path) or not os.path.exists(path), time.monotonic() + 2)  # noqa: B023
        lead(path, target)
    for path in old_links(wanted):
        os.unlink(path)
    if boot_differs(wanted):
        write_boot(wanted)
    for path in filter(None, before):
        finish_queue(path, time.monotonic() + wanted["wait"])
    return []


def page(address: str, path: str) -> str:
    """One FastCGI request for a page of PHP-FPM itself."""
    params = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": path, "SCRIPT_FILENAME": path, "QUERY_STRING": "json"}
    body = b"".join(bytes([len(name), len(value)]) + name.encode() + value.encode() for name, value in params.items())

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content

    with connect(address) as sock:
        sock.sendall(record(1, struct.pack("!HB5x", 1, 0)) + record(4, body) + record(4, b"") + record(5, b""))
        stream, out = sock.makefile("rb"), b""
        while True:
            header = stream.read(8)
            if len(header) < 8:
                raise OSError("the connection was closed in the middle of an answer")
            dummy, kind, dummy, size, padding = struct.unpack("!BBHHBx", header)
            content = stream.read(size)
            stream.read(padding)
            if kind == 6:
                out += content
            elif kind == 3:
                return out.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")


def pool_problem(pool: dict) -> str:
    if not pool["status"]:
        return ""
    try:
        told = json.loads(page(pool["sockets"][-1], pool["status"]))
    except (OSError, ValueError) as error:
        return f"pool {pool['name']} does not answer on {pool['sockets'][-1]}: {error}"
    if (told["pool"], told["process manager"]) != (pool["name"], pool["pm"]):
        other = f"pool {told['pool']} ({told['process manager']})"
        return f"{pool['sockets'][-1]} is answered by {other}, not {pool['name']}"
    return ""


def service_problems(wanted: dict, version: str) -> list[str]:
    keys = [key for key in wanted["service"] if key not in UNIT_TOLD_OTHERWISE]
    state = unit(version, *keys)

    def words(text: object) -> list[str]:
        same = {"true": "yes", "1": "yes", "false": "no", "0": "no"}
        return sorted(same.get(word, word) for word in str(text).lower().split())

    return [
        f"php{version}-fpm.service: {key} is {state.get(key, 'unknown')} and not {wanted['service'][key]};"
        f" correct it, or the drop-in that overrides slipway.conf"
        for key in keys
        if key in state and words(state[key]) != words(wanted["service"][key])
    ]


def running(wanted: dict) -> list[str]:
    """A reload comes back before it is done: it waits for the requests in flight."""
    deadline = time.monotonic() + wanted["wait"]
    while True:
        problems = [f"{what} is pending: {about}" for what, about in pending(wanted).items() if about]
        problems += [problem for problem in map(pool_problem, wanted["pools"]) if problem]
        if not problems or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return problems + [problem for version in wanted["versions"] for problem in service_problems(wanted, version)]


def main() -> None:
    with open(WANTED, encoding="utf-8") as handle:
        wanted = json.load(handle)
    command = sys.argv[1] if len(sys.argv) == 2 else ""
    if command == "pending":
        print(json.dumps(pending(wanted)))
    elif command == "link":
        sys.exit("\n".join(link(wanted)) or 0)
    elif command == "check":
        sys.exit("\n".join(check(wanted)) or 0)
    elif command == "running":
        sys.exit("\n".join(check(wanted) + running(wanted)) or 0)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
