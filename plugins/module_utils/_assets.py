# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashed assets of one release in another one, for pages that browsers loaded from it.

A page that was loaded right before a switch, or on another host of the fleet, asks for its assets afterwards. So the
release that goes live has those of the one before, and the one before, on hosts where it is still live or becomes live
again, those of the new one.

Private to this collection.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils._layout import (
    MANIFEST,
    LayoutError,
    readable_by_all,
    write_atomic,
)

if TYPE_CHECKING:
    from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout


# What is not whole yet, and what a web server sends in place of a file.
_PASSING = ".slipway"
_COMPRESSED = (".gz", ".br", ".zst")


def _place(source: str, target: str, copy: bool) -> None:
    """Have a file of one release in another one, whole or not at all."""
    with readable_by_all():
        os.makedirs(os.path.dirname(target), exist_ok=True)
    if not copy:
        # Takes no room on the disk. Not where the files are somebody else's, or on another filesystem.
        with contextlib.suppress(OSError):
            os.link(os.path.realpath(source), target)
            return
    try:
        shutil.copy2(source, target + _PASSING)
        os.replace(target + _PASSING, target)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(target + _PASSING)
        raise


def _files(directory: str) -> list[str]:
    """Return the paths of all files below a directory; a file comes before its compressed twin."""
    return sorted(
        os.path.relpath(os.path.join(path, file), directory)
        for path, dummy, files in os.walk(directory)
        for file in files
        if not file.endswith(_PASSING)
    )


def share(
    layout: Layout, directory: str, source: str, target: str, *, lend: bool = False, copy: bool = False
) -> list[str]:
    """Add to the assets of a release those of another one's own, and return their paths.

    :param directory: where assets are in a release; empty for none
    :param lend: whether the target is live and the source may never be; only a release of ours can remember that
    :param copy: whether files may not be links to those of the other release
    :raises OSError: it could not be done; what was added stays
    :raises LayoutError: what is known of a release cannot be read
    """
    before, after = (os.path.join(layout.release_path(release), directory) for release in (source, target))
    if not directory or source == target or not (os.path.isdir(before) and os.path.isdir(after)):
        return []
    manifest, known = layout.manifest(target), layout.manifest(source)
    if lend and not manifest:
        return []
    # Those that a release has from another one have been kept for one release: that is enough.
    inherited = {*known.get("bridged", []), *known.get("borrowed", {})}
    added: dict[str, str] = {}
    try:
        for relative in _files(before):
            whole, kind = os.path.splitext(relative)
            # The twin of a file that the target has itself would be sent in its place.
            other = kind in _COMPRESSED and whole not in added and os.path.lexists(os.path.join(after, whole))
            if relative not in inherited and not other and not os.path.lexists(os.path.join(after, relative)):
                _place(os.path.join(before, relative), os.path.join(after, relative), copy)
                added[relative] = source
    finally:
        if added and manifest:
            if lend:
                manifest["borrowed"] = {**manifest.get("borrowed", {}), **added}
            else:
                manifest["bridged"] = sorted({*manifest.get("bridged", []), *added})
            _write(layout, target, manifest)
    return list(added)


def _write(layout: Layout, release: str, manifest: dict[str, Any]) -> None:
    write_atomic(os.path.join(layout.release_path(release), MANIFEST), json.dumps(manifest, indent=1) + "\n")


def take_back(layout: Layout, directory: str) -> None:
    """Remove what releases have lent that are gone by now. Nothing fails for that: what is left does no harm.

    Not before the next release is live everywhere: what is only staged here may be live on another host, whose pages
    may be asked for here.
    """
    there = layout.installed()
    for release in there:
        with contextlib.suppress(OSError, LayoutError):
            manifest = layout.manifest(release)
            borrowed = manifest.get("borrowed", {})
            gone = [relative for relative, lender in borrowed.items() if lender not in there]
            for relative in gone:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(layout.release_path(release), directory, relative))
                del borrowed[relative]
            if gone:
                _write(layout, release, manifest)
