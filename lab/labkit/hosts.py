"""The demo's hosts: containers that boot systemd, reached over SSH like any server."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from . import images
from .common import CHECKOUT, ROOT, STATE, LabError, run, say, wait_for, write_file
from .engine import cgroup_mount, docker

LABEL = f"slipway.lab={CHECKOUT}"
NETWORK = f"slipway-{CHECKOUT}"
HTTP_PORT = 8080
REPOSITORY = "/srv/git/app.git"
LOGIN_KEY = STATE / "id_ed25519"
DEPLOY_KEY = STATE / "deploy_key"
# Written into /run, which is empty after every start, just as what `PREPARE` does is undone by every start.
PREPARED = "/run/slipway-lab-prepared"
BOOTED = (
    "for i in $(seq 600); do case $(systemctl is-system-running 2>/dev/null) in "
    "running|degraded) exit 0;; esac; sleep .1; done; exit 1"
)
# Docker mounts these three files over the host's own, and /proc/sys read-only; a server has neither. `bind` matters:
# without it all of /proc changes.
PREPARE = f"""set -e
for f in hosts hostname resolv.conf; do
  if mountpoint -q /etc/$f; then cat /etc/$f >/run/$f; umount /etc/$f; cat /run/$f >/etc/$f; rm /run/$f; fi
done
mount -o remount,bind,rw /proc/sys
touch {PREPARED}
"""


@dataclasses.dataclass(frozen=True)
class Host:
    name: str
    image: str
    http: bool = False
    # What it is started from, when that is not the image itself but a copy of a host that was made from it.
    tag: str = ""

    @property
    def container(self) -> str:
        return f"slipway-{CHECKOUT}-{self.name}"

    @property
    def disposable(self) -> bool:
        """Whether nothing is lost when it is made anew."""
        return self.image == images.GIT


@dataclasses.dataclass(frozen=True)
class Site:
    """Hosts that belong together, and the directory with the files by which they are reached."""

    hosts: list[Host]
    folder: Path = STATE
    # Makes the repository that the Git server has.
    repository: Path = ROOT / "examples" / "build-repository"

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def known_hosts_git(self) -> Path:
        return self.folder / "known_hosts_git"


def distro() -> str:
    """The distribution of the demo's host: as asked, or as it already is."""
    value = os.environ.get("LAB_DISTRO")
    if value and value not in images.CODENAMES:
        raise LabError(f"LAB_DISTRO is {value!r}: use one of {', '.join(images.CODENAMES)}.")
    if value:
        return value
    state = inspect(Host("demo-app", "").container)
    image = str(state["Config"]["Image"]) if state else ""
    return next((name for name in images.CODENAMES if f"/{name}:" in image), "debian13")


def asked_port() -> int:
    """LAB_HTTP_PORT, or 0."""
    value = os.environ.get("LAB_HTTP_PORT", "")
    if value and not (value.isdigit() and 0 < int(value) < 65536):
        raise LabError(f"LAB_HTTP_PORT is {value!r}: give a port number.")
    return int(value or 0)


def demo_hosts() -> list[Host]:
    return [Host("demo-app", distro(), http=True), Host("demo-git", images.GIT)]


def inspect(container: str) -> dict[str, Any]:
    """What Docker knows of a container; empty when there is none."""
    done = run(["docker", "inspect", container], check=False)
    return dict(json.loads(done.stdout)[0]) if done.returncode == 0 else {}


def inside(container: str, script: str, *, data: bytes | None = None, check: bool = True) -> str:
    flag = ["--interactive"] if data is not None else []
    return run(["docker", "exec", *flag, container, "sh", "-c", script], data=data, check=check, timeout=300).stdout


def demo() -> Site:
    return Site(demo_hosts())


def up(site: Site | None = None) -> None:
    """Start what does not run of a site, the demo's unless another is given, and leave what runs alone."""
    asked_port()
    site = site or demo()
    hosts = [host for host in site.hosts if not kept(host)]
    images.build([host.image for host in hosts])
    write_keys()
    if not docker("network", "ls", "--quiet", "--filter", f"name=^{NETWORK}$").strip():
        docker("network", "create", "--label", LABEL, NETWORK)
    for host in hosts:
        start(host)
    for host in site.hosts:
        finish_boot(host)
    write_ssh_files(site)
    git = next(host for host in site.hosts if host.image == images.GIT)
    write_file(site.known_hosts_git, seed_git(git.container, git.name, site.repository) + "\n")
    for host in site.hosts:
        check_ssh(site, host)
        where = f", http://127.0.0.1:{published(host.container, 80)}" if host.http else ""
        say(f"{host.name} is up: ssh -F {site.ssh_config.relative_to(ROOT)} {host.name}{where}")


