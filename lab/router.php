<?php

/**
 * Router of PHP's built-in server for the embedded form: each request is served by the release that is live when it
 * arrives, as nginx with $realpath_root does on a real host.
 */

declare(strict_types=1);

$public = realpath(getenv('SLIPWAY_CURRENT') . '/public');
if ($public === false) {
    http_response_code(503);
    header('Content-Type: text/plain');
    echo "No release is live yet.\n";
    return true;
}
header('X-Release-Id: ' . basename(dirname($public)));

$path = rawurldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/');
$file = realpath($public . $path);
$inside = [$public . '/', dirname($public, 3) . '/shared/storage/app/public/'];
$allowed = $file !== false && is_file($file) && !str_ends_with($file, '.php')
    && array_filter($inside, fn (string $folder): bool => str_starts_with($file, $folder));
if ($allowed) {
    $types = ['css' => 'text/css', 'js' => 'text/javascript', 'svg' => 'image/svg+xml', 'json' => 'application/json'];
    $ending = pathinfo($file, PATHINFO_EXTENSION);
    header('Content-Type: ' . ($types[$ending] ?? mime_content_type($file) ?: 'application/octet-stream'));
    header('Content-Length: ' . filesize($file));
    readfile($file);
    return true;
}

chdir($public);
$_SERVER['DOCUMENT_ROOT'] = $public;
$_SERVER['SCRIPT_FILENAME'] = $public . '/index.php';
$_SERVER['SCRIPT_NAME'] = $_SERVER['PHP_SELF'] = '/index.php';
require $public . '/index.php';
