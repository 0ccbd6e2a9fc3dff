# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PHP that asks an application for its migrations.

Private to this collection; ``_migrate`` runs it. What ``migrate --pretend`` prints differs between Laravel 8 and 13,
has values in the SQL (from 10 on), and is not the whole truth: it answers every question to the schema with "no", and
runs statements on other connections for real. So the application's own migrator is used without that command.
"""

from __future__ import annotations

from ansible_collections.slipway.laravel.plugins.module_utils._artisan import (
    BOOT_PHP,
    PENDING_PHP,
    PLACE_PHP,
)

# Asks the migrator of the application. The first argument is JSON: "do" is "state" (what has run, what is pending,
# whether --isolated works), "plan" (besides, the SQL of what is pending and what is known of the tables in it) or
# "unlock" (besides, give back the lock of --isolated).
MIGRATIONS_PHP = (
    BOOT_PHP  # noqa: S608  it is PHP, and nothing is put into it
    + PLACE_PHP
    + PENDING_PHP
    + r"""
$asked = json_decode($argv[1], true);
$migrator = $app->make('migrator');
if ($asked['database']) {
    $migrator->setConnection($asked['database']);
}
$files = $files_of($migrator, array_map(function ($path) { return base_path($path); }, $asked['paths']));
$ran = $migrator->repositoryExists() ? $migrator->getRepository()->getRan() : [];
$pending = $pending_of($migrator, $files, $ran);
$own = $migrator->resolveConnection($asked['database']);
// Where no migration has ever run, migrate first loads what schema:dump stored.
$schema = '';
foreach (['sql', 'dump'] as $kind) {
    $file = 'schema/' . $own->getName() . "-schema.$kind";
    if (!$ran && $own->getDriverName() !== 'sqlsrv' && is_file($app->databasePath($file))) {
        $schema = "database/$file";
    }
}
$usual = $place($app->make('db')->connection());

