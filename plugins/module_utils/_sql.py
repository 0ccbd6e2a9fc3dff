# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the SQL statements of migrations risk: lost data, a broken running release, a long lock.

Private to this collection, and pure: nothing here connects to anything. Knows the statements of MySQL and MariaDB
(dialect ``mysql``), PostgreSQL (``pgsql``) and SQLite (``sqlite``). What it does not know is unknown, never safe.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

# What loses data, or breaks the code of the release that still runs: its queries name what is gone or renamed, and its
# inserts leave out what must now be given.
DESTRUCTIVE = frozenset(
    (
        *("drop_table", "drop_column", "drop_object", "rename_table", "rename_column", "narrow_column"),
        *("not_null_without_default", "truncate", "delete_data"),
    )
)

# A table from here on is called large: changing it takes seconds, while requests that want to write wait. Measured with
# MariaDB on two busy cores: 600,000 rows of 195 MiB were copied in 8.9 s, and got an index in 3.9 s.
LARGE_ROWS = 100_000
LARGE_BYTES = 100 * 2**20

# A statement is shown up to here; the file of the plan has it whole.
_SHOWN = 300


class Token(NamedTuple):
    """A part of a statement: a word (lower case), a quoted name or string (without its quotes), or a sign."""

    kind: str
    text: str
    start: int
    end: int


# What makes a new column be filled row by row.
_COMPUTED = frozenset(
    ("as", "auto_increment", "bigserial", "generated", "primary", "serial", "smallserial", "stored", "unique")
)


class Statement(NamedTuple):
    """One statement: its text, and its tokens, whose positions are those in the text."""

    text: str
    tokens: list[Token]


_WORD = re.compile(r"[^\W\d][\w$]*")
_NUMBER = re.compile(r"\d[\w.]*")
_DOLLAR = re.compile(r"\$(?:[^\W\d]\w*)?\$")
_EXECUTED = re.compile(r"/\*M?!\d*")
_COMMENT_END = re.compile(r"/\*|\*/")


def _quoted(sql: str, start: int, close: str, backslash: bool) -> int:
    """Return the position behind a quoted part that begins at start, or -1 when it does not end."""
    position = start + 1
    while position < len(sql):
        if backslash and sql[position] == "\\":
            position += 2
        elif sql[position] != close:
            position += 1
        elif sql[position + 1 : position + 2] == close and close != "]":
            position += 2
        else:
            return position + 1
    return -1


def _comment(sql: str, start: int, nested: bool) -> int:
    """Return the position behind a comment that begins at start."""
    depth, position = 1, start + 2
    while depth:
        found = _COMMENT_END.search(sql, position)
        if not found:
            return len(sql)
        position = found.end()
        if found[0] == "*/":
            depth -= 1
        elif nested:
            depth += 1
    return position


def tokenize(sql: str, dialect: str) -> list[Token]:
    """Return the tokens of a text, without white space and comments.

    What MySQL runs in comments, ``/*!50000 ... */``, is no comment. A quote that does not end gives a token of the kind
    ``broken``.
    """
    strings = "'\"" if dialect == "mysql" else "'"
    names = {"mysql": "`", "pgsql": '"'}.get(dialect, '"`[')
    tokens: list[Token] = []
    position = 0
    while position < len(sql):
        character, two = sql[position], sql[position : position + 2]
        dashes = two == "--" and (dialect != "mysql" or sql[position + 2 : position + 3] in ("", " ", "\t", "\r", "\n"))
        executed = _EXECUTED.match(sql, position) if dialect == "mysql" else None
        if character.isspace():
            position += 1
        elif dashes or (character == "#" and dialect == "mysql"):
            newline = sql.find("\n", position)
            position = len(sql) if newline < 0 else newline
        elif executed:
            position = executed.end()
        elif two == "*/":
            position += 2
        elif two == "/*":
            position = _comment(sql, position, nested=dialect == "pgsql")
        elif character in strings or character in names:
            start, kind = position, "string" if character in strings else "name"
            escaped = bool(tokens) and tokens[-1].text == "e" and tokens[-1].end == start
            close = "]" if character == "[" else character
            position = _quoted(sql, start, close, dialect == "mysql" or (dialect == "pgsql" and escaped))
            if position < 0:
                kind, position = "broken", len(sql)
            tokens.append(Token(kind, sql[start + 1 : position - 1].replace(close * 2, close), start, position))
        elif dialect == "pgsql" and _DOLLAR.match(sql, position):
            start, tag = position, _DOLLAR.match(sql, position)[0]  # type: ignore[index]
            end = sql.find(tag, start + len(tag))
            position = len(sql) if end < 0 else end + len(tag)
            tokens.append(Token("broken" if end < 0 else "string", sql[start:position], start, position))
        else:
            found = _WORD.match(sql, position) or _NUMBER.match(sql, position)
            kind = "sign" if not found else "word" if _WORD.match(sql, position) else "number"
            end = found.end() if found else position + 1
            tokens.append(Token(kind, sql[position:end].lower(), position, end))
            position = end
    return tokens


