"""What the host has of Node and its applications, as JSON; it only reads.

Its first argument is the wanted state as JSON; with a second one, check, the applications are asked as well.
"""

from __future__ import annotations

import glob
import json
import os
import pwd
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request

GLOBALS = "/usr/local/lib/node_modules"
PACKAGES = "/etc/slipway/node/packages.json"
UNITS = "/etc/systemd/system"
MARK = "[X-Slipway-Node]"


def run(*argv):
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def read(path):
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError):
        return ""


def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def processes():
    """Unit, user and directory of every process."""
    found = {}
    for path in glob.glob("/proc/[0-9]*"):
        unit = re.search(r"/([^/\n]+\.(?:service|scope))(?:/|$)", read(path + "/cgroup"), re.MULTILINE)
        try:
            uid = os.stat(path).st_uid
        except OSError:
            continue
        found[int(path[6:])] = {"unit": unit[1] if unit else "", "uid": uid, "cwd": link(path + "/cwd")}
    return found


def address(text):
    """Address of /proc/net/tcp or tcp6; * for all."""
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    if not any(raw):
        return "*"
    shown = socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
    return shown[7:] if shown.startswith("::ffff:") else shown


def listeners(ports):
    """Who listens on the ports: port, address and the processes that hold the socket."""
    sockets = {}
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in read(file).splitlines()[1:]:
            field = line.split()
            where, port = field[1].split(":")
            if field[3] == "0A" and int(port, 16) in ports:
                entry = {"port": int(port, 16), "address": address(where), "pids": []}
                sockets["socket:[" + field[9] + "]"] = entry
    if sockets:
        for path in glob.glob("/proc/[0-9]*/fd/*"):
            held = sockets.get(link(path))
            if held:
                held["pids"].append(int(path.split("/")[2]))
    return list(sockets.values())


def active(units):
    """Which of the units run, and the main process of each."""
    shown = run("systemctl", "show", "--property=Id,ActiveState,MainPID", *units) if units else ""
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.split("\n\n") if block]
    return {block["Id"]: int(block.get("MainPID", 0)) for block in blocks if block["ActiveState"] == "active"}


def answer(url):
    """Status of a request, or why there is none."""
    try:
        return urllib.request.urlopen(url, timeout=10).status  # noqa: S310
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return str(getattr(error, "reason", error))


def written(unit):
    """Whether the role has written a unit."""
    return MARK in read(os.path.join(UNITS, re.sub(r"@.*\.service$", "@.service", unit)))


def stale(apps):
    """Units of applications and instances that are no longer wanted."""
    wanted = {unit for app in apps for unit in [app["service"], *app["units"]]}
    names = {name for name in map(os.path.basename, glob.glob(UNITS + "/node-*.service")) if written(name)}
    loaded = run("systemctl", "list-units", "--all", "--plain", "--no-legend", "node-*@*.service").splitlines()
    loaded = {line.split()[0] for line in loaded if line}
    templates = {name.replace("@.service", "") for name in names if name.endswith("@.service")}
    own = {unit for unit in loaded if unit.split("@")[0] in templates}
    return sorted({name for name in names if not name.endswith("@.service")} - wanted | own - wanted)


def switched(app):
    """Whether another manager runs the application so far: its service then means something else."""
    text = read(os.path.join(UNITS, app["service"]))
    return MARK in text and ("pm2-runtime" in text) != (app["manager"] == "pm2")


