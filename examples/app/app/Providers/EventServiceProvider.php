<?php

namespace App\Providers;

use App\Events\NoteWritten;
use App\Listeners\CountNote;
use Illuminate\Foundation\Support\Providers\EventServiceProvider as ServiceProvider;

class EventServiceProvider extends ServiceProvider
{
    protected $listen = [NoteWritten::class => [CountNote::class]];
}