def _has_body(tokens: list[Token]) -> bool:
    """Say whether the semicolons that follow belong to the body of a trigger or routine."""
    words = [token.text for token in tokens if token.kind == "word"]
    kinds = {"trigger", "procedure", "function", "event"}
    return words[:1] == ["create"] and bool(kinds.intersection(words[:8])) and "begin" in words


def split(sql: str, dialect: str) -> list[Statement]:
    """Return the statements of a text that may hold several."""
    parts: list[list[Token]] = [[]]
    for token in tokenize(sql, dialect):
        if token.kind == "sign" and token.text == ";" and not _has_body(parts[-1]):
            parts.append([])
        else:
            parts[-1].append(token)
    statements = []
    for tokens in parts:
        if tokens:
            start = tokens[0].start
            moved = [token._replace(start=token.start - start, end=token.end - start) for token in tokens]
            statements.append(Statement(sql[start : tokens[-1].end], moved))
    return statements


_DEFINES = ("alter", "comment", "create", "drop", "rename", "truncate")
_ACCOUNTS = ("role", "server", "subscription", "user", "procedure", "function", "trigger", "event")


def masked(statement: Statement) -> str:
    """Return the text of a statement without the values in it, which may be secrets.

    What defines tables keeps its strings: they are defaults and the values of enumerations.
    """
    words = [token.text for token in statement.tokens if token.kind == "word"]
    plain = not set(words[:4]).intersection(_ACCOUNTS) and not {"select", "connection"}.intersection(words)
    if words[:1] and words[0] in _DEFINES and plain:
        return statement.text
    parts, position = [], 0
    for token in statement.tokens:
        if token.kind in ("string", "broken"):
            parts += [statement.text[position : token.start], "'***'"]
            position = token.end
    return "".join((*parts, statement.text[position:]))


def shown(statement: Statement) -> str:
    """Return a statement on one line, without values, shortened."""
    text = " ".join(masked(statement).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def outside_transactions(statement: Statement) -> bool:
    """Say whether PostgreSQL refuses a statement in a transaction."""
    words = [token.text for token in statement.tokens if token.kind == "word"]
    return words[:1] == ["vacuum"] or ("concurrently" in words and words[0] in ("create", "drop", "reindex"))


class _Cursor:
    """Reads a list of tokens from left to right."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0

    def rest(self) -> list[Token]:
        return self._tokens[self._position :]

    def word(self) -> str:
        """Return the next token when it is a word or a sign, not a name in quotes, else ''."""
        token = self._tokens[self._position] if self._position < len(self._tokens) else None
        return token.text if token and token.kind in ("word", "sign") else ""

    def skip(self) -> None:
        self._position += 1

    def take(self, *words: str) -> bool:
        """Step over these words if they are the next ones."""
        following = self.rest()[: len(words)]
        found = [token.text for token in following if token.kind in ("word", "sign")] == list(words)
        self._position += len(words) if found else 0
        return found

    def take_any(self, *words: str) -> str:
        """Step over the next word if it is one of these, and return it."""
        word = self.word()
        return word if word in words and self.take(word) else ""

    def name(self) -> str:
        """Step over a name, with the schema before it, and return it; '' when there is none."""
        parts = []
        while self._position < len(self._tokens):
            token = self._tokens[self._position]
            if token.kind not in ("word", "name", "string"):
                break
            parts.append(token.text)
            self._position += 1
            if not self.take("."):
                break
        return ".".join(parts)

    def names(self) -> list[str]:
        """Step over a list of names."""
        names = [self.name()]
        # MySQL: DELETE a.*, b.* FROM ...
        while self.take(",") or self.take("*", ","):
            names.append(self.name())
        return [name for name in names if name]


def _by_comma(tokens: list[Token]) -> list[list[Token]]:
    """Return what stands between the commas outside of parentheses."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == "sign":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.kind == "sign" and token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def _inside(tokens: list[Token]) -> list[Token]:
    """Return what is in the parentheses that the tokens begin with."""
    depth = 0
    for number, token in enumerate(tokens):
        if token.kind == "sign":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0:
                return tokens[1:number]
    return tokens[1:]


class Definition(NamedTuple):
    """What the definition of a column says."""

    type: str
    not_null: bool
    fills_itself: bool


# Where the type of a column ends.
_ATTRIBUTES = frozenset(
    (
        *("after", "as", "auto_increment", "autoincrement", "charset", "check", "collate", "comment", "constraint"),
        *("default", "first", "generated", "invisible", "key", "not", "null", "on", "primary", "references", "stored"),
        *("unique", "using", "virtual", "visible"),
    )
)
_FILLED = frozenset(("default", "auto_increment", "autoincrement", "generated", "as"))
_SERIAL = ("serial", "bigserial", "smallserial")


def definition(tokens: list[Token]) -> Definition:
    """Read what follows the name of a column."""
    words: list[str] = []
    column_type, depth, in_type = "", 0, True
    for number, token in enumerate(tokens):
        sign = token.text if token.kind == "sign" else ""
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if depth == 0 and token.kind == "word":
            words.append(token.text)
            following = tokens[number + 1].text if number + 1 < len(tokens) else ""
            if token.text in _ATTRIBUTES or (token.text, following) == ("character", "set"):
                in_type = False
        if in_type:
            quoted = token.text.replace("\\'", "'").replace("'", "''")
            text = f"'{quoted}'" if token.kind == "string" else token.text
            column_type += f" {text}" if token.kind == "word" and column_type and depth == 0 else text
    pairs = list(zip(words, words[1:]))
    not_null = ("not", "null") in pairs or ("primary", "key") in pairs
    fills_itself = bool(_FILLED.intersection(words)) or words[:1] in [[serial] for serial in _SERIAL]
    return Definition(column_type, not_null, fills_itself)


# Worked out once when a column is added, and then the same for all rows.
_ONCE = frozenset(
    (
        *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "now"),
        *("statement_timestamp", "timezone", "transaction_timestamp"),
    )
)


