"""The site of the matrix: five hosts in Docker, provisioned once and then kept, and what is done to them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "lab"))

from labkit import engine, hosts, images  # noqa: E402
from labkit.common import STATE, LabError, say, wait_for  # noqa: E402

HERE = Path(__file__).parent
WORK = ROOT / ".cache" / "faults"
INVENTORY = HERE / "inventory"
APPS, WORKER, DATABASE, GIT = ["app1", "app2"], "worker1", "db1", "git1"
FLEET = [*APPS, WORKER]
APP = "/var/www/logbook"
SITE = hosts.Site(
    [*[hosts.Host(name, "debian13") for name in (*FLEET, DATABASE)], hosts.Host(GIT, images.GIT)],
    STATE / "faults",
    HERE / "build-repository",
)
HOSTS = {host.name: host for host in SITE.hosts}
# What makes the hosts: when it changes, site.yml runs again.
PROVISIONING = ["site.yml", "playbooks/site.yml", "plugins/filter", "tests/faults/inventory"]

LOOK = r"""
import glob, json, os, subprocess
os.chdir("/var/www/logbook")
def names(pattern): return sorted(glob.glob(pattern))
def workers():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline").read().split("\0")
            if "queue:work" in words:
                found.append(os.path.basename(os.readlink(f"/proc/{pid}/cwd")))
        except OSError:
            pass
    return sorted(found)