def kept(host: Host) -> bool:
    """Make sure that the host that is there runs; False when there is none, or it had to be removed."""
    state = inspect(host.container)
    if not state:
        return False
    problem = mismatch(host, state)
    if not problem and not state["State"]["Running"]:
        say(f"Starting {host.name} again ...")
        done = run(["docker", "start", host.container], check=False)
        problem = (done.stderr.strip().splitlines() or ["no reason given"])[-1] if done.returncode != 0 else ""
    if not problem and not published(host.container, 22):
        problem = "it has lost its network"
    if not problem:
        return True
    if not host.disposable:
        raise LabError(f"{host.name} cannot be used as it is ({problem}): run lab/lab down, then the same again.")
    docker("rm", "--force", "--volumes", host.container)
    return False


def mismatch(host: Host, state: dict[str, Any]) -> str:
    """What about an existing host is not as asked for, or ''."""
    image = str(state["Config"]["Image"])
    if f"/{host.image}:" not in image:
        return f"it is made from {image}, not {host.image}"
    bindings = state["HostConfig"]["PortBindings"].get("80/tcp")
    if host.http and bindings and asked_port() not in (0, int(bindings[0]["HostPort"])):
        return f"it publishes port {bindings[0]['HostPort']}, not {asked_port()}"
    return ""


