@php($release = App\Release::current())
@extends('layout')
@section('title', 'Today')
@section('content')
    <h1>What happened today</h1>
    <p class="lead">Notes go to the database, a worker handles each one, and the scheduler writes a beat every minute.</p>

    <section class="card hero">
        <div>
            <h2>This page is served by</h2>
            <p class="big"><code>{{ $release->id }}</code></p>
        </div>
        <dl>
            <div><dt>Version</dt><dd>{{ $release->version }}</dd></div>
            <div><dt>Commit</dt><dd><code>{{ substr($release->commit, 0, 8) }}</code></dd></div>
            <div><dt>Laravel</dt><dd>{{ app()->version() }}</dd></div>
            <div><dt>PHP</dt><dd>{{ PHP_VERSION }}</dd></div>
            <div><dt>Host</dt><dd>{{ gethostname() }}</dd></div>
        </dl>
    </section>

    <div class="grid">
        <section class="card">
            <h2>Notes</h2>
            <p class="big">{{ $notes }}</p>
            <p class="muted">in {{ config('database.default') }}; {{ $written }} counted in the {{ config('cache.default') }} cache</p>
        </section>
        <section class="card">
            <h2>Handled by workers</h2>
            <p class="big">{{ $handled }} <small>of {{ $notes }}</small></p>
            <p class="muted">through the {{ config('queue.default') }} queue</p>
        </section>
        <section class="card">
            <h2>Last beat</h2>
            <p class="big">{{ $beat ? $beat->created_at->format('H:i') : 'none yet' }} @if($beat)<small>UTC</small>@endif</p>
            <p class="muted">{{ $beat ? 'by '.$beat->release : 'the scheduler has not run' }}</p>
        </section>
        <section class="card">
            <h2>Your visits</h2>
            <p class="big">{{ $visits }}</p>
            <p class="muted">in this {{ config('session.driver') }} session, across releases</p>
        </section>
    </div>
@endsection
