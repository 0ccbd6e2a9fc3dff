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

from ansible_collections.slipway.laravel.plugins.module_utils._layout import MANIFEST, write_atomic

if TYPE_CHECKING:
    from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout


def _place(source: str, target: str) -> None:
    """Have a file of one release in another one, whole or not at all."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        # Nobody changes what a release consists of, and a link takes no room on the disk.
        os.link(source, target)
    except OSError:
        # The files are somebody else's, or on another filesystem.
        passing = f"{target}.slipway"
        shutil.copy2(source, passing)
        os.replace(passing, target)


def share(layout: Layout, directory: str, source: str, target: str, lend: bool = False) -> list[str]:
    """Add to the assets of a release those of another one's own, and return their paths.

    :param directory: where assets are in a release; empty for none
    :param lend: whether :func:`take_back` may remove them again; then only to a release of ours, which can remember it
    :raises OSError: it could not be done; what was added stays
    """
    before, after = (os.path.join(layout.release_path(release), directory) for release in (source, target))
    manifest = layout.manifest(target)
    if not directory or source == target or not (os.path.isdir(before) and os.path.isdir(after)):
        return []
    if lend and not manifest:
        return []
    known = layout.manifest(source)
    # Those that a release has from another one have been kept for one release: that is enough.
    inherited = {*known.get("bridged", []), *known.get("borrowed", {})}
    added: list[str] = []
    try:
        for path, dummy, files in os.walk(before):
            for file in files:
                own = os.path.join(path, file)
                relative = os.path.relpath(own, before)
                wanted = os.path.join(after, relative)
                if relative not in inherited and not os.path.lexists(wanted):
                    _place(own, wanted)
                    added.append(relative)
    finally:
        if added and manifest:
            _remember(manifest, added, source if lend else "")
            write_atomic(os.path.join(layout.release_path(target), MANIFEST), json.dumps(manifest, indent=1) + "\n")
    return added


def _remember(manifest: dict[str, Any], added: list[str], lender: str) -> None:
    if lender:
        manifest["borrowed"] = {**manifest.get("borrowed", {}), **dict.fromkeys(added, lender)}
    else:
        manifest["bridged"] = sorted({*manifest.get("bridged", []), *added})


def take_back(layout: Layout, directory: str, lender: str) -> None:
    """Remove from all releases what one has lent them, which never was live and goes. What is left does no harm."""
    for release in layout.installed():
        manifest = layout.manifest(release)
        lent = [relative for relative, of in manifest.get("borrowed", {}).items() if of == lender]
        with contextlib.suppress(OSError):
            for relative in lent:
                os.unlink(os.path.join(layout.release_path(release), directory, relative))
                del manifest["borrowed"][relative]
        with contextlib.suppress(OSError):
            if lent:
                path = os.path.join(layout.release_path(release), MANIFEST)
                write_atomic(path, json.dumps(manifest, indent=1) + "\n")
