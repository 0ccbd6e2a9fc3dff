@extends('layout')
@section('title', 'Archive')
@section('content')
    <h1>Archive</h1>
    <p class="lead">Notes that were put aside. New in v1.1.0, with a column that its migration adds.</p>

    <ul class="list">
        @foreach ($notes as $note)
            @include('note')
        @endforeach
    </ul>
    @if ($notes->isEmpty())
        <p class="muted empty">Nothing here yet.</p>
    @endif
@endsection
