#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: artisan
short_description: Run artisan commands of a Laravel application
version_added: 0.1.0
description:
  - Runs one or several artisan commands, in order, in one release of a Laravel application.
  - Says truly whether something changed. Caches, C(storage:link), C(key:generate), maintenance mode and migrations are
    compared before and after; commands that only read never count as a change; any other command counts as one.
  - Stops at the first command that fails.
author:
  - The slipway.laravel authors (@slipway)
options:
  release:
    description:
      - Directory of the application, the one that holds the file C(artisan). A symbolic link is followed.
    type: path
    required: true
    aliases: [chdir]
  commands:
    description:
      - The commands, each as a list of its words, for example C([migrate, --force]).
      - C(--no-ansi) and C(--no-interaction) are added to each.
    type: list
    elements: list
    required: true
  absent:
    description:
      - What to do with a command, or an option of it, that this application does not have.
      - Laravel versions differ, for example C(migrate --isolated) came with Laravel 9 and C(reload) with 12; packages
        such
        as Horizon bring commands of their own. The application itself is asked.
    type: str
    choices:
      fail: Stop with an error before any of the commands is run.
      skip: Leave that command out, and say so in RV(results[].skipped).
    default: fail
extends_documentation_fragment:
  - slipway.laravel.laravel
  - slipway.laravel.laravel.php
attributes:
  check_mode:
    description:
      - Commands that only read are run. For the commands whose state is known (caches, links, maintenance mode,
        migrations)
        the module predicts whether they would change something; all others are reported as a change.
    support: full
  diff_mode:
    description: Shows the fingerprints of the files and of the maintenance mode, and the migrations that differ.
    support: full
"""

EXAMPLES = r"""
- name: Rebuild the caches
  slipway.laravel.artisan:
    release: /var/www/app/current
    commands:
      - [config:cache]
      - [route:cache]
      - [view:cache]

- name: Migrate, on one host at a time where this Laravel can
  slipway.laravel.artisan:
    release: /var/www/app/current
    commands:
      - [migrate, --force]

- name: Restart Horizon where it is installed
  slipway.laravel.artisan:
    release: /var/www/app/current
    commands:
      - [horizon:terminate]
    absent: skip
"""

RETURN = r"""
results:
  description: One entry for each command, in the order given.
  returned: always
  type: list
  elements: dict
  contains:
    command:
      description: The words of the command.
      type: list
      elements: str
      returned: always
    changed:
      description: Whether it changed something, or would in check mode.
      type: bool
      returned: always
    skipped:
      description: Why it was not run.
      type: str
      returned: when it was not run
    rc:
      description: Its exit status.
      type: int
      returned: when it was run
    stdout:
      description: What it printed.
      type: str
      returned: when it was run
    stderr:
      description: What it printed to its error stream.
      type: str
      returned: when it was run
    seconds:
      description: How long it took.
      type: float
      returned: when it was run
migrations:
  description: Names of the migrations that were applied, or would be in check mode.
  returned: when a command migrates
  type: list
  elements: str
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import (
    CACHE_INPUTS,
    MIGRATION_COMMANDS,
    READ_ONLY,
    STATE_FILES,
    Artisan,
    ArtisanError,
    older_than_inputs,
    take_environment,
)


def absent_part(command: list[str], known: dict[str, set[str]]) -> str | None:
    """Return the word of a command that the application does not know, or None."""
    if command[0].startswith("-"):
        return None
    if command[0] not in known:
        return command[0]
    # Options that every command has (--force is not one of them) are not in each definition.
    common = {
        "--ansi",
        "--env",
        "--help",
        "--no-ansi",
        "--no-interaction",
        "--quiet",
        "--silent",
        "--verbose",
        "--version",
    }
    for word in command[1:]:
        option = word.partition("=")[0]
        if word.startswith("--") and word != "--" and option not in known[command[0]] | common:
            return f"{command[0]} {option}"
    return None


def predict(artisan: Artisan, command: str, info: dict[str, Any], before: dict[str, Any]) -> bool:
    """Say whether a command would change something."""
    if command in CACHE_INPUTS:
        return older_than_inputs(artisan.release, command)
    if command in MIGRATION_COMMANDS:
        migrations = info.get("migrations") or {"pending": [True], "ran": [True]}
        return command not in ("migrate", "migrate:install") or bool(migrations["pending"])
    if command in ("down", "storage:link"):
        return not any(before.values())
    if command in ("up", "storage:unlink") or (command.endswith(":clear") and command in STATE_FILES):
        return any(before.values())
    return True


