@php($release = App\Release::current())
<!doctype html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="release" content="{{ $release->id }}">
    <title>@yield('title') · {{ config('app.name') }}</title>
    <link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M2 10h12l-2 4H4zM7 2v7H3zM8.5 4v5H12z' fill='%230f6b6b'/%3E%3C/svg%3E">
    {{ App\Assets::tags('resources/js/app.js') }}
</head>
<body>
<header class="top">
    <div class="wide">
        <a class="brand" href="/">
            <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M2 10h12l-2 4H4zM7 2v7H3zM8.5 4v5H12z"/></svg>
            {{ config('app.name') }}
        </a>
        <nav>
            @foreach (['/' => 'Today', '/notes' => 'Notes', '/notes/archive' => 'Archive', '/uploads' => 'Uploads'] as $path => $label)
                <a href="{{ $path }}" @if(request()->getPathInfo() === $path) aria-current="page" @endif>{{ $label }}</a>
            @endforeach
        </nav>
    </div>
</header>
<main class="wide">
    @yield('content')
</main>
<footer class="wide">
    <span>Release <code data-release>{{ $release->id }}</code></span>
    <span>Version {{ $release->version }}</span>
    <span>Laravel {{ app()->version() }}</span>
</footer>
</body>
</html>
