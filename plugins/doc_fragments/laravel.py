# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Shared by every module that runs commands for an application.
    DOCUMENTATION = r"""
options:
  environment:
    description:
      - Environment variables for every command, on top of those of the connection.
      - Never shown in results or logs.
    type: dict
    default: {}
"""

    # Shared by every module that runs artisan.
    PHP = r"""
options:
  php:
    description:
      - Name or path of the PHP command-line interpreter.
    type: str
    default: php
"""