def new_migrations(diff: dict[str, Any]) -> list[str]:
    """Return the migrations that are in the state after and not in the state before."""
    before = diff.get("before", {}).get("migrations", [])
    return [name for name in diff.get("after", {}).get("migrations", []) if name not in before]


def run_command(artisan: Artisan, command: list[str], check_mode: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run, or in check mode predict, one command; return its result and the state before and after."""
    name = command[0]
    if check_mode and "--pretend" in command:
        # It would create the table of migrations where there is none.
        return {"command": command, "changed": False, "skipped": "check mode"}, {}
    if name in READ_ONLY or "--pretend" in command or "--show" in command:
        return {**artisan.run(command), "changed": False}, {}
    asks = name in MIGRATION_COMMANDS or name in ("view:cache", "view:clear", "optimize", "optimize:clear")
    info = artisan.info() if asks else {}
    before: dict[str, Any] = dict(artisan.state(name, info.get("view_path")))
    if name in MIGRATION_COMMANDS:
        before["migrations"] = (info.get("migrations") or {}).get("ran", [])
    if check_mode:
        pending = (info.get("migrations") or {}).get("pending", []) if name == "migrate" else []
        after = {**before, "migrations": before["migrations"] + pending} if name in MIGRATION_COMMANDS else before
        result = {"command": command, "changed": predict(artisan, name, info, before), "skipped": "check mode"}
        return result, {"before": before, "after": after}
    try:
        result = artisan.run(command)
    except ArtisanError as exc:
        if name in MIGRATION_COMMANDS:
            # Those before the one that failed have been applied; where that cannot be told, the failure still is.
            with contextlib.suppress(ArtisanError):
                after = {**before, "migrations": (artisan.info().get("migrations") or {}).get("ran", [])}
                exc.result["diff"] = {"before": before, "after": after}
        raise
    after = dict(artisan.state(name, info.get("view_path")))
    if name in MIGRATION_COMMANDS:
        after["migrations"] = (artisan.info().get("migrations") or {}).get("ran", [])
    known = name in STATE_FILES or name in MIGRATION_COMMANDS
    # migrate:fresh and :refresh end with the same list, though every table was made anew.
    rebuilt = name in ("migrate:fresh", "migrate:refresh")
    return {**result, "changed": not known or rebuilt or before != after}, {"before": before, "after": after}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "release": {"type": "path", "required": True, "aliases": ["chdir"]},
            "commands": {"type": "list", "elements": "list", "required": True},
            "absent": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
            "php": {"type": "str", "default": "php"},
            "environment": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    commands = [[str(word) for word in command] for command in module.params["commands"]]
    for command in commands:
        if not command or not command[0] or " " in command[0]:
            module.fail_json(
                msg=f"commands: {' '.join(command)!r} is not a list of words; write it as [migrate, --force]"
            )
    environment = take_environment(module)
    artisan = Artisan(module, module.params["release"], module.params["php"], environment)
    problem = artisan.problem()
    if problem:
        module.fail_json(msg=problem)

    results: list[dict[str, Any]] = []
    diffs: list[dict[str, Any]] = []
    applied: list[str] = []
    try:
        known = artisan.commands()
        lacking = [absent_part(command, known) for command in commands]
        if any(lacking) and module.params["absent"] == "fail":
            module.fail_json(
                msg=f"the application in {artisan.release} has no {', '.join(part for part in lacking if part)}; "
                f"mend the command, or leave out what is missing with absent: skip"
            )
        for command, absent in zip(commands, lacking):
            if absent:
                results.append({"command": command, "changed": False, "skipped": f"this application has no {absent}"})
                continue
            result, diff = run_command(artisan, command, module.check_mode)
            results.append(result)
            if diff and diff["before"] != diff["after"]:
                name = " ".join(command)
                diffs.append({"before_header": name, "after_header": name, **diff})
                applied += new_migrations(diff)
    except ArtisanError as exc:
        details = dict(exc.result)
        applied += new_migrations(details.pop("diff", {}))
        changed = bool(applied) or any(entry["changed"] for entry in results)
        module.fail_json(msg=str(exc), results=results, changed=changed, migrations=applied, **details)
    answer: dict[str, Any] = {"changed": any(entry["changed"] for entry in results), "results": results, "diff": diffs}
    if any(command[0] in MIGRATION_COMMANDS for command in commands):
        answer["migrations"] = applied
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
