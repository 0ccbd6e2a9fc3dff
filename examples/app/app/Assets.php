<?php

namespace App;

use Illuminate\Support\HtmlString;
use RuntimeException;

/** The tags of one bundled entry, by the manifest that `npm run build` wrote. */
final class Assets
{
    public static function tags(string $entry): HtmlString
    {
        $file = public_path('build/manifest.json');
        if (! is_file($file)) {
            throw new RuntimeException("$file is missing: run `npm ci && npm run build`");
        }
        $chunk = json_decode(file_get_contents($file), true)[$entry];
        $tags = '';
        foreach ($chunk['css'] ?? [] as $css) {
            $tags .= "<link rel=\"stylesheet\" href=\"/build/$css\">\n";
        }

        return new HtmlString("$tags<script type=\"module\" src=\"/build/{$chunk['file']}\"></script>");
    }
}
