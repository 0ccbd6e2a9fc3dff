#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: artisan_info
short_description: Tell the state of a Laravel application
version_added: 0.1.0
description:
  - Boots a Laravel application once, in one PHP process, and returns its version, environment, caches, maintenance
    state,
    migrations and queue.
  - Works on Laravel 8 to 13 alike, without C(artisan about), which came with Laravel 9.
  - A database or queue that cannot be reached is named in RV(application.errors) and is no failure; an application that
    does not boot is one.
author:
  - The slipway.laravel authors (@slipway)
options:
  release:
    description:
      - Directory of the application, the one that holds the file C(artisan). A symbolic link is followed.
    type: path
    required: true
    aliases: [chdir]
extends_documentation_fragment:
  - slipway.laravel.laravel
  - slipway.laravel.laravel.php
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Look at the live release
  slipway.laravel.artisan_info:
    release: /var/www/app/current
  register: live

- name: Refuse to go on while migrations are pending
  ansible.builtin.assert:
    that: live.application.migrations.pending | length == 0
"""

RETURN = r"""
application:
  description: What the application says of itself.
  returned: success
  type: dict
  contains:
    version:
      description: Version of Laravel.
      type: str
      returned: always
    php_version:
      description: Version of PHP on the command line.
      type: str
      returned: always
    environment:
      description: C(APP_ENV).
      type: str
      returned: always
    debug:
      description: C(APP_DEBUG).
      type: bool
      returned: always
    url:
      description: C(APP_URL).
      type: str
      returned: always
    maintenance:
      description: Whether it is in maintenance mode.
      type: bool
      returned: always
    caches:
      description: Whether C(config), C(routes) and C(events) are cached.
      type: dict
      returned: always
    view_path:
      description: Directory of the compiled views.
      type: str
      returned: always
    database:
      description: Name of the default database connection.
      type: str
      returned: always
    queue:
      description: Name of the default queue connection.
      type: str
      returned: always
    queues:
      description: Empty; M(slipway.laravel.release_checks) asks for queues by their names.
      type: dict
      returned: always
    log:
      description: Channels that the default log ends in, each with C(channel), C(driver) and C(level).
      type: list
      returned: always
      sample: [{"channel": "single", "driver": "single", "level": "info"}]
    utc_offset:
      description: Seconds that the application's clock is ahead of UTC.
      type: int
      returned: always
    migrations:
      description: Names of the migrations, in the lists C(ran) and C(pending); null when the database cannot be asked.
      type: dict
      returned: always
    queue_size:
      description: Number of jobs that wait in the default queue; null when it cannot be asked.
      type: int
      returned: always
    failed_jobs:
      description: Number of failed jobs; null when they cannot be counted.
      type: int
      returned: always
    errors:
      description: What could not be asked (C(migrations), C(queue), C(failed_jobs)), with the error.
      type: dict
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import Artisan, ArtisanError, take_environment


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "release": {"type": "path", "required": True, "aliases": ["chdir"]},
            "php": {"type": "str", "default": "php"},
            "environment": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    environment = take_environment(module)
    artisan = Artisan(module, module.params["release"], module.params["php"], environment)
    problem = artisan.problem()
    if problem:
        module.fail_json(msg=problem)
    try:
        module.exit_json(changed=False, application=artisan.info())
    except ArtisanError as exc:
        module.fail_json(msg=str(exc), **exc.result)


if __name__ == "__main__":
    main()
