#!/usr/bin/env python3
"""What lynis and ssh-audit say of a host that runs already: its hardening index, and what fails or warns.

    tests/bench/hardening.py --docker slipway-app            # a container, by docker exec as root
    tests/bench/hardening.py --ssh admin@192.0.2.10          # a host, by ssh and sudo

The tools are Debian's packages. --install puts them on the host for the measurement; otherwise they have to be there.
ssh-audit can run in another container with --audit-from: Debian 12's is older than the marker of strict key exchange,
which it calls unknown, and calls sntrup761 experimental; that of Debian 13 knows both.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys

LYNIS = "lynis audit system --quick --no-colors >/dev/null 2>&1; cat /var/log/lynis-report.dat"


def command(where: str, target: str, script: str) -> list[str]:
    """The words that run a script as root on the target."""
    if where == "docker":
        return ["docker", "exec", target, "sh", "-c", script]
    return ["ssh", "-o", "BatchMode=yes", target, f"sudo sh -c {shlex.quote(script)}"]


def run(where: str, target: str, script: str) -> str:
    done = subprocess.run(command(where, target, script), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == 127:
        sys.exit(f"{target} lacks lynis or ssh-audit; --install puts it there")
    return done.stdout


def lynis(where: str, target: str) -> dict[str, object]:
    report = run(where, target, f"command -v lynis >/dev/null || exit 127; {LYNIS}")
    index = re.search(r"(?m)^hardening_index=(\d+)$", report)
    return {
        "hardening_index": int(index[1]) if index else None,
        "version": (re.search(r"(?m)^lynis_version=(.*)$", report) or ["", ""])[1],
        "warnings": re.findall(r"(?m)^warning\[\]=([^|]*\|[^|]*)", report),
        "suggestions": re.findall(r"(?m)^suggestion\[\]=([^|]*\|[^|]*)", report),
    }


def ssh_audit(where: str, target: str, address: str) -> dict[str, object]:
    script = f"command -v ssh-audit >/dev/null || exit 127; ssh-audit --no-colors --level warn {shlex.quote(address)}"
    said = run(where, target, script)
    return {
        "failures": re.findall(r"(?m)^\(\w+\) (\S+) +-- \[fail\]", said),
        "warnings": re.findall(r"(?m)^\(\w+\) (\S+) +-- \[warn\]", said),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--docker", metavar="CONTAINER", help="audit this container")
    target.add_argument("--ssh", metavar="HOST", help="audit this host, whose login has sudo without a password")
    parser.add_argument("--install", action="store_true", help="install lynis and ssh-audit on the host first")
    parser.add_argument("--audit-from", metavar="CONTAINER", help="container that runs ssh-audit instead of the host")
    parser.add_argument("--address", default="127.0.0.1", help="address that ssh-audit connects to (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print everything, as JSON")
    parser.add_argument("--least", type=int, default=0, help="fail with a lower hardening index, or any finding of SSH")
    given = parser.parse_args()
    where, name = ("docker", given.docker) if given.docker else ("ssh", given.ssh)
    if given.install:
        packages = "apt-get update -qq && apt-get install -y -qq --no-install-recommends lynis ssh-audit"
        run(where, name, f"export DEBIAN_FRONTEND=noninteractive; ({packages}) >/dev/null 2>&1")
    system = lynis(where, name)
    ssh = ssh_audit(*(("docker", given.audit_from) if given.audit_from else (where, name)), given.address)
    if given.json:
        print(json.dumps({"lynis": system, "ssh_audit": ssh}, indent=2))
    else:
        print(f"lynis {system['version']}: hardening index {system['hardening_index']}, ", end="")
        print(f"{len(system['warnings'])} warnings, {len(system['suggestions'])} suggestions")
        print(f"ssh-audit: {len(ssh['failures'])} failures, {len(ssh['warnings'])} warnings")
        for finding in (*ssh["failures"], *ssh["warnings"]):
            print(f"  {finding}")
    bad = given.least and ((system["hardening_index"] or 0) < given.least or ssh["failures"] or ssh["warnings"])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
