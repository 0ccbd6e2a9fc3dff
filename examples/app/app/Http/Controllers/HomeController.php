<?php

namespace App\Http\Controllers;

use App\Models\Beat;
use App\Models\Note;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Cache;

class HomeController
{
    public function __invoke(Request $request)
    {
        $request->session()->increment('visits');

        return view('home', [
            'beat' => Beat::latest('id')->first(),
            'handled' => Note::whereNotNull('handled_at')->count(),
            'notes' => Note::count(),
            'visits' => $request->session()->get('visits'),
            'written' => (int) Cache::get('notes_written'),
        ]);
    }
}