def _varies(tokens: list[Token], dialect: str) -> bool:
    """Say whether the default of a new column may differ from row to row, so that every row is written."""
    words = [token.text if token.kind == "word" else "" for token in tokens]
    rest = tokens[words.index("default") + 1 :] if "default" in words else []
    if dialect == "mysql" and rest and rest[0].text == "(":
        return True
    depth, in_type = 0, False
    for token, following in zip(rest, [*rest[1:], None]):
        if token.kind == "sign":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            in_type = token.text == ":"
        elif token.kind == "word" and token.text in _ATTRIBUTES and depth == 0:
            break
        elif following and following.text == "(" and not in_type and token.text not in _ONCE:
            return True
    return False


_ALIASES = {
    "bigserial": "bigint",
    "bool": "boolean",
    "character": "char",
    "character varying": "varchar",
    "dec": "decimal",
    "double precision": "double",
    "float4": "float",
    "float8": "double",
    "int2": "smallint",
    "int4": "int",
    "int8": "bigint",
    "integer": "int",
    "jsonb": "json",
    "numeric": "decimal",
    "real": "float",
    "serial": "int",
    "timestamptz": "timestamp with time zone",
}
_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_LENGTHS = {"tiny": 2**8 - 1, "": 2**16 - 1, "medium": 2**24 - 1, "long": 2**32 - 1}
_SUFFIX = r"(?: (?:unsigned|signed|zerofill|with|without|time|zone))*"
_TYPE = re.compile(r"^([a-z_][a-z_0-9 ]*?)\s*(?:\((.*?)\))?(" + _SUFFIX + ")$")
_UNLIMITED = 2**40


class _Type(NamedTuple):
    family: str
    name: str
    # A range for numbers, digits for decimals, a length for texts, a precision for times.
    low: int
    high: int
    values: tuple[str, ...]


def _type(text: str, dialect: str) -> _Type | None:
    """Read a type as SQL and information_schema write it; None when it is not known."""
    found = _TYPE.match(re.sub(r"\s+", " ", text.lower()).strip())
    if not found:
        return None
    words = f"{found[1]}{found[3]}"
    double = found[1] == "float" and not found[2] and dialect == "pgsql"
    unsigned = "unsigned" in words
    name = re.sub(r" (?:unsigned|signed|zerofill|without time zone)", "", words)
    name = _ALIASES.get(name, name)
    arguments = found[2] or ""
    numbers = [int(part) for part in arguments.split(",") if part.strip().isdigit()]
    if name == "boolean" or (name == "tinyint" and numbers[:1] == [1]):
        return _Type("boolean", name, 0, 1, ())
    if name in _BITS:
        bits = _BITS[name]
        return _Type("integer", name, 0 if unsigned else -(2 ** (bits - 1)), 2 ** (bits if unsigned else bits - 1), ())
    if name == "decimal":
        precision, scale = (numbers + [10, 0][len(numbers) :])[:2] if numbers or dialect == "mysql" else (1000, 500)
        return _Type("decimal", name, scale, precision - scale, ())
    if name in ("float", "double"):
        # float(25) to float(53) are doubles; with two numbers MySQL means digits.
        double = double or name == "double" or (len(numbers) == 1 and numbers[0] > 24)
        return _Type("float", name, 0, 53 if double else 24, ())
    if name in ("char", "varchar"):
        unlimited = name == "varchar" and dialect == "pgsql"
        return _Type("text", name, 0, numbers[0] if numbers else _UNLIMITED if unlimited else 1, ())
    for suffix, family in (("text", "text"), ("blob", "binary")):
        if name.endswith(suffix) and name[: -len(suffix)] in _LENGTHS:
            length = _LENGTHS[name[: -len(suffix)]] if dialect == "mysql" else _UNLIMITED
            return _Type(family, name, 0, length, ())
    if name in ("binary", "varbinary"):
        return _Type("binary", name, 0, numbers[0] if numbers else 1, ())
    if name in ("enum", "set"):
        values = re.findall(r"'((?:[^']|'')*)'", arguments)
        return _Type(name, name, 0, 0, tuple(value.replace("''", "'") for value in values))
    if name in ("datetime", "time") or name.startswith("timestamp"):
        return _Type(name, name, 0, numbers[0] if numbers else 6 if dialect == "pgsql" else 0, ())
    if name == "uuid":
        return _Type(name, name, 0, 36, ())
    return _Type(name, name, 0, 0, ()) if name in ("date", "json", "year", "bytea", "inet") else None


