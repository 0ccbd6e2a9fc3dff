# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running artisan commands in one release, and knowing from state what they changed.

Private to this collection.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils._masking import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible.module_utils.basic import AnsibleModule

# Boots the application in the current directory, for snippets that ask it for more than a command of it tells.
BOOT_PHP = r"""
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);
ini_set('display_errors', 'stderr');
require getcwd() . '/vendor/autoload.php';
$app = require getcwd() . '/bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
// An unreachable host must not cost the 30 seconds that each attempt takes by default.
foreach (config('database.connections', []) as $name => $connection) {
    if (in_array($connection['driver'] ?? '', ['mysql', 'mariadb', 'pgsql'], true)) {
        $options = [PDO::ATTR_TIMEOUT => 3] + ($connection['options'] ?? []);
        config(["database.connections.$name.options" => $options]);
    }
}
foreach (config('database.redis', []) as $name => $connection) {
    if (is_array($connection) && isset($connection['host'])) {
        config(["database.redis.$name.timeout" => 3]);
    }
}
"""

# Tells where a connection leads, so that two names of one database are seen to be one.
PLACE_PHP = r"""
// A pool in front of a database has another port.
$place = function ($connection) {
    $driver = str_replace('mariadb', 'mysql', $connection->getDriverName());
    return json_encode([$driver, $connection->getDatabaseName(), $connection->getConfig('host')]);
};
"""

# Tells the files of migrations and which of them are pending, by name, as the command migrate sees them.
PENDING_PHP = r"""
// The application's own come last: one of the name of a package's counts in its place.
$files_of = function ($migrator, $paths = []) use ($app) {
    $paths = $paths ?: array_merge($migrator->paths(), [$app->databasePath('migrations')]);
    return $migrator->getMigrationFiles($paths);
};
// The framework may pass over some: those of Migrator::withoutMigrations(), from Laravel 11 on.
$pending_of = function ($migrator, $files, $ran) {
    if (!method_exists($migrator, 'pendingMigrations')) {
        return array_diff_key($files, array_flip($ran));
    }
    $pending = Closure::bind(function () use ($migrator, $files, $ran) {
        return $migrator->pendingMigrations($files, $ran);
    }, null, get_class($migrator));
    return array_intersect($files, $pending());
};
"""

# Boots the application once and answers with one JSON object; works on Laravel 8 to 13, where `about --json` (9.21)
# does not. A service that cannot be reached is an entry in "errors", not a failure.
INFO_PHP = (
    BOOT_PHP
    + PENDING_PHP
    + r"""
$errors = [];
$try = function ($name, $function) use (&$errors) {
    try {
        return $function();
    } catch (Throwable $error) {
        $errors[$name] = get_class($error) . ': ' . $error->getMessage();
        return null;
    }
};
// Asked once: each further question would wait for the same timeout several times over.
$unreachable = null;
try {
    $app->make('db')->connection()->getPdo();
} catch (Throwable $error) {
    $unreachable = $error;
}
$needs_database = function () use (&$unreachable) {
    if ($unreachable) {
        throw $unreachable;
    }
};
$channels = function ($name) use (&$channels) {
    $channel = config("logging.channels.$name", []);
    if (($channel['driver'] ?? '') === 'stack') {
        $names = $channel['channels'] ?? [];
        return array_merge([], ...array_map($channels, is_string($names) ? explode(',', $names) : $names));
    }
    $level = strtolower((string) ($channel['level'] ?? 'debug'));
    return [['channel' => $name, 'driver' => $channel['driver'] ?? '', 'level' => $level]];
};
$queues = [];
foreach (array_slice($argv, 1) as $name) {
    $queues[$name] = $try("queue $name", function () use ($app, $name, $needs_database) {
        if (config('queue.connections.' . config('queue.default') . '.driver') === 'database') {
            $needs_database();
        }
        return $app->make('queue')->size($name);
    });
}
$info = [
    'version' => $app->version(),
    'php_version' => PHP_VERSION,
    'environment' => $app->environment(),
    'debug' => (bool) config('app.debug'),
    'url' => config('app.url'),
    'maintenance' => $app->isDownForMaintenance(),
    'caches' => [
        'config' => $app->configurationIsCached(),
        'routes' => $app->routesAreCached(),
        'events' => method_exists($app, 'eventsAreCached') && $app->eventsAreCached(),
    ],
    'view_path' => config('view.compiled'),
    'database' => config('database.default'),
    'queue' => config('queue.default'),
    'queues' => (object) $queues,
    'log' => $channels(config('logging.default')),
    'utc_offset' => (int) date('Z'),
    'migrations' => $try('migrations', function () use ($app, $needs_database, $files_of, $pending_of) {
        $needs_database();
        $migrator = $app->make('migrator');
        $ran = $migrator->repositoryExists() ? $migrator->getRepository()->getRan() : [];
        $pending = array_keys($pending_of($migrator, $files_of($migrator), $ran));
        return ['ran' => array_values($ran), 'pending' => $pending];
    }),
    'queue_size' => $try('queue', function () use ($app, $needs_database) {
        if (config('queue.connections.' . config('queue.default') . '.driver') === 'database') {
            $needs_database();
        }
        return $app->make('queue')->size();
    }),
    'failed_jobs' => $try('failed_jobs', function () use ($app, $needs_database) {
        $needs_database();
        $failer = $app->make('queue.failer');
        // count() came with Laravel 10; all() loads every payload.
        return method_exists($failer, 'count') ? $failer->count() : count($failer->all());
    }),
];
$info['errors'] = (object) $errors;
echo "\nslipway:" . json_encode($info, JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES) . "\n";
"""
)