// Whether --isolated works: this version has it, and the cache has locks that other processes see.
$isolation = function () use ($app) {
    $isolatable = 'Illuminate\Contracts\Console\Isolatable';
    if (!is_subclass_of('Illuminate\Database\Console\Migrations\MigrateCommand', $isolatable)) {
        return 'Laravel ' . $app->version() . ' has no migrate --isolated';
    }
    $name = config('cache.default');
    try {
        $store = $app->make('cache')->store()->getStore();
        if (!$store instanceof Illuminate\Contracts\Cache\LockProvider) {
            return "the cache store $name has no locks";
        }
        if ($store instanceof Illuminate\Cache\ArrayStore || $store instanceof Illuminate\Cache\NullStore) {
            return "the cache store $name is not shared by processes";
        }
        $store->get('slipway');
        if ($store instanceof Illuminate\Cache\DatabaseStore) {
            $cache = config("cache.stores.$name");
            $schema = $app->make('db')->connection($cache['lock_connection'] ?? $cache['connection'] ?? null)
                ->getSchemaBuilder();
            $table = $cache['lock_table'] ?? 'cache_locks';
            return $schema->hasTable($table) ? '' : "the cache store $name has no table $table";
        }
        return '';
    } catch (Throwable $error) {
        return "the cache store $name cannot be used: " . $error->getMessage();
    }
};
$answer = [
    'version' => $app->version(),
    'driver' => $own->getDriverName(),
    'ran' => array_values($ran),
    'pending' => array_merge($schema === '' ? [] : [$schema], array_keys($pending)),
    'not_isolated' => $isolation(),
    'migrations' => [],
];
// What is known of the tables that the statements name.
$questions = [
    'mysql' => [
        'schemas' => 'select database() as name',
        'tables' => "select table_name as name, table_rows as amount, data_length + index_length as size
            from information_schema.tables where table_schema = database() and table_type <> 'VIEW'",
        'columns' => "select column_name as name, column_type as type, is_nullable = 'YES' as nullable,
            column_default is not null or extra like '%auto_increment%' as filled
            from information_schema.columns where table_schema = database() and table_name = ?",
    ],
    'pgsql' => [
        'schemas' => 'select unnest(current_schemas(false)) as name',
        // The rows of a partitioned table are in its partitions.
        'tables' => "select c.relname as name, coalesce(sum(pg_total_relation_size(l.oid)), 0) as size,
            coalesce(sum(greatest(l.reltuples::bigint, s.n_live_tup, 0)), 0) as amount
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            left join lateral unnest(case c.relkind when 'p'
                then array(select relid::oid from pg_partition_tree(c.oid) where isleaf) else array[c.oid] end
            ) as leaf on true
            left join pg_class l on l.oid = leaf left join pg_stat_user_tables s on s.relid = leaf
            where n.nspname = any(current_schemas(false)) and c.relkind in ('r', 'p') group by c.oid, c.relname",
        'columns' => "select a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
            case when a.attnotnull then 0 else 1 end as nullable, case when a.atthasdef then 1 else 0 end as filled
            from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
            where c.relname = ? and n.nspname = any(current_schemas(false)) and a.attnum > 0 and not a.attisdropped",
    ],
    'sqlite' => [
        'schemas' => "select 'main' as name",
        'tables' => "select name, null as amount, null as size from sqlite_master where type = 'table'",
        'columns' => 'select name, type, "notnull" = 0 as nullable, dflt_value is not null as filled
            from pragma_table_info(?)',
    ],
];
$questions['mariadb'] = $questions['mysql'];
$facts = function ($connection, $text) use ($questions) {
    $driver = $connection->getDriverName();
    $known = ['driver' => $driver, 'existing' => null, 'schemas' => [], 'tables' => (object) []];
    if (!isset($questions[$driver])) {
        return $known;
    }
    $schemas = $connection->select($questions[$driver]['schemas']);
    $known['schemas'] = array_map(function ($schema) { return $schema->name; }, $schemas);
    $known['existing'] = [];
    $tables = [];
    foreach ($connection->select($questions[$driver]['tables']) as $table) {
        $known['existing'][] = $table->name;
        if (stripos($text, $table->name) === false) {
            continue;
        }
        $quoted = strpos($driver, 'm') === 0
            ? '`' . str_replace('`', '``', $table->name) . '`'
            : '"' . str_replace('"', '""', $table->name) . '"';
        $columns = [];
        foreach ($connection->select($questions[$driver]['columns'], [$table->name]) as $column) {
            $columns[$column->name] = [
                'type' => $column->type, 'nullable' => (bool) $column->nullable, 'default' => (bool) $column->filled,
            ];
        }
        $rows = $table->amount;
        if ($driver === 'sqlite') {
            $rows = $connection->select("select count(*) as amount from $quoted")[0]->amount;
        }
        $tables[$table->name] = [
            'rows' => (int) $rows,
            'bytes' => $table->size === null ? null : (int) $table->size,
            'empty' => !$connection->select("select 1 from $quoted limit 1"),
            'columns' => (object) $columns,
        ];
    }
    $known['tables'] = (object) $tables;
    return $known;
};
$pretend = Closure::bind(function ($connection, $on) {
    $connection->pretending = $on;
}, null, Illuminate\Database\Connection::class);
$pretends = [];
$current = null;
// Also when a migration ends PHP, by exit() or by declaring a class twice.
register_shutdown_function(function () use (
    $app, &$answer, &$current, &$pretends, $pretend, $facts, $place, $usual
) {
    if ($current !== null) {
        $current['error'] = 'it ended PHP: ' . (error_get_last()['message'] ?? 'by exit()');
        $answer['migrations'][] = $current;
        $current = null;
    }
    foreach ($pretends as $connection) {
        $pretend($connection, false);
    }
    $text = [];
    foreach ($answer['migrations'] as $planned) {
        foreach ($planned['statements'] as $statement) {
            $text[$statement[0]] = ($text[$statement[0]] ?? '') . "\n" . $statement[1];
        }
    }
    $connections = [];
    foreach ($text as $name => $statements) {
        $connection = $app->make('db')->connection($name);
        try {
            $connections[$name] = $facts($connection, $statements);
        } catch (Throwable $error) {
            $connections[$name] = ['driver' => $connection->getDriverName(), 'existing' => null, 'schemas' => [],
                'tables' => (object) []];
        }
        $connections[$name]['elsewhere'] = $place($connection) !== $usual;
    }
    $answer['connections'] = (object) $connections;
    echo "\nslipway:" . json_encode($answer, JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES) . "\n";
});
if ($asked['do'] === 'unlock') {
    if ($answer['not_isolated'] === '') {
        $command = $app->make(Illuminate\Contracts\Console\Kernel::class)->all()['migrate'];
        $mutex = 'Illuminate\Console\CommandMutex';
        $app->make($app->bound($mutex) ? $mutex : 'Illuminate\Console\CacheCommandMutex')->forget($command);
    }
    $answer['unlocked'] = true;
}
if ($asked['do'] !== 'plan') {
    exit(0);
}

