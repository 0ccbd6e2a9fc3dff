#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_build
short_description: Build the artifact of a Laravel release
version_added: 0.1.0
description:
  - Resolves a version to one commit, exports that commit, installs its Composer packages, builds its front end with
    npm,
    and packs the result as one compressed tar with a checksum.
  - Runs on one host of a release; the other hosts get the artifact. Needs C(git), and C(composer) and C(npm) where the
    application has a C(composer.json) or a C(package.json).
  - The build has a directory of its own below O(root), which is removed at the end; nothing that is live is touched.
author:
  - The slipway.laravel authors (@slipway)
options:
  root:
    description:
      - Directory of the application, which holds C(current), C(releases) and C(shared).
    type: path
    required: true
  repository:
    description:
      - Address of the git repository, in any form that git takes.
      - A password in it is never shown, and is not handed over on a command line.
    type: str
    required: true
  version:
    description:
      - Tag, branch or commit to build; a tag wins over a branch of the same name. Commits need 7 to 40 digits.
    type: str
    required: true
  ssh_key:
    description:
      - File on the host with the private key for the repository. Without it SSH uses what the user has (agent, own
        keys).
    type: path
  known_hosts:
    description:
      - File on the host with the host keys of the repository's server. Without it the user's and the system's are used.
      - Host keys are always checked.
    type: path
  live_commit:
    description:
      - Commit that is live now. When O(version) is the same commit, nothing is built and RV(up_to_date) is true.
    type: str
    default: ""
  force:
    description:
      - Build even when O(live_commit) is the same commit.
    type: bool
    default: false
  run:
    description:
      - Name of the run that holds the lock of O(root); the build renews it.
    type: str
    default: ""
  composer:
    description:
      - Name or path of Composer.
    type: str
    default: composer
  npm:
    description:
      - Name or path of npm.
    type: str
    default: npm
  npm_script:
    description:
      - Script of C(package.json) that builds the front end. Where there is no such script nothing is built.
    type: str
    default: build
extends_documentation_fragment:
  - slipway.laravel.laravel
attributes:
  check_mode:
    description: Resolves the version against the repository and builds nothing.
    support: full
  diff_mode:
    description: The artifact is new each time; there is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Build v1.4.0
  slipway.laravel.release_build:
    root: /var/www/app
    repository: git@git.example.com:shop/app.git
    version: v1.4.0
  register: build
"""

RETURN = r"""
release:
  description: Release id, C(<UTC time>-<first 8 digits of the commit>).
  returned: success
  type: str
commit:
  description: The commit, 40 digits.
  returned: success
  type: str
up_to_date:
  description: Whether the version is what is live already, so that nothing was built.
  returned: success
  type: bool
artifact:
  description: Path of the artifact on this host.
  returned: when it was built
  type: str
sha256:
  description: Checksum of the artifact.
  returned: when it was built
  type: str
size:
  description: Size of the artifact in bytes.
  returned: when it was built
  type: int
commits:
  description: Subjects of the commits since O(live_commit), newest first, 50 at most.
  returned: when it was built and O(live_commit) is known
  type: list
  elements: str
steps:
  description: Seconds that each step took.
  returned: when it was built
  type: dict
phases:
  description: One entry for the phase C(build), as the record of the release keeps it.
  returned: success
  type: list
  elements: dict
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._build import Build, BuildError


def carry_out(module: AnsibleModule, build: Build) -> dict[str, Any]:
    """Resolve the version, and build it unless it is live already."""
    if module.params["run"]:
        build.layout.holds_lock(module.params["run"])
    if module.check_mode:
        commit = build.resolve_remote()
    else:
        build.fetch()
        commit = build.resolve()
    release = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(build.started)) + "-" + commit[:8]
    up_to_date = commit == module.params["live_commit"] and not module.params["force"]
    result: dict[str, Any] = {"release": release, "commit": commit, "up_to_date": up_to_date}
    if not up_to_date and not module.check_mode:
        result.update(build.make(release, commit))
        result.update(commits=build.commits(commit), steps=build.steps)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "repository": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "ssh_key": {"type": "path", "no_log": False},
            "known_hosts": {"type": "path"},
            "live_commit": {"type": "str", "default": ""},
            "force": {"type": "bool", "default": False},
            "run": {"type": "str", "default": ""},
            "composer": {"type": "str", "default": "composer"},
            "npm": {"type": "str", "default": "npm"},
            "npm_script": {"type": "str", "default": "build"},
            "environment": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    build = Build(module)
    try:
        result = carry_out(module, build)
    except BuildError as exc:
        phase = {"phase": "build", "seconds": build.seconds(), "changed": False, "error": str(exc)}
        module.fail_json(msg=str(exc), phases=[phase], **exc.details)
    changed = not result["up_to_date"]
    built: dict[str, Any] = {"phase": "build", "seconds": build.seconds(), "changed": changed}
    built.update({key: result[key] for key in ("commit", "sha256", "size", "commits", "steps") if key in result})
    module.exit_json(changed=changed, version=module.params["version"], phases=[built], **result)


if __name__ == "__main__":
    main()
