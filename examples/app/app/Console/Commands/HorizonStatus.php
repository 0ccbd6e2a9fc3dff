<?php

namespace App\Console\Commands;

use App\HorizonMaster;
use Illuminate\Console\Command;

/** Stands in for the command of Laravel Horizon. */
class HorizonStatus extends Command
{
    protected $signature = 'horizon:status';

    protected $description = 'Say whether the master of this host runs (a stand-in for Laravel Horizon)';

    public function handle()
    {
        $running = HorizonMaster::pid() !== null;
        $this->line($running ? 'Horizon is running.' : 'Horizon is inactive.');

        return $running ? self::SUCCESS : self::FAILURE;
    }
}