// A migration may do more than SQL: nothing of it may leave this process.
config(['queue.default' => 'null', 'mail.default' => 'array', 'mail.mailers.array' => ['transport' => 'array']]);
config(['cache.default' => 'array', 'cache.stores.array' => ['driver' => 'array']]);
foreach (array_keys(config('cache.stores')) as $name) {
    config(["cache.stores.$name" => ['driver' => 'array']]);
    $app->make('cache')->forgetDriver($name);
}
foreach (['Http' => 'Requests', 'Process' => 'Processes'] as $facade => $strays) {
    $facade = "Illuminate\\Support\\Facades\\$facade";
    if (class_exists($facade) && method_exists($facade::getFacadeRoot(), "preventStray$strays")) {
        $facade::{"preventStray$strays"}();
    }
}
set_time_limit(60);
// What a migration does to files, to other servers or to connections would happen in the plan too, while the old
// release is live and before anybody has agreed to it. So its source is searched for that, but for what down() does.
$functions = '/^(?:rename|unlink|file_put_contents|fwrite|fputs|fputcsv|mkdir|rmdir|copy|touch|tempnam|chmod|chown'
    . '|chgrp|symlink|link|move_uploaded_file|exec|shell_exec|system|passthru|proc_open|popen|pcntl_\w+|mail'
    . '|p?fsockopen|stream_socket_client|dispatch|dispatch_sync|dispatch_now|event|broadcast|mysqli_connect'
    . '|pg_p?connect|(?:curl|ftp|ssh2|socket)_\w+)$/i';
$methods = '/^(?:dispatch(?:Sync|Now|If|Unless|AfterResponse|ToQueue)?|notify|notifyNow|purge|reconnect|disconnect'
    . '|connectUsing|setPdo)$/i';
$facades = '/^(?:Illuminate\\\\Support\\\\Facades\\\\)?(?:Artisan|Broadcast|Bus|Concurrency|File|Http|Mail|Notification'
    . '|Process|Queue|Redis|Storage)$/i';
$classes = '/^(?:Illuminate\\\\(?:Contracts\\\\)?(?:Bus|Filesystem|Http\\\\Client|Mail|Process|Queue|Redis)\\\\'
    . '|Illuminate\\\\Contracts\\\\Console\\\\|(?:Aws|GuzzleHttp|League\\\\Flysystem|Predis)\\\\'
    . '|Symfony\\\\Component\\\\(?:Filesystem|HttpClient|Mailer|Process)\\\\)/i';
// Methods of the facades of files that only look.
$looks = '/^(?:all(?:Files|Directories)|basename|class|directories|dirname|exists|extension|files|get|getRequire|glob'
    . '|hash|is(?:Directory|File|Readable|Writable)|json|lastModified|lines|mimeType|missing|name|path|requireOnce'
    . '|sharedGet|size|url)$/i';
// What is done by a string: a service by its name, another server by its address, a connection by its configuration.
$service = '/^(?:files|filesystem(?:\.\w+)?|redis(?:\.\w+)?|queue(?:\.\w+)?|mailer|mail\.manager)$/';
$strings = array_fill_keys(['app', 'resolve', 'make'], $service) + ['set' => '/^database\./']
    + array_fill_keys(['file_get_contents', 'file', 'fopen', 'readfile'], '#^\w+://(?<!^php://)#');
