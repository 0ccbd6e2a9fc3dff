#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_checks
short_description: Gather the facts by which checklist items prove themselves
version_added: 0.1.0
description:
  - Looks for the facts of several checks at the same time, in one run on a host, and returns them by check.
  - Judges nothing, and changes nothing. Facts that cannot be had are a result with C(missing) and C(remedy), no
    failure. M(ansible.builtin.assert) judges, or a checklist of the release does, whose checks use this module.
  - Values that may be secret (log lines, headers, users, passwords and queries in addresses) are never returned.
  - Run it as the user of the application, or as root; processes of other users and nginx's log may not be visible
    to others. The application is booted once, and only when a check asks it.
author:
  - The slipway.laravel authors (@slipway)
options:
  root:
    description:
      - Directory of the application, which holds C(current), C(releases) and C(shared).
    type: path
    required: true
  checks:
    description:
      - The checks whose facts are wanted.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Which check. C(docs/checks.md) of this collection says what each proves, and its parameters.
        type: str
        required: true
        choices:
          - backup
          - certificate
          - compression
          - debug_off
          - dns
          - failed_jobs
          - health
          - hsts
          - https_redirect
          - log_errors
          - log_level
          - maintenance_off
          - opcache
          - queue_depth
          - restarted
          - scheduler
          - security_headers
          - smoke
          - tls_versions
          - traffic
          - workers
      id:
        description:
          - Name of the result, by default that of the check. Needed to ask one check twice.
        type: str
      parameters:
        description:
          - Parameters of the check, without its limits, which belong to those who judge. Never shown.
        type: dict
        default: {}
  fpm_socket:
    description:
      - Socket of PHP-FPM, as a path or C(host:port), for the check C(opcache). Empty on a host without PHP-FPM.
    type: str
    default: ""
  timeout:
    description:
      - Seconds that all checks together may take; those without an answer by then have C(missing).
    type: int
    default: 60
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
- name: Look at the certificate and the failed jobs
  slipway.laravel.release_checks:
    root: /var/www/app
    checks:
      - name: certificate
        parameters:
          url: https://shop.example.com
      - name: failed_jobs
  register: found

- name: Judge them
  ansible.builtin.assert:
    that:
      - found.checks.certificate.verified | default(false)
      - found.checks.failed_jobs.failed_jobs | default(1) == 0
"""

RETURN = r"""
checks:
  description:
    - The facts of each check, by its O(checks[].id). C(docs/checks.md) says what is in them.
    - Facts that cannot be had are a sentence C(missing) and a C(remedy).
  returned: success
  type: dict
  sample:
    certificate:
      url: https://shop.example.com
      peer: 192.0.2.10:443
      subject: CN=shop.example.com
      not_after: "2026-12-30T00:00:00Z"
      days_left: 38
      verified: true
    failed_jobs:
      missing: "/var/www/app/current does not exist: no release is live"
      remedy: release first
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import take_environment
from ansible_collections.slipway.laravel.plugins.module_utils._checks import SPECS, collect, complete
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout


def validated(checks: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the checks with an id and complete parameters, and what is wrong with them."""
    asked: list[dict[str, Any]] = []
    problems = []
    for check in checks:
        name, key = check["name"], check["id"] or check["name"]
        if key in [other["id"] for other in asked]:
            problems.append(f"two checks have the id {key}; give one of them another id")
        parameters, faults = complete(SPECS[name], check["parameters"])
        problems += [f"{key}: {fault}" for fault in faults]
        asked.append({"id": key, "name": name, "parameters": parameters})
    return asked, problems


def flat(value: Any) -> list[Any]:
    """Return the values in a structure."""
    if isinstance(value, dict):
        return [inner for each in value.values() for inner in flat(each)]
    if isinstance(value, list):
        return [inner for each in value for inner in flat(each)]
    return [value]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "checks": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True, "choices": sorted(SPECS)},
                    "id": {"type": "str"},
                    "parameters": {"type": "dict", "default": {}, "no_log": True},
                },
            },
            "fpm_socket": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 60},
            "php": {"type": "str", "default": "php"},
            "environment": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    environment = take_environment(module)
    asked, problems = validated(module.params["checks"])
    # no_log keeps them out of the log of the host. Left to itself it would also blot every place that an address is
    # rightly named in, and the result has them by params.
    for check in module.params["checks"]:
        module.no_log_values -= {str(value) for value in flat(check["parameters"])}
        check["parameters"] = dict.fromkeys(check["parameters"], "...")
    if problems:
        module.fail_json(msg="; ".join(problems))
    layout = Layout(module.params["root"])
    module.exit_json(changed=False, checks=collect(module, layout, environment, asked, module.params["timeout"]))


if __name__ == "__main__":
    main()
