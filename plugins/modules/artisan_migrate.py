#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: artisan_migrate
short_description: Plan and apply the migrations of a Laravel application
version_added: 0.1.0
description:
  - Tells which migrations are pending, their SQL, and what that SQL risks on this database, by the tables that it
    names; applies them unless that would lose data, break the code that still runs or lock a large table for long, or
    nobody can tell.
  - Works on Laravel 8 to 13 alike, on MySQL, MariaDB, PostgreSQL and SQLite.
  - The plan comes from the migrations themselves, run with every statement held back, on a connection that may only
    read. Questions to the schema (C(Schema::hasColumn)) are answered truly; questions for rows find none.
  - A migration whose source shows that it does more than SQL is not run for the plan, and is C(unknown). More is
    work on files, requests, Redis, mail, jobs, calls of Artisan or other programs, and connections of its own. What the
    source does not show, since it is in classes that the migration calls, happens in the plan too, as in
    C(artisan migrate --pretend).
  - Where no migration has ever run, a schema that C(artisan schema:dump) stored is pending as well, by its path.
  - Fails where PostgreSQL would refuse a statement, such as C(CREATE INDEX CONCURRENTLY), since the migration runs in a
    transaction.
  - What cannot be told is a risk of the kind C(unknown), C(depends_on_data) or C(depends_on_schema), never nothing.
author:
  - The slipway.laravel authors (@slipway)
options:
  release:
    description:
      - Directory of the application, the one that holds the file C(artisan). A symbolic link is followed.
    type: path
    required: true
    aliases: [chdir]
  state:
    description:
      - How far to go.
    type: str
    choices:
      planned: Tell what is pending and what it risks; change nothing.
      applied: Apply what is pending, then run O(seeders).
    default: applied
  allow_destructive:
    description:
      - Apply migrations although RV(destructive) is true, or another of the RV(risks) C(needs_consent).
    type: bool
    default: false
  isolated:
    description:
      - Whether the lock of C(artisan migrate --isolated) is taken. When somebody else holds it, the module fails; of
        itself the command would exit with 0.
    type: str
    choices:
      auto: Where this Laravel has it (9 and later) and the cache store has locks that other processes see.
      always: Fail where that is not so.
      never: Never.
    default: auto
  seeders:
    description:
      - Classes of seeders to run after the migrations, each time. They have to bear being repeated.
    type: list
    elements: str
    default: []
  database:
    description:
      - Name of the connection in the application's configuration. Empty for its default.
    type: str
    default: ""
  paths:
    description:
      - Directories of migrations, relative to O(release). Empty for those of the application and its packages.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - slipway.laravel.laravel
  - slipway.laravel.laravel.php
attributes:
  check_mode:
    description: The same as O(state=planned); whether something is pending is whether something would change.
    support: full
  diff_mode:
    description: Shows the SQL, without values.
    support: full
"""

EXAMPLES = r"""
- name: See what the next release would do to the database
  slipway.laravel.artisan_migrate:
    release: /var/www/app/releases/20261121T013005Z-1a2b3c4d
    state: planned
  register: plan

- name: Migrate, unless somebody should have a look at it first
  slipway.laravel.artisan_migrate:
    release: /var/www/app/current

- name: Migrate the tenants' database, and fill its lists
  slipway.laravel.artisan_migrate:
    release: /var/www/app/current
    database: tenants
    paths: [database/migrations/tenants]
    seeders: ['Database\Seeders\CountrySeeder']
    allow_destructive: true
"""

RETURN = r"""
pending:
  description: Names of the migrations that were pending when the module began, in the order in which they run;
      before them the path of the stored schema, when that is loaded.
  returned: always
  type: list
  elements: str
skipped:
  description: Names of those that say of themselves that they shall not run (C(shouldRun), Laravel 12).
  returned: always
  type: list
  elements: str
sql:
  description:
    - Statements of each pending migration. Values are left out, long statements shortened, repeated ones counted.
  returned: always
  type: dict
