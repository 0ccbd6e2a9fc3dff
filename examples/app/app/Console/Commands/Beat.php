<?php

namespace App\Console\Commands;

use App\Models\Beat as BeatModel;
use App\Release;
use Illuminate\Console\Command;

class Beat extends Command
{
    protected $signature = 'app:beat';

    protected $description = 'Write down that the scheduler runs, on which host and in which release';

    public function handle()
    {
        BeatModel::where('created_at', '<', now()->subDay())->delete();
        BeatModel::create(['release' => Release::current()->id, 'host' => gethostname()]);
        $this->line('Beat written by '.Release::current()->id);

        return self::SUCCESS;
    }
}
