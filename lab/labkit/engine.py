"""The Docker Engine: is it usable, and start it where the user lets us."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from .common import STATE, LabError, run, say, wait_for, write_file

INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
# Every systemd host needs about seven instances; the kernel's default of 128 is enough for some 17 of them.
INOTIFY_WANTED = 1024
DISK_WANTED_GIB = 10
INSTALLED = STATE / "installed"


def docker(*args: str | Path, check: bool = True, data: bytes | None = None, timeout: float | None = None) -> str:
    """Run the docker client and return what it printed."""
    return run(["docker", *args], check=check, data=data, timeout=timeout).stdout


def answers() -> bool:
    if not shutil.which("docker"):
        return False
    try:
        return run(["docker", "info"], check=False, timeout=20).returncode == 0
    except LabError:
        return False


def why_not() -> str:
    """One sentence with the remedy, or '' when the engine answers."""
    if not shutil.which("docker"):
        return (
            "Docker is not installed: install Docker Engine, or run `make demo` as root with SLIPWAY_INSTALL=1 "
            "(Debian and Ubuntu) to have it installed."
        )
    try:
        done = run(["docker", "info"], check=False, timeout=20)
    except LabError:
        return "The Docker Engine does not answer within 20 s: restart it (systemctl restart docker)."
    if done.returncode == 0:
        return ""
    if "permission denied" in (done.stdout + done.stderr).lower():
        return "This user may not use Docker: add it to the group docker and log in again, or run as root."
    if address := os.environ.get("DOCKER_HOST"):
        return f"Docker does not answer at {address}: start it there, or unset DOCKER_HOST."
    return (
        "The Docker Engine is not running: start it (systemctl start docker), or run `make demo` as root with "
        "SLIPWAY_INSTALL=1 to have it started."
    )


def may_install() -> bool:
    """The engine belongs to the machine, so the user has to be root and to say so."""
    return os.geteuid() == 0 and (os.environ.get("SLIPWAY_INSTALL") == "1" or os.environ.get("CI") == "true")


def require() -> None:
    if problem := why_not():
        raise LabError(problem)


def install_packages(*packages: str) -> None:
    if not shutil.which("apt-get"):
        raise LabError(f"This machine has no apt: install {' and '.join(packages)} yourself.")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], env=env)
    run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], env=env)
    write_file(INSTALLED, (INSTALLED.read_text() if INSTALLED.exists() else "") + "\n".join(packages) + "\n")


def ensure() -> None:
    """Make the engine answer: install and start it when that is allowed, otherwise say what to do."""
    if not (problem := why_not()):
        raise_inotify()
        return
    if not may_install() or os.environ.get("DOCKER_HOST"):
        raise LabError(problem)
    if not shutil.which("dockerd") or not shutil.which("docker"):
        say("Installing the Docker Engine (docker.io) ...")
        install_packages("docker.io", "iptables", "ca-certificates")
    if Path("/run/systemd/system").is_dir():
        run(["systemctl", "start", "docker"])
    elif not answers():
        start_daemon()
    if not wait_for(answers, 60):
        log = STATE / "dockerd.log"
        tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-10:]) if log.exists() else ""
        raise LabError(f"The Docker Engine did not answer within 60 s; its last words:\n  {tail}")
    say("The Docker Engine runs.")
    raise_inotify()


def start_daemon() -> None:
    """No init here: run dockerd in a session of its own, so that it outlives make."""
    say("Starting dockerd ...")
    STATE.mkdir(mode=0o700, exist_ok=True)
    # A daemon that was killed leaves this file and then refuses to start.
    stale = Path("/var/run/docker.pid")
    if stale.exists() and not process_is(int(stale.read_text().strip() or 0), "dockerd"):
        stale.unlink()
    with open(STATE / "dockerd.log", "ab") as log:
        daemon = subprocess.Popen(
            ["dockerd", "-H", "unix:///var/run/docker.sock"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    write_file(STATE / "dockerd.pid", f"{daemon.pid}\n")


def process_is(pid: int, name: str) -> bool:
    """Whether that process lives and runs that program; a pid alone may by now be another's."""
    try:
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return False
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return name.encode() in b" ".join(argv)