current = os.readlink("current") if os.path.islink("current") else ""
manifest = json.load(open("current/.slipway.json")) if current else {}
print(json.dumps({
    "live": os.path.basename(current), "version": manifest.get("version"), "workers": workers(),
    "left": [*names(".slipway/lock"), *names(".slipway/run.json"), *names(".slipway/staging-*"),
             *names(".slipway/build/*"), *names(".slipway/maintenance.json"), *names(".slipway/migrating"),
             *names(".slipway/*.[0-9]*"), *names("current.*"),
             *names("shared/storage/framework/down"), *names("shared/storage/framework/maintenance.php")],
    "releases": sorted(os.listdir("releases")),
}))
"""


def sh(host: str, script: str, check: bool = True) -> str:
    return hosts.inside(HOSTS[host].container, script, check=check)


def look(host: str) -> dict[str, Any]:
    found = subprocess.run(
        ["docker", "exec", "-i", HOSTS[host].container, "python3", "-"],
        input=LOOK, text=True, capture_output=True, check=True,
    ).stdout  # fmt: skip
    return dict(json.loads(found))


def addresses() -> dict[str, str]:
    found = {}
    for name in APPS:
        networks = hosts.inspect(HOSTS[name].container)["NetworkSettings"]["Networks"]
        found[name] = networks[hosts.NETWORK]["IPAddress"]
    return found


def stamp() -> str:
    total = hashlib.sha256()
    roles = [path for path in (ROOT / "roles").glob("*") if path.name != "release"]
    for start in [*roles, ROOT / "roles/release/tasks/layout.yml", *(ROOT / name for name in PROVISIONING)]:
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            if path.is_file() and path.suffix != ".md" and "__pycache__" not in path.parts:
                total.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    for host in SITE.hosts:
        total.update(hosts.inspect(host.container)["Id"].encode())
    return total.hexdigest()


def up() -> None:
    """Have the hosts run, and provisioned as this checkout has it."""
    engine.ensure()
    if all(hosts.inspect(host.container).get("State", {}).get("Running") for host in SITE.hosts):
        mend()
    hosts.up(SITE)
    mark = WORK / "provisioned"
    if mark.exists() and mark.read_text() == stamp():
        return
    say("Provisioning them with site.yml, which takes a few minutes the first time ...")
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-playbook", "site.yml", "-i", INVENTORY],
        cwd=ROOT, stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "site.log").write_text(done.stdout)
    if done.returncode:
        raise LabError(f"site.yml failed, see {WORK / 'site.log'}:\n{done.stdout[-2000:]}")
    mark.write_text(stamp())


# What is done to hosts. Each has a counterpart, or ends by itself.


def cut_ssh(host: str) -> None:
    """Let nothing of SSH through, in silence, as a network that went away does."""
    sh(host, "iptables -I INPUT -p tcp --dport 22 -j DROP")


def mend_ssh(host: str) -> None:
    sh(host, "while iptables -D INPUT -p tcp --dport 22 -j DROP 2>/dev/null; do :; done")


def stop_ssh(host: str) -> None:
    """End sshd and every session, so that connections are reset and refused."""
    sh(host, "systemctl stop ssh.service; pkill -x sshd; pkill -x sshd-session; true")


def start_ssh(host: str) -> None:
    sh(host, "systemctl start ssh.service")


def stop_service(host: str, name: str) -> None:
    sh(host, f"systemctl stop {name}")


def start_service(host: str, name: str) -> None:
    sh(host, f"systemctl start {name}")


def reboot(host: str) -> None:
    hosts.docker("restart", "--time", "20", HOSTS[host].container, timeout=60)
    hosts.finish_boot(HOSTS[host])
    # Docker leads another port of this machine to it now.
    hosts.write_ssh_files(SITE)


# Services have a view of the file systems of their own, as it was when they were started.
SERVICES = "systemctl restart nginx.service 'php*-fpm.service'"


def small_disk(host: str, free_mb: int) -> None:
    """Move the application onto a file system with little room."""
    sh(
        host,
        f"set -e; test ! -e {APP}/.small; d=$(mktemp -d); used=$(du -sm {APP} | cut -f1); "
        f"mount -t tmpfs -o size=$((used + {free_mb}))M,mode=0755 tmpfs $d; cp -a {APP}/. $d/; "
        f"touch $d/.small; mount --move $d {APP}; {SERVICES}",
    )


def fill_disk(host: str, left_kb: int) -> None:
    sh(
        host,
        f"cd {APP}; fallocate -l $(df --output=avail -k . | tail -n 1)K .filler; "
        f"dd if=/dev/zero of=.filler2 bs=1K 2>/dev/null; truncate -s -{left_kb}K .filler",
    )


def free_disk(host: str) -> None:
    sh(host, f"rm -f {APP}/.filler*; mount -o remount,size=2G {APP}")


def usual_disk(host: str) -> None:
    """Back onto the file system that it was on; nobody may ask meanwhile."""
    sh(
        host,
        f"set -e; test -e {APP}/.small || exit 0; rm -f {APP}/.filler*; d=$(mktemp -d); cp -a {APP}/. $d/; "
        f"umount -l {APP}; find {APP} -mindepth 1 -delete; cp -a $d/. {APP}/; rm -rf $d {APP}/.small; {SERVICES}",
    )


def sql(statements: str) -> str:
    return sh(DATABASE, f"mariadb logbook -Ne {json.dumps(statements)}")


def mend() -> None:
    """Undo all that may be left of a case that was ended."""
    for host in FLEET:
        mend_ssh(host)
        usual_disk(host)
    for host in (*FLEET, GIT):
        start_ssh(host)
    for name in ("mariadb", "redis-server"):
        start_service(DATABASE, name)
    return_repository()


def ready() -> bool:
    """Whether the whole site answers."""
    try:
        sh(DATABASE, "systemctl is-active mariadb redis-server")
        for host in FLEET:
            hosts.check_ssh(SITE, HOSTS[host])
    except LabError:
        return False
    return True


def wait_until_ready() -> None:
    if not wait_for(ready, 60):
        raise LabError("The site does not come back: lab/lab down, then the same again.")


def reset_migrations() -> None:
    """Let the migrations of the matrix be pending again."""
    sql("DROP TABLE IF EXISTS marks; DROP TABLE IF EXISTS tags; DELETE FROM migrations WHERE migration >= '2026_03'")


def move_repository() -> None:
    sh(GIT, f"mv {hosts.REPOSITORY} {hosts.REPOSITORY}.gone")


def return_repository() -> None:
    gone = f"{hosts.REPOSITORY}.gone"
    sh(GIT, f"test ! -e {gone} || mv {gone} {hosts.REPOSITORY}")


def later(seconds: float, name: str, *words: str) -> None:
    """Do something in a while."""
    threading.Timer(seconds, lambda: globals()[name](*words)).start()