def narrowing(old: str, new: str, dialect: str) -> str:
    """Return why values of one type may not fit into another, '' when all do."""
    before, after = _type(old, dialect), _type(new, dialect)
    if before is None or after is None:
        same = " ".join(old.lower().split()) == " ".join(new.lower().split())
        return "" if same else f"changes from {old} to {new}, which may lose values"
    if before.family == "boolean" and after.family == "integer":
        return ""
    fits = {
        ("integer", "integer"): after.low <= before.low and before.high <= after.high,
        # 2 ** bits has so many digits.
        ("integer", "decimal"): len(str(before.high)) <= after.high,
        ("integer", "text"): len(str(before.low)) <= after.high and len(str(before.high)) <= after.high,
        ("enum", "text"): all(len(value) <= after.high for value in before.values),
        # In the catalogue of MariaDB a column of JSON is one of longtext.
        ("text", "json"): before.name == "longtext" and dialect == "mysql",
        ("uuid", "text"): before.high <= after.high,
        ("date", "datetime"): True,
        ("date", "timestamp"): dialect == "pgsql",
        ("timestamp", "datetime"): before.high <= after.high,
    }.get((before.family, after.family))
    if fits is None and before.family != after.family:
        return f"changes from {old} to {new}, which may lose values"
    if fits is None:
        fits = before.low <= after.low and before.high <= after.high and set(before.values) <= set(after.values)
    return "" if fits else f"changes from {old} to {new}, which does not hold every value"


# What is created without an effect on what is there, and what else there is besides tables and indexes.
_ADDITIONS = ("collation", "domain", "extension", "schema", "sequence", "type", "view")
_OTHERS = (*_ADDITIONS, "database", "event", "function", "procedure", "trigger")
_KEYS = ("check", "constraint", "exclude", "foreign", "fulltext", "index", "key", "primary", "spatial", "unique")
# Actions of ALTER TABLE on MySQL and PostgreSQL that touch no rows, and what no code sees.
_HARMLESS_ACTIONS = ("algorithm", "auto_increment", "comment", "disable", "enable", "inherit", "lock", "no", "validate")
# Statements that change nothing a release depends on.
_HARMLESS = ("analyze", "begin", "commit", "explain", "release", "rollback", "savepoint", "show", "start", "use")
_PRAGMAS = frozenset(("foreign_keys", "defer_foreign_keys", "legacy_alter_table", "table_info", "table_xinfo"))


# Functions that a query without a table may call: they tell something, or touch a sequence, a lock or this connection.
_TOLD = frozenset(
    (
        *("coalesce", "concat", "connection_id", "count", "currval", "current_database", "current_schema"),
        *("current_schemas", "current_setting", "database", "found_rows", "gen_random_uuid", "get_lock", "greatest"),
        *("last_insert_id", "lastval", "least", "lower", "max", "min", "nextval", "now", "nullif", "pg_advisory_lock"),
        *("pg_advisory_unlock", "pg_advisory_xact_lock", "pg_get_serial_sequence", "pg_sleep", "release_lock"),
        *("row_count", "schema", "set_config", "setval", "sleep", "sqlite_version", "to_regclass", "upper", "user"),
        *("uuid", "version"),
        # Not functions, and followed by a parenthesis.
        *("all", "and", "any", "as", "by", "case", "cast", "else", "exists", "filter", "from", "having", "in", "not"),
        *("on", "or", "over", "select", "then", "using", "values", "when", "where"),
    )
)


def _calls(tokens: list[Token]) -> str:
    """Return a function that a query calls for what it does, since it reads no table; '' when there is none."""
    depth, called, in_type = 0, "", False
    for token, following in zip(tokens, [*tokens[1:], None]):
        if token.kind == "sign":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            in_type = token.text == ":"
        elif depth == 0 and (token.kind, token.text) == ("word", "from"):
            return ""
        elif following and following.text == "(" and not in_type and token.text.lower() not in _TOLD:
            called = called or token.text
    return called


class _Added:
    """A column that an earlier statement added."""

    def __init__(self, not_null: bool, fills_itself: bool) -> None:
        self.not_null = not_null
        self.fills_itself = fills_itself
        self.told = False