def stop_own() -> None:
    """Stop a dockerd that `engine` started here, and put back what it changed in the kernel."""
    pid_file = STATE / "dockerd.pid"
    if pid_file.exists():
        pid = int(pid_file.read_text())
        if process_is(pid, "dockerd"):
            if docker("ps", "--quiet", check=False).strip():
                say("Left the dockerd that the lab started: other containers still run on it.")
                return
            say("Stopping the dockerd that the lab started ...")
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not process_is(pid, "dockerd"), 30)
        pid_file.unlink()
    before = STATE / "inotify.before"
    if before.exists() and os.geteuid() == 0:
        if int(INOTIFY.read_text()) == INOTIFY_WANTED:
            INOTIFY.write_text(before.read_text())
        before.unlink()


def raise_inotify() -> None:
    if not INOTIFY.exists() or os.geteuid() != 0:
        return
    now = int(INOTIFY.read_text())
    if now >= INOTIFY_WANTED // 2:
        return
    write_file(STATE / "inotify.before", f"{now}\n")
    try:
        INOTIFY.write_text(f"{INOTIFY_WANTED}\n")
    except OSError as exc:
        say(f"Could not raise {INOTIFY} above {now} ({exc.strerror}); more than 15 hosts may come up degraded.")
        return
    say(f"Raised fs.inotify.max_user_instances from {now} to {INOTIFY_WANTED}.")


def cgroup_mount() -> str:
    """The cgroup tree to hand to a host: new systemd refuses version 1, so version 2's part of a hybrid mount."""
    unified = Path("/sys/fs/cgroup/unified")
    return str(unified if unified.is_dir() else unified.parent)


def doctor() -> list[str]:
    """Everything that is not as the lab needs it, one sentence with its remedy each."""
    problems = [problem] if (problem := why_not()) else []
    mount = Path(cgroup_mount())
    if not (mount / "cgroup.procs").exists():
        problems.append(
            f"{mount} is no cgroup version 2 tree, which systemd in a container needs: "
            "boot the machine with systemd.unified_cgroup_hierarchy=1."
        )
    place = STATE.parent
    if not problems:
        info = json.loads(docker("info", "--format", "{{json .}}"))
        if info.get("OSType") != "linux":
            problems.append("Docker runs no Linux containers here: switch it to Linux containers.")
        if Path(root := info.get("DockerRootDir", "")).is_dir():
            place = Path(root)
    free = shutil.disk_usage(place).free / 2**30
    if free < DISK_WANTED_GIB:
        problems.append(
            f"{place} has {free:.1f} GiB free and the lab wants {DISK_WANTED_GIB}: free some space "
            "(docker system df shows what Docker holds)."
        )
    if INOTIFY.exists() and (now := int(INOTIFY.read_text())) < 128:
        problems.append(f"fs.inotify.max_user_instances is {now}: run sysctl -w fs.inotify.max_user_instances=1024.")
    for program in ("ssh", "ssh-keygen", "git"):
        if not shutil.which(program):
            package = "git" if program == "git" else "openssh-client"
            problems.append(f"{program} is missing: install the package {package}.")
    return problems


def apt_sources() -> list[tuple[str, str]]:
    """(URI, suite) pairs that this machine's own apt is configured with, in both formats of its files."""
    found: list[tuple[str, str]] = []
    folder = Path("/etc/apt/sources.list.d")
    for path in [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list"))]:
        if path.exists():
            for match in re.finditer(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", path.read_text(), re.MULTILINE):
                found.append((match[1], match[2]))
    for path in sorted(folder.glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)):
            fields = dict(re.findall(r"^(\S+):\s*(.*)$", stanza, re.MULTILINE))
            if "deb" in fields.get("Types", "deb").split():
                found += [(u, s) for u in fields.get("URIs", "").split() for s in fields.get("Suites", "").split()]
    return found