# Answers a health request, which comes as a whole address, inside one PHP process: for hosts without PHP-FPM. A cookie
# comes by the environment, since a command line is visible to every user.
REQUEST_PHP = r"""
require getcwd() . '/vendor/autoload.php';
$app = require getcwd() . '/bootstrap/app.php';
$kernel = $app->make(Illuminate\Contracts\Http\Kernel::class);
parse_str((string) getenv('SLIPWAY_COOKIE'), $cookies);
$response = $kernel->handle(Illuminate\Http\Request::create($argv[1], 'GET', [], $cookies));
echo "\nslipway:" . json_encode(['status' => $response->getStatusCode()]) . "\n";
"""

# The links that storage:link makes.
LINKS_PHP = (
    BOOT_PHP
    + r"""
echo "\nslipway:" . json_encode(['links' => (object) (config('filesystems.links')
    ?? [public_path('storage') => storage_path('app/public')])], JSON_UNESCAPED_SLASHES) . "\n";
"""
)

# Tells a short word that changes with the maintenance of the application, '' when there is none. maintenanceMode() came
# with Laravel 9, and with it the cache as a place of the state.
MAINTENANCE_PHP = (
    BOOT_PHP
    + r"""
$state = '';
if ($app->isDownForMaintenance()) {
    $data = method_exists($app, 'maintenanceMode')
        ? json_encode($app->maintenanceMode()->data())
        : file_get_contents($app->storagePath() . '/framework/down');
    $state = substr(hash('sha256', $data), 0, 16);
}
echo "\nslipway:" . json_encode(['maintenance' => $state]) . "\n";
"""
)

CONFIG = "bootstrap/cache/config.php"
_ROUTES = "bootstrap/cache/routes-v7.php"
_EVENTS = "bootstrap/cache/events.php"
_DISCOVERED = ("bootstrap/cache/packages.php", "bootstrap/cache/services.php")
_PUBLIC_STORAGE = "public/storage"
_VIEWS = "<compiled views>"
_MAINTENANCE = "<maintenance>"

# What holds what a command changes: files, and what only the application tells.
STATE_FILES: dict[str, tuple[str, ...]] = {
    "config:cache": (CONFIG,),
    "config:clear": (CONFIG,),
    "route:cache": (_ROUTES,),
    "route:clear": (_ROUTES,),
    "event:cache": (_EVENTS,),
    "event:clear": (_EVENTS,),
    "view:cache": (_VIEWS,),
    "view:clear": (_VIEWS,),
    "optimize": (CONFIG, _ROUTES, _EVENTS, _VIEWS),
    "optimize:clear": (CONFIG, _ROUTES, _EVENTS, _VIEWS, *_DISCOVERED),
    "package:discover": _DISCOVERED,
    "storage:link": (_PUBLIC_STORAGE,),
    "storage:unlink": (_PUBLIC_STORAGE,),
    "key:generate": (".env",),
    "down": (_MAINTENANCE,),
    "up": (_MAINTENANCE,),
}

# What a cache is made from: it is out of date when one of these is newer.
CACHE_INPUTS: dict[str, tuple[str, ...]] = {
    "config:cache": (".env", "config/**/*.php"),
    "route:cache": ("routes/**/*.php", CONFIG),
    "event:cache": ("app/Listeners/**/*.php", "app/Providers/*.php"),
    "view:cache": ("resources/views/**/*.php",),
}

MIGRATION_COMMANDS = frozenset(
    ("migrate", "migrate:fresh", "migrate:install", "migrate:refresh", "migrate:reset", "migrate:rollback")
)

