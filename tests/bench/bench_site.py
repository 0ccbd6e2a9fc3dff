"""The hosts of the benchmark: up to eight that serve and work, one with the data, one with the git repository.

One of the eight is provisioned by site.yml; the others are copies of it.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "lab"))

from labkit import engine, hosts, images  # noqa: E402
from labkit.common import CHECKOUT, STATE, LabError, run, say  # noqa: E402

HERE = Path(__file__).parent
WORK = ROOT / ".cache" / "bench"
INVENTORY = HERE / "inventory"
APP = "/var/www/logbook"
MOST = 8
COPY = f"slipway-lab/debian13:bench-{CHECKOUT}"
FIRST, DATABASE, GIT = hosts.Host("app1", "debian13"), hosts.Host("db1", "debian13"), hosts.Host("git1", images.GIT)
COPIES = [hosts.Host(f"app{number}", "debian13", tag=COPY) for number in range(2, MOST + 1)]
# What makes the hosts: when it changes, site.yml runs again.
PROVISIONING = ["site.yml", "playbooks/site.yml", "plugins/filter", "roles", "tests/bench/inventory"]
# A host has built before: what npm downloads is there, for the script and for the release alike.
WARM = f"""set -e
cd "$(mktemp -d)"
git -c core.sshCommand='ssh -i {APP}/.slipway/deploy_key -o UserKnownHostsFile={APP}/.slipway/known_hosts' \
  clone --quiet --branch waiting-1 ssh://git@git1/srv/git/app.git .
npm ci --no-audit --no-fund
rm -rf "$PWD"
"""


def site(copies: int) -> hosts.Site:
    return hosts.Site([FIRST, DATABASE, GIT, *COPIES[:copies]], STATE / "bench", HERE / "build-repository")


def inside(host: str, script: str, user: str = "root") -> str:
    container = f"slipway-{CHECKOUT}-{host}"
    return run(["docker", "exec", "--user", user, container, "bash", "-c", script], timeout=600).stdout


def stamp() -> str:
    total = hashlib.sha256()
    for start in (ROOT / name for name in PROVISIONING):
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            made = path.is_file() and path.suffix != ".md" and "__pycache__" not in path.parts
            # The release is what is measured; of its role only the layout makes the hosts.
            ours = not any(part.startswith("release") for part in path.relative_to(ROOT).parts)
            if made and (ours or path.name == "layout.yml"):
                total.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    for host in (FIRST, DATABASE):
        total.update(hosts.inspect(host.container)["Id"].encode())
    return total.hexdigest()


def up(count: int) -> None:
    """Have as many hosts run, provisioned as this checkout has it."""
    engine.ensure()
    engine.raise_inotify()
    hosts.up(site(0))
    mark = WORK / "provisioned"
    if not mark.exists() or mark.read_text() != stamp() or not images.exists(COPY):
        provision()
        mark.write_text(stamp())
    hosts.up(site(count - 1))


def provision() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "provisioned").unlink(missing_ok=True)
    for host in COPIES:
        run(["docker", "rm", "--force", "--volumes", host.container], check=False)
    say("Provisioning a host with site.yml, which takes a few minutes ...")
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-playbook", "site.yml", "-i", INVENTORY, "--limit", "app1,db1"],
        cwd=ROOT, stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    (WORK / "site.log").write_text(done.stdout)
    if done.returncode:
        raise LabError(f"site.yml failed, see {WORK / 'site.log'}:\n{done.stdout[-2000:]}")
    inside("app1", WARM, "deploy")
    say("Copying it ...")
    run(["docker", "commit", FIRST.container, COPY])


def processor_seconds(host: str) -> float:
    """Seconds of processors that a host has used since it started, by its control group."""
    pid = hosts.inspect(f"slipway-{CHECKOUT}-{host}")["State"]["Pid"]
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    first = next((path for names, path in groups.items() if "cpuacct" in names.split(",")), "")
    if first:
        return int(Path(f"/sys/fs/cgroup/cpuacct{first}/cpuacct.usage").read_text()) / 1e9
    # systemd has a group of its own below that of the container.
    path = Path("/sys/fs/cgroup") / groups[""].strip("/").removesuffix("/init.scope")
    usage = re.search(r"(?m)^usage_usec (\d+)$", (path / "cpu.stat").read_text())
    if not usage:
        raise LabError(f"{path} does not count the use of processors.")
    return int(usage[1]) / 1e6
