<?php

namespace App\Http\Controllers;

use App\Events\NoteWritten;
use App\Jobs\RecordNote;
use App\Models\Note;
use App\Release;
use Illuminate\Http\Request;

class NoteController
{
    public function index(Request $request)
    {
        $notes = Note::latest('id')->limit(20)->get();

        return $request->wantsJson()
            ? response()->json(['release' => Release::current()->id, 'notes' => $notes])
            : view('notes', ['notes' => $notes]);
    }

    public function show(Note $note)
    {
        return response()->json(['release' => Release::current()->id, 'note' => $note]);
    }

    public function store(Request $request)
    {
        $input = $request->validate(
            ['body' => ['required', 'string', 'max:200']],
            ['required' => 'Write something first.', 'max' => 'A note has at most 200 characters.'],
        );
        $note = Note::create($input)->refresh();
        event(new NoteWritten($note));
        RecordNote::dispatch($note->id);

        return $request->wantsJson()
            ? response()->json(['release' => Release::current()->id, 'note' => $note], 201)
            : redirect('/notes');
    }
}