def start(host: Host) -> None:
    tag = host.tag or images.image_tag(host.image)
    say(f"Starting {host.name} ({tag}) ...")
    ports = ["--publish", "127.0.0.1::22"]
    if host.http:
        ports += ["--publish", f"127.0.0.1:{free_http_port()}:80"]
    done = run(
        ["docker", "run", "--detach", "--name", host.container, "--hostname", host.name, "--label", LABEL,
         "--network", NETWORK, "--network-alias", host.name, *ports,
         # redis needs SYS_PTRACE to set up its user namespace.
         "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE",
         "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
         "--cgroupns", "host", "--volume", f"{cgroup_mount()}:/sys/fs/cgroup:rw",
         "--tmpfs", "/run", "--tmpfs", "/run/lock", tag],
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        run(["docker", "rm", "--force", "--volumes", host.container], check=False)
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise LabError(f"{host.name} could not be started: {said}")


def published(container: str, port: int) -> int:
    """The port of this machine that leads to a port of the container; Docker may choose another at every start."""
    found = run(["docker", "port", container, f"{port}/tcp"], check=False).stdout.split()
    return int(found[0].rsplit(":", 1)[1]) if found else 0


def free_http_port() -> int:
    if given := asked_port():
        if not port_is_free(given):
            raise LabError(f"Port {given} of 127.0.0.1 is taken: choose another LAB_HTTP_PORT, or leave it out.")
        return given
    for port in range(HTTP_PORT, HTTP_PORT + 100):
        if port_is_free(port):
            return port
    raise LabError(f"Ports {HTTP_PORT} to {HTTP_PORT + 99} are all taken: set LAB_HTTP_PORT to a free one.")


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def finish_boot(host: Host) -> None:
    """Wait until systemd has booted, then undo what a container has and a server has not."""
    name = host.container
    done = run(["docker", "exec", name, "sh", "-c", BOOTED], check=False, timeout=120)
    if done.returncode != 0:
        logs = run(["docker", "logs", "--tail", "15", name], check=False)
        raise LabError(f"{host.name} did not boot within 60 s; its last words:\n{logs.stdout}{logs.stderr}")
    failed = inside(name, "systemctl --failed --plain --no-legend | cut -d' ' -f1").split()
    if failed:
        say(f"Note: {host.name} booted with failed units: {', '.join(failed)}")
    if inside(name, f"test -e {PREPARED} || echo no").strip():
        inside(name, PREPARE)
    key = LOGIN_KEY.with_suffix(".pub").read_bytes()
    inside(
        name,
        "install -d -m 0700 -o admin -g admin /home/admin/.ssh && cat >/home/admin/.ssh/authorized_keys "
        "&& chown admin: /home/admin/.ssh/authorized_keys && chmod 0600 /home/admin/.ssh/authorized_keys",
        data=key,
    )


def write_keys() -> None:
    """Keys and passwords of this lab: made once, so that a second run changes nothing on the hosts."""
    STATE.mkdir(mode=0o700, exist_ok=True)
    for key, comment in ((LOGIN_KEY, "slipway lab login"), (DEPLOY_KEY, "slipway lab deploy key")):
        if not (key.exists() and key.with_suffix(".pub").exists()):
            key.unlink(missing_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", key])
    for name in ("db_password", "redis_password", "app_key"):
        path = STATE / "secrets" / name
        if not path.exists() or not path.read_text().strip():
            write_file(path, new_secret(name) + "\n", 0o600)


def new_secret(name: str) -> str:
    if name == "app_key":
        return "base64:" + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(16)


def host_key(container: str) -> str:
    """The public host key, read past the network, so that nothing has to be trusted at first sight."""
    key = "/etc/ssh/ssh_host_ed25519_key.pub"
    return inside(container, f"test -s {key} || ssh-keygen -A >/dev/null; cut -d' ' -f1,2 {key}").strip()


def write_ssh_files(site: Site) -> None:
    known, config = [], []
    for host in site.hosts:
        known.append(f"{host.name} {host_key(host.container)}\n")
        config.append(
            f"Host {host.name}\n"
            "  HostName 127.0.0.1\n"
            f"  Port {published(host.container, 22)}\n"
            "  User admin\n"
            f'  IdentityFile "{LOGIN_KEY}"\n'
            "  IdentitiesOnly yes\n"
            f"  HostKeyAlias {host.name}\n"
            f'  UserKnownHostsFile "{site.known_hosts}"\n'
            "  StrictHostKeyChecking yes\n"
        )
    write_file(site.known_hosts, "".join(known), 0o600)
    write_file(site.ssh_config, "\n".join(config), 0o600)


def check_ssh(site: Site, host: Host) -> None:
    argv: list[str | Path] = [
        "ssh",
        "-F",
        site.ssh_config,
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=5",
        host.name,
        "true",
    ]
    if not wait_for(lambda: run(argv, check=False, timeout=30).returncode == 0, 20, 0.5):
        raise LabError(f"{host.name} runs, but does not answer over SSH:\n  {run(argv, check=False).stderr.strip()}")


def seed_git(container: str, name: str, script: Path = Site.repository) -> str:
    """Serve the repository that a script makes from a host, and return the host's known_hosts line.

    The URL is ssh://git@<name>/srv/git/app.git, and .lab/deploy_key opens it.
    """
    write_keys()
    if inside(container, "command -v git || true").strip() == "":
        raise LabError(f"{container} has no git: start it from the image git (lab/lab images git).")
    with tempfile.TemporaryDirectory(prefix="slipway-lab-") as folder:
        built = Path(folder) / "app"
        run([script, built])
        bare = Path(folder) / "app.git"
        run(["git", "clone", "--quiet", "--bare", built, bare])
        refs = run(["git", f"--git-dir={bare}", "show-ref"]).stdout
        there = inside(container, f"git -c safe.directory='*' --git-dir={REPOSITORY} show-ref 2>/dev/null || true")
        if refs != there:
            archive = Path(folder) / "app.tar"
            shutil.make_archive(str(archive.with_suffix("")), "tar", bare)
            say(f"Putting the sample application's repository on {name} ...")
            inside(
                container,
                f"set -e; rm -rf {REPOSITORY}.new; mkdir -p {REPOSITORY}.new; tar -x -C {REPOSITORY}.new; "
                f"rm -rf {REPOSITORY}; mv {REPOSITORY}.new {REPOSITORY}",
                data=archive.read_bytes(),
            )
    inside(
        container,
        "set -e; id git >/dev/null 2>&1 || useradd --system --create-home --home-dir /srv/git-home --shell "
        "/usr/bin/git-shell git; usermod -p '*' git; install -d -m 0700 -o git -g git /srv/git-home/.ssh; "
        # Only reading, and nothing but Git.
        "{ printf 'restrict '; cat; } >/srv/git-home/.ssh/authorized_keys; "
        f"chown -R git: /srv/git-home {REPOSITORY}; chmod 0600 /srv/git-home/.ssh/authorized_keys",
        data=DEPLOY_KEY.with_suffix(".pub").read_bytes(),
    )
    return f"{name} {host_key(container)}"


def listing() -> list[str]:
    rows = docker("ps", "--all", "--filter", f"label={LABEL}", "--format", "{{.Names}}\t{{.Status}}\t{{.Image}}")
    return rows.splitlines()


def down() -> None:
    """Remove the containers and the network; images, keys and passwords stay."""
    containers = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split()
    if containers:
        docker("rm", "--force", "--volumes", *containers)
        say(f"Removed {len(containers)} host(s).")
    for network in docker("network", "ls", "--quiet", "--filter", f"label={LABEL}").split():
        docker("network", "rm", network)
    for name in ("ssh_config", "known_hosts", "known_hosts_git"):
        for path in [STATE / name, *STATE.glob(f"*/{name}")]:
            path.unlink(missing_ok=True)
