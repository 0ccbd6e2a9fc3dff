<li class="card">
    <p data-body>{{ $note->body }}</p>
    <p class="state @if(! $note->handled_at) is-waiting @endif" data-state>{{ $note->handled_at ? 'handled by '.$note->handled_by : 'waiting for a worker' }}</p>
    @if (! $note->archived_at)
        <form method="post" action="/notes/{{ $note->id ?? 0 }}/archive" data-archive-form><button class="quiet">Archive</button></form>
    @endif
</li>
