<?php

namespace App\Http\Middleware;

use App\Release;
use Closure;
use Illuminate\Http\Request;

/** Every answer names the release whose code really ran, whatever the web server believes. */
class NameRelease
{
    public function handle(Request $request, Closure $next)
    {
        $response = $next($request);
        $response->headers->set('X-App-Release', Release::current()->id);

        return $response;
    }
}
