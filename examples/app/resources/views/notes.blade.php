@extends('layout')
@section('title', 'Notes')
@section('content')
    <h1>Notes</h1>
    <p class="lead">Write one and watch a worker pick it up.</p>

    <form class="card row" method="post" action="/notes" data-note-form>
        <label class="grow"><span class="unseen">Note</span>
            <input name="body" maxlength="200" required placeholder="What happened?" autocomplete="off">
        </label>
        <button>Add note</button>
        <p class="error" role="alert" data-error>{{ $errors->first('body') }}</p>
    </form>

    <ul class="list" data-notes>
        @foreach ($notes as $note)
            @include('note')
        @endforeach
    </ul>
    @if ($notes->isEmpty())
        <p class="muted empty">Nothing here yet.</p>
    @endif

    <template data-note-template>@include('note', ['note' => new App\Models\Note])</template>
@endsection
