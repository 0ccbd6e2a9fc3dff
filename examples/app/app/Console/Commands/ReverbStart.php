<?php

namespace App\Console\Commands;

use App\WebSocketServer;
use Illuminate\Console\Command;
use Illuminate\Support\Facades\Cache;

/** Stands in for the command of Laravel Reverb: the same options, signals and answers to a browser. */
class ReverbStart extends Command
{
    protected $signature = 'reverb:start {--host=} {--port=} {--hostname=} {--debug}';

    protected $description = 'Serve websockets (a stand-in for Laravel Reverb)';

    public function handle()
    {
        $server = config('reverb.servers.reverb');
        $host = $this->option('host') ?: $server['host'];
        $port = (int) ($this->option('port') ?: $server['port']);
        $stopped = false;
        pcntl_async_signals(true);
        foreach ([SIGINT, SIGTERM] as $signal) {
            pcntl_signal($signal, function () use (&$stopped) {
                $stopped = true;
            });
        }
        $known = Cache::get(ReverbRestart::KEY);
        $asked = time();
        $this->info("Starting server on $host:$port");
        $origins = array_merge(...array_column(config('reverb.apps.apps'), 'allowed_origins'));
        (new WebSocketServer($host, $port, $origins))->run(function () use (&$stopped, &$asked, $known) {
            if (! $stopped && time() > $asked) {
                $asked = time();
                $stopped = Cache::get(ReverbRestart::KEY) !== $known;
            }

            return $stopped;
        });
        $this->info('Gracefully terminated connections.');

        return self::SUCCESS;
    }
}
