# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollback asks of the release that it goes to, which was live on this host at another time.

Private to this collection. A rollback has to work at the worst moment: so nothing here asks a database or another
service, what the application asks by itself may be away, and what cannot be told is no reason to stay.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import urllib.parse
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils import _fastcgi, _fpm_scripts, _probe
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import ArtisanError

if TYPE_CHECKING:
    from ansible_collections.slipway.laravel.plugins.module_utils._artisan import Artisan
    from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout

# Of a cache that is not there, so that the configuration is read from its files and .env.
NO_CACHE = {"APP_CONFIG_CACHE": "bootstrap/cache/slipway-none.php"}

# Compares the configuration cache with what would be in it now. Values stay in here, names are told: of a variable, or
# of the configuration, where that does not show by which variable it was made. What packages have put in there is left
# out, since only the application as a whole tells it. decisive is what data and keys a release works with.
_ENVIRONMENT_PHP = r"""
error_reporting(0);
require getcwd() . '/vendor/autoload.php';
$load = function ($steps) {
    $app = require getcwd() . '/bootstrap/app.php';
    foreach ($steps as $step) {
        $app->make("Illuminate\\Foundation\\Bootstrap\\$step")->bootstrap($app);
    }
    return Illuminate\Support\Arr::dot($app['config']->all());
};
$now = $load(['LoadEnvironmentVariables', 'LoadConfiguration']);
$cached = Illuminate\Support\Arr::dot(require getcwd() . '/bootstrap/cache/config.php');
// Once more with a word in the place of each variable, which shows where that is used, and with numbers, since no word
// shows in a number or a bool.
$files = array_merge(glob('config/*.php'), glob('config/*/*.php'), glob('vendor/laravel/framework/config/*.php'));
$use = '/(?:\b(?:env|getenv|Env::get)\(|\$_(?:ENV|SERVER)\[)\s*[\'"](\w+)[\'"]/';
preg_match_all($use, implode('', array_map('file_get_contents', $files)), $used);
// What the first decides is read before the configuration, and stage sets the second by itself.
$names = array_values(array_diff(array_unique($used[1]), ['APP_ENV', 'VIEW_COMPILED_PATH']));
$with = function ($value) use ($load, $names) {
    foreach ($names as $number => $name) {
        $_SERVER[$name] = $_ENV[$name] = sprintf($value, $number);
        putenv("$name=$_ENV[$name]");
    }
    try {
        return $load(['LoadConfiguration']);
    } catch (Throwable $error) {
        // Of a word where a number is wanted, say. Then only the names of the configuration are known.
        return [];
    }
};
$marked = $with('slipway%dx');
$loads = array_filter([$now, $marked, $with('0'), $with('1')]);
// What is the same whatever is in there was put into the cache by a provider, from elsewhere.
$varies = function ($path) use ($loads) {
    $values = array_map(function ($config) use ($path) {
        return var_export($config[$path] ?? null, true);
    }, $loads);
    return count($loads) < 2 || count(array_unique($values)) > 1;
};
$told = ['decisive' => [], 'others' => []];
foreach ($marked + $now as $path => $value) {
    if (var_export($now[$path] ?? null, true) === var_export($cached[$path] ?? null, true)) {
        continue;
    }
    $kind = preg_match('/^(database\.|app\.(key|cipher|previous_keys)(\.|$))/', $path) ? 'decisive' : 'others';
    preg_match_all('/slipway(\d+)x/i', is_string($value) && isset($marked[$path]) ? $value : '', $words);
    foreach ($words[1] as $number) {
        $told[$kind][] = $names[$number];
    }
    if (!$words[1] && $kind === 'decisive' && isset($now[$path], $cached[$path]) && $varies($path)) {
        $told[$kind][] = $path;
    }
}
$told['others'] = array_diff($told['others'], $told['decisive']);
foreach ($told as $kind => $found) {
    sort($found);
    $told[$kind] = array_values(array_unique($found));
}
echo "\nslipway:" . json_encode($told) . "\n";
"""

