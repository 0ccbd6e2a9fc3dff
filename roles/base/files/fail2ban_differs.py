"""Prints, one a line, what the running fail2ban does otherwise than the argument tells it, as JSON."""

import json
import sys

from fail2ban.client.csocket import CSocket
from fail2ban.server.mytime import MyTime

WANTED = json.loads(sys.argv[1])
SERVER = CSocket("/run/fail2ban/fail2ban.sock")


def ask(*words):
    code, answer = SERVER.send(list(words))
    if code:
        raise SystemExit(f"fail2ban does not answer {words}: {answer}")
    return answer


def main():
    listed = dict(ask("status"))["Jail list"]
    running = [name.strip() for name in listed.split(",")] if isinstance(listed, str) else list(listed)
    for jail, values in sorted(WANTED["jails"].items()):
        if str(values.get("enabled", False)).lower() not in ("true", "yes", "1"):
            if jail in running:
                print(f"{jail} runs, but is not enabled")
            continue
        if jail not in running:
            print(f"{jail} does not run")
            continue
        # A ban without an action is listed, and shuts nobody out.
        if not ask("get", jail, "actions"):
            print(f"{jail} has no action")
        for key in ("bantime", "findtime", "maxretry"):
            wanted = values.get(key, WANTED["defaults"].get(key))
            have = ask("get", jail, key)
            if wanted is not None and "%" not in str(wanted) and MyTime.str2seconds(str(wanted)) != have:
                print(f"{jail} has the {key} {have}, not {wanted}")
        ignored = {str(entry) for entry in ask("get", jail, "ignoreip")}
        wanted = str(values.get("ignoreip", WANTED["defaults"]["ignoreip"])).split()
        # A name is looked up at each ban; addresses are kept as they are written.
        lacking = [entry for entry in wanted if entry not in ignored and entry.partition("/")[0] not in ignored]
        if lacking:
            print(f"{jail} does not ignore {', '.join(lacking)}")


main()
