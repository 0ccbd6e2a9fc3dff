<?php

namespace App\Console\Commands;

use Illuminate\Console\Command;
use Illuminate\Support\Facades\Cache;

/** Stands in for the command of Laravel Reverb. */
class ReverbRestart extends Command
{
    public const KEY = 'laravel:reverb:restart';

    protected $signature = 'reverb:restart';

    protected $description = 'Let every server for websockets end, to be started again (a stand-in for Laravel Reverb)';

    public function handle()
    {
        Cache::forever(self::KEY, microtime(true));
        $this->info('Broadcasting Reverb restart signal.');

        return self::SUCCESS;
    }
}