READ_ONLY = frozenset(
    (
        *("about", "channel:list", "config:show", "db:monitor", "db:show", "db:table", "env", "event:list", "help"),
        *("list", "migrate:status", "model:show", "queue:failed", "queue:monitor", "route:list", "schedule:list"),
        *("--help", "--version", "-V", "-h"),
    )
)

# What differs in each process: spl_object_hash() of a serialized closure, and the names that route:cache makes up.
_RANDOM = re.compile(rb"[0-9a-f]{16}0{16}|generated::[A-Za-z0-9]{16}")
# Besides what is_secret_name() knows: what a caller sets for a command is rarely shown, and more may be blotted out.
_SECRET_NAME = re.compile(r"AUTH|CREDENTIAL|KEY|PASS|SECRET|TOKEN", re.IGNORECASE)
_EXCEPTION = re.compile(r"In \S+ line \d+:$")
# The links in the configuration, as var_export() writes it.
_FILESYSTEMS = re.compile(r"^  'filesystems' => \n  array \((.*?)^  \),$", re.MULTILINE | re.DOTALL)
_LINKS = re.compile(r"^    'links' => \n    array \((.*?)^    \),$", re.MULTILINE | re.DOTALL)
_STRING = r"'((?:[^'\\]|\\.)*)'"
_LINK = re.compile(rf"^      {_STRING} => {_STRING},$", re.MULTILINE)
_DECORATION = re.compile(r"^[\s│┌└├─+|=-]*$")