# Loads the application as each request does, up to where its providers begin to work: those may ask the database. It is
# the release in the current directory, or for PHP-FPM the one that it is asked for. That a service cannot be reached,
# which a provider may ask as soon as it is registered, says nothing of the release, and is a note.
_LOAD_PHP = r"""
$path = PHP_SAPI === 'cli' ? getcwd() : dirname(__DIR__) . '/releases/' . basename($_GET['release'] ?? '');
$tell = function ($error, $note = '') {
    $told = ['error' => $error, 'note' => $note];
    echo "\nslipway:" . json_encode($told, JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES) . "\n";
};
$ended = false;
register_shutdown_function(function () use ($tell, &$ended) {
    // Such as Composer's own check of the platform, or a file that this version of PHP cannot compile.
    $last = error_get_last();
    $fatal = E_ERROR | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR;
    $ended || $tell($last && $last['type'] & $fatal ? $last['message'] : 'it ends by itself');
});
$error = $note = $step = '';
try {
    chdir($path);
    require $path . '/vendor/autoload.php';
    $app = require $path . '/bootstrap/app.php';
    $steps = 'LoadEnvironmentVariables LoadConfiguration RegisterFacades SetRequestForConsole RegisterProviders';
    foreach (explode(' ', $steps) as $step) {
        $app->make("Illuminate\\Foundation\\Bootstrap\\$step")->bootstrap($app);
    }
} catch (Throwable $thrown) {
    $told = get_class($thrown) . ': ' . $thrown->getMessage();
    $service = false;
    $code = $step !== 'RegisterProviders';
    for ($cause = $thrown; $cause; $cause = $cause->getPrevious()) {
        $service = $service || $cause instanceof PDOException || $cause instanceof RedisException;
        $service = $service || $cause instanceof Predis\PredisException;
        // The latter is of a class that is not there.
        $code = $code || $cause instanceof Error || $cause instanceof ReflectionException;
    }
    list($error, $note) = $code && !$service ? [$told, ''] : ['', $told];
}
$ended = true;
$tell($error, $note);
"""


def cached_environment(artisan: Artisan) -> dict[str, Any]:
    """Return the names of what a release has cached with other values than ``.env`` has now, and whether that is known.

    Nothing of an error is told: it may be one of ``.env``, and name a value.
    """
    try:
        return {"known": True, **artisan.answer("read its configuration", _ENVIRONMENT_PHP)}
    except (ArtisanError, ValueError):
        return {"known": False, "decisive": [], "others": []}


def _loaded(by: str, path: str, told: dict[str, str]) -> tuple[str, str]:
    error, note = (" ".join((told.get(name) or "").split())[:300] for name in ("error", "note"))
    return (
        f"{by} does not load {path}: {error}" if error else "",
        f"{by} loads {path}, but a provider of it ended with {note}; verify shows whether it is well" if note else "",
    )


def loaded_on_command_line(artisan: Artisan) -> tuple[str, str]:
    """Return why PHP on the command line does not load a release, '' when it does, and what is to be known besides."""
    try:
        return _loaded("PHP on the command line", artisan.release, artisan.answer("be loaded", _LOAD_PHP))
    except ArtisanError as exc:
        return str(exc), ""


def loaded_by_fpm(address: str, layout: Layout, release: str) -> tuple[str, str]:
    """Return the same of PHP-FPM, nothing when it gives no answer: all of its processes may be busy with what the
    rollback is to end."""
    try:
        script = _fpm_scripts.write(layout, "load", f"<?php\n{_LOAD_PHP}")
        response = _fastcgi.get(address, script, f"/?release={urllib.parse.quote(release)}", timeout=_probe.PATIENCE)
    except (OSError, _fastcgi.FastCGIError):
        # Nor does a full disk keep a rollback.
        return "", ""
    lines = [line for line in response.body.splitlines() if line.startswith("slipway:")]
    told = {}
    if lines:
        with contextlib.suppress(ValueError):
            told = json.loads(lines[-1][len("slipway:") :])
    elif response.status >= 500:
        told["error"] = (response.stderr or response.body).strip() or f"it answers {response.status}"
    return _loaded("PHP-FPM", layout.release_path(release), told)


class KeptCaches:
    """The caches of releases as they were before a rollback has made them anew, until it has come to its end."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._directory = os.path.join(layout.private_dir, "caches")

    def _own(self, release: str) -> str:
        return os.path.join(self._layout.release_path(release), "bootstrap/cache")

    def _aside(self, release: str) -> str:
        # The next preflight removes what is called so.
        path = os.path.join(self._layout.private_dir, f"staging-caches-{release}")
        shutil.rmtree(path, ignore_errors=True)
        return path

    def keep(self, release: str) -> None:
        """Keep the caches of a release, once."""
        kept = os.path.join(self._directory, release)
        if os.path.isdir(kept) or not os.path.isdir(self._own(release)):
            return
        aside = self._aside(release)
        # With their times, which tell whether .env was changed since.
        shutil.copytree(self._own(release), aside, symlinks=True)
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        os.rename(aside, kept)

    def put_back(self, but: str = "") -> list[str]:
        """Put back what was kept, and return of which releases.

        :param but: release that has gone live with its new ones
        """
        found = []
        for kept in glob.glob(os.path.join(glob.escape(self._directory), "*")):
            release = os.path.basename(kept)
            if release == but or not os.path.isdir(self._own(release)):
                shutil.rmtree(kept)
                continue
            aside = self._aside(release)
            os.rename(self._own(release), aside)
            os.rename(kept, self._own(release))
            shutil.rmtree(aside)
            found.append(release)
        return found

    def forget(self) -> None:
        """The rollback is well."""
        shutil.rmtree(self._directory, ignore_errors=True)