class Classifier:
    """Classifies the statements of one connection, in the order in which they would run.

    :param dialect: mysql (MariaDB too), pgsql or sqlite
    :param tables: what is known of the tables that statements name: {table: {"rows": 5, "bytes": 16384, "empty": False,
        "columns": {column: {"type": "varchar(255)", "nullable": True, "default": False}}}}
    :param existing: the names of all tables, None when they are not known
    :param schemas: the schemas, or the database, that names without a schema are looked for in
    """

    def __init__(
        self,
        dialect: str,
        tables: dict[str, dict[str, Any]],
        existing: list[str] | None = None,
        schemas: list[str] | None = None,
    ) -> None:
        self.dialect = dialect
        self._schemas = [f"{schema.lower()}." for schema in schemas or []]
        self.tables = {name.lower(): facts for name, facts in tables.items()}
        self.existing = None if existing is None else {name.lower() for name in existing}
        # What earlier statements made: it holds no data, and no running release knows it.
        self._created: dict[str, list[str]] = {}
        # Columns that they added, as they are now.
        self._added: dict[tuple[str, str], _Added] = {}
        # SQLite's way to change a column: the table's rows go into a temporary one and back into a new one.
        self._rebuilding: set[str] = set()
        self._dropped: dict[tuple[str, str], dict[str, Any]] = {}
        self._found: list[dict[str, Any]] = []
        self._statement = Statement("", [])

    def classify(self, query: str) -> list[dict[str, Any]]:
        """Return the risks of a text of one or several statements."""
        self._found = []
        for statement in split(query, self.dialect):
            self._statement = statement
            self._one(statement.tokens)
        return self._found

    def _risk(self, kind: str, table: str, reason: str) -> None:
        facts = self.tables.get(table.lower(), {})
        self._found.append(
            {
                "kind": kind,
                "table": table,
                "statement": shown(self._statement),
                "rows": facts.get("rows"),
                "bytes": facts.get("bytes"),
                "reason": reason,
                "destructive": kind in DESTRUCTIVE,
            }
        )

    def _table(self, cursor: _Cursor) -> str:
        """Step over the name of a table and return it, without the schema where that is the usual one."""
        return self._usual(cursor.name())

    def _usual(self, name: str) -> str:
        return next((name[len(schema) :] for schema in self._schemas if name.lower().startswith(schema)), name)

    def _is_new(self, table: str) -> bool:
        """Say whether a table is of no concern: made by an earlier statement, or not there."""
        name = table.lower()
        elsewhere = "." in name
        return name in self._created or (self.existing is not None and name not in self.existing and not elsewhere)

    def _is_large(self, table: str) -> bool:
        facts = self.tables.get(table.lower())
        if facts is None:
            return not self._is_new(table)
        return (facts.get("rows") or 0) >= LARGE_ROWS or (facts.get("bytes") or 0) >= LARGE_BYTES

    def _large(self, table: str) -> str:
        return "a large table" if table.lower() in self.tables else "a table of unknown size"

    def _has_rows(self, table: str) -> bool:
        return not self.tables.get(table.lower(), {}).get("empty", False)

    def _column(self, table: str, column: str) -> dict[str, Any] | None:
        columns: dict[str, dict[str, Any]] = self.tables.get(table.lower(), {}).get("columns", {})
        return {name.lower(): facts for name, facts in columns.items()}.get(column.lower())

    # Statements

    def _one(self, tokens: list[Token]) -> None:
        cursor = _Cursor(tokens)
        if any(token.kind == "broken" for token in tokens):
            return self._risk("unknown", "", "a quote in it does not end")
        verb = cursor.take_any("alter", "create", "delete", "drop", "insert", "rename", "replace", "truncate", "update")
        if verb:
            getattr(self, f"_{verb}")(cursor)
        elif cursor.take("comment", "on") or cursor.word() in _HARMLESS:
            pass
        elif cursor.word() in ("(", "merge", "select", "values", "with"):
            self._query(tokens)
        elif cursor.take("set", "statement"):
            # MariaDB: SET STATEMENT max_statement_time=1 FOR DELETE ...
            while cursor.rest() and not cursor.take("for"):
                cursor.skip()
            self._one(cursor.rest())
        elif cursor.take("set"):
            if cursor.word() in ("global", "password", "persist", "role"):
                self._risk("unknown", "", f"SET {cursor.word().upper()} reaches beyond this connection")
        elif cursor.take("pragma"):
            name = cursor.name()
            if name not in _PRAGMAS:
                self._risk("unknown", "", f"PRAGMA {name} is not known")
        elif cursor.take_any("cluster", "optimize", "reindex", "vacuum"):
            self._rebuild_all(cursor)
        else:
            self._risk("unknown", "", "this kind of statement is not known")
        return None

    def _query(self, tokens: list[Token]) -> None:
        """A query may hold statements that write."""
        words = [token.text for token in tokens if token.kind == "word"]
        pairs = list(zip(words, words[1:]))
        called = _calls(tokens) if words[:1] == ["select"] else ""
        if any(word == "delete" and before != "on" for before, word in pairs):
            self._risk("delete_data", "", "deletes rows")
        elif any(verb in words for verb in ("update", "insert", "merge")) and ("for", "update") not in pairs:
            self._risk("update_data", "", "changes rows")
        elif called:
            self._risk("unknown", "", f"what {called}() does is not known")

    def _rebuild_all(self, cursor: _Cursor) -> None:
        cursor.take_any("table", "full", "index")
        table = self._table(cursor)
        if not self._is_new(table) and self._is_large(table):
            self._risk("long_lock", table, "rebuilds the table")

    def _create(self, cursor: _Cursor) -> None:
        replaces = cursor.take("or", "replace")
        while made := cursor.take_any("global", "local", "materialized", "temp", "temporary", "unlogged", "virtual"):
            replaces = replaces and made not in ("temp", "temporary")
        if cursor.take("table"):
            may_exist = cursor.take("if", "not", "exists")
            table = self._table(cursor)
            name = table.lower()
            if replaces:
                self._drop_table(table)
            there = self.existing is None or name in self.existing
            if name not in self._rebuilding and not (may_exist and there):
                self._created.setdefault(name, self._columns_of(cursor.rest()))
            return None
        cursor.take_any("unique", "fulltext", "spatial")
        if cursor.take("index"):
            return self._create_index(cursor)
        if cursor.take("definer"):
            cursor.take("=")
            cursor.name()
            cursor.take("@")
            cursor.name()
        what = cursor.take_any(*_OTHERS)
        if what not in _ADDITIONS:
            self._risk("unknown", "", "what it does when it runs is not known")
        cursor.take("if", "not", "exists")
        replaced = self._dropped.get((what, cursor.name().lower()))
        if replaced:
            replaced.update(kind="replace_object", destructive=False, reason=f"replaces the {what}")
        return None

    def _columns_of(self, tokens: list[Token]) -> list[str]:
        """Return the columns of a table that is created."""
        if tokens and tokens[0].text == "(" and tokens[0].kind == "sign":
            parts = _by_comma(_inside(tokens))
            return [part[0].text for part in parts if part[0].kind != "word" or part[0].text not in _KEYS]
        words = [token.text if token.kind == "word" else "" for token in tokens]
        if "select" in words and "from" in words:
            selected = _by_comma(tokens[words.index("select") + 1 : words.index("from")])
            return [part[-1].text for part in selected]
        return []

    def _create_index(self, cursor: _Cursor) -> None:
        concurrently = cursor.take("concurrently")
        cursor.take("if", "not", "exists")
        if not cursor.take("on"):
            cursor.name()
            if cursor.take("using"):
                cursor.name()
            cursor.take("on")
        cursor.take("only")
        table = self._table(cursor)
        if self._is_new(table) or concurrently:
            return
        if self.dialect == "pgsql" and self._has_rows(table):
            self._risk("long_lock", table, "blocks writes until the index is built; CREATE INDEX CONCURRENTLY does not")
        elif self._is_large(table):
            self._risk("long_lock", table, f"builds an index on {self._large(table)}")

    def _drop(self, cursor: _Cursor) -> None:
        cursor.take_any("temporary", "materialized")
        what = cursor.take_any("table", "index", *_OTHERS)
        if not what:
            return self._risk("unknown", "", "what it drops is not known")
        cursor.take("concurrently")
        cursor.take("if", "exists")
        if what == "index":
            name = cursor.name()
            return self._risk("drop_index", self._table(cursor) if cursor.take("on") else "", f"drops the index {name}")
        if what == "table":
            for part in _by_comma(cursor.rest()):
                self._drop_table(self._table(_Cursor(part)))
            return None
        for name in cursor.names():
            self._risk("drop_object", "", f"drops the {what} {name}")
            self._dropped[(what, name.lower())] = self._found[-1]
        return None

    def _drop_table(self, table: str) -> None:
        name = table.lower()
        if f"__temp__{name}" in self._created:
            self._rebuild(table, self._created[f"__temp__{name}"])
        elif not self._is_new(table):
            self._risk("drop_table", table, "its rows are lost, and the running release may use it")
            if self.existing is not None:
                self.existing.discard(name)
        self._created.pop(name, None)

    def _rebuild(self, table: str, columns: list[str]) -> None:
        """A table is made anew with these columns; those that it loses are risks."""
        self._rebuilding.add(table.lower())
        kept = {column.lower() for column in columns}
        for column in self.tables.get(table.lower(), {}).get("columns", {}):
            if column.lower() not in kept:
                self._risk("drop_column", table, f"drops the column {column} and its values")

    def _rename(self, cursor: _Cursor) -> None:
        if not cursor.take_any("table", "tables"):
            return self._risk("unknown", "", "what it renames is not known")
        for part in _by_comma(cursor.rest()):
            pair = _Cursor(part)
            pair.take("if", "exists")
            old = self._table(pair)
            pair.take("to")
            self._rename_table(old, self._table(pair))
        return None

    def _rename_table(self, old: str, new: str) -> None:
        before, after = old.lower(), new.lower()
        if before in self._created:
            columns = self._created.pop(before)
            if after not in self._rebuilding:
                self._created[after] = columns
        elif not self._is_new(old):
            self._risk("rename_table", old, f"becomes {new}; the running release asks for {old}")
            self.tables[after] = self.tables.pop(before, {})
            if self.existing is not None:
                self.existing = (self.existing - {before}) | {after}

    def _truncate(self, cursor: _Cursor) -> None:
        cursor.take("table")
        cursor.take("only")
        for part in _by_comma(cursor.rest()):
            table = self._table(_Cursor(part))
            if not self._is_new(table) and self._has_rows(table):
                self._risk("truncate", table, "every row is lost")

    def _meant(self, tokens: list[Token]) -> dict[str, set[str]]:
        """Return the tables that a name in a statement with joins may stand for: it may be an alias, also one that is
        the name of another table."""
        meant: dict[str, set[str]] = {}
        if any((token.kind, token.text) == ("word", "partition") for token in tokens):
            return meant  # stands before an alias
        for number, token in enumerate(tokens):
            begins = token.kind == "word" and token.text in ("from", "join", "straight_join", "using")
            if begins or (token.kind == "sign" and token.text in (",", "(")):
                # Schema, table and alias.
                cursor = _Cursor(tokens[number + 1 : number + 6])
                table = self._table(cursor)
                cursor.take("as")
                for name in filter(None, (table.rpartition(".")[2], cursor.name())):
                    meant.setdefault(name.lower(), set()).add(table)
        return meant

    def _delete(self, cursor: _Cursor) -> None:
        words = [token.text for token in cursor.rest() if token.kind == "word"]
        while cursor.take_any("low_priority", "quick", "ignore"):
            pass
        begins = cursor.take("from")
        if self.dialect == "mysql" and (not begins or "using" in words):
            targets = cursor.names()
            meant = self._meant(cursor.rest())
            for name in targets:
                tables = {self._usual(name)} if "." in name else meant.get(name.lower(), set())
                if not tables or any(table.lower() not in self._created for table in tables):
                    self._risk("delete_data", next(iter(tables)) if len(tables) == 1 else name, "deletes rows")
            return
        cursor.take("only")
        table = self._table(cursor)
        if not self._is_new(table) and self._has_rows(table):
            self._risk("delete_data", table, "deletes rows" if "where" in words else "deletes every row")

    def _update(self, cursor: _Cursor) -> None:
        cursor.take_any("low_priority", "only")
        cursor.take("or")
        cursor.take_any("abort", "fail", "ignore", "replace", "rollback")
        table = self._table(cursor)
        if not self._is_new(table) and self._has_rows(table):
            self._risk("update_data", table, "changes rows")

    def _insert(self, cursor: _Cursor) -> None:
        words = [token.text for token in cursor.rest() if token.kind == "word"]
        pairs = list(zip(words, words[1:]))
        replaces = ("or", "replace") in pairs[:1] or ("duplicate", "key") in pairs or ("do", "update") in pairs
        while cursor.take_any("low_priority", "high_priority", "ignore", "or", "abort", "fail", "replace", "into"):
            pass
        table = self._table(cursor)
        if replaces and not self._is_new(table):
            self._risk("update_data", table, "changes rows that are there")

    def _replace(self, cursor: _Cursor) -> None:
        while cursor.take_any("low_priority", "delayed", "into"):
            pass
        table = self._table(cursor)
        if not self._is_new(table):
            self._risk("update_data", table, "changes rows that are there")

    # ALTER TABLE

    def _alter(self, cursor: _Cursor) -> None:
        while cursor.take_any("online", "ignore"):
            pass
        if not cursor.take("table"):
            return self._alter_other(cursor)
        cursor.take("if", "exists")
        cursor.take("only")
        table = self._table(cursor)
        heavy = False
        for part in _by_comma(cursor.rest()):
            heavy = self._action(table, _Cursor(part)) or heavy
        for (of, column), added in self._added.items():
            must_be_given = added.not_null and not added.fills_itself and not added.told
            if of == table.lower() and must_be_given and self._has_rows(table):
                added.told = True
                reason = f"{column} must be given, which the running release does not do"
                self._risk("not_null_without_default", table, reason)
        if heavy and self._is_large(table):
            self._risk("long_lock", table, f"changes {self._large(table)}")
        return None

    def _alter_other(self, cursor: _Cursor) -> None:
        kind = cursor.take_any("type", "index", "sequence", "view")
        cursor.take("if", "exists")
        name = cursor.name()
        if (kind == "type" and cursor.take("add", "value")) or (kind == "index" and cursor.take("rename")):
            return
        self._risk("unknown", "", f"what it does to {name or 'this'} is not known")

    def _action(self, table: str, cursor: _Cursor) -> bool:
        """Classify one action of ALTER TABLE; say whether the table's rows are read or written anew by it."""
        if self._is_new(table):
            if cursor.take("rename") and cursor.word() not in ("column", "index", "key", "constraint"):
                cursor.take_any("to", "as")
                self._rename_table(table, self._table(cursor))
            return False
        verb = cursor.take_any("add", "alter", "change", "convert", "drop", "modify", "rename")
        if verb:
            heavy: bool = getattr(self, f"_action_{verb}")(table, cursor)
            return heavy
        if cursor.take("set", "schema"):
            self._rename_table(table, f"{cursor.name()}.{table}")
            return False
        harmless = cursor.word() in _HARMLESS_ACTIONS or cursor.word() in ("charset", "owner")
        heavy = cursor.word() in ("engine", "force", "order", "partition", "row_format", "set")
        if not harmless and not heavy:
            self._risk("unknown", table, f"the action {cursor.word() or 'of this statement'} is not known")
        return heavy

    def _action_add(self, table: str, cursor: _Cursor) -> bool:
        if cursor.word() in _KEYS:
            words = [token.text for token in cursor.rest() if token.kind == "word"]
            if {"check", "foreign", "primary", "unique", "exclude"}.intersection(words):
                self._risk("add_constraint", table, "fails when rows that are there break it")
            return words[-2:] != ["not", "valid"]
        if cursor.word() == "partition":
            return True
        cursor.take("column")
        if cursor.word() == "(":
            heavy = [self._action_add(table, _Cursor(part)) for part in _by_comma(_inside(cursor.rest()))]
            return any(heavy)
        cursor.take("if", "not", "exists")
        column = cursor.name()
        found = definition(cursor.rest())
        self._added[table.lower(), column.lower()] = _Added(found.not_null, found.fills_itself)
        # Since MySQL 8.0.12, MariaDB 10.3 and PostgreSQL 11 no row is touched for a column with a constant, or nothing.
        computed = any(token.text in _COMPUTED for token in cursor.rest() if token.kind == "word")
        return computed or _varies(cursor.rest(), self.dialect)

    def _action_drop(self, table: str, cursor: _Cursor) -> bool:
        if cursor.word() == "partition":
            self._risk("drop_table", table, "the rows of the partition are lost")
            return False
        key = cursor.take_any("check", "constraint", "foreign", "index", "key", "primary")
        if key:
            cursor.take("key")
            cursor.take("if", "exists")
            self._risk("drop_index", table, f"drops the {key} {cursor.name()}".strip())
            return False
        cursor.take("column")
        cursor.take("if", "exists")
        column = cursor.name()
        facts = self.tables.get(table.lower(), {})
        missing = bool(facts.get("columns")) and self._column(table, column) is None
        if (table.lower(), column.lower()) not in self._added and not missing:
            self._risk("drop_column", table, f"drops the column {column} and its values")
        return True

    def _action_rename(self, table: str, cursor: _Cursor) -> bool:
        if cursor.take_any("index", "key", "constraint"):
            return False
        if not cursor.take("column") and cursor.word() in ("to", "as"):
            cursor.take_any("to", "as")
            self._rename_table(table, self._table(cursor))
            return False
        column = cursor.name()
        if not cursor.take("to"):
            # MySQL: RENAME new_name.
            self._rename_table(table, column)
            return False
        self._rename_column(table, column, cursor.name())
        return False

    def _rename_column(self, table: str, old: str, new: str) -> None:
        if (table.lower(), old.lower()) in self._added:
            self._added[table.lower(), new.lower()] = self._added.pop((table.lower(), old.lower()))
        else:
            self._risk("rename_column", table, f"{old} becomes {new}; the running release asks for {old}")

    def _action_modify(self, table: str, cursor: _Cursor) -> bool:
        cursor.take("column")
        cursor.take("if", "exists")
        column = cursor.name()
        return self._redefined(table, column, definition(cursor.rest()))

    def _action_change(self, table: str, cursor: _Cursor) -> bool:
        cursor.take("column")
        cursor.take("if", "exists")
        old, new = cursor.name(), cursor.name()
        if old.lower() != new.lower():
            self._rename_column(table, old, new)
        added = (table.lower(), new.lower()) in self._added
        return self._redefined(table, new if added else old, definition(cursor.rest()))

    def _redefined(self, table: str, column: str, new: Definition) -> bool:
        """A column gets another definition."""
        added = self._added.get((table.lower(), column.lower()))
        if added:
            added.not_null, added.fills_itself = new.not_null, new.fills_itself
            return True
        old = self._column(table, column)
        if old is None:
            self._risk("narrow_column", table, f"{column} becomes {new.type}; what it is now is not known")
            return True
        reason = narrowing(old["type"], new.type, self.dialect)
        if reason:
            self._risk("narrow_column", table, f"{column} {reason}")
        if new.not_null and old["nullable"]:
            self._not_null(table, column)
        elif new.not_null and old["default"] and not new.fills_itself:
            reason = f"{column} loses its default, so it must be given, which the running release may not do"
            self._risk("not_null_without_default", table, reason)
        return True

    def _not_null(self, table: str, column: str) -> None:
        self._risk("narrow_column", table, f"{column} becomes NOT NULL, and the running release may write NULL")

    def _action_alter(self, table: str, cursor: _Cursor) -> bool:
        if cursor.take_any("index", "constraint", "check"):
            return False
        cursor.take("column")
        column = cursor.name()
        old = self._column(table, column)
        added = self._added.get((table.lower(), column.lower()))
        is_new = added is not None
        # Its rows take no harm, but the running release may not know it.
        words = [token.text for token in cursor.rest() if token.kind == "word"][:3]
        if added and words[1:] == ["not", "null"]:
            added.not_null = words[0] == "set"
        elif added and (words[1:2] == ["default"] or words[:2] == ["add", "generated"]):
            added.fills_itself = words[0] != "drop"
        if cursor.take("type") or cursor.take("set", "data", "type"):
            new = definition(cursor.rest())
            present = {"nullable": False, "default": False, **(old or {})}
            if not is_new and old is None:
                self._risk("narrow_column", table, f"{column} becomes {new.type}; what it is now is not known")
            elif not is_new:
                reason = narrowing(present["type"], new.type, self.dialect)
                if reason:
                    self._risk("narrow_column", table, f"{column} {reason}")
            return True
        if cursor.take("set", "not", "null"):
            if not is_new and (old is None or old["nullable"]):
                self._not_null(table, column)
            return True
        if cursor.take("drop", "default"):
            if not is_new and (old is None or (old["default"] and not old["nullable"])):
                reason = f"{column} loses its default, so it must be given, which the running release may not do"
                self._risk("not_null_without_default", table, reason)
            return False
        known = cursor.word() in ("set", "drop", "add", "reset")
        if not known:
            self._risk("unknown", table, f"what it does to {column} is not known")
        return False

    def _action_convert(self, table: str, cursor: _Cursor) -> bool:
        if "utf8mb4" not in [token.text for token in cursor.rest()]:
            self._risk("narrow_column", table, "every text changes its character set; what the new one lacks is lost")
        return True
