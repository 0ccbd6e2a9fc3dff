#!/usr/bin/env -S python3 -IS
"""A stand-in for PHP that plays the artisan of an application whose behaviour is in its file app.json.

Beside the directory of this program: `calls` gets every command line, `database.json` is the database of the
application, and `database_error`, where it exists, is what the driver says when one connects.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import time
import urllib.parse
from pathlib import Path

HOME = Path(__file__).absolute().parent.parent
DATABASE = HOME / "database.json"
EXCEPTION = "\nIn {where} line 14:\n\n  {message}\n\n"
WITHOUT_OPTIONS = (
    "about cache:clear config:cache config:clear event:cache help list queue:work route:cache storage:link up "
    "view:cache view:clear"
)
COMMANDS = {
    **{name: [] for name in WITHOUT_OPTIONS.split()},
    "migrate": ["force", "pretend", "seed"],
    "migrate:fresh": ["force"],
    "down": ["retry"],
    "key:generate": ["force", "show"],
}


def write(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def stop(message, where="web.php"):
    sys.stderr.write(EXCEPTION.format(where=where, message=message))
    sys.exit(1)


def application():
    app = {
        "migrations": [],
        "skipped": [],
        "health": 200,
        "fail": {},
        "version": "10.48.22",
        **json.loads(Path("app.json").read_text()),
    }
    if "boot_error" in app:
        stop(app["boot_error"])
    return app


def ran():
    return json.loads(DATABASE.read_text()) if DATABASE.exists() else []


def view_path():
    cached = Path("bootstrap/cache/config.php")
    if cached.exists():
        return json.loads(cached.read_text().splitlines()[0].partition("//")[2])["views"]
    return os.environ.get("VIEW_COMPILED_PATH") or os.path.realpath("storage/framework/views")


def migrate(app):
    if app.get("schema") and not ran():
        write(DATABASE, json.dumps(app["stored"]))
    for name in app["migrations"]:
        if name in ran():
            continue
        if name in app["skipped"]:
            continue
        if name == app.get("failing_migration"):
            stop(app.get("error") or f"SQLSTATE[42S21]: Column already exists ({name})", "Connection.php")
        write(DATABASE, json.dumps([*ran(), name]))
        print(f"  {name} ... DONE")


def artisan(app, command, words):
    caches = Path("bootstrap/cache")
    if command in app["fail"]:
        stop(app["fail"][command])
    if command == "list":
        commands = [
            {"name": name, "definition": {"options": {option: {} for option in options}}}
            for name, options in {**COMMANDS, **app.get("commands", {})}.items()
        ]
        print(json.dumps({"commands": commands}))
    elif command == "config:cache":
        env = Path(".env").read_text() if Path(".env").exists() else ""
        views = os.environ.get("VIEW_COMPILED_PATH") or os.path.realpath("storage/framework/views")
        pairs = [[text.replace("'", r"\'") for text in pair] for pair in app.get("links", {}).items()]
        exported = "".join(f"      '{link}' => '{target}',\n" for link, target in pairs)
        listed = f"    'links' => \n    array (\n{exported}    ),\n" if "links" in app else ""
        config = f"  'filesystems' => \n  array (\n    'default' => 'local',\n{listed}  ),\n"
        cached = json.dumps({"env": env, "views": views})
        write(caches / "config.php", f"<?php //{cached}\nreturn array (\n{config});\n")
    elif command == "route:cache":
        # As Laravel's own: the hash of an object and the name of a route that differ in each process.
        made_up = f"{os.getpid():016x}{0:016x} generated::{os.getpid():016d}"
        write(caches / "routes-v7.php", f"<?php // {made_up} {Path('routes/web.php').read_text()}")
    elif command == "event:cache":
        write(caches / "events.php", "<?php return [];")
    elif command == "view:cache":
        for view in Path("resources/views").glob("*.php"):
            write(f"{view_path()}/{hashlib.sha256(view.name.encode()).hexdigest()}.php", view.read_text())
    elif command in ("config:clear", "view:clear"):
        stale = [caches / "config.php"] if command == "config:clear" else Path(view_path()).glob("*.php")
        for path in stale:
            path.unlink(missing_ok=True)
    elif command == "storage:link":
        if not Path("public/storage").is_symlink():
            Path("public/storage").symlink_to("../storage/app/public")
    elif command == "down":
        if Down(app).get() is None:
            Down(app).put({"secret": None})
    elif command == "up":
        Down(app).put(None)
    elif command == "key:generate":
        print("base64:shown") if "--show" in words else write(".env", f"APP_KEY={time.time_ns()}\n")
    elif command == "migrate":
        if "--pretend" in words:
            print("pretended")
        elif app.get("mutex") and not (HOME / "unlocked").exists():
            # As the command does when another process has its lock.
            code = [word.partition("=")[2] for word in words if word.startswith("--isolated")]
            sys.exit(int((code or ["0"])[0]))
        else:
            migrate(app)
    elif command == "migrate:fresh":
        write(DATABASE, "[]")
        migrate(app)
    elif command == "db:seed":
        seeder = words[0].partition("=")[2]
        if seeder in app.get("failing_seeders", []):
            stop("Undefined variable", "Seeder.php")
    elif command in COMMANDS or command in app.get("commands", {}):
        print(f"{command} ran")
    else:
        stop(f'Command "{command}" is not defined.', "Application.php")


def info(app, queues):
    sizes = app.get("queues", {})
    reached = not (HOME / "database_error").exists()
    pending = [name for name in app["migrations"] if name not in ran()]
    print(
        "\nslipway:"
        + json.dumps(
            {
                "version": app["version"],
                "view_path": view_path(),
                "environment": os.environ.get("APP_ENV", "production"),
                "debug": app.get("debug", False),
                "maintenance": Down(app).get() is not None,
                "log": app.get("log", [{"channel": "single", "driver": "single", "level": "warning"}]),
                "utc_offset": app.get("utc_offset", 0),
                "queue_size": sizes.get("default", 0) if reached else None,
                "queues": {name: sizes.get(name, 0) if reached else None for name in queues},
                "failed_jobs": app.get("failed_jobs", 0) if reached else None,
                "migrations": {"ran": ran(), "pending": pending} if reached else None,
                "errors": {} if reached else {"migrations": (HOME / "database_error").read_text()},
            }
        )
    )


def migrations(app, asked):
    if (HOME / "database_error").exists():
        stop((HOME / "database_error").read_text(), "Connection.php")
    pending = [name for name in app["migrations"] if name not in ran()]
    schema = [app["schema"]] if app.get("schema") and not ran() else []
    answer = {
        "version": app["version"],
        "driver": app.get("driver", "mysql"),
        "ran": ran(),
        "pending": schema + pending,
        "not_isolated": app.get("not_isolated", ""),
        "migrations": [],
        "connections": {},
    }
    if asked["do"] == "unlock":
        write(HOME / "unlocked", "")
        answer["unlocked"] = True
    if asked["do"] == "plan":
        answer["empty"] = app.get("empty", False)
        for name in schema:
            told = {"migration": name, "statements": [], "error": None, "skipped": False}
            answer["migrations"].append({**told, "over": app.get("over", 0)})
        for name in pending:
            statements = [[app.get("connection", "default"), query] for query in app.get("sql", {}).get(name, [])]
            told = {"migration": name, "statements": statements, "error": None, "skipped": name in app["skipped"]}
            answer["migrations"].append({**told, **app.get("told", {}).get(name, {})})
        known = {"driver": answer["driver"], "existing": None, "schemas": [], "tables": app.get("tables", {})}
        answer["connections"] = {"default": {**known, "elsewhere": False}, "reports": {**known, "elsewhere": True}}
        for name in app.get("untold", []):
            answer["migrations"] = [entry for entry in answer["migrations"] if entry["migration"] != name]
    print("\nslipway:" + json.dumps(answer))


def database(app):
    """Tell the database of .env, or another one where the configuration of the application makes it so."""
    place = next(path for path in (Path(".env"), Path("../../shared/.env")) if path.exists())
    lines = [line.partition("=") for line in place.read_text().splitlines()]
    env = {name: value.strip("'\"") for name, _equals, value in lines}
    names = {"driver": "CONNECTION", "database": "DATABASE", "host": "HOST", "port": "PORT", "socket": "SOCKET"}
    print(
        "\nslipway:"
        + json.dumps(
            {key: env.get(f"DB_{name}") for key, name in names.items()}
            | {"keeps": app.get("keeps", [])}
            | app.get("database", {})
        )
    )


class Down:
    """Where Laravel keeps its maintenance: in a file or (as from Laravel 9) in a cache, which may be the database."""

    def __init__(self, app):
        self.driver = app.get("maintenance_driver", "file")
        self.place = HOME / "cache-down" if self.driver == "cache" else Path("storage/framework/down")

    def _query(self, query, *values):
        with contextlib.closing(sqlite3.connect(HOME / "db.sqlite", isolation_level=None)) as database:
            try:
                return database.execute(query, values).fetchone()
            except sqlite3.OperationalError as error:
                stop(f"SQLSTATE[HY000]: General error: 1 {error}", "Connection.php")

    def get(self):
        if self.driver == "database":
            row = self._query("select value from cache where key = 'down'")
            return json.loads(row[0]) if row else None
        return json.loads(self.place.read_text()) if self.place.exists() else None

    def put(self, state):
        if self.driver == "database":
            self._query("delete from cache")
            if state:
                self._query("insert into cache values ('down', ?)", json.dumps(state))
        elif state:
            write(self.place, json.dumps(state))
        else:
            self.place.unlink(missing_ok=True)


def maintenance(app):
    order, down = json.loads(os.environ["SLIPWAY_MAINTENANCE"]), Down(app)
    marker = Path(order["marker"])
    kept = json.loads(marker.read_text()).get("state") if marker.exists() and down.driver != "file" else None
    before = down.get()
    told = ""
    if order["down"] and kept:
        down.put(kept)
    elif order["down"] and before is None and not app.get("down_fails"):
        down.put({"secret": order["secret"], "retry": order["retry"], "template": order["render"]})
        write("storage/framework/maintenance.php", "<?php\n")
    elif not order["down"]:
        down.put(None)
    elif app.get("down_fails"):
        told = app["down_fails"]
    after = down.get()
    known = after or before or {}
    answer = {"was": before is not None, "is": after is not None, "ours": known.get("secret") == order["secret"]}
    print("\nslipway:" + json.dumps({**answer, "told": told, "state": None if down.driver == "file" else after}))


def status(app, url):
    parts = urllib.parse.urlsplit(url)
    uri = parts._replace(scheme="", netloc="").geturl()
    if app.get("trusts") not in (None, parts.netloc):
        return 400
    healthy = app.get("needs_migration") in (None, *ran())
    down = Path("storage/framework/down")
    if down.exists() and uri not in app.get("except", []) and "SLIPWAY_COOKIE" in os.environ:
        name, _equals, value = urllib.parse.unquote(os.environ["SLIPWAY_COOKIE"]).partition("=")
        payload = json.loads(base64.b64decode(value) or "{}")
        secret, expires = json.loads(down.read_text())["secret"], payload.get("expires_at", 0)
        mac = hmac.new(secret.encode(), str(expires).encode(), hashlib.sha256).hexdigest()
        if (name, payload.get("mac")) != ("laravel_maintenance", mac) or expires < time.time():
            return 503
    return app["health"] if healthy else 500


def variables(text):
    return {name: value for name, _equals, value in (line.partition("=") for line in text.splitlines())}


def environment(app):
    """Tell what is cached with other values than .env has."""
    cached = json.loads(Path("bootstrap/cache/config.php").read_text().splitlines()[0].partition("//")[2])["env"]
    now, before = variables(Path(".env").read_text()), variables(cached)
    if "bad_env" in app:
        sys.exit(f"The environment file is invalid! Encountered unexpected whitespace at [{now['DB_PASSWORD']}].")
    names = sorted(name for name in {*now, *before} if now.get(name) != before.get(name))
    decisive = [name for name in names if name.startswith(("APP_KEY", "DB_", "REDIS_"))]
    print("\nslipway:" + json.dumps({"decisive": decisive, "others": [n for n in names if n not in decisive]}))


def main(words):
    with open(HOME / "calls", "a") as calls:
        calls.write(" ".join(["php", *words]).replace("\n", " ") + "\n")
    if words[0] == "artisan":
        artisan(application(), words[1], words[2:])
    elif "opcache.enable=1" in words:
        preload = next(Path(word.partition("=")[2]) for word in words if word.startswith("opcache.preload="))
        if "Missing" in preload.read_text():
            sys.stderr.write(f'PHP Fatal error:  Class "Missing" not found in {preload} on line 2\n')
            sys.exit(255)
    elif "get_loaded_extensions" in words[1]:
        print("\nslipway:" + json.dumps({"version": "8.4.2", "extensions": ["Core", "mbstring", "Zend OPcache"]}))
    elif "PHP_MAJOR_VERSION" in words[1]:
        print("8.4", end="")
    elif "new PDO" in words[-1]:
        write(HOME / "connection.json", sys.stdin.read())
        if (HOME / "database_error").exists():
            sys.exit((HOME / "database_error").read_text())
    elif "RegisterProviders" in words[1]:
        print("\nslipway:" + json.dumps({name: application().get(f"load_{name}", "") for name in ("error", "note")}))
    elif "LoadConfiguration" in words[1]:
        environment(application())
    elif "SLIPWAY_MAINTENANCE" in words[1]:
        maintenance(application())
    elif "['maintenance' => $state]" in words[1]:
        state = Down(application()).get()
        print("\nslipway:" + json.dumps({"maintenance": json.dumps(state) if state else ""}))
    elif "getMigrationFiles($paths)" in words[1] and "$asked" in words[1]:
        migrations(application(), json.loads(words[3]))
    elif "filesystems.links" in words[1]:
        usual = {os.path.abspath("public/storage"): os.path.abspath("storage/app/public")}
        print("\nslipway:" + json.dumps({"links": application().get("links", usual)}))
    elif "getDatabaseName" in words[1]:
        database(application())
    elif "Console" in words[1]:
        info(application(), words[3:])
    else:
        print("\nslipway:" + json.dumps({"status": status(application(), words[-1])}))


main(sys.argv[1:])
