<?php

namespace App\Console;

use App\Console\Commands\Beat;
use Illuminate\Console\Scheduling\Schedule;
use Illuminate\Foundation\Console\Kernel as ConsoleKernel;

class Kernel extends ConsoleKernel
{
    protected $commands = [Beat::class];

    protected function schedule(Schedule $schedule)
    {
        $schedule->command('app:beat')->everyMinute();
    }
}
