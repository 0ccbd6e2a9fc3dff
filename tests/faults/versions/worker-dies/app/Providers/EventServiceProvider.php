<?php

namespace App\Providers;

use App\Events\NoteWritten;
use App\Listeners\CountNote;
use Illuminate\Foundation\Support\Providers\EventServiceProvider as ServiceProvider;
use RuntimeException;

class EventServiceProvider extends ServiceProvider
{
    protected $listen = [NoteWritten::class => [CountNote::class]];

    public function boot()
    {
        if (in_array('queue:work', $_SERVER['argv'] ?? [], true)) {
            throw new RuntimeException('Deliberate: no worker of this version starts.');
        }
    }
}