$more_than_sql = function ($source) use ($functions, $methods, $facades, $classes, $looks, $strings) {
    $tokens = [];
    foreach (token_get_all($source) as $token) {
        [$kind, $text, $line] = is_array($token) ? [token_name($token[0]), $token[1], $token[2]] : ['', $token, 0];
        $last = count($tokens) - 1;
        if (preg_match('/^T_(?:STRING|NS_SEPARATOR|NAME_\w+)$/', $kind)) {
            // Up to PHP 7.4 the parts of a name are tokens of their own.
            if ($last >= 0 && $tokens[$last][0] === 'name') {
                $tokens[$last][1] .= $text;
            } else {
                $tokens[] = ['name', $text, $line];
            }
        } elseif ($kind === 'T_CONSTANT_ENCAPSED_STRING') {
            $tokens[] = ['string', substr($text, 1, -1), $line];
        } elseif ($kind !== 'T_ENCAPSED_AND_WHITESPACE' && $kind !== 'T_INLINE_HTML') {
            $tokens[] = [$kind, $text, $line];
        }
    }
    $tokens = array_values(array_filter($tokens, function ($token) {
        return !in_array($token[0], ['T_WHITESPACE', 'T_COMMENT', 'T_DOC_COMMENT'], true);
    }));
    $imports = [];
    $text = function ($number) use (&$tokens) {
        return $tokens[$number][1] ?? '';
    };
    for ($number = 0; $number < count($tokens); $number++) {
        [$kind, $name, $line] = $tokens[$number];
        if ($kind === 'T_FUNCTION' && strtolower($text($number + 1)) === 'down') {
            $depth = 0;
            do {
                $number++;
                $depth += in_array($text($number), ['{', '${'], true) ? 1 : ($text($number) === '}' ? -1 : 0);
            } while ($number < count($tokens) && ($depth > 0 || $text($number) !== '}'));
        } elseif ($kind === 'T_USE' && ($tokens[$number + 1][0] ?? '') === 'name') {
            [$prefix, $class, $alias] = ['', '', ''];
            while (++$number < count($tokens)) {
                if ($tokens[$number][0] === 'name') {
                    [$class, $alias] = strtolower($text($number - 1)) === 'as'
                        ? [$class, $text($number)] : [$prefix . $text($number), $text($number)];
                } elseif ($text($number) === '{') {
                    [$prefix, $class] = [$class, ''];
                } elseif ($class !== '' && in_array($text($number), [',', '}', ';'], true)) {
                    $imports[strtolower(substr(strrchr("\\$alias", '\\'), 1))] = ltrim($class, '\\');
                }
                if ($text($number) === ';') {
                    break;
                }
            }
        } elseif ($name === '`') {
            return 'a command of the shell';
        } elseif ($kind === 'name' && $text($number - 1) !== 'function') {
            $before = $text($number - 1);
            $called = $text($number + 1) === '(';
            $on = in_array($before, ['->', '?->', '::'], true);
            $bare = strtolower(ltrim($name, '\\'));
            $argument = $called && ($tokens[$number + 2][0] ?? '') === 'string' ? $text($number + 2) : '';
            $told = "$name() in line $line";
            if ($called && isset($strings[$bare]) && preg_match($strings[$bare], $argument)) {
                return "$name('$argument') in line $line";
            }
            if ($called && $before !== 'new' && preg_match($on ? $methods : $functions, $bare)) {
                return $told;
            }
            if ($called && $bare === 'config' && in_array(strtolower($text($number + 2)), ['[', 'array'], true)) {
                for ($end = $number; $end < count($tokens) && $text($end) !== ';'; $end++) {
                    if ($tokens[$end][0] === 'string' && strpos($text($end), 'database.') === 0) {
                        return $told;
                    }
                }
            }
            if ($on) {
                continue;
            }
            // As it is imported, or from its root.
            [$first, $rest] = explode('\\', $name, 2) + [1 => ''];
            $class = ltrim($name, '\\');
            if ($first !== '' && isset($imports[strtolower($first)])) {
                $class = $imports[strtolower($first)] . ($rest === '' ? '' : "\\$rest");
            }
            $method = $text($number + 1) === '::' ? $text($number + 2) : '';
            if ($method !== '' && preg_match($facades, $class)
                && !(preg_match('/(?:^|\\\\)(?:File|Storage)$/i', $class) && preg_match($looks, $method))) {
                return "$name::$method() in line $line";
            }
            if (preg_match($classes, $class)
                || ($before === 'new' && preg_match('/^(?:PDO|mysqli|Redis|RedisCluster|ZipArchive)$/i', $class))) {
                return "$name in line $line";
            }
        }
    }
    return '';
};
// Questions to the schema are answered truly: `if (Schema::hasColumn(...))` must take the way that it will take. Those
// are queries that read from a catalogue, and call nothing there that does something.
$about_schema = '/^\s*(?:select|with)\b(?!.*\b(?:setval|nextval|pg_terminate_backend|pg_cancel_backend)\b)'
    . '.*\b(?:from|join)\s+(?:["`]?\w+["`]?\.)?["`]?\b'
    . '(?:information_schema|pg_\w+|sqlite_master|sqlite_schema|pragma_\w+)'
    . '|^\s*show\b'
    . '|^\s*pragma\s+[`"\w.]*(?:table_x?info|table_list|index_x?info|index_list|foreign_key_list|compile_options)\b'
    . '|^\s*pragma\s+foreign_keys\s*;?\s*$/is';