risks:
  description: What the statements risk.
  returned: always
  type: list
  elements: dict
  contains:
    migration:
      description: Name of the migration.
      type: str
      returned: always
    kind:
      description:
        - V(drop_table), V(drop_column), V(drop_object), V(rename_table), V(rename_column), V(narrow_column),
          V(not_null_without_default), V(truncate) and V(delete_data) are destructive.
        - V(update_data), V(drop_index), V(add_constraint), V(replace_object), V(long_lock) (on 100000 rows or 100 MiB
          and more, or of unknown size; on PostgreSQL for an index of any table with rows), V(unknown),
          V(depends_on_data) and V(depends_on_schema) are not. The last two are of migrations that read rows, or that
          look at tables which pending migrations change. Their statements are judged as they are without either.
      type: str
      returned: always
    needs_consent:
      description: Whether it is applied with consent alone (O(allow_destructive)), as in a release. It is destructive,
        V(unknown), or a V(long_lock) of a table that is large or of unknown size. Of what is V(unknown) the first
        release into a database without tables asks for none.
      type: bool
      returned: always
    destructive:
      description: Whether it loses data, or breaks the code that runs until the switch.
      type: bool
      returned: always
    table:
      description: The table; empty when it is about none or several.
      type: str
      returned: always
    rows:
      description: Rows of the table, as the database estimates them; null when that is not known.
      type: int
      returned: always
    bytes:
      description: Size of the table with its indexes; null when that is not known.
      type: int
      returned: always
    connection:
      description: The connection that the statement is for; empty when it is about none.
      type: str
      returned: always
    elsewhere:
      description: Whether that one has another database than the default connection, of which snapshots are taken. A
        port alone makes no other one.
      type: bool
      returned: always
    statement:
      description: The statement, without values.
      type: str
      returned: always
    reason:
      description: What happens, in a sentence.
      type: str
      returned: always
destructive:
  description: Whether one of the risks is destructive.
  returned: always
  type: bool
migrations:
  description: Names of the migrations that were applied, after a failure too; those of a stored schema follow its path.
  returned: when it applies
  type: list
  elements: str
seeded:
  description: Classes of the seeders that were run.
  returned: when it applies
  type: list
  elements: str
isolated:
  description: Whether the lock of C(--isolated) was taken.
  returned: when it applies
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import Artisan, take_environment
from ansible_collections.slipway.laravel.plugins.module_utils._errors import MigrationError
from ansible_collections.slipway.laravel.plugins.module_utils._migrate import Migrations


def refusal(plan: dict[str, Any]) -> str:
    """Return why a plan is not applied without consent, empty when it needs none."""
    asked = [risk for risk in plan["risks"] if risk["needs_consent"]]
    if not asked:
        return ""
    found = [
        f"{risk['migration']}: {' '.join(filter(None, (risk['kind'], risk['table'])))}: {risk['reason']}"
        for risk in asked
    ]
    if plan["destructive"]:
        reason, first = "it would lose data or break the code that runs", "Take a snapshot and maintenance mode"
    else:
        reason, first = "it may block something, or nobody can tell what it does", "Look at it"
    return f"nothing was applied, since {reason}: {'; '.join(found)}. {first}, then add allow_destructive: true"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "release": {"type": "path", "required": True, "aliases": ["chdir"]},
            "state": {"type": "str", "choices": ["planned", "applied"], "default": "applied"},
            "allow_destructive": {"type": "bool", "default": False},
            "isolated": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
            "seeders": {"type": "list", "elements": "str", "default": []},
            "database": {"type": "str", "default": ""},
            "paths": {"type": "list", "elements": "str", "default": []},
            "php": {"type": "str", "default": "php"},
            "environment": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    environment = take_environment(module)
    artisan = Artisan(module, module.params["release"], module.params["php"], environment)
    problem = artisan.problem()
    if problem:
        module.fail_json(msg=problem)
    migrations = Migrations(artisan, module.params["database"], module.params["paths"])
    result: dict[str, Any] = {}
    try:
        result = migrations.plan()
        text = result.pop("text")
        applies = module.params["state"] == "applied"
        result["diff"] = {"before": "", "after": text if applies and result["pending"] else ""}
        if not applies:
            result["diff"] = {"prepared": text if result["pending"] else ""}
            module.exit_json(changed=False, **result)
        refused = "" if module.params["allow_destructive"] else refusal(result)
        if refused:
            module.fail_json(msg=refused, changed=False, **result)
        if module.check_mode:
            seeders = module.params["seeders"]
            module.exit_json(changed=bool(result["pending"] or seeders), migrations=[], seeded=[], **result)
        module.exit_json(**result, **migrations.apply(module.params["isolated"], module.params["seeders"]))
    except MigrationError as exc:
        module.fail_json(msg=str(exc), **{"changed": False, **result, **exc.evidence})


if __name__ == "__main__":
    main()
