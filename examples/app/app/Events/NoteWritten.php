<?php

namespace App\Events;

use App\Models\Note;

class NoteWritten
{
    public function __construct(public Note $note)
    {
    }
}
