<?php

namespace App;

/** What this code tree is: read from .slipway.json, which the release writes beside the code. */
final class Release
{
    private static ?self $current = null;

    private function __construct(
        public string $id,
        public string $version,
        public string $commit,
    ) {
    }

    /** Read once a process, so a worker keeps naming the release that it was started from. */
    public static function current(): self
    {
        return self::$current ??= self::read(dirname(__DIR__).'/.slipway.json');
    }

    private static function read(string $file): self
    {
        $manifest = is_file($file) ? json_decode(file_get_contents($file), true) : [];

        return new self(
            $manifest['release'] ?? 'development',
            $manifest['version'] ?? 'development',
            $manifest['commit'] ?? 'none',
        );
    }
}
