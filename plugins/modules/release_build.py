#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_build
short_description: Build the artifact of a release
version_added: 0.1.0
description:
  - Resolves a version to one commit, exports that commit, installs its Composer packages, builds its front end with
    npm, yarn or pnpm, and packs the result as one compressed tar with a checksum.
  - Runs on one host of a release; the other hosts get the artifact. Needs C(git), and C(composer) and the package
    manager where the application has a C(composer.json) or a C(package.json). Files that are kept by Git LFS need
    C(git-lfs), set up by C(git lfs install) for the user that builds; without it such a build stops, unless only
    C(tests), C(docs) and C(.github) have such files.
  - Of O(root) only C(.slipway) is used, and made where it is missing. So the build can be delegated to the controller,
    with a directory of its own there, one for each application. Nothing that is live is touched, and a build that fails
    leaves nothing but the copy of the repository. Where O(root) has no C(releases), the newest 3 artifacts are kept.
  - The same commit and version give the same artifact, byte for byte, on hosts with the same programs. What a front end
    tool makes different each time stays different, such as the build id of Next.js without C(generateBuildId).
  - What is made from the same inputs is used again, see O(reuse).
  - The script that builds the front end finds C(VITE_*), C(MIX_*) and C(ASSET_URL) of the application's C(.env) in its
    environment, and nothing else of it, since these are compiled into what every visitor gets. They are those of
    C(shared/.env) in O(root), or where there is none, of the first host in O(offers). What O(environment) gives, or a
    file of the commit that Vite reads (C(.env), C(.env.production)), stays. C(null) and C(empty) are given as empty. A
    name in C(.env.example) that nobody gives is named in a warning.
  - C(node_modules) is no part of the artifact of a Laravel application, unless the bundle that C(vite build --ssr) made
    for C(inertia:start-ssr) imports packages by name. A warning says so, and what they take.
  - With O(artifact) or O(artifact_url) nothing is built; the artifact that is given is checked, and described as if it
    had been built.
author:
  - The slipway.laravel authors (@slipway)
