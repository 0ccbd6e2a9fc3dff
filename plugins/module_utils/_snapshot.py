# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of an application's database: taken as a stream, proven whole, restored as a whole.

Private to this collection. A snapshot is two files: ``<id>.sql.gz`` (``<id>.sqlite.gz``), and ``<id>.json``, written
last, which makes it one. What another tool took (a managed database) has the second file alone, and is restored by
another tool as well.

The programs of the database get the password in a file that only they can open, and that is gone with them: a memfd.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
import zlib
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from ansible_collections.slipway.laravel.plugins.module_utils import _probe
from ansible_collections.slipway.laravel.plugins.module_utils._errors import (
    BrokenDatabaseError,
    NoDumperError,
    SnapshotError,
)
from ansible_collections.slipway.laravel.plugins.module_utils._layout import read_json, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CHUNK = 2**20
# Of 1 to 9: measured on a dump of 130 MB, twice as fast as the usual 6 for a twentieth more bytes.
_LEVEL = 2
# Room left on the disk besides what the database may need.
_RESERVE = 200 * 2**20
# The last words of a dump that is whole.
_COMPLETE = {"mysql": b"-- Dump completed", "pgsql": b"-- PostgreSQL database dump complete"}
_DEFINER = re.compile(rb"DEFINER=(`(?:[^`]|``)*`@`(?:[^`]|``)*`) ?")
# Lines of a dump, but not of its data, in which a definer may stand.
_DEFINES = (b"/*!50", b"CREATE ", b"/*M!")
# Read by clients that do not know it (MySQL's, older ones of MariaDB) as a command, and fatal there.
_SANDBOX = b"/*M!999999\\- enable the sandbox mode */"

# A role may be gone, or the grant another one's to give: that keeps no data from being loaded.
_GRANT = (
    b"do $slipway$ begin %s exception when insufficient_privilege or undefined_object then "
    b"raise warning '%%', sqlerrm; end $slipway$;\n"
)

# Drops what an application can have made; what extensions brought stays.
_EMPTY_PGSQL = """
set client_min_messages = warning;
-- A transaction that somebody forgot shall not keep the site shut for ever.
set lock_timeout = '60s';
do $slipway$
declare thing record;
begin
  for thing in select nspname from pg_namespace n
    where nspname not like 'pg\\_%' and nspname not in ('public', 'information_schema')
    and not exists (select 1 from pg_depend d where d.objid = n.oid and d.deptype = 'e')
  loop execute format('drop schema if exists %I cascade', thing.nspname); end loop;
  for thing in select relname, case relkind when 'v' then 'view' when 'm' then 'materialized view'
      when 'S' then 'sequence' when 'f' then 'foreign table' else 'table' end as kind
    from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and not exists (select 1 from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    order by relkind in ('r', 'p') desc
  loop execute format('drop %s if exists public.%I cascade', thing.kind, thing.relname); end loop;
  for thing in select oid::regprocedure as name from pg_proc p where pronamespace = 'public'::regnamespace
    and not exists (select 1 from pg_depend d where d.objid = p.oid and d.deptype = 'e')
  loop execute format('drop routine if exists %s cascade', thing.name); end loop;
  for thing in select typname from pg_type t where typnamespace = 'public'::regnamespace
    and (typtype in ('e', 'd', 'r') or (typtype = 'c' and exists
      (select 1 from pg_class c where c.oid = t.typrelid and c.relkind = 'c')))
    and not exists (select 1 from pg_depend d where d.objid = t.oid and d.deptype = 'e')
  loop execute format('drop type if exists public.%I cascade', thing.typname); end loop;
end $slipway$;
"""


class Database(NamedTuple):
    """Where a database is, and who we are there."""

    driver: str
    name: str
    host: str = ""
    port: str = ""
    socket: str = ""
    user: str = ""
    password: str = ""
    tls_ca: str = ""
    tls_mode: str = ""


