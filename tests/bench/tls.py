#!/usr/bin/env python3
"""What testssl.sh says about a server: its grade, and each finding above LOW. Exits 1 below A or with such a finding.

testssl.sh is a package of Debian; from 3.2 on (Debian 13) it gives grades. With --container it runs inside of a
container that has it: tests/bench/tls.py www.example.test --ip 172.18.0.2 --ca /root/ca.pem --container lab-host
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

HARMLESS = {"OK", "INFO", "LOW", "DEBUG"}
# What testssl.sh says about the openssl that it has, not about the server.
OF_THE_TOOL = {"engine_problem"}


def findings(arguments: argparse.Namespace) -> list[dict[str, str]]:
    prefix = ["docker", "exec", arguments.container] if arguments.container else []
    report = f"/tmp/tls-{time.time_ns()}.json"  # noqa: S108
    argv = [*prefix, "testssl", "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", report]
    for option, value in (("--ip", arguments.ip), ("--add-ca", arguments.ca)):
        argv += [option, value] if value else []
    # Its exit status counts findings of every kind; whether it worked is told by the report.
    subprocess.run([*argv, arguments.target], stdout=subprocess.DEVNULL, timeout=1800, check=False)
    done = subprocess.run([*prefix, "cat", report], capture_output=True, text=True, check=False)
    subprocess.run([*prefix, "rm", "-f", report], check=False)
    if done.returncode:
        sys.exit(f"testssl left no report: {done.stderr.strip()}")
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="name of the site, with :port unless it is 443")
    parser.add_argument("--ip", help="address to ask, when the name does not resolve")
    parser.add_argument("--ca", help="certificate of an authority to trust besides")
    parser.add_argument("--container", help="container that testssl runs in")
    found = findings(parser.parse_args())

    grade = next((entry["finding"] for entry in found if entry["id"] == "overall_grade"), "none")
    reasons = [entry["finding"] for entry in found if entry["id"].startswith("grade_cap_reason")]
    bad = [entry for entry in found if entry["severity"] not in HARMLESS and entry["id"] not in OF_THE_TOOL]
    print(f"grade: {grade}", *(f"  {reason}" for reason in reasons), sep="\n")
    print(f"findings above LOW: {len(bad)}")
    for entry in bad:
        print(f"  {entry['severity']:8} {entry['id']}: {entry['finding']}")
    sys.exit(bool(bad) or grade not in ("none", "A", "A+"))


if __name__ == "__main__":
    main()
