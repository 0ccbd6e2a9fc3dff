<?php

namespace App\Listeners;

use App\Events\NoteWritten;
use Illuminate\Support\Facades\Cache;

class CountNote
{
    public function handle(NoteWritten $event): void
    {
        Cache::increment('notes_written');
    }
}
