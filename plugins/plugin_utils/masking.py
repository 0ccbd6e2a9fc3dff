# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Masking for what runs on the controller. Modules mask at the source, so that the code is where they find it."""

from __future__ import annotations

from ansible_collections.slipway.laravel.plugins.module_utils._masking import (
    MASK,
    Masker,
    is_secret_name,
    secrets_of,
)

__all__ = ["MASK", "Masker", "is_secret_name", "secrets_of"]
