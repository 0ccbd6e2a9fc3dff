{{-- Without bundled assets: an error page must not depend on anything that can be missing. --}}
<!doctype html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>{{ $title }} · {{ config('app.name') }}</title>
    <style>
        body { display: grid; place-content: center; min-height: 100vh; margin: 0; padding: 2rem; box-sizing: border-box;
               font: 1rem/1.6 system-ui, sans-serif; color: #1d2b2f; background: #f5f3ee; text-align: center; }
        h1 { margin: 0; font-size: 1.5rem; } p { margin: .5rem 0 0; color: #52646a; } a { color: #0f6b6b; }
    </style>
</head>
<body>
    <h1>{{ $title }}</h1>
    <p>{{ $text }}</p>
    <p><small>Release <code>{{ App\Release::current()->id }}</code></small></p>
</body>
</html>
