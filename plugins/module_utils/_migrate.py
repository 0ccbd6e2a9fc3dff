# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning, judging and applying the migrations of one release.

Private to this collection. Works on Laravel 8 to 13.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils._artisan import ArtisanError
from ansible_collections.slipway.laravel.plugins.module_utils._errors import MigrationError
from ansible_collections.slipway.laravel.plugins.module_utils._migrate_php import MIGRATIONS_PHP

if TYPE_CHECKING:
    from ansible_collections.slipway.laravel.plugins.module_utils._artisan import Artisan

# Exit status of `migrate --isolated` when another process migrates. Its own choice is 0, as if all were done.
HELD = 75

# A failed query as the framework reports it, and what databases say of rows: both may hold values. One that has been
# cut is left, with what stands behind it.
_CUT = r"(?:(?!\b(?i:set|where|values)\b)[^(])* …\)"
_IN_ERROR = re.compile(rf"\((?:Connection: [^)]*?)?SQL: (?!{_CUT})(.*)", re.DOTALL)
_VALUE = re.compile(
    r"(?P<entry>Duplicate entry |[Vv]alue: )'.*?'(?= for )"
    r"|(?P<key>Key \([^)]*\)=)\(.*?\)(?= )"
    r"|(?P<row>row contains )\(.*\)"
    r"|(?P<input>invalid input (?:syntax for type|value for enum) [^:]+: )\".*\""
)


def without_values(text: str) -> str:
    """Return the message of a database error without the values in its SQL."""

    def replace(found: re.Match[str]) -> str:
        sql = found[1]
        if re.match(r"(?i)\s*(?:alter|create|drop|rename|truncate)\b", sql):
            return f"(SQL: {sql}"
        # Up to Laravel 9 values stand there without quotes: nothing tells them from the statement.
        head = re.split(r"(?i)\(|\)$|\bset\b|\bwhere\b|\bvalues\b", sql, maxsplit=1)[0].strip()
        return f"(SQL: {head} …)"

    text = _IN_ERROR.sub(replace, text)
    return _VALUE.sub(lambda found: next(filter(None, found.groups())) + "***", text)


def dialect_of(driver: str) -> str:
    """Return the dialect of SQL that a driver of Laravel speaks."""
    return {"mariadb": "mysql", "pgsql": "pgsql", "sqlite": "sqlite"}.get(driver, "mysql")


def _judged(
    answer: dict[str, Any], skipped: list[str]
) -> tuple[dict[str, list[str]], dict[str, list[str]], list[dict[str, Any]]]:
    """Return the SQL of what is pending, by migration and as it may be shown, the same in full, and its risks."""
    # Most releases have nothing pending.
    from ansible_collections.slipway.laravel.plugins.module_utils import _sql  # noqa: PLC0415

    classifiers = {
        name: _sql.Classifier(dialect_of(known["driver"]), known["tables"], known["existing"], known["schemas"])
        for name, known in answer["connections"].items()
    }
    sql: dict[str, list[str]] = {}
    full: dict[str, list[str]] = {}
    risks: list[dict[str, Any]] = []
    earlier = False
    for entry in answer["migrations"]:
        name = entry["migration"]
        if name in skipped:
            continue
        sql[name], full[name] = [], []
        for connection, query in entry["statements"]:
            # PHP may have ended before it said anything of the tables.
            classifier = classifiers.setdefault(connection, _sql.Classifier(dialect_of(answer["driver"]), {}))
            elsewhere = answer["connections"].get(connection, {}).get("elsewhere", False)
            for risk in classifier.classify(query):
                risk |= {"migration": name, "connection": connection, "elsewhere": elsewhere}
                risks.append(risk)
            for statement in _sql.split(query, classifier.dialect):
                if entry.get("transaction") == connection and _sql.outside_transactions(statement):
                    raise MigrationError(
                        f"{name} would fail, since PostgreSQL does not run this in a transaction: "
                        f"{_sql.shown(statement)}; add `public $withinTransaction = false;` to the migration",
                        {},
                    )
                _append(full[name], _sql.masked(statement))
                _append(sql[name], _sql.shown(statement))
        risks += [{"migration": name, **doubt} for doubt in _doubts(entry, earlier)]
        earlier = earlier or bool(entry["statements"] or entry.get("does")) or "over" in entry
    return sql, full, risks


