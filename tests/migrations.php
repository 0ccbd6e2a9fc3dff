<?php
// Plans migrations on the Laravel of this machine: php tests/migrations.php examples/app SNIPPET [PHP]
// SNIPPET is a file with MIGRATIONS_PHP of plugins/module_utils/_migrate_php.py.

[$app, $snippet, $php] = [$argv[1], file_get_contents($argv[2]), $argv[3] ?? PHP_BINARY];
$work = sys_get_temp_dir().'/slipway-migrations.'.getmypid();
register_shutdown_function(function () use ($work) {
    exec('rm -rf '.escapeshellarg($work));
});
exec('cp -r '.escapeshellarg($app).' '.escapeshellarg($work));
foreach (['vendor', 'database/plan', 'database/schema', 'bootstrap/cache', 'storage/framework/views'] as $directory) {
    @mkdir("$work/$directory", 0777, true);
}
file_put_contents("$work/.env", "APP_ENV=production\nDB_CONNECTION=sqlite\nDB_DATABASE=$work/db.sqlite\n"
    .'APP_KEY=base64:'.base64_encode(str_repeat('k', 32))."\nCACHE_DRIVER=file\nCACHE_STORE=file\n");
file_put_contents("$work/vendor/autoload.php", '<?php
require_once "Illuminate/autoload.php";
spl_autoload_register(function ($class) {
    $file = dirname(__DIR__)."/app/".str_replace("\\\\", "/", substr($class, 4)).".php";
    if (strncmp($class, "App\\\\", 4) === 0 && is_file($file)) {
        require $file;
    }
});
');
$counts = ['passed' => 0, 'failed' => 0];

function check(string $what, bool $good, $detail = ''): void
{
    global $counts;
    $counts[$good ? 'passed' : 'failed']++;
    echo $good ? 'ok      ' : 'FAILED  ', $what, $good ? '' : "\n        ".json_encode($detail), "\n";
}

/** What the application answers about the migrations in a directory, or about its own. */
function ask(string $do, string $directory = ''): array
{
    global $work, $snippet, $php;
    $asked = json_encode(['do' => $do, 'database' => '', 'paths' => $directory ? [$directory] : []]);
    $streams = [['file', '/dev/null', 'r'], ['pipe', 'w']];
    $process = proc_open([$php, '-r', $snippet, '--', $asked], $streams, $pipes, $work);
    $output = stream_get_contents($pipes[1]);
    proc_close($process);

    return preg_match('/^slipway:(.*)$/m', $output, $found) ? json_decode($found[1], true) : ['migrations' => []];
}

/** Write a migration and plan it alone. */
function plan(string $up, string $uses = '', string $down = '', string $more = ''): array
{
    global $work;
    array_map('unlink', glob("$work/database/plan/*"));
    file_put_contents("$work/database/plan/2026_01_01_000001_it.php", "<?php
$uses
use Illuminate\\Database\\Migrations\\Migration;
return new class extends Migration {
    $more
    public function up() { $up }
    public function down(): void { $down }
};
");

    return ask('plan', 'database/plan')['migrations'][0]
        ?? ['does' => null, 'statements' => [], 'error' => 'no answer'];
}

$database = new PDO("sqlite:$work/db.sqlite");
$database->exec("create table users (id integer, name text); insert into users values (1, 'Ann')");
touch("$work/kept");

// What would happen at once is not run.
$facades = 'Illuminate\Support\Facades';
foreach ([
    ["rename('$work/kept', '$work/gone');", '', 'rename('],
    ["\\unlink('$work/kept');", '', '\unlink('],
    ["\$this->tidy();", '', 'unlink(', "private function tidy() { unlink('$work/kept'); }"],
    ["`rm $work/kept`;", '', 'a command of the shell'],
    ["Storage::disk('local')->delete('x');", "use $facades\\Storage;", 'Storage::disk()'],
    ["Disk::put('x', 'y');", "use $facades\\Storage as Disk;", 'Disk::put()'],
    ["File::move('$work/kept', '$work/gone');", "use $facades\\{DB, File};", 'File::move()'],
    ["Files::delete('$work/kept');", "use $facades\\{DB, File as Files};", 'Files::delete()'],
    ["\\$facades\\Http::post('http://127.0.0.1:1');", '', 'Http::post()'],
    ["Facades\\Redis::del('x');", "use $facades;", 'Facades\Redis::del()'],
    ["\\File::delete('$work/kept');", '', 'File::delete()'],
    ["Artisan::call('db:seed');", "use $facades\\Artisan;", 'Artisan::call()'],
    ["app('files')->delete('$work/kept');", '', "app('files')"],
    ["app(Filesystem::class)->delete('$work/kept');", 'use Illuminate\Filesystem\Filesystem;', 'Filesystem in'],
    ["new \\GuzzleHttp\\Client();", '', 'GuzzleHttp'],
    ["file_get_contents('http://127.0.0.1:1');", '', "file_get_contents('http:"],
    ["\\App\\Jobs\\Tidy::dispatch(1);", '', 'dispatch()'],
    ["dispatch(new \\App\\Jobs\\Tidy());", '', 'dispatch()'],
    ["DB::purge(); DB::statement('drop table users');", "use $facades\\DB;", 'purge()'],
    ["config(['a' => 1, 'database.connections.b' => []]);", '', 'config()'],
    ["config()->set('database.connections.b', []);", '', "set('database.connections.b')"],
    ["new PDO('sqlite:$work/db.sqlite');", '', 'PDO in'],
] as $case) {
    [$up, $uses, $does, $more] = $case + [3 => ''];
    $told = plan($up, $uses, '', $more);
    check("not run: $up", strpos((string) ($told['does'] ?? ''), $does) !== false && ! $told['statements'], $told);
}
check('nothing has happened', file_exists("$work/kept")
    && $database->query('select count(*) from users')->fetchColumn() == 1, glob("$work/*"));

// What only looks like it is.
$schema = "use $facades\\{DB, Schema};";
$then = "DB::statement('create table x (id integer)');";
foreach ([
    ["Schema::rename('users', 'people');", $schema],
    ["Schema::table('users', function (\$table) { \$table->rename('people'); });", $schema],
    ["/* rename('a', 'b'); */ // unlink('a')\n\$a = 'exec(\"b\")'; \$b = \"{\$a} mkdir('c')\"; $then", $schema],
    ["\$this->copy(); $then", $schema, '', 'private function copy() {}'],
    ["$then", $schema, "\$a = 'b'; if (\$a) { unlink(\"{\$a}\"); } Storage::delete('x');"],
    ["\$file = File::class; File::query(); $then", "$schema use App\\Models\\File;", '',
        'public function file(): \App\Models\File {}'],
    ["File::get('$work/.env'); file_get_contents('$work/.env'); fopen('php://memory', 'r'); $then",
        "$schema use $facades\\File;"],
    ["app('cache')->store(null)->forget(config('database.default')); $then", $schema],
    ["\$do = function () use (&\$do) { return 1; }; \$do(); $then", $schema],
] as $case) {
    [$up, $uses, $down, $more] = $case + [2 => '', 3 => ''];
    if (strpos($up, 'File::query()') !== false) {
        $class = '<?php namespace App\Models; class File { static function query() {} }';
        file_put_contents("$work/app/Models/File.php", $class);
    }
    $told = plan($up, $uses, $down, $more);
    $whole = ($told['does'] ?? null) === '' && count($told['statements']) === 1 && $told['error'] === null;
    check("run: $up", $whole, $told);
}

// What the source does not show.
$has = function (string $file, string $text): bool {
    $path = stream_resolve_include_path($file);

    return $path !== false && strpos(file_get_contents($path), $text) !== false;
};
if ($has('Illuminate/Database/DatabaseManager.php', 'ConnectionEstablished')) {
    $told = plan("call_user_func([app('db'), 'purge']); DB::statement('drop table users');", "use $facades\\DB;");
    check('a connection that is made anew is held back too', $told['statements'] === [['sqlite', 'drop table users']]
        && $told['error'] === null, $told);
    $told = plan("call_user_func([app('db'), 'purge']); DB::connection()->getPdo()->exec('drop table users');",
        "use $facades\\DB;");
    check('and may only read', strpos((string) $told['error'], 'readonly') !== false
        && $database->query('select count(*) from users')->fetchColumn() == 1, $told);
}
if ($has('Illuminate/Http/Client/Factory.php', 'preventStrayRequests') && $has('GuzzleHttp/Client.php', 'class')) {
    $told = plan("call_user_func(['Illuminate\\\\Support\\\\Facades\\\\' . 'Http', 'get'], 'http://127.0.0.1:1');");
    check('a request is refused', strpos((string) $told['error'], 'Stray') !== false
        || strpos((string) $told['error'], 'without a matching fake') !== false, $told);
}

// Whether it runs at all is decided by what is there.
foreach ([['exists', false], ['doesntExist', true]] as [$asks, $skipped]) {
    $told = plan("DB::statement('drop table users');", "use $facades\\DB;", '',
        "public function shouldRun(): bool { return DB::table('users')->where('name', 'Ann')->$asks(); }");
    check("a migration that decides by rows is asked truly: $asks", ($told['skipped'] ?? null) === $skipped
        && count($told['statements']) === ($skipped ? 0 : 1), $told);
}
$told = plan("DB::statement('drop table users');", "use $facades\\DB;", '',
    "public function shouldRun(): bool { return DB::table('users')->insert(['name' => 'Eve']); }");
check('and does nothing', $database->query('select count(*) from users')->fetchColumn() == 1
    && count($told['statements']) === 2, $told);

// Those of a package, one of which is published, and one that the framework passes over.
mkdir("$work/package");
foreach (['package' => ['one', 'two', 'three'], 'database/migrations' => ['one']] as $directory => $names) {
    foreach ($names as $name) {
        file_put_contents("$work/$directory/2027_01_01_000001_$name.php", "<?php
return new class extends Illuminate\\Database\\Migrations\\Migration {
    public function up() { Illuminate\\Support\\Facades\\DB::statement('drop table `$directory`'); }
};
");
    }
}
$bootstrap = file_get_contents("$work/bootstrap/app.php");
file_put_contents("$work/bootstrap/app.php", str_replace('return $app;', '$app->extend("migrator", function () use ($app) {
    $migrator = new class($app["migration.repository"], $app["db"], $app["files"]) extends
        Illuminate\Database\Migrations\Migrator {
        protected function pendingMigrations($files, $ran)
        {
            return array_values(preg_grep("/two/", parent::pendingMigrations($files, $ran), PREG_GREP_INVERT));
        }
    };
    $migrator->path(dirname(__DIR__)."/package");

    return $migrator;
});

return $app;', $bootstrap));
$told = ask('plan');
$found = array_column($told['migrations'], 'statements', 'migration');
check('of a package and the application the latter counts',
    ($found['2027_01_01_000001_one'][0][1] ?? '') === 'drop table `database/migrations`'
    && ($found['2027_01_01_000001_three'][0][1] ?? '') === 'drop table `package`', $found);
check('what the framework passes over is not pending', ! preg_grep('/two/', $told['pending']), $told['pending']);
file_put_contents("$work/bootstrap/app.php", $bootstrap);

// A squashed application
array_map('unlink', glob("$work/database/plan/*"));
file_put_contents("$work/database/schema/sqlite-schema.sql", 'create table users (id integer);');
$stored = 'database/schema/sqlite-schema.sql';
check('the stored schema is pending', ask('state', 'database/plan')['pending'] === [$stored]);
$told = ask('plan', 'database/plan');
$over = $told['migrations'][0]['over'] ?? 0;
check('that there are tables is told', $told['pending'] === [$stored] && $over === 1 && ! $told['empty'], $told);
$database->exec('drop table users');
$told = ask('plan', 'database/plan');
check('on an empty database none are', ($told['migrations'][0]['over'] ?? -1) === 0 && $told['empty'], $told);
$database->exec('create table migrations (id integer primary key, migration text, batch integer)');
$told = ask('plan', 'database/plan');
check('nor with the table of migrations alone', ($told['migrations'][0]['over'] ?? -1) === 0 && $told['empty'], $told);
$database->exec("insert into migrations values (1, 'a', 1)");
$told = ask('plan', 'database/plan');
check('where one has run nothing is pending', $told['pending'] === [] && ! $told['empty'], $told);

echo "{$counts['passed']} passed, {$counts['failed']} failed\n";
exit($counts['failed'] === 0 ? 0 : 1);
