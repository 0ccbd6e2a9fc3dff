"""Prints what is in effect on the host, as JSON: one round trip instead of one for each question.

The only argument says, as JSON, what is asked for. Nothing is changed, and what cannot be read is empty.
"""

import json
import os
import pwd
import re
import subprocess
import sys

ASK = json.loads(sys.argv[1])


def run(*argv):
    try:
        done = subprocess.run(
            argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"}
        )
    except OSError:
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def login():
    """Who logged in by SSH, from where, for this very command: the nearest sshd above us runs as that user."""
    pid, connection = os.getpid(), ""
    while pid > 1:
        environment = dict(entry.split("=", 1) for entry in read(f"/proc/{pid}/environ").split("\0") if "=" in entry)
        connection = environment.get("SSH_CONNECTION", connection)
        if read(f"/proc/{pid}/comm").startswith("sshd"):
            ends = (connection.split() + [""] * 4)[:4]
            user = pwd.getpwuid(os.stat(f"/proc/{pid}").st_uid).pw_name
            return {"ssh": True, "user": user, "address": ends[0], "local_address": ends[2], "port": ends[3]}
        pid = int((re.search(r"(?m)^PPid:\s*(\d+)", read(f"/proc/{pid}/status")) or [0, 0])[1])
    return {"ssh": False, "user": os.environ.get("SUDO_USER") or "root", "address": "", "local_address": "", "port": ""}


def expired(name):
    """Whether the account is locked by an expiry on the first days of time, as base locks it."""
    fields = run("getent", "shadow", name).strip().split(":")
    return len(fields) > 7 and fields[7] in ("0", "1")


def user(name):
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return {}
    keys = [line.strip() for line in read(os.path.join(entry.pw_dir, ".ssh/authorized_keys")).splitlines()]
    return {
        "shell": entry.pw_shell,
        "home": entry.pw_dir,
        "groups": run("id", "-Gn", name).split(),
        "keys": [line for line in keys if line and not line.startswith("#")],
        "expired": expired(name),
    }


def sysctl(key):
    # A dot within the name of an interface is written as a slash.
    path = "/proc/sys/" + key.replace(".", "\0").replace("/", ".").replace("\0", "/")
    return " ".join(read(path).split()) if os.path.exists(path) else None


def ini(text):
    """The last value of each key, as systemd takes it."""
    return dict(re.findall(r"(?m)^\s*([A-Za-z]+)\s*=\s*(.*?)\s*$", text))


def mode(path):
    try:
        return f"{os.stat(path).st_mode & 0o7777:04o}"
    except OSError:
        return ""


def sshd(who, *more):
    spec = f"user={who['user']},host=localhost,addr={who['address'] or '127.0.0.1'}"
    if who["port"]:
        spec += f",laddr={who['local_address']},lport={who['port']}"
    return run("/usr/sbin/sshd", "-T", "-C", spec, *more).splitlines()


def included():
    """Whether the drop-ins are read before any setting."""
    lines = [line.strip().lower() for line in read("/etc/ssh/sshd_config").splitlines()]
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return bool(re.match(r"include\s+(/etc/ssh/)?sshd_config\.d/\*\.conf", first))


def host_keys():
    """Those of the wanted keys that the host has and that are long enough."""
    found = []
    for path in ASK["host_keys"]:
        size = run("ssh-keygen", "-l", "-f", path).split()
        if size and (size[-1] != "(RSA)" or int(size[0]) >= ASK["rsa_bits"]):
            found.append(path)
    return found


def short_moduli():
    lines = [line.split() for line in read("/etc/ssh/moduli").splitlines() if line[:1].isdigit()]
    # The size in the file is that of the highest bit, which is one less.
    return sum(1 for fields in lines if int(fields[4]) < ASK["moduli_bits"] - 1)


def swap(path):
    entry = next((line.split() for line in read("/proc/swaps").splitlines() if line.startswith(f"{path} ")), [])
    parent = os.statvfs(os.path.dirname(path))
    size = os.stat(path).st_size if os.path.isfile(path) else 0
    return {
        "size": size // 1048576,
        "room": parent.f_bavail * parent.f_frsize // 1048576 + size // 1048576,
        "active": bool(entry),
        "fstab": bool(re.search(rf"(?m)^{re.escape(path)}\s+\S+\s+swap\s", read("/etc/fstab"))),
        "others": [line.split()[0] for line in read("/proc/swaps").splitlines()[1:] if not line.startswith(f"{path} ")],
    }


def units(names):
    blocks = run("systemctl", "show", "-p", "Id,ActiveState,UnitFileState", *names).strip().split("\n\n")
    found = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    return {
        name: [entry.get("ActiveState", ""), entry.get("UnitFileState", "")]
        for name, entry in zip(names, found, strict=False)
    }


def zone():
    link = "/etc/localtime"
    target = os.readlink(link) if os.path.islink(link) else ""
    return target.split("zoneinfo/", 1)[-1] if "zoneinfo/" in target else ""


def managed_users():
    return read("/var/lib/slipway/users").split()


def main():
    who = login()
    names = {*ASK["users"], *managed_users(), who["user"]}
    zones = "/usr/share/zoneinfo"
    print(
        json.dumps(
            {
                "login": who,
                "users": {name: user(name) for name in names},
                "managed_users": managed_users(),
                "timezone": zone(),
                "timezone_known": not os.path.isdir(zones) or os.path.isfile(os.path.join(zones, ASK["timezone"])),
                "locales": [name.lower().replace("-", "") for name in run("locale", "-a").split()],
                "locale_path": os.path.realpath("/etc/default/locale"),
                "files": {path: read(path) for path in ASK["files"]},
                "modes": {path: mode(path) for path in ASK["modes"]},
                "login_defs": dict(re.findall(r"(?m)^([A-Z_]+)\s+(\S+)", read("/etc/login.defs"))),
                "sysctl": {key: sysctl(key) for key in ASK["sysctl"]},
                "swap": swap(ASK["swap"]),
                "units": units(ASK["units"]) if ASK["units"] else {},
                "journald": ini(run("systemd-analyze", "cat-config", "systemd/journald.conf")),
                "apt": run("apt-config", "dump").splitlines(),
                "host_keys": host_keys(),
                "short_moduli": short_moduli(),
                "sshd": {
                    # The drop-in alone, and all files together: what differs has been overridden.
                    "wanted": sshd(who, "-f", ASK["ssh_path"]),
                    "effective": sshd(who),
                    "root": sshd({**who, "user": "root"}),
                    "included": included(),
                },
            }
        )
    )


main()