def database_of(env_file: str, environment: dict[str, str], release: str = "") -> Database:
    """Return the database of an ``.env`` file; variables of the environment go before it, as they do in Laravel.

    :param release: directory of a release, which says what it reads of the ``.env``; '' where it is not known
    :raises SnapshotError: it has none that can be dumped
    """
    try:
        with open(env_file, encoding="utf-8") as handle:
            values = _probe.parse_dotenv(handle.read())
    except OSError as exc:
        raise SnapshotError(f"{env_file} cannot be read, which names the database: {exc.strerror}") from exc
    values.update(
        {name: value for name, value in environment.items() if name.startswith(("DB_", "DATABASE_", "MYSQL_"))}
    )
    env = _probe.database_values(values, _probe.database_keys(release))
    driver, name = env["DB_CONNECTION"], env.get("DB_DATABASE", "")
    if driver == "sqlite":
        if not os.path.isabs(name):
            raise SnapshotError(f"DB_DATABASE in {env_file} is {name!r}; give SQLite's file by its absolute path")
        return Database("sqlite", name)
    if driver not in ("mysql", "mariadb", "pgsql"):
        raise SnapshotError(
            f"DB_CONNECTION in {env_file} is {driver}, which has no built-in snapshot; give a snapshot_command"
        )
    if not name:
        raise SnapshotError(f"DB_DATABASE in {env_file} is empty; it names the database")
    return Database(
        driver="pgsql" if driver == "pgsql" else "mysql",
        name=name,
        host=env.get("DB_HOST") or "127.0.0.1",
        port=env.get("DB_PORT") or ("5432" if driver == "pgsql" else "3306"),
        socket="" if driver == "pgsql" else env.get("DB_SOCKET", ""),
        user=env.get("DB_USERNAME", ""),
        password=env.get("DB_PASSWORD", ""),
        tls_ca=env.get("DB_SSLROOTCERT" if driver == "pgsql" else "MYSQL_ATTR_SSL_CA", ""),
        tls_mode=env.get("DB_SSLMODE", ""),
    )


def _same_place(database: Database, told: dict[str, Any]) -> bool:
    socket = str(told.get("socket") or "") if database.driver == "mysql" else ""
    if socket or database.socket:
        return socket == database.socket
    # Where writes go to several servers it is a list.
    hosts = told.get("host") or "127.0.0.1"
    port = str(told.get("port") or ("5432" if database.driver == "pgsql" else "3306"))
    return database.host in (hosts if isinstance(hosts, list) else [hosts]) and port == database.port


def check_same(database: Database, told: dict[str, Any], env_file: str) -> None:
    """Compare the database of an ``.env`` file with what the application says it uses.

    :param told: its ``driver``, ``database``, ``host``, ``port`` and ``socket``
    :raises SnapshotError: it uses another one
    """
    driver = {"mariadb": "mysql"}.get(told["driver"], told["driver"])
    name = str(told.get("database") or "")
    if driver == database.driver == "sqlite":
        same = os.path.realpath(name) == os.path.realpath(database.name)
    else:
        same = (driver, name) == (database.driver, database.name) and _same_place(database, told)
    if same:
        return
    ours = " ".join(filter(None, (database.driver, database.socket or database.host, database.name)))
    theirs = " ".join(str(told[key]) for key in ("driver", "socket", "host", "port", "database") if told.get(key))
    raise SnapshotError(
        f"the application uses another database ({theirs}) than {env_file} names ({ours}); let DB_* there name the one "
        f"that config/database.php makes of it, or give a snapshot_command"
    )


def _option(name: str, value: str) -> str:
    """Return a line of a MySQL option file."""
    for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        value = value.replace(character, escaped)
    return f'{name}="{value}"\n'