class ArtisanError(Exception):
    """A command failed; ``result`` holds its rc, stdout and stderr."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def take_environment(module: AnsibleModule) -> dict[str, str]:
    """Return the parameter ``environment``, and take it out of what the module shows.

    ``no_log`` alone would also blot every value out of the results, wherever it occurs: with ``HOME=/var/www/app`` the
    path of an artifact, with ``DEBUG=1`` each 1 of a release id. That is right for secrets only.
    """
    environment = {key: str(value) for key, value in module.params["environment"].items()}
    module.params["environment"] = {}
    secrets = {value for key, value in environment.items() if _SECRET_NAME.search(key) or is_secret_name(key)}
    module.no_log_values -= set(environment.values()) - secrets
    return environment


def console_exception(lines: list[str]) -> str:
    """Return the exception in what a program printed, as one line; '' when there is none.

    The console names it as ``In web.php line 14:`` and puts its message below.
    """
    for number, line in enumerate(lines):
        if _EXCEPTION.match(line):
            message = []
            for following in lines[number + 1 :]:
                if _EXCEPTION.match(following) or following.startswith(("at ", "#0 ")):
                    break
                message.append(following)
            return f"{line} {' '.join(message[:3])}"
    return ""


def telling_lines(stream: str) -> list[str]:
    return [line.strip() for line in stream.splitlines() if not _DECORATION.match(line)]


def error_text(stdout: str, stderr: str) -> str:
    """Return what a failed command says was wrong, as one line: its exception, or the last lines that say something."""
    streams = [telling_lines(stderr), telling_lines(stdout)]
    exception = next(filter(None, map(console_exception, streams)), "")
    return exception or "; ".join((streams[0] + streams[1])[-3:]) or "it printed nothing"


def fingerprint(path: str) -> str:
    """Return a short word that changes when the file, link or directory of files changes; '' when there is none."""
    if os.path.islink(path):
        return "-> " + os.readlink(path)
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(path) if name.endswith(".php"))
        digests = [name + fingerprint(os.path.join(path, name)) for name in names]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16] if names else ""
    try:
        with open(path, "rb") as handle:
            return hashlib.sha256(_RANDOM.sub(b"", handle.read())).hexdigest()[:16]
    except FileNotFoundError:
        return ""


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def older_than_inputs(release: str, command: str) -> bool:
    """Say whether a cache is missing, or older than what it is made from."""
    state = [os.path.join(release, name) for name in STATE_FILES[command] if name != _VIEWS]
    if not all(os.path.exists(path) for path in state):
        return True
    made = min((os.stat(path).st_mtime for path in state), default=0.0)
    for pattern in CACHE_INPUTS[command]:
        for path in glob.glob(os.path.join(release, pattern), recursive=True):
            if os.stat(path).st_mtime > made:
                return True
    return False


class Artisan:
    """Runs artisan in one release directory."""

    def __init__(
        self, module: AnsibleModule, release: str, php: str = "php", environment: dict[str, str] | None = None
    ) -> None:
        self._module = module
        self.release = release
        self._php = php
        # The console breaks the lines of an error, within words, at the width of the terminal.
        self._environment = {"LC_ALL": "C.UTF-8", "COLUMNS": "4000", **(environment or {})}

    def problem(self) -> str | None:
        """Return why artisan cannot run here, or None."""
        if not os.path.isfile(os.path.join(self.release, "artisan")):
            return f"{self.release} has no file 'artisan': it is not the directory of a Laravel application"
        if not os.path.isfile(os.path.join(self.release, "vendor", "autoload.php")):
            return f"{self.release}/vendor is missing: run composer install there first"
        return None

    def _php_run(self, argv: list[str]) -> tuple[int, str, str]:
        try:
            rc, out, err = self._module.run_command(
                [self._php, *argv], cwd=self.release, environ_update=self._environment, handle_exceptions=False
            )
        except OSError as exc:
            raise ArtisanError(f"{self._php} cannot be run: {exc}", {"rc": 127, "stdout": "", "stderr": ""}) from exc
        return rc, out, err

    def run(self, command: Sequence[str]) -> dict[str, Any]:
        """Run one command.

        :raises ArtisanError: it exited with another status than 0
        """
        started = time.monotonic()
        rc, out, err = self._php_run(["artisan", *command, "--no-ansi", "--no-interaction"])
        result = {
            "command": list(command),
            "rc": rc,
            "stdout": out,
            "stderr": err,
            "seconds": round(time.monotonic() - started, 3),
        }
        if rc != 0:
            raise ArtisanError(f"artisan {command[0]} exited {rc} in {self.release}: {error_text(out, err)}", result)
        return result

    def answer(self, what: str, code: str, *arguments: str) -> dict[str, Any]:
        """Run a PHP snippet in the release and return the JSON object that it prints after ``slipway:``.

        :param what: what the application cannot do when it prints none
        :raises ArtisanError: it printed none
        """
        rc, out, err = self._php_run(["-r", code, "--", *arguments])
        for line in out.splitlines():
            if line.startswith("slipway:"):
                answer: dict[str, Any] = json.loads(line[len("slipway:") :])
                return answer
        result = {"rc": rc, "stdout": out, "stderr": err}
        raise ArtisanError(f"the application in {self.release} cannot {what}: {error_text(out, err)}", result)

    def info(self, queues: Sequence[str] = ()) -> dict[str, Any]:
        """Boot the application once and return what it says of itself.

        :param queues: queues whose sizes are asked for, besides the default one's
        :raises ArtisanError: it does not boot
        """
        return self.answer("boot", INFO_PHP, *queues)

    def links(self) -> dict[str, str]:
        """Return the links that storage:link would make, each with its target.

        What config:cache has written is read as it is, which spares a start of PHP.

        :raises ArtisanError: there is none of it, and the application does not boot
        """
        try:
            with open(os.path.join(self.release, CONFIG), encoding="utf-8", errors="surrogateescape") as handle:
                section = _FILESYSTEMS.search(handle.read())
        except FileNotFoundError:
            links: dict[str, str] = self.answer("tell its links", LINKS_PHP)["links"]
            return links
        listed = _LINKS.search(section[1]) if section else None
        if listed:
            return {_unquoted(link): _unquoted(target) for link, target in _LINK.findall(listed[1])}
        # Laravel's own, where the configuration names none.
        own = os.path.realpath(self.release)
        return {os.path.join(own, _PUBLIC_STORAGE): os.path.join(own, "storage/app/public")}

    def request(self, uri: str, host: str) -> int:
        """Let the application answer a GET request inside one PHP process and return the status.

        :param host: the name that it is asked for, by HTTP: routes may be bound to it, and other names not trusted
        :raises ArtisanError: it does not boot
        """
        return int(self.answer("answer " + uri, REQUEST_PHP, f"http://{host}{uri}")["status"])

    def commands(self) -> dict[str, set[str]]:
        """Return the commands that this application has, each with its options.

        :raises ArtisanError: it does not boot
        """
        listing = json.loads(self.run(["list", "--format=json"])["stdout"])
        return {
            command["name"]: {"--" + option for option in (command.get("definition", {}).get("options") or {})}
            for command in listing["commands"]
        }

    def state(self, command: str, view_path: str | None = None) -> dict[str, str]:
        """Return the fingerprints of what a command changes; empty when that is not known.

        :raises ArtisanError: the application is needed for that, and does not boot
        """
        state = {}
        for name in STATE_FILES.get(command, ()):
            if name == _MAINTENANCE:
                state[name] = self.answer("tell whether it is in maintenance", MAINTENANCE_PHP)["maintenance"]
                continue
            path = view_path if name == _VIEWS else os.path.join(self.release, name)
            state[name] = fingerprint(path) if path else ""
        return state