def check(app, running, procs, sockets):
    """What is wrong with an application that should run."""
    uid = pwd.getpwnam(app["user"]).pw_uid
    for unit in app["units"]:
        if unit not in running:
            yield f"{unit} does not run; journalctl -u {unit} tells why"
            return
    for unit in app["units"]:
        wrong = {proc["uid"] for proc in procs.values() if proc["unit"] == unit} - {uid}
        if wrong:
            yield "a process of {} runs as user {} instead of {}".format(unit, wrong.pop(), app["user"])
    for port in app["ports"]:
        own = [
            s
            for s in sockets
            if s["port"] == port and {procs[p]["unit"] for p in s["pids"] if p in procs} & set(app["units"])
        ]
        if not own:
            yield "{} runs but does not listen on port {}: does it take PORT from its environment?".format(
                app["name"], port
            )
            continue
        where = sorted({entry["address"] for entry in own})
        if app["address"] not in where or len(where) > 1:
            places = " and ".join(where)
            yield (
                f"{app['name']} listens on {places} instead of {app['address']}: it does not take HOST from its "
                "environment; pass the address in args, or set address to what it listens on"
            )
        host = "[{}]".format(app["probe"]) if ":" in app["probe"] else app["probe"]
        url = "http://{}:{}{}".format(host, port, app["health"])
        status = answer(url)
        if not isinstance(status, int) or status >= 500:
            yield "{} answers {} with {}".format(app["name"], url, status)


def moved(app, running, procs):
    """Whether processes of the application run in another directory than the one that is current."""
    real = os.path.realpath(app["directory"])
    if app["manager"] == "pm2":
        main = running.get(app["service"])
        workers = [proc for pid, proc in procs.items() if proc["unit"] == app["service"] and pid != main]
    else:
        workers = [procs[running[unit]] for unit in app["units"] if running.get(unit) in procs]
    return any(worker["cwd"] != real for worker in workers)


def version_of(name):
    text = read(os.path.join(GLOBALS, name, "package.json"))
    return json.loads(text).get("version", "") if text else ""


def main():
    wanted = json.loads(sys.argv[1])
    apps = wanted["apps"]
    users = {entry.pw_name for entry in pwd.getpwall()}
    procs = processes()
    sockets = listeners({port for app in apps for port in app["ports"]})
    running = active([unit for app in apps for unit in [app["service"], *app["units"]]])
    released = [app for app in apps if os.path.exists(app["awaits"])]
    checked = released if sys.argv[2:] == ["check"] else []
    strangers = [
        f"{UNITS}/{app['service']} is there already and this role has not written it; rename {app['name']} in "
        "node_apps, or remove the file"
        for app in apps
        if os.path.exists(os.path.join(UNITS, app["service"])) and not written(app["service"])
    ]
    for entry in sockets:
        holders = sorted({procs[pid]["unit"] or f"process {pid}" for pid in entry["pids"] if pid in procs})
        if not any(written(holder) for holder in holders):
            owner = next(app["name"] for app in apps if entry["port"] in app["ports"])
            names = " and ".join(holders) or "a process of another container"
            port = entry["port"]
            strangers.append(
                f"port {port} of {owner} is in use by {names}; give {owner} another port in node_apps, or free it"
            )
    # A start of the service alone would not wait for its instances.
    instances = [unit for app in released for unit in app["units"]]
    services = [app["service"] for app in apps if app["manager"] == "systemd"]
    listed = {entry["name"]: entry["version"] for entry in wanted["globals"]}
    recorded = json.loads(read(PACKAGES) or "[]")
    print(
        json.dumps(
            {
                "node": run("/usr/bin/node", "--version").lstrip("v"),
                "key": read(wanted["key"]),
                "source": read(wanted["source"]),
                "install": sorted(
                    name + "@" + version for name, version in listed.items() if version_of(name) != version
                ),
                "uninstall": sorted(name for name in recorded if name not in listed and version_of(name)),
                "users": sorted({app["user"] for app in apps} - users),
                "strangers": strangers,
                "running": sorted(running),
                "stale": stale(apps) + [app["service"] for app in apps if switched(app)],
                "stopped": [unit for unit in instances + services if unit not in running],
                "moved": [app["service"] for app in released if moved(app, running, procs)],
                "problems": [text for app in checked for text in check(app, running, procs, sockets)],
            }
        )
    )


main()
