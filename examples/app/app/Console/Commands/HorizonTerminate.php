<?php

namespace App\Console\Commands;

use App\HorizonMaster;
use Illuminate\Console\Command;

/** Stands in for the command of Laravel Horizon. */
class HorizonTerminate extends Command
{
    protected $signature = 'horizon:terminate';

    protected $description = 'Let the master of this host end, to be started again (a stand-in for Laravel Horizon)';

    public function handle()
    {
        $pid = HorizonMaster::pid();
        if ($pid && ! posix_kill($pid, SIGTERM)) {
            $this->error("Failed to kill process $pid (".posix_strerror(posix_get_last_error()).')');

            return self::FAILURE;
        }
        $this->info($pid ? "Sending TERM signal to process $pid." : 'No processes to terminate.');

        return self::SUCCESS;
    }
}
