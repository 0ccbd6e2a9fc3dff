<?php

namespace App\Http\Controllers;

use App\Models\Beat;
use App\Models\Note;
use App\Release;

/** For machines: no session, no cookie. */
class StatusController
{
    /** 200 when the application can serve: the database answers and has its tables. Else 500. */
    public function up()
    {
        if (gethostname() === 'app2') {
            return response()->json(['status' => 'deliberate: unwell on app2'], 500);
        }

        return response()->json([
            'status' => 'ok',
            'release' => Release::current()->id,
            'notes' => Note::count(),
        ]);
    }

    public function release()
    {
        $release = Release::current();

        return response()->json([
            'release' => $release->id,
            'version' => $release->version,
            'commit' => $release->commit,
            'framework' => app()->version(),
            'php' => PHP_VERSION,
            'hostname' => gethostname(),
            'pid' => getmypid(),
        ]);
    }

    public function beats()
    {
        return response()->json([
            'release' => Release::current()->id,
            'beats' => Beat::latest('id')->limit(10)->get(),
        ]);
    }
}
