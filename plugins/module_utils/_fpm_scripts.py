# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PHP files by which PHP-FPM tells of itself, in the private directory of an application.

Private to this collection. They lie outside of the application and of what nginx serves. PHP-FPM does not look at a
file twice, so that one with other content, of another version of this collection, needs another name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re

from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout, write_atomic

# A directory to forget is one whose files were replaced.
OPCACHE = """<?php
header('Content-Type: application/json');
if (isset($_GET['forget']) && function_exists('opcache_get_status')) {
    foreach (array_keys((opcache_get_status(true) ?: [])['scripts'] ?? []) as $file) {
        if (strpos($file, $_GET['forget'] . '/') === 0) {
            opcache_invalidate($file, true);
        }
    }
}
$status = function_exists('opcache_get_status') ? opcache_get_status(false) : false;
echo json_encode($status ? $status + ['preload' => ini_get('opcache.preload')] : false);
"""


def path_of(layout: Layout, name: str, code: str) -> str:
    """Return where a script with this code lies, whether it is there or not."""
    return os.path.join(layout.private_dir, f"{name}-{hashlib.sha256(code.encode()).hexdigest()[:12]}.php")


def _others(layout: Layout, name: str, path: str) -> list[str]:
    """Return the scripts of the same name with other code."""
    found = os.listdir(layout.private_dir) if os.path.isdir(layout.private_dir) else []
    named = [old for old in found if re.fullmatch(rf"{name}(-[0-9a-f]+)?\.php", old) and old != os.path.basename(path)]
    return [os.path.join(layout.private_dir, old) for old in named]


def find(layout: Layout, name: str, code: str) -> str:
    """Return where a script lies, the newest of another version of this collection if need be; '' when none is there.

    It is for whoever can or may write none.
    """
    path = path_of(layout, name, code)
    return path if os.path.isfile(path) else max(_others(layout, name, path), key=os.path.getmtime, default="")


def write(layout: Layout, name: str, code: str) -> str:
    """Make sure that a script is there, without those of the same name that had other code; return where it lies."""
    path = path_of(layout, name, code)
    if not os.path.isfile(path):
        write_atomic(path, code)
        for old in _others(layout, name, path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old)
    return path