class Migrations:
    """The migrations of one release.

    :param database: name of the connection in the application's configuration, '' for its default
    :param paths: directories of migrations, relative to the release; empty for the application's own
    """

    def __init__(self, artisan: Artisan, database: str = "", paths: list[str] | None = None) -> None:
        self._artisan = artisan
        self._database = database
        self._paths = paths or []

    def _ask(self, do: str) -> dict[str, Any]:
        asked = json.dumps({"do": do, "database": self._database, "paths": self._paths})
        try:
            return self._artisan.answer("tell its migrations", MIGRATIONS_PHP, asked)
        except ArtisanError as exc:
            raise MigrationError(without_values(str(exc)), {}) from exc

    # The plan

    def plan(self, first: bool = False) -> dict[str, Any]:
        """Return what is pending, its SQL and its risks. Changes nothing.

        :param first: whether no release is live yet, so that in a database without tables nothing can be lost
        :raises MigrationError: the application does not boot, or its database cannot be asked
        """
        answer = self._ask("plan")
        skipped = [entry["migration"] for entry in answer["migrations"] if entry.get("skipped")]
        sql, full, risks = _judged(answer, skipped) if answer["migrations"] else ({}, {}, [])
        planned = {entry["migration"] for entry in answer["migrations"]}
        # PHP ended within one of them: nothing is known of those that follow.
        for name in answer["pending"]:
            if name not in planned:
                risks.append({"migration": name, **_doubt("its SQL cannot be told, since one before it ended PHP")})
        nothing_to_lose = first and answer.get("empty", False)
        for risk in risks:
            harmless = nothing_to_lose and risk["kind"] == "unknown" and not risk["elsewhere"]
            risk["needs_consent"] = _needs_consent(risk) and not harmless
        return {
            "pending": [name for name in answer["pending"] if name not in skipped],
            "skipped": skipped,
            "sql": sql,
            "risks": risks,
            "destructive": any(risk["destructive"] for risk in risks),
            "text": _text(answer["version"], full, risks),
        }

    # Applying

    def apply(self, isolated: str = "auto", seeders: list[str] | None = None, sql_file: str = "") -> dict[str, Any]:
        """Apply what is pending, then run seeders; return the names of both.

        :param isolated: auto, always or never: whether the application's own lock is taken too
        :param sql_file: where the plan is, for the message of a failure
        :raises MigrationError: a migration or seeder failed; what was applied before it stays
        """
        before = self._ask("state")
        if isolated == "always" and before["not_isolated"]:
            nothing: dict[str, Any] = {"migrations": [], "seeded": []}
            raise MigrationError(f"release_migrate_isolated: {before['not_isolated']}", nothing)
        takes_lock = isolated != "never" and not before["not_isolated"]
        evidence: dict[str, Any] = {"changed": False, "migrations": [], "seeded": [], "isolated": takes_lock}
        if before["pending"]:
            command = ["migrate", "--force", *([f"--isolated={HELD}"] if takes_lock else []), *self._options()]
            error = self._run(command)
            evidence["migrations"] = self._applied(before, evidence, error)
            evidence["changed"] = bool(evidence["migrations"])
            if error:
                raise MigrationError(self._failure(before, error, evidence["migrations"], sql_file), evidence)
        for seeder in seeders or []:
            error = self._run(["db:seed", f"--class={seeder}", "--force", *self._options(paths=False)])
            if error:
                raise MigrationError(f"seeder {seeder}: {without_values(str(error))}", evidence)
            evidence["seeded"].append(seeder)
            evidence["changed"] = True
        return evidence

    def unlock(self) -> None:
        """Give back the lock of ``migrate --isolated``, which a killed process leaves behind for an hour."""
        if not self._ask("unlock").get("unlocked"):
            raise MigrationError(f"the lock of migrate --isolated in {self._artisan.release} cannot be given back", {})

    def _options(self, paths: bool = True) -> list[str]:
        options = [f"--database={self._database}"] if self._database else []
        return options + ([f"--path={path}" for path in self._paths] if paths else [])

    def _run(self, command: list[str]) -> ArtisanError | None:
        try:
            self._artisan.run(command)
        except ArtisanError as exc:
            return exc
        return None

    def _applied(self, before: dict[str, Any], evidence: dict[str, Any], error: ArtisanError | None) -> list[str]:
        """Return the migrations that the database has now and had not before."""
        try:
            after = self._ask("state")
        except MigrationError as exc:
            told = f"{without_values(str(error))}; " if error else ""
            raise MigrationError(
                f"{told}what was applied cannot be told either: {exc}; pending were {', '.join(before['pending'])}",
                evidence,
            ) from exc
        # The stored schema is pending until there is a migration that has run.
        loaded = [name for name in before["pending"] if name not in (*after["pending"], *after["ran"])]
        applied = loaded + [name for name in after["ran"] if name not in before["ran"]]
        left = [name for name in before["pending"] if name in after["pending"]]
        if not error and left and set(left) - set(self.plan()["skipped"]):
            # As --isolated does of itself when another process has its lock.
            raise MigrationError(
                f"migrate exited 0 and left {', '.join(left)} pending (applied: {', '.join(applied) or 'none'}); run "
                f"it by hand in {self._artisan.release} and see what it says",
                {**evidence, "migrations": applied, "changed": bool(applied)},
            )
        return applied

    def _not_applied(self, pending: list[str], applied: list[str]) -> list[str]:
        """Return what was not applied, without those that skip themselves."""
        left = [name for name in pending if name not in applied]
        try:
            skipped = self.plan()["skipped"] if left[1:] else []
        except MigrationError:
            skipped = []
        return [name for name in left if name not in skipped]

    def _failure(self, before: dict[str, Any], error: ArtisanError, applied: list[str], sql_file: str) -> str:
        """Return what to tell of a migration that failed."""
        if error.result["rc"] == HELD and not applied:
            return (
                f"another process runs migrate with the lock of --isolated, so nothing was applied; pending are "
                f"{', '.join(before['pending'])}. Wait for it; when there is none (it was killed), its lock ends an "
                f"hour after it began, or leave it out once with -e release_migrate_isolated=never"
            )
        failed = next(iter(self._not_applied(before["pending"], applied)), "")
        story = [f"{failed or 'migrate'} failed: {without_values(str(error))}."]
        story.append(
            f"Applied before it, and staying: {', '.join(applied)}." if applied else "None was applied before it."
        )
        if before["driver"] != "pgsql":
            where = f" against {sql_file}" if sql_file else ""
            story.append(
                f"This database cannot take back a part of a migration, so {failed or 'it'} may be half applied: "
                f"compare its tables{where}, or restore a snapshot, before it runs again."
            )
        else:
            story.append(f"{failed or 'It'} itself was taken back, unless it runs outside of a transaction.")
        return " ".join(story)


