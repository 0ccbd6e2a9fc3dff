@extends('layout')
@section('title', 'Uploads')
@section('content')
    <h1>Uploads</h1>
    <p class="lead">Files live in the shared storage, so they outlast every release.</p>

    <form class="card row" method="post" action="/uploads" enctype="multipart/form-data">
        <label class="grow"><span class="unseen">File</span>
            <input type="file" name="file" required>
        </label>
        <button>Upload</button>
        <p class="error" role="alert">{{ $errors->first('file') }}</p>
    </form>

    <ul class="list">
        @foreach ($files as $file)
            <li class="card"><a href="{{ $file['url'] }}">{{ $file['name'] }}</a> <p class="muted">{{ number_format($file['size']) }} bytes</p></li>
        @endforeach
    </ul>
    @if (! $files)
        <p class="muted empty">Nothing here yet.</p>
    @endif
@endsection
