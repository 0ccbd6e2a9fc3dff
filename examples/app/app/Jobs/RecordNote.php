<?php

namespace App\Jobs;

use App\Models\Note;
use App\Release;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;

/** Marks a note as handled, with the release of the worker that did it. */
class RecordNote implements ShouldQueue
{
    use Dispatchable, InteractsWithQueue, Queueable;

    public function __construct(private int $noteId)
    {
    }

    public function handle(): void
    {
        $note = Note::findOrFail($this->noteId);
        $note->handled_at = now();
        $note->handled_by = Release::current()->id;
        $note->save();
    }
}