class Server:
    """The programs of a database server, run with the credentials of an application."""

    def __init__(self, database: Database, environment: dict[str, str]) -> None:
        self.database = database
        self._environment = {**os.environ, **environment, "LC_ALL": "C.UTF-8"}
        for name in [name for name in self._environment if name.startswith(("MYSQL_", "PG"))]:
            del self._environment[name]
        if database.driver == "pgsql":
            tls = {"PGSSLMODE": database.tls_mode, "PGSSLROOTCERT": database.tls_ca}
            self._environment.update({name: value for name, value in tls.items() if value})
        # A login file of the user would go before our own options.
        self._environment["MYSQL_TEST_LOGIN_FILE"] = os.devnull

    def program(self, *names: str) -> str:
        """Return the first of these programs that the host has.

        :raises SnapshotError: it has none of them
        """
        for name in names:
            path = shutil.which(name, path=self._environment.get("PATH"))
            if path:
                return path
        package = "postgresql-client" if self.database.driver == "pgsql" else "mariadb-client"
        raise NoDumperError(f"this host has no {' or '.join(names)}; install {package}, or give a snapshot_command")

    @contextlib.contextmanager
    def _secret(self, program: str) -> Iterator[tuple[list[str], dict[str, str], int]]:
        """Yield arguments, environment and the descriptor that hand over the credentials."""
        database = self.database
        descriptor = os.memfd_create("slipway")
        path = f"/dev/fd/{descriptor}"
        try:
            # Both refuse a file that others may read.
            os.fchmod(descriptor, 0o600)
            if database.driver == "pgsql":
                password = database.password.replace("\\", "\\\\").replace(":", "\\:")
                os.write(descriptor, f"*:*:*:*:{password}\n".encode())
                where = ["--host", database.host, "--port", database.port, "--username", database.user]
                arguments = [program, "--no-password", *where, "--dbname", database.name]
                yield arguments, {**self._environment, "PGPASSFILE": path}, descriptor
            else:
                options = {"user": database.user, "password": database.password, "default-character-set": "utf8mb4"}
                if database.socket:
                    options["socket"] = database.socket
                else:
                    options.update(host=database.host, port=database.port)
                if database.tls_ca:
                    options["ssl-ca"] = database.tls_ca
                text = "[client]\n" + "".join(_option(*item) for item in options.items())
                if not database.tls_ca and "MariaDB" in self._version(program):
                    # Its clients of late want a certificate that they can check; PHP asks for none.
                    text += "skip-ssl-verify-server-cert\n"
                os.write(descriptor, text.encode())
                # Not in addition to other option files: PHP does not read those either.
                yield [program, f"--defaults-file={path}"], self._environment, descriptor
        finally:
            os.close(descriptor)

    def _version(self, program: str) -> str:
        result = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", check=False)
        return result.stdout

    @contextlib.contextmanager
    def _running(self, program: str, arguments: list[str], **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program and yield it; it is gone, and has exited with 0, when this ends well.

        :raises SnapshotError: it exited with another status
        """
        with self._secret(program) as (argv, environment, descriptor), tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [*argv, *arguments],
                env=environment,
                pass_fds=[descriptor],
                stderr=errors,
                cwd="/",
                **{"stdin": subprocess.DEVNULL, **streams},
            )
            try:
                yield process
            except BaseException:
                process.kill()
                raise
            finally:
                for stream in (process.stdin, process.stdout):
                    if stream:
                        # When it is gone already, what it said is worth more than that.
                        with contextlib.suppress(BrokenPipeError):
                            stream.close()
                status = process.wait()
            if status != 0:
                errors.seek(0)
                told = _probe.told_once(errors.read().decode("utf-8", "replace"))
                # A dump without what another user made would not be whole.
                lacks = re.search("denied|privilege", told)
                remedy = f"; grant {self.database.user} what it lacks, or give a snapshot_command" if lacks else ""
                raise SnapshotError(
                    f"{os.path.basename(program)} exited {status}: {told[:500] or 'it said nothing'}{remedy}"
                )

    def rows(self, query: str) -> list[list[str]]:
        """Return the answer to a query."""
        if self.database.driver == "pgsql":
            program, arguments = self.program("psql"), ["-XAtq", "-F", "\t", "-c", query]
        else:
            program, arguments = self.program("mariadb", "mysql"), ["-NBr", "-e", query, self.database.name]
        with self._running(program, arguments, stdout=subprocess.PIPE) as process:
            text = cast(IO[bytes], process.stdout).read().decode("utf-8", "replace")
        return [line.split("\t") for line in text.splitlines()]

    def size(self) -> int:
        """Return the bytes of the data, which a dump, compressed, hardly exceeds."""
        if self.database.driver == "pgsql":
            query = "select pg_database_size(current_database())"
        else:
            query = (
                "select coalesce(sum(data_length), 0) from information_schema.tables where table_schema = database()"
            )
        return int(float(self.rows(query)[0][0]))

    def dump(self, write: Callable[[bytes], None]) -> None:
        """Hand over a dump of the whole database, consistent and without a lock, piece by piece.

        :raises SnapshotError: the dump failed or does not end as a whole one does
        """
        if self.database.driver == "pgsql":
            program, arguments = self.program("pg_dump"), ["--no-owner"]
        else:
            program = self.program("mariadb-dump", "mysqldump")
            arguments = ["--single-transaction", "--quick", "--routines", "--triggers", "--hex-blob"]
            arguments += ["--no-tablespaces", *(["--events"] if self._sees_events() else [])]
            version = self._version(program)
            if "MariaDB" not in version:
                # What MySQL's own adds since 5.6 and 8.0 needs rights that an application has not, or MySQL's server.
                arguments.append("--set-gtid-purged=OFF")
                found = re.search(r"Distrib (\d+)", version) or re.search(r"Ver (\d+)", version)
                arguments += ["--column-statistics=0"] if found and int(found[1]) >= 8 else []
            arguments.append(self.database.name)
        last = b""
        with self._running(program, arguments, stdout=subprocess.PIPE) as process:
            stdout = cast(IO[bytes], process.stdout)
            for chunk in iter(lambda: stdout.read(_CHUNK), b""):
                write(chunk)
                last = (last + chunk)[-1024:]
        if _COMPLETE[self.database.driver] not in last:
            raise SnapshotError(f"{os.path.basename(program)} exited 0, but its dump does not end as a whole one does")

    def _sees_events(self) -> bool:
        """Say whether the account may see events: one that may not makes none, and drops none when it restores."""
        try:
            self.rows("show events")
        except SnapshotError as exc:
            if "1044" in str(exc):
                return False
            raise
        return True

    def load(self, lines: Iterable[bytes]) -> None:
        """Empty the database and load a dump into it. On PostgreSQL all of it happens, or nothing.

        :raises SnapshotError: a statement failed
        """
        if self.database.driver == "pgsql":
            program = self.program("psql")
            # What goes with an error may be rows.
            arguments = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse", "--single-transaction"]
            empty, lines = _EMPTY_PGSQL.encode(), _for_pgsql(lines)
        else:
            program, arguments = self.program("mariadb", "mysql"), [self.database.name]
            empty, lines = self._empty_mysql(), _for_mysql(lines, self.rows("select current_user()")[0][0])
        try:
            with self._running(program, arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
                stdin = cast(IO[bytes], process.stdin)
                # It ends at the first error; then its exit status tells.
                with contextlib.suppress(BrokenPipeError):
                    stdin.write(empty)
                    stdin.writelines(lines)
        except SnapshotError as exc:
            from ansible_collections.slipway.laravel.plugins.module_utils._migrate import without_values  # noqa: PLC0415

            raise SnapshotError(without_values(str(exc))) from exc

    def _objects(self) -> Iterator[tuple[str, str, str]]:
        """Yield kind, name and definer of all that a MySQL database holds; a table has no definer."""
        for kind, schema, name, definer, table in (
            ("table", "table_schema", "table_name", "''", "tables where table_type <> 'VIEW'"),
            ("view", "table_schema", "table_name", "definer", "views where true"),
            ("procedure", "routine_schema", "routine_name", "definer", "routines where routine_type = 'PROCEDURE'"),
            ("function", "routine_schema", "routine_name", "definer", "routines where routine_type = 'FUNCTION'"),
            ("event", "event_schema", "event_name", "definer", "events where true"),
        ):
            query = f"select {name}, {definer} from information_schema.{table} and {schema} = database()"  # noqa: S608
            for row in self.rows(query):
                yield kind, row[0], row[1]

    def _empty_mysql(self) -> bytes:
        return _drops((kind, name) for kind, name, _definer in self._objects())

    def drop_of_others(self) -> None:
        """Drop what other accounts have made. MySQL refuses that for accounts of administrators; then no data is gone.

        :raises SnapshotError: it was refused
        """
        if self.database.driver != "mysql":
            return
        own = self.rows("select current_user()")[0][0]
        others = [(kind, name, definer) for kind, name, definer in self._objects() if definer not in ("", own)]
        if not others:
            return
        try:
            program = self.program("mariadb", "mysql")
            with self._running(
                program, [self.database.name], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            ) as process, contextlib.suppress(BrokenPipeError):
                cast(IO[bytes], process.stdin).write(_drops((kind, name) for kind, name, _definer in others))
        except SnapshotError as exc:
            made = ", ".join(f"{kind} {name} by {definer}" for kind, name, definer in others)
            raise SnapshotError(f"{exc}; or drop as their makers what others have made: {made}") from exc


def _drops(objects: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"drop {kind} if exists `{name.replace('`', '``')}`;" for kind, name in objects]
    return "".join(f"{line}\n" for line in ["set foreign_key_checks = 0;", *lines]).encode()


def _for_mysql(lines: Iterable[bytes], user: str) -> Iterator[bytes]:
    """Let a dump be loaded by a user without rights over others: what another user defined becomes ours."""
    name, _at, host = user.rpartition("@")
    own = f"`{name}`@`{host}`".encode()
    for line in lines:
        if line.startswith(_SANDBOX):
            continue
        if line.startswith(_DEFINES) and b"DEFINER=" in line:
            yield _DEFINER.sub(lambda found: found[0] if found[1] == own else b"", line)
        else:
            yield line


def _for_pgsql(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Leave out what only the owner of an extension may say, and try what others were granted without insisting."""
    in_data = in_grants = False
    in_head = True
    for line in lines:
        if in_data:
            in_data = line != b"\\.\n"
        elif line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
            in_data = True
        elif in_head and line == b"SET transaction_timeout = 0;\n":
            # Of pg_dump since 17, unknown to older servers, and the default.
            continue
        elif line.startswith(b"-- Name: "):
            in_head = False
            in_grants = b"; Type: ACL;" in line or b"; Type: DEFAULT ACL;" in line
        elif line.startswith(b"COMMENT ON EXTENSION "):
            continue
        elif in_grants and line.endswith(b";\n"):
            yield _GRANT % line[:-1]
            continue
        yield line


class _Sink:
    """A compressed file that is written and hashed at once, and is there only when it is whole."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._part = f"{path}.part"
        self._digest = hashlib.sha256()
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
        self._file = os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        # Held as long as somebody writes to it.
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def write(self, data: bytes) -> None:
        self._put(self._gzip.compress(data))

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)

    def keep(self) -> tuple[int, str]:
        """Finish the file; return its size and sha256."""
        self._put(self._gzip.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        os.replace(self._part, self._path)
        directory = os.open(os.path.dirname(self._path), os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        return size, self._digest.hexdigest()

    def drop(self) -> None:
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._part)


def _unpacked(path: str) -> Iterator[bytes]:
    """Yield the lines of a compressed file."""
    gzip = zlib.decompressobj(31)
    rest = b""
    with open(path, "rb") as handle:
        for chunk in iter(lambda: handle.read(_CHUNK), b""):
            # A line may be as long as the largest value: the pieces of it are put together once.
            *lines, rest = (rest + gzip.decompress(chunk)).split(b"\n")
            for line in lines:
                yield line + b"\n"
    rest += gzip.flush()
    if rest:
        yield rest


def sha256_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for chunk in iter(lambda: handle.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


class Snapshots:
    """The snapshots in one directory.

    :param environment: of the commands, on top of the present one
    """

    def __init__(self, directory: str, environment: dict[str, str] | None = None) -> None:
        self.directory = directory
        self._environment = environment or {}

    def entries(self) -> list[dict[str, Any]]:
        """Return what is known of each snapshot, oldest first."""
        found = []
        for path in glob.glob(os.path.join(self.directory, "*.json")):
            entry = read_json(path) or {}
            found.append({**entry, "path": os.path.join(self.directory, entry["file"]) if entry.get("file") else ""})
        return sorted(found, key=lambda entry: str(entry["created_at"]))

    def get(self, snapshot: str) -> dict[str, Any]:
        """Return what is known of one snapshot.

        :raises SnapshotError: there is none of that id
        """
        known = self.entries()
        for entry in known:
            if snapshot and snapshot in (entry["id"], entry["name"]):
                return entry
        names = ", ".join(entry["id"] for entry in known) or "none"
        raise SnapshotError(
            f"there is no snapshot {snapshot or '(no id given)'} in {self.directory}; there are: {names}"
        )

    def _new(self, label: str) -> str:
        """Return a name that is not taken; names begin with the time, so that they sort by it."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        for leftover in glob.glob(os.path.join(self.directory, "*.part")):
            # Of a run that was killed, unless somebody writes to it now.
            with open(leftover, "rb") as handle, contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(leftover)
        stem = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{label}"
        name, number = stem, 1
        while glob.glob(os.path.join(self.directory, f"{glob.escape(name)}.*")):
            number += 1
            name = f"{stem}-{number}"
        return name

    def _record(self, name: str, started: float, **facts: Any) -> dict[str, Any]:
        entry = {
            "id": name,
            "name": name,
            "created_at": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "seconds": round(time.monotonic() - started, 3),
            **facts,
        }
        write_atomic(os.path.join(self.directory, f"{name}.json"), json.dumps(entry, indent=1) + "\n", 0o600)
        return self.get(name)

    def take(self, database: Database, label: str, release: str = "") -> dict[str, Any]:
        """Take a snapshot of a database and return what is known of it.

        :raises SnapshotError: it failed; no file is left
        """
        started = time.monotonic()
        name = self._new(label)
        server = Server(database, self._environment)
        sqlite = database.driver == "sqlite"
        if sqlite and not os.path.isfile(database.name):
            raise SnapshotError(f"the SQLite file {database.name} does not exist; correct DB_DATABASE in .env")
        # A copy of SQLite's lies beside its compressed form for a moment.
        needed = 2 * os.path.getsize(database.name) if sqlite else server.size()
        free = shutil.disk_usage(self.directory).free
        if free < needed + _RESERVE:
            raise SnapshotError(
                f"{self.directory} has {free // 2**20} MiB left, a snapshot of {database.name} may need "
                f"{(needed + _RESERVE) // 2**20}; free some, or have it taken elsewhere by a snapshot_command"
            )
        file = f"{name}.{'sqlite' if sqlite else 'sql'}.gz"
        sink = _Sink(os.path.join(self.directory, file))
        try:
            if sqlite:
                self._copy_sqlite(database.name, sink.write)
            else:
                server.dump(sink.write)
            size, sha256 = sink.keep()
        except OSError as exc:
            raise SnapshotError(f"{self.directory}/{file} cannot be written: {exc.strerror or exc}") from exc
        finally:
            sink.drop()
        facts = {"driver": database.driver, "database": database.name, "release": release}
        return self._record(name, started, file=file, size=size, sha256=sha256, **facts)

    def _copy_sqlite(self, path: str, write: Callable[[bytes], None]) -> None:
        copy = os.path.join(self.directory, f"{os.path.basename(path)}.part")
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        try:
            live, target = sqlite3.connect(path, timeout=30), sqlite3.connect(copy)
            with contextlib.closing(live), contextlib.closing(target):
                live.backup(target)
            with open(copy, "rb") as handle:
                for chunk in iter(lambda: handle.read(_CHUNK), b""):
                    write(chunk)
        except sqlite3.Error as exc:
            raise SnapshotError(f"{path} cannot be copied: {exc}") from exc
        finally:
            os.unlink(copy)

    def by_command(self, argv: list[str], label: str, release: str = "") -> dict[str, Any]:
        """Have a snapshot taken by a command, whose last line is its id, and record it.

        :raises SnapshotError: the command failed or named no id
        """
        started = time.monotonic()
        name = self._new(label)
        told = self._have_run("snapshot_command", argv, release=release or name, snapshot=name)
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        if not lines:
            raise SnapshotError(f"snapshot_command {argv[0]} exited 0, but its output names no id")
        self._check_id(lines[-1], argv[0])
        facts = {"driver": "command", "database": "", "release": release}
        return self._record(name, started, id=lines[-1], file="", size=0, sha256="", **facts)

    def _check_id(self, told: str, program: str) -> None:
        taken = next((entry["created_at"] for entry in self.entries() if told in (entry["id"], entry["name"])), "")
        fault = "it has white space in it" if re.search(r"\s", told) else ""
        fault = fault or ("that stands for nothing" if told.lower() in ("none", "null") else "")
        fault = fault or (f"the snapshot of {taken} has it, and may have been replaced" if taken else "")
        if fault:
            raise SnapshotError(
                f"snapshot_command {program} exited 0, but its last line, {told[:100]!r}, is not the id of a new "
                f"snapshot: {fault}; let that line be the id, and each snapshot have one of its own"
            )

    def _have_run(self, option: str, argv: list[str], **words: str) -> str:
        """Run a command that an option gives, with words filled in, and return what it printed.

        :raises SnapshotError: it cannot be run, or failed
        """
        for name, value in words.items():
            argv = [str(word).replace(f"{{{name}}}", value) for word in argv]
        try:
            result = subprocess.run(
                argv,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                cwd="/",
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._environment},
            )
        except OSError as exc:
            raise SnapshotError(f"{option} {argv[0]} cannot be run: {exc.strerror}") from exc
        if result.returncode != 0:
            told = " ".join((result.stderr or result.stdout).split())[:300] or "it said nothing"
            raise SnapshotError(f"{option} {argv[0]} exited {result.returncode}: {told}")
        return result.stdout

    def is_managed(self, snapshot: str) -> bool:
        """Say whether another tool took a snapshot, so that a command has to restore it."""
        return any(not entry["path"] for entry in self.entries() if snapshot in (entry["id"], entry["name"]))

    def check_managed(self, snapshot: str, taking: list[str], restoring: list[str]) -> dict[str, Any]:
        """Return what is known of a snapshot that a command can restore.

        :raises SnapshotError: the commands for that are not given; nothing was changed
        """
        entry = self.get(snapshot)
        if not restoring:
            raise SnapshotError(
                f"snapshot {snapshot} was taken by snapshot_command; restore it by the tool that took it, or give the "
                f"restore_command that does"
            )
        if not any("{snapshot}" in str(word) for word in restoring):
            raise SnapshotError("restore_command has no {snapshot} in it, which stands for the id of what it restores")
        if not taking:
            raise SnapshotError("restore_command needs snapshot_command too, which first takes what is there now")
        return entry

    def restore_managed(
        self, snapshot: str, taking: list[str], restoring: list[str], release: str = ""
    ) -> dict[str, Any]:
        """Have a managed database made what it was, after a snapshot of what it is now.

        :param taking: the command that takes a snapshot
        :param restoring: the command that restores one
        :raises SnapshotError: it failed; the message says what the database is like
        """
        started = time.monotonic()
        entry = self.check_managed(snapshot, taking, restoring)
        safety = self.by_command(taking, "before-restore")

        def load(wanted: str) -> None:
            self._have_run("restore_command", restoring, snapshot=wanted, release=release)

        try:
            load(entry["id"])
        except SnapshotError as exc:
            try:
                load(safety["id"])
            except SnapshotError as again:
                raise BrokenDatabaseError(
                    f"{snapshot} was not restored: {exc}. The state before was not restored again either: {again}. "
                    f"NOBODY KNOWS WHAT THE DATABASE IS LIKE, take it that it IS NOT WHOLE; the state before is in "
                    f"snapshot {safety['id']}",
                    safety["id"],
                ) from exc
            raise SnapshotError(
                f"{snapshot} was not restored: {exc}. The database is what it was before, from {safety['id']}"
            ) from exc
        seconds = round(time.monotonic() - started, 3)
        return {"id": entry["id"], "safety": safety["id"], "database": "", "seconds": seconds}

    def check(self, snapshot: str, database: Database) -> dict[str, Any]:
        """Return what is known of a snapshot that can be restored into a database.

        :raises SnapshotError: it cannot; nothing was changed
        """
        entry = self.get(snapshot)
        if (entry["driver"], entry["database"]) != (database.driver, database.name):
            raise SnapshotError(
                f"snapshot {snapshot} is of the {entry['driver']} database {entry['database']}, and .env names the "
                f"{database.driver} database {database.name}; nothing was changed"
            )
        if not os.path.isfile(entry["path"]):
            raise SnapshotError(f"{entry['path']} is gone; nothing was changed")
        found = sha256_of(entry["path"])
        if found != entry["sha256"]:
            raise SnapshotError(
                f"{entry['path']} has sha256 {found}, not {entry['sha256']}, so it is not what was written; "
                f"nothing was changed"
            )
        return entry

    def restore(self, snapshot: str, database: Database) -> dict[str, Any]:
        """Make a database what it was, after a snapshot of what it is now.

        :raises SnapshotError: it failed; the message says what the database is like
        """
        started = time.monotonic()
        entry = self.check(snapshot, database)
        safety = self.take(database, "before-restore")
        if database.driver != "sqlite":
            try:
                Server(database, self._environment).drop_of_others()
            except SnapshotError as exc:
                raise SnapshotError(f"{snapshot} was not loaded, and no data was touched: {exc}") from exc
        try:
            self._load(entry, database)
        except SnapshotError as exc:
            if database.driver == "pgsql":
                # What was there never went.
                raise SnapshotError(f"{snapshot} was not loaded, and the database was not changed: {exc}") from exc
            try:
                self._load(safety, database)
            except SnapshotError as again:
                raise BrokenDatabaseError(
                    f"{snapshot} was not loaded: {exc}. The state before was not loaded again either: {again}. THE "
                    f"DATABASE {database.name} IS NOT WHOLE; the state before is in {safety['path']}",
                    safety["id"],
                ) from exc
            raise SnapshotError(
                f"{snapshot} was not loaded: {exc}. The database is what it was before, from {safety['id']}"
            ) from exc
        seconds = round(time.monotonic() - started, 3)
        return {"id": entry["id"], "safety": safety["id"], "database": database.name, "seconds": seconds}

    def _load(self, entry: dict[str, Any], database: Database) -> None:
        if database.driver != "sqlite":
            return Server(database, self._environment).load(_unpacked(entry["path"]))
        copy = os.path.join(self.directory, f"{os.path.basename(database.name)}.part")
        try:
            with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as handle:
                handle.writelines(_unpacked(entry["path"]))
            # Into the file that processes have open, by a transaction of its own.
            source, live = sqlite3.connect(copy), sqlite3.connect(database.name, timeout=30)
            with contextlib.closing(source), contextlib.closing(live):
                source.backup(live)
        except sqlite3.Error as exc:
            raise SnapshotError(f"{database.name} cannot be written: {exc}") from exc
        finally:
            os.unlink(copy)
        return None

    def remove(self, snapshot: str) -> None:
        """Remove one snapshot; first what makes it one."""
        entry = self.get(snapshot)
        os.unlink(os.path.join(self.directory, f"{entry['name']}.json"))
        if entry["path"] and os.path.exists(entry["path"]):
            os.unlink(entry["path"])

    def prune(self, keep: int) -> list[str]:
        """Remove the oldest beyond ``keep``, without those of the newest release; return their ids.

        What a command took is only forgotten here.
        """
        known = self.entries()
        newest = next((entry["release"] for entry in reversed(known) if entry["release"]), None)
        old = [entry for entry in known[: max(0, len(known) - keep)] if entry["release"] != newest]
        for entry in old:
            self.remove(entry["name"])
        return [entry["id"] for entry in old]
