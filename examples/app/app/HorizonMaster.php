<?php

namespace App;

/** Who is the master of this host: its process id, beside what releases share. Part of the stand-in for Laravel Horizon. */
final class HorizonMaster
{
    public static function file(): string
    {
        return storage_path('framework/horizon-'.gethostname().'.pid');
    }

    /** The process id of the running master, or null. */
    public static function pid(): ?int
    {
        $pid = is_file(self::file()) ? (int) file_get_contents(self::file()) : 0;
        $words = $pid ? explode("\0", (string) @file_get_contents("/proc/$pid/cmdline")) : [];

        return in_array('horizon', $words, true) ? $pid : null;
    }
}
