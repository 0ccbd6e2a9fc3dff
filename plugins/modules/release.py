#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Carry out phases of a Laravel release on one host
version_added: 0.1.0
description:
  - Carries out one or several phases of a release, in the order given, on one host. Phases without a fleet-wide barrier
    between them share one run of the module.
  - The layout below O(root) is that of Capistrano and Deployer, C(current), C(releases/) and C(shared/), so that a
    server
    released by those can be taken over.
  - C(preflight) names everything that would stop the release, then takes the lock. C(stage) unpacks the artifact, links
    what is shared, builds the caches in the final path and lets the new release answer a health request while the old
    one
    is live. C(probe) repeats that request, for a release that is only well after its migrations. C(switch) makes it
    live by one atomic rename. C(restart) ends workers of other releases gracefully and reloads
    PHP-FPM where needed. C(verify) shows that the web server, PHP-FPM and each worker run the release. C(revert) goes
    back. C(finish) removes old releases and gives the lock back.
  - Every phase but C(preflight) and C(revert) fails when O(run) does not hold the lock.
author:
  - The slipway.laravel authors (@slipway)
options:
  root:
    description:
      - Directory of the application.
    type: path
    required: true
  phases:
    description:
      - The phases to carry out, in this order.
    type: list
    elements: str
    choices: [preflight, stage, probe, switch, restart, verify, revert, finish]
    required: true
  run:
    description:
      - Name of this run of the playbook, the same on every host; it identifies the holder of the lock.
    type: str
    required: true
  owner:
    description:
      - Who releases, for those who find the lock held.
    type: str
    default: unknown
  release:
    description:
      - Release id, the name of the directory in C(releases/). Needed by every phase but C(preflight).
    type: str
    default: ""
  previous:
    description:
      - Release id that was live when the run began; C(revert) goes back to it. Empty when there was none.
    type: str
    default: ""
  bad:
    description:
      - Release id that C(finish) marks as bad, so that no later rollback goes there.
    type: str
    default: ""
  artifact:
    description:
      - Path of the artifact on this host, for C(stage).
    type: path
  sha256:
    description:
      - Checksum that the artifact must have.
    type: str
  shared_dirs:
    description:
      - Directories of the application that outlive releases, relative to its root. The first release seeds them.
    type: list
    elements: str
    default: [storage]
  shared_files:
    description:
      - Files of the application that outlive releases.
    type: list
    elements: str
    default: [.env]
  assets_dir:
    description:
      - Directory of built, hashed assets. Those of the live release are kept in the new one for one release, for pages
        that
        browsers loaded before the switch. Empty to leave that out.
    type: str
    default: public/build
  stage_commands:
    description:
      - Artisan commands that prepare the release in its final path, each as a list of words.
    type: list
    elements: list
    default: [["config:cache"], ["route:cache"], ["view:cache"], ["event:cache"]]
  restart_commands:
    description:
      - Commands, each as a list of words, that C(restart) runs after the old workers were asked to end. They have to
        make
        sure that workers run, for example C(supervisorctl start).
    type: list
    elements: list
    default: []
  workers:
    description:
      - Number of long-running artisan processes (queue workers, Horizon, Reverb) that C(verify) waits for.
    type: int
    default: 0
  fpm_socket:
    description:
      - Socket of the PHP-FPM pool, a path or C(host:port). Empty on a host without PHP-FPM.
    type: str
    default: ""
  fpm_reload:
    description:
      - When C(restart) reloads PHP-FPM. A switch alone never needs it, since nginx hands over resolved paths.
    type: str
    choices:
      auto: When less than a fifth of OPcache's memory or keys is free.
      always: Each time.
      never: Never.
    default: auto
  fpm_reload_command:
    description:
      - Command that reloads PHP-FPM, as a list of words. C({version}) stands for the version of O(php), such as C(8.4).
    type: list
    elements: str
    default: []
  health_path:
    description:
      - Path of the health page. Any status from 200 to 299 is well.
    type: str
    default: /up
  health_url:
    description:
      - Address of the health page as the web server of this host serves it. Empty on a host without one.
      - A redirect is not followed and is not well.
    type: str
    default: ""
  health_host:
    description:
      - Host header of health requests.
    type: str
    default: localhost
  verify_tls:
    description:
      - Whether the certificate of O(health_url) is checked.
    type: bool
    default: true
  timeout:
    description:
      - Seconds within which C(verify) must find everything well.
    type: int
    default: 60
  keep:
    description:
      - Number of releases to keep. The live one, the one a rollback would go to and those with running processes are
        kept
        in any case.
    type: int
    default: 5
  min_free_mb:
    description:
      - MiB that must be free at least. Twice the size of the live release is always asked for.
    type: int
    default: 200
  lock_ttl:
    description:
      - Seconds without a sign of life after which a lock counts as left behind and is taken over.
    type: int
    default: 3600
  takeover:
    description:
      - Take the lock from whoever holds it.
    type: bool
    default: false
