<?php

namespace App\Http\Controllers;

use App\Release;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Storage;

class UploadController
{
    public function index(Request $request)
    {
        $disk = Storage::disk('public');
        $files = array_map(
            fn (string $path) => ['url' => $disk->url($path), 'name' => basename($path), 'size' => $disk->size($path)],
            $disk->files('uploads'),
        );

        return $request->wantsJson()
            ? response()->json(['release' => Release::current()->id, 'files' => $files])
            : view('uploads', ['files' => $files]);
    }

    public function store(Request $request)
    {
        $request->validate(
            ['file' => ['required', 'file', 'max:2048', 'mimes:txt,jpg,jpeg,png,gif,webp,pdf']],
            [
                'required' => 'Choose a file first.',
                'max' => 'A file has at most 2 MB.',
                'mimes' => 'Only text, pictures and PDF are accepted.',
                'file' => 'The upload did not arrive whole.',
                'uploaded' => 'The upload did not arrive whole.',
            ],
        );
        $path = $request->file('file')->store('uploads', 'public');

        return $request->wantsJson()
            ? response()->json(['release' => Release::current()->id, 'url' => Storage::disk('public')->url($path)], 201)
            : redirect('/uploads');
    }
}
