<?php

namespace App\Console\Commands;

use App\HorizonMaster;
use Illuminate\Console\Command;

/**
 * Stands in for the command of Laravel Horizon: one master on a host, which keeps workers running and on SIGTERM lets them
 * end the jobs in hand before it ends itself.
 */
class Horizon extends Command
{
    protected $signature = 'horizon {--environment=}';

    protected $description = 'Start the master of the queue workers (a stand-in for Laravel Horizon)';

    private bool $stopped = false;

    /** @var array<int, array{resource, string[]}> */
    private array $workers = [];

    public function handle()
    {
        if (HorizonMaster::pid()) {
            $this->line('A master supervisor is already running on this machine.');

            return self::FAILURE;
        }
        file_put_contents(HorizonMaster::file(), getmypid());
        pcntl_async_signals(true);
        foreach ([SIGINT, SIGTERM] as $signal) {
            pcntl_signal($signal, function () {
                $this->stopped = true;
            });
        }
        foreach ($this->supervisors() as $supervisor) {
            for ($i = 0; $i < ($supervisor['processes'] ?? 1); $i++) {
                $this->start($this->command($supervisor));
            }
        }
        $this->info('Horizon started successfully.');
        while (! $this->stopped) {
            usleep(200000);
            $this->revive();
        }
        $this->line('Shutting down...');
        $this->end();
        @unlink(HorizonMaster::file());

        return self::SUCCESS;
    }

    private function supervisors(): array
    {
        $environment = $this->option('environment') ?: config('app.env');
        $defaults = config('horizon.defaults');
        $found = [];
        foreach (config("horizon.environments.$environment", []) as $name => $values) {
            $found[$name] = $values + ($defaults[$name] ?? []);
        }

        return $found;
    }

    /** @return string[] */
    private function command(array $supervisor): array
    {
        return [
            PHP_BINARY, 'artisan', 'queue:work', $supervisor['connection'] ?? 'redis',
            '--queue='.implode(',', (array) ($supervisor['queue'] ?? 'default')),
            '--tries='.($supervisor['tries'] ?? 1), '--timeout='.($supervisor['timeout'] ?? 60), '--sleep=1',
        ];
    }

    /** @param string[] $command */
    private function start(array $command): void
    {
        $this->workers[] = [proc_open($command, [['file', '/dev/null', 'r'], STDOUT, STDERR], $pipes, base_path()), $command];
    }

    private function revive(): void
    {
        foreach ($this->workers as $key => [$process, $command]) {
            if (! $this->stopped && ! proc_get_status($process)['running']) {
                unset($this->workers[$key]);
                $this->start($command);
            }
        }
    }

    private function end(): void
    {
        foreach ($this->workers as [$process]) {
            proc_terminate($process, SIGTERM);
        }
        foreach ($this->workers as [$process]) {
            proc_close($process);
        }
    }
}
