<?php

namespace App\Console;

use App\Console\Commands;
use Illuminate\Console\Scheduling\Schedule;
use Illuminate\Foundation\Console\Kernel as ConsoleKernel;

class Kernel extends ConsoleKernel
{
    protected $commands = [
        Commands\Beat::class,
        // Stand-ins for Laravel Horizon and Laravel Reverb.
        Commands\Horizon::class,
        Commands\HorizonStatus::class,
        Commands\HorizonTerminate::class,
        Commands\ReverbRestart::class,
        Commands\ReverbStart::class,
    ];

    protected function schedule(Schedule $schedule)
    {
        $schedule->command('app:beat')->everyMinute();
    }
}
