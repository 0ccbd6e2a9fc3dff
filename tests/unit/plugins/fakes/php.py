#!/usr/bin/env -S python3 -IS
"""A stand-in for PHP that plays the artisan of an application whose behaviour is in its file app.json.

Beside the directory of this program: `calls` gets every command line, `database.json` is the database of the
application, and `database_error`, where it exists, is what the driver says when one connects.
"""

import hashlib
import json
import os
import sys
import time
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
        return json.loads(cached.read_text().partition("//")[2])["views"]
    return os.environ.get("VIEW_COMPILED_PATH") or os.path.realpath("storage/framework/views")


def migrate(app):
    for name in app["migrations"]:
        if name in ran():
            continue
        if name == app.get("failing_migration"):
            stop(f"SQLSTATE[42S21]: Column already exists ({name})", "Connection.php")
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
        write(caches / "config.php", "<?php //" + json.dumps({"env": env, "views": views}))
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
        write("storage/framework/down", "{}")
    elif command == "up":
        Path("storage/framework/down").unlink(missing_ok=True)
    elif command == "key:generate":
        print("base64:shown") if "--show" in words else write(".env", f"APP_KEY={time.time_ns()}\n")
    elif command == "migrate":
        print("pretended") if "--pretend" in words else migrate(app)
    elif command == "migrate:fresh":
        write(DATABASE, "[]")
        migrate(app)
    elif command in COMMANDS or command in app.get("commands", {}):
        print(f"{command} ran")
    else:
        stop(f'Command "{command}" is not defined.', "Application.php")


def info(app):
    reached = not (HOME / "database_error").exists()
    pending = [name for name in app["migrations"] if name not in ran()]
    print(
        "\nslipway:"
        + json.dumps(
            {
                "version": app["version"],
                "view_path": view_path(),
                "environment": os.environ.get("APP_ENV", "production"),
                "migrations": {"ran": ran(), "pending": pending} if reached else None,
                "errors": {} if reached else {"migrations": (HOME / "database_error").read_text()},
            }
        )
    )


def main(words):
    with open(HOME / "calls", "a") as calls:
        calls.write(" ".join(["php", *words]).replace("\n", " ") + "\n")
    if words == ["-v"]:
        print("PHP 8.4.2 (cli)")
    elif words[0] == "artisan":
        artisan(application(), words[1], words[2:])
    elif "PHP_MAJOR_VERSION" in words[1]:
        print("8.4", end="")
    elif "new PDO" in words[-1]:
        write(HOME / "connection.json", sys.stdin.read())
        if (HOME / "database_error").exists():
            sys.exit((HOME / "database_error").read_text())
    elif "Console" in words[1]:
        info(application())
    else:
        app = application()
        healthy = app.get("needs_migration") in (None, *ran())
        print("\nslipway:" + json.dumps({"status": app["health"] if healthy else 500}))


main(sys.argv[1:])