def _append(statements: list[str], text: str) -> None:
    """Add a statement; one that is repeated, as for each row of a table, is counted."""
    last, _space, count = (statements[-1] if statements else "").rpartition("  -- times ")
    if statements and statements[-1] == text:
        statements[-1] = f"{text}  -- times 2"
    elif last == text:
        statements[-1] = f"{text}  -- times {int(count) + 1}"
    else:
        statements.append(text)


def _doubt(reason: str, kind: str = "unknown") -> dict[str, Any]:
    nothing = {"table": "", "statement": "", "rows": None, "bytes": None, "destructive": False}
    return {"kind": kind, **nothing, "reason": reason, "connection": "", "elsewhere": False}


def _doubts(entry: dict[str, Any], earlier: bool) -> list[dict[str, Any]]:
    """Return why the SQL of a migration may not be all that it will do."""
    found = []
    if entry.get("over"):
        # A dump of MySQL drops each table before it makes it.
        reason = f"no migration has run here, so it is loaded over the tables that are there ({entry['over']})"
        found.append(_doubt(reason))
    if entry.get("does"):
        reason = f"its SQL cannot be told without running it, and it does more than SQL: {entry['does']}"
        found.append(_doubt(reason))
    if entry["error"]:
        error = " ".join(without_values(entry["error"]).split())[:300]
        found.append(_doubt(f"its SQL cannot be told, or not all of it, without running it: {error}"))
    # Its statements are known, up to what rows or tables may change about them.
    if entry.get("asks_data"):
        found.append(_doubt("it reads rows; what it does with them shows only when it runs", "depends_on_data"))
    if entry.get("asks_late") or (entry.get("asks_schema") and earlier):
        told = "it looks at the tables, and was shown them without the changes before it"
        found.append(_doubt(told, "depends_on_schema"))
    return found


def _needs_consent(risk: dict[str, Any]) -> bool:
    """Say whether somebody has to agree before a migration with this risk runs.

    PostgreSQL keeps writers waiting for any index, but on a small table not for long.
    """
    from ansible_collections.slipway.laravel.plugins.module_utils import _sql  # noqa: PLC0415

    if risk["kind"] == "long_lock":
        return risk["rows"] is None or risk["rows"] >= _sql.LARGE_ROWS or (risk["bytes"] or 0) >= _sql.LARGE_BYTES
    return bool(risk["destructive"]) or risk["kind"] == "unknown"


def _text(version: str, sql: dict[str, list[str]], risks: list[dict[str, Any]]) -> str:
    """Return the plan as a file of SQL for people; values are left out."""
    lines = [f"-- What Laravel {version} would run. Values are left out: this is for reading, not for running."]
    for name, statements in sql.items():
        lines += ["", f"-- {name}"]
        for risk in risks:
            if risk["migration"] == name:
                table = f" {risk['table']}" if risk["table"] else ""
                lines.append(f"-- {risk['kind']}{table}: {risk['reason']}")
        lines += [
            statement.replace("  -- times ", ";  -- times ") if "  -- times " in statement else f"{statement};"
            for statement in statements
        ]
    return "\n".join(lines) + "\n"