// A query that reads no table is there for what its functions do, unless they ask whether something is there.
$does = function ($query) {
    $flat = preg_replace("/'(?:[^']|'')*'/", "''", $query);
    $flat = preg_replace('/(\((?:[^()]++|(?1))*+\))/', '()', $flat);
    return preg_match('/^\s*select\b/i', $flat) && !preg_match('/\bfrom\b/i', $flat)
        && preg_match('/(?<!\bexists)(?<!\bto_regclass)(?<=[\w"`])\s*\(\)/i', $flat);
};
$watch = function ($connection) use (&$pretends, &$current, $pretend, $about_schema, $does) {
    if (in_array($connection, $pretends, true)) {
        return;
    }
    $pretends[] = $connection;
    $connection->disableQueryLog();
    if (!method_exists($connection, 'beforeExecuting')) {
        $connection->enableQueryLog();  // Laravel 8.0 to 8.46
        return;
    }
    $connection->beforeExecuting(function ($query, $bindings, $connection) use (
        &$current, $pretend, $about_schema, $does
    ) {
        if ($current === null) {
            return;
        }
        // As it was prepared, without its values.
        $query = (string) $query;
        $asks = (bool) preg_match($about_schema, $query);
        $reads = !$asks && preg_match('/^\s*\(*\s*(?:select|with)\b(?!.*\b(?:delete|insert|update)\b)/is', $query)
            && !$does($query);
        $pretend($connection, !$asks && !($reads && $current['decides']));
        if ($asks) {
            $current[$current['statements'] ? 'asks_late' : 'asks_schema'] = true;
        } elseif ($reads) {
            $current['asks_data'] = true;
        } else {
            $current['statements'][] = [$connection->getName(), $query];
        }
    });
};
// Nothing that escapes the pretence, such as getPdo()->exec(), may change the database. On MySQL the session is made
// read-only: DDL ends a read-only transaction and runs. On PostgreSQL a transaction is, since behind a pool the session
// may be that of others; the framework is told of it, so that it makes savepoints.
$level = Closure::bind(function ($connection, $level) {
    $connection->transactions = $level;
}, null, Illuminate\Database\Connection::class);
$guards = [
    'pgsql' => ['start transaction read only', 'rollback'],
    'sqlite' => ['pragma query_only = on', 'pragma query_only = off'],
];
$usual_guard = ['set session transaction read only', 'set session transaction read write'];
$guarded = [];
$guard = function ($connection) use (&$guarded, $level, $guards, $usual_guard) {
    $driver = $connection->getDriverName();
    [$begin, $end] = $guards[$driver] ?? $usual_guard;
    $pdo = $connection->getPdo();
    $pdo->exec($begin);
    $level($connection, $driver === 'pgsql' ? 1 : 0);
    $guarded[] = [$connection, $pdo, $end];
};
$unguard = function () use (&$guarded, $level) {
    foreach ($guarded as [$connection, $pdo, $end]) {
        $level($connection, 0);
        $pdo->exec($end);
    }
    $guarded = [];
};
foreach (array_keys(config('database.connections', [])) as $name) {
    try {
        $watch($app->make('db')->connection($name));  // Connects when it is used, not now.
    } catch (Throwable $error) {
        continue;  // Of a package that is not there.
    }
}
// What a migration calls may make a connection anew (Laravel 9 and later tell of it).
$app->make('events')->listen('Illuminate\Database\Events\ConnectionEstablished', function ($event) use (
    $watch, $guard, $pretend, &$current
) {
    if ($current !== null) {
        $watch($event->connection);
        $pretend($event->connection, true);
        $guard($event->connection);
    }
});
// The tables besides that of the migrations, where none has run; null where they are not known.
$others = null;
if (!$ran && isset($questions[$own->getDriverName()])) {
    $known = config('database.migrations');
    $own_table = $own->getTablePrefix() . (is_array($known) ? $known['table'] : $known);
    try {
        $tables = $own->select($questions[$own->getDriverName()]['tables']);
        $others = array_filter($tables, function ($table) use ($own_table) {
            return $table->name !== $own_table && strpos($table->name, 'sqlite_') !== 0;
        });
    } catch (Throwable $error) {
        // Such as a server that is too old for the question.
    }
}
$answer['empty'] = $others === [];
if ($schema !== '') {
    $answer['migrations'][] = [
        'migration' => $schema, 'statements' => [], 'error' => null, 'skipped' => false,
        'over' => $others === null ? 'how many is not known' : count($others),
    ];
}
$resolve = Closure::bind(function ($migrator, $file, $name) {
    return method_exists($migrator, 'resolvePath') ? $migrator->resolvePath($file) : $migrator->resolve($name);
}, null, get_class($migrator));
foreach ($pending as $name => $file) {
    $current = ['migration' => $name, 'statements' => [], 'error' => null, 'decides' => false];
    try {
        $current['does'] = $more_than_sql(file_get_contents($file));
        $migrator->requireFiles([$file]);
        $migration = $resolve($migrator, $file, $name);
        $connection = $migrator->resolveConnection($migration->getConnection());
        $watch($connection);
        $alone = $connection->getDriverName() !== 'pgsql' || !($migration->withinTransaction ?? true);
        $current['transaction'] = $alone ? '' : $connection->getName();
        $default = $app->make('db')->getDefaultConnection();
        try {
            $guard($connection);
            // Shown no rows it might say no, and nobody would have judged what then runs.
            $current['decides'] = true;
            $current['skipped'] = method_exists($migration, 'shouldRun') && !$migration->shouldRun();
            $current['decides'] = false;
            if (!$current['skipped'] && $current['does'] === '' && method_exists($migration, 'up')) {
                foreach ($pretends as $other) {
                    $pretend($other, true);
                }
                $app->make('db')->setDefaultConnection($connection->getName());
                $migration->up();
            }
        } finally {
            $unguard();
        }
        $app->make('db')->setDefaultConnection($default);
    } catch (Throwable $error) {
        $app->make('db')->setDefaultConnection($own->getName());
        $current['error'] = get_class($error) . ': ' . $error->getMessage();
    }
    foreach ($pretends as $other) {
        $pretend($other, false);
        foreach ($other->getQueryLog() as $entry) {
            $current['statements'][] = [$other->getName(), $entry['query']];
        }
        $other->flushQueryLog();
    }
    $answer['migrations'][] = $current;
    $current = null;
}

"""
)