extends_documentation_fragment:
  - slipway.laravel.laravel
  - slipway.laravel.laravel.php
attributes:
  check_mode:
    description: C(preflight) looks at everything and takes no lock; the other phases say whether they would change
      something.
    support: full
  diff_mode:
    description: Shows the release that C(current) points at, before and after.
    support: full
"""

EXAMPLES = r"""
- name: Go live with a release that is staged on every host
  slipway.laravel.release:
    root: /var/www/app
    run: "{{ run_id }}"
    release: 20261121T013005Z-1a2b3c4d
    phases: [switch]

- name: Restart and prove it
  slipway.laravel.release:
    root: /var/www/app
    run: "{{ run_id }}"
    release: 20261121T013005Z-1a2b3c4d
    phases: [restart, verify, finish]
    fpm_socket: /run/php/app.sock
    health_url: http://127.0.0.1/up
"""

RETURN = r"""
phases:
  description: One entry for each phase that was begun, with C(phase), C(seconds), C(changed) and its evidence.
  returned: always
  type: list
  elements: dict
release:
  description: O(release).
  returned: always
  type: str
current:
  description: Release id that is live now, null when there is none.
  returned: always
  type: str
failed_phase:
  description: The phase that failed.
  returned: failure
  type: str
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._phases import PhaseError, Phases

PHASES = ["preflight", "stage", "probe", "switch", "restart", "verify", "revert", "finish"]


def argument_spec() -> dict[str, dict[str, Any]]:
    text = {"type": "str", "default": ""}
    return {
        "root": {"type": "path", "required": True},
        "phases": {"type": "list", "elements": "str", "choices": PHASES, "required": True},
        "run": {"type": "str", "required": True},
        "owner": {"type": "str", "default": "unknown"},
        "release": text,
        "previous": text,
        "bad": text,
        "artifact": {"type": "path"},
        "sha256": {"type": "str"},
        "shared_dirs": {"type": "list", "elements": "str", "default": ["storage"]},
        "shared_files": {"type": "list", "elements": "str", "default": [".env"]},
        "assets_dir": {"type": "str", "default": "public/build"},
        "stage_commands": {
            "type": "list",
            "elements": "list",
            "default": [["config:cache"], ["route:cache"], ["view:cache"], ["event:cache"]],
        },
        "restart_commands": {"type": "list", "elements": "list", "default": []},
        "workers": {"type": "int", "default": 0},
        "fpm_socket": text,
        "fpm_reload": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
        "fpm_reload_command": {"type": "list", "elements": "str", "default": []},
        "health_path": {"type": "str", "default": "/up"},
        "health_url": text,
        "health_host": {"type": "str", "default": "localhost"},
        "verify_tls": {"type": "bool", "default": True},
        "timeout": {"type": "int", "default": 60},
        "keep": {"type": "int", "default": 5},
        "min_free_mb": {"type": "int", "default": 200},
        "lock_ttl": {"type": "int", "default": 3600},
        "takeover": {"type": "bool", "default": False},
        "php": {"type": "str", "default": "php"},
        "environment": {"type": "dict", "default": {}, "no_log": True},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    phases: list[str] = module.params["phases"]
    nameless = {"preflight", "revert"}
    if not module.params["release"] and not nameless.issuperset(phases):
        module.fail_json(msg=f"release is needed for the phases {', '.join(p for p in phases if p not in nameless)}")
    if module.params["release"] in (".", "..") or "/" in module.params["release"]:
        module.fail_json(msg=f"release {module.params['release']!r} is not the name of a directory in releases/")
    work = Phases(module)
    live_before = work.layout.current()
    done: list[dict[str, Any]] = []
    for phase in phases:
        started = time.monotonic()
        try:
            evidence = work.run(phase)
        except PhaseError as exc:
            seconds = round(time.monotonic() - started, 3)
            done.append({"phase": phase, "seconds": seconds, "changed": False, "error": str(exc)})
            module.fail_json(
                msg=f"{phase}: {exc}",
                failed_phase=phase,
                release=module.params["release"],
                phases=done,
                current=work.layout.current(),
                changed=any(entry["changed"] for entry in done),
            )
        done.append({"phase": phase, "seconds": round(time.monotonic() - started, 3), **evidence})
    live = work.layout.current()
    live_after = live
    if module.check_mode:
        planned = {"switch": module.params["release"], "revert": module.params["previous"] or None}
        changing = [entry["phase"] for entry in done if entry["changed"] and entry["phase"] in planned]
        live_after = planned[changing[-1]] if changing else live
    diff = {"before": f"current -> {live_before}\n", "after": f"current -> {live_after}\n"}
    changed = any(entry["changed"] for entry in done)
    module.exit_json(changed=changed, release=module.params["release"], phases=done, current=live, diff=diff)


if __name__ == "__main__":
    main()