options:
  root:
    description:
      - Directory of the application, or any directory to build in.
    type: path
    required: true
  repository:
    description:
      - Address of the git repository, in any form that git takes.
      - A user and a password in an address of HTTP or HTTPS are never shown, and not handed over on a command line;
        git gets them by its environment, for that server alone.
      - One of O(repository), O(artifact) and O(artifact_url) is required.
    type: str
  version:
    description:
      - Tag, branch or commit to build; a tag wins over a branch of the same name. Commits need 7 to 40 digits.
      - Required with O(repository).
    type: str
  path:
    description:
      - Directory of the application in the repository, when that holds more than the application. Packages beside it
        that Composer gets by path are copied into the release.
    type: str
    default: ""
  submodules:
    description:
      - Whether to bring in the submodules of the repository, each at the commit that it is pinned to, and theirs.
      - The same key and known hosts are used. The user and password of O(repository) are used for submodules on the
        same web server, and for no other.
    type: bool
    default: false
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
  artifact:
    description:
      - Path of an artifact on this host to describe instead of building one.
      - It is a tar compressed by gzip with the files of the release at its top, made by this module or another tool.
        It says its commit in C(.slipway.json) or, with 40 digits, in C(REVISION).
    type: path
  artifact_url:
    description:
      - Address of an artifact to fetch and describe, by HTTP or HTTPS. A user, a password and a query in it are never
        shown.
      - Fails after 30 seconds without data; a connection that breaks is tried 3 times.
    type: str
  sha256:
    description:
      - Checksum that the artifact of O(artifact) or O(artifact_url) must have. Required with O(artifact_url).
    type: str
  release:
    description:
      - Release id to continue, of a run that was killed; its commit has to be that of O(version). If that run had
        packed its artifact, it is described and not built again. Without it a new id is made.
    type: str
    default: ""
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
      - Name of the run that holds the lock of O(root); the build gives it a heartbeat, and notes its result there for a
        run that goes on with a killed one.
    type: str
    default: ""
  offers:
    description:
      - What the hosts have that will run the release, by name, as RV(slipway.laravel.release#module:offer) tells it.
        Before anything is built, it is compared with what the commit or the artifact says it needs, as far as that is
        known then, and all that is missing is named.
      - The hosts are compared with each other as well. An C(APP_KEY) that is not the same on all of them is a failure,
        another value of their C(.env) a warning, by its key.
    type: dict
    default: {}
  kind:
    description:
      - What is built.
    type: str
    choices:
      laravel: Composer's packages, and the built front end without the packages that built it.
      node: A Node application such as Next.js, with its packages.
    default: laravel
  composer:
    description:
      - Name or path of Composer.
    type: str
    default: composer
  composer_auth:
    description:
      - Credentials for private packages, as Composer's C(auth.json) has them. Handed over by the environment variable
        C(COMPOSER_AUTH), to Composer alone, and never shown.
    type: dict
    default: {}
  package_manager:
    description:
      - What installs and builds the front end. V(auto) takes the one whose lock file (C(package-lock.json),
        C(npm-shrinkwrap.json), C(yarn.lock) or C(pnpm-lock.yaml)) the commit has, and where there are several the one
        that C(packageManager) of C(package.json) names. Yarn 1 and later ones are told apart by the lock.
      - Packages are only ever installed as the lock has them.
    type: str
    choices: [auto, npm, yarn, pnpm]
    default: auto
  npm:
    description:
      - Name or path of npm. C(yarn), C(pnpm) and C(node) are looked for in C(PATH).
    type: str
    default: npm
  npm_script:
    description:
      - Script of C(package.json) that builds the front end. Empty builds nothing.
      - Where there is no script V(build) nothing is built, unless there is C(production) or C(prod), which is what
        Laravel Mix calls it; then, and where there is none of another name, the build fails and names those that there
        are.
    type: str
    default: build
  node_prune:
    description:
      - With O(kind=node), whether the packages that only the build needs are removed, by the package manager itself.
    type: bool
    default: true
  precompress:
    description:
      - Whether to put a C(.gz) file beside each text file of 1 KiB and more that the build script made in C(public/) or
        C(.next/static/), for C(gzip_static) of nginx; and a C(.br) file where C(brotli) is on the host.
    type: bool
    default: true
  reuse:
    description:
      - Whether to use what an earlier build on this host made from the same inputs, and to keep the last 3 of each.
      - C(vendor) depends on C(composer.json) and C(composer.lock), the versions of PHP, its extensions and Composer;
        its autoloader is always made anew.
      - C(node_modules) depends on C(package.json), the lock, the settings of the package manager, its version and that
        of Node.
      - C(assets), what the build script made, depends on C(node_modules), on what it gets of C(.env), and on all files
        of the commit; on the PHP outside of C(resources/) only if something in the front end refers to it, or looks
        through all files as Tailwind CSS 4 does, or if C(composer.json) has scripts of its own that run with an
        install. With O(kind=node) the build script always runs.
      - All variables of O(environment) count as inputs, but for C(COMPOSER_AUTH).
      - Where inputs are not certain, the part is made anew and RV(parts) has the reason.
    type: bool
    default: true
  handover:
    description:
      - Whether other hosts need the artifact. It is fetched to the controller then, into the temporary directory that
        C(ansible-playbook) makes for itself alone and removes when it ends; RV(handover) is its path. That needs as
        much space there, and no more memory for a large artifact than for a small one.
    type: bool
    default: false
extends_documentation_fragment:
  - slipway.laravel.laravel
attributes:
  check_mode:
    description:
      - Resolves the version against the repository, or reads the given artifact, and builds nothing. To know what the
        commit needs, it is fetched without its history into a temporary directory, unless it is here already.
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

- name: Build on the controller, with private packages
  slipway.laravel.release_build:
    root: "{{ lookup('ansible.builtin.env', 'HOME') }}/.cache/slipway/shop"
    repository: git@git.example.com:shop/app.git
    version: v1.4.0
    composer_auth:
      http-basic:
        packages.example.com: {username: deploy, password: "{{ vault_packages_password }}"}
  delegate_to: localhost
  become: false

- name: Take what CI has built
  slipway.laravel.release_build:
    root: /var/www/app
    artifact_url: https://artifacts.example.com/shop/v1.4.0.tar.gz
    sha256: "{{ release_sha256 }}"
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
version:
  description: O(version), or what a given artifact says that it was built as.
  returned: success
  type: str
up_to_date:
  description: Whether the version is what is live already, so that nothing was built.
  returned: success
  type: bool
artifact:
  description: Path of the artifact on this host.
  returned: when it was built or given
  type: str
handover:
  description: Path of the artifact on the controller.
  returned: when it was built and O(handover) is true
  type: str
sha256:
  description: Checksum of the artifact.
  returned: when it was built or given
  type: str
size:
  description: Size of the artifact in bytes.
  returned: when it was built or given
  type: int
manifest:
  description: What C(.slipway.json) of the artifact says, C(commit) at least.
  returned: when it was built or given
  type: dict
requires:
  description: What the release needs of each host.
  returned: when it was built or given, and in check mode where the repository gives the commit
  type: dict
  contains:
    php:
      description: Constraint for the version of PHP as Composer writes it, from C(composer.json), raised to what the
        packages need together; empty for none.
      type: str
      sample: ^8.2 >=8.4.0
    extensions:
      description: PHP extensions of C(composer.json) and C(composer.lock), without those that a package stands in for.
      type: list
      elements: str
      sample: [ctype, pdo]
    env_keys:
      description: Names in C(.env.example).
      type: list
      elements: str
    node:
      description: C(engines.node) of C(package.json) with O(kind=node), else empty, since only the build needs Node.
      type: str
      sample: ">=20"
reused:
  description: Parts that an earlier build had made, of C(assets), C(node_modules) and C(vendor).
  returned: when it was built or given
  type: list
  elements: str
parts:
  description:
    - For each part, whether it was C(reused), with C(inputs), a checksum over all that it is made from, which is
      another one on each host as it tells nothing of secrets, and C(sha256), that of its content; or
      with C(reason), why it cannot be used again.
  returned: when it was built or given
  type: dict
commits:
  description: Subjects of the commits since O(live_commit), newest first, 50 at most.
  returned: when it was built
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

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._artifact import ArtifactError
from ansible_collections.slipway.laravel.plugins.module_utils._build import EMPTY, RULES, SPEC, Build
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Heartbeat
from ansible_collections.slipway.laravel.plugins.module_utils._runner import BuildError


def carry_out(module: AnsibleModule, build: Build) -> dict[str, Any]:
    """Build, and where this is a part of a run, only while that holds the lock."""
    run, layout = module.params["run"], build.layout
    with layout.at_work():
        if not run or module.check_mode or not layout.holds_lock(run, phase="build"):
            return build.carry_out()
        with Heartbeat(layout, run):
            result = build.carry_out()
    if not layout.holds_lock(run, release=result["release"]):
        raise build.runner.error(
            f"build: {layout.lock_path} is not held by run {run} any more; stopped after the build"
        )
    build.note(run, result)
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True, **RULES)
    if module.params["repository"] == "":
        module.fail_json(msg=EMPTY)
    build = Build(module)
    try:
        result = carry_out(module, build)
    except (ArtifactError, BuildError) as exc:
        phase = {"phase": "build", "seconds": build.seconds(), "changed": False, "error": str(exc)}
        module.fail_json(msg=str(exc), phases=[phase], **getattr(exc, "details", {}))
    built = {"phase": "build", "seconds": build.seconds(), **build.evidence(result)}
    module.exit_json(changed=built["changed"], phases=[built], **result)


if __name__ == "__main__":
    main()
