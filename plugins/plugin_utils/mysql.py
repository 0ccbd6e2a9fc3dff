# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters of the mysql role know about accounts: privileges as text, passwords as the servers keep them."""

from __future__ import annotations

import hashlib
import re

# What MariaDB and MySQL grant by name. MySQL's dynamic privileges come with plugins and have an underscore in them.
PRIVILEGES = frozenset(
    """
    ALL|ALTER|ALTER ROUTINE|BINLOG ADMIN|BINLOG MONITOR|BINLOG REPLAY|CONNECTION ADMIN|CREATE|CREATE ROLE|CREATE ROUTINE
    CREATE TABLESPACE|CREATE TEMPORARY TABLES|CREATE USER|CREATE VIEW|DELETE|DELETE HISTORY|DROP|DROP ROLE|EVENT|EXECUTE
    FEDERATED ADMIN|FILE|GRANT|INDEX|INSERT|LOCK TABLES|PROCESS|READ_ONLY ADMIN|REFERENCES|RELOAD|REPLICA MONITOR
    REPLICATION CLIENT|REPLICATION MASTER ADMIN|REPLICATION REPLICA|REPLICATION REPLICA ADMIN|REPLICATION SLAVE
    REPLICATION SLAVE ADMIN|SELECT|SET USER|SHOW CREATE ROUTINE|SHOW DATABASES|SHOW VIEW|SHUTDOWN|SLAVE MONITOR|SUPER
    TRIGGER|UPDATE|USAGE
    """.strip()
    .replace("\n", "|")
    .replace("    ", "")
    .split("|")
)
DYNAMIC = re.compile(r"[A-Z]+(_[A-Z]+)+")
SYNONYMS = {"ALL PRIVILEGES": "ALL", "GRANT OPTION": "GRANT"}


def privilege(text: str) -> str:
    """One privilege as both sides of a comparison spell it; the columns behind it keep their letters."""
    name, bracket, columns = " ".join(text.split()).partition("(")
    name = name.strip().upper()
    return SYNONYMS.get(name, name) + (bracket + columns.replace("`", "").replace(" ", "") if bracket else "")


def split(text: str) -> list[str]:
    """Parts between commas; those inside brackets list columns."""
    return [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def privileges(text: str) -> dict[str, frozenset[str]]:
    """What "database.table:PRIVILEGE,PRIVILEGE/..." grants, by its target."""
    granted = {}
    for part in text.split("/"):
        target, colon, names = part.strip().rpartition(":")
        if not colon or not re.search(r"\S\.\S", target):
            raise ValueError(f"{part.strip()!r} is not of the form database.table:PRIVILEGE,PRIVILEGE")
        found = frozenset(privilege(name) for name in split(names)) - {"USAGE"}
        if found:
            granted[target.replace("`", "").strip()] = found
    return granted


def unknown(text: str) -> list[str]:
    """Privileges that neither MariaDB nor MySQL has."""
    names = [privilege(name) for part in text.split("/") for name in split(part.rpartition(":")[2])]
    return [
        name for name in names if name.partition("(")[0] not in PRIVILEGES and not DYNAMIC.fullmatch(name.split("(")[0])
    ]


GRANT = re.compile(r"GRANT (?P<names>.+?) ON (?:TABLE )?(?P<target>(?:PROCEDURE |FUNCTION )?\S+) TO (?P<rest>.*)")


def granted(lines: list[str]) -> dict[str, frozenset[str]]:
    """The same from the answer to SHOW GRANTS."""
    found: dict[str, frozenset[str]] = {}
    for line in lines:
        match = GRANT.fullmatch(line)
        # Roles are granted without a target, and are not the role's business.
        if not match or match["names"] == "PROXY":
            continue
        names = {privilege(name) for name in split(match["names"])} - {"USAGE"}
        if "WITH GRANT OPTION" in match["rest"]:
            names.add("GRANT")
        target = match["target"].replace("`", "")
        if names:
            found[target] = found.get(target, frozenset()) | names
    return found


def has_password(password: str, plugin: str, stored: str) -> bool:
    """Whether a server that keeps this, in hexadecimal, takes the password."""
    kept = bytes.fromhex(stored).decode("latin-1")
    if plugin == "mysql_native_password":
        twice = hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest()  # noqa: S324
        return kept.upper() == f"*{twice.upper()}"
    if plugin == "caching_sha2_password" and kept.startswith("$A$005$") and len(kept) > 27:
        # Here, so that the filters can be loaded, and read about, where community.mysql is not installed.
        from ansible_collections.community.mysql.plugins.module_utils.implementations.mysql.hash import (  # type: ignore[import-untyped]  # noqa: PLC0415
            mysql_sha256_password_hash,
        )

        return bool(kept == mysql_sha256_password_hash(password, kept[7:27]))
    return False
