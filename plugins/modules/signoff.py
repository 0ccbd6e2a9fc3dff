#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: signoff
short_description: Get the sign-offs of one stage of a checklist
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Goes through the items of one stage of a checklist. Each is signed by its check, which carries evidence; by an
    approval that was given beforehand; or by whoever is asked at the terminal, who may also fail it, waive it with a
    reason, or leave it for later.
  - Each sign-off is bound to the checklist, the inventory, the commit, the artifact, the hosts and the release, and is
    on disk in the record of the release before the next item is asked for.
  - Fails when required items of V(pre_deploy) or V(during) are not signed, and says how to supply them. Items of
    V(post_deploy) may stay open, and are given later by O(of_release).
  - Runs on the controller, once for all hosts. C(docs/signoffs.md) of this collection explains all of it.
requirements:
  - the callback P(slipway.laravel.release_record#callback), which keeps the record
  - C(ssh-keygen) of OpenSSH 8.9 or newer, where keys are used
attributes:
  check_mode:
    support: partial
    details: Nobody is asked, nothing is recorded, and nothing fails for want of a sign-off.
    description: Can run in check_mode and return changed status prediction without modifying target.
  diff_mode:
    support: none
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
options:
  stage:
    description:
      - Stage whose items are signed.
      - V(plan) signs nothing. It reads the checklist, tells of overdue sign-offs of earlier releases, fails when a
        required item can never be signed in this run, and returns what checks want to know of the hosts.
    type: str
    choices: [plan, pre_deploy, during, post_deploy]
    required: true
  at:
    description: Which items of the stage V(during).
    type: str
    choices: ["", before_switch, after_verify]
    default: ""
  checklist:
    description: >-
      Name of a checklist of this collection, or path of a file, relative to where Ansible is started or to the
      playbook. With O(of_release), its checks are carried out when it still is what that release asked for.
    type: str
    default: ""
  of_release:
    description: >-
      Release id of a release that is live, whose open items are signed; its record says what they are, and what they
      are bound to.
    type: str
    default: ""
  version:
    description: What is released, for people.
    type: str
    default: ""
  commit:
    description: Commit that is released.
    type: str
    default: ""
  artifact_sha256:
    description: Checksum of the artifact that is released.
    type: str
    default: ""
  prebuilt:
    description:
      - Whether the artifact was built elsewhere, so that its commit is only what it says of itself. Approvals then have
        to name the checksum of the artifact.
    type: bool
    default: false
  hosts:
    description: Hosts of the release.
    type: list
    elements: str
    default: []
  release:
    description: Release id.
    type: str
    default: ""
  previous:
    description: Release id of what is live.
    type: str
    default: ""
  operator:
    description: Who deploys. Empty for the user that runs Ansible.
    type: str
    default: ""
  by:
    description: Who signs at the terminal. Empty for O(operator).
    type: str
    default: ""
  people:
    description:
      - Who may sign, by name, each with C(roles), a list, and C(key), the public SSH key that proves it.
      - Where an item asks for somebody other than who deploys, O(operator) has to be one of them.
    type: dict
    default: {}
  approvals:
    description: >-
      Approvals as C(docs/signoffs.md) has them, one mapping or a list. Files that were given by C(-e @file) are read
      where they are, together with their signature.
    type: raw
    default: {}
  approvals_signed:
    description: Whether only approvals in files with a signature count.
    type: bool
    default: false
  allowed_signers:
    description:
      - File with the keys that may sign, as ssh-keygen has it, besides those of O(people). Empty, and nobody
        there has a key, it is the one that the record is verified with, C(allowed_signers) in the directory of the
        records, where there is one.
    type: str
    default: ""
  key:
    description: File of the private SSH key of who signs at the terminal. Empty for a key of the agent.
    type: str
    default: ""
  language:
    description: Language in which items are shown. Empty for the first of the checklist.
    type: str
    default: ""
  prompt:
    description: Whether to ask at the terminal, where there is one.
    type: bool
    default: true
  facts:
    description: What M(slipway.laravel.release_checks) returned as C(checks), by host.
    type: dict
    default: {}
  variables:
    description: Variables that checks may use.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Get the sign-offs before anything is changed
  slipway.laravel.signoff:
    stage: pre_deploy
    checklist: ispeaker-live
    version: v1.4.0
    commit: 1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d
    hosts: "{{ ansible_play_hosts_all }}"
    release: 20261121T013005Z-1a2b3c4d
  when: inventory_hostname == ansible_play_hosts_all | first
"""

RETURN = r"""
signoffs:
  description: >-
    The items of the stage, as they are in the record, each with C(item), C(status) (V(signed), V(waived), V(failed) or
    V(open)), C(by), C(method), C(at), C(reason), C(evidence), and what it is bound to.
  returned: for a stage
  type: list
  elements: dict
left:
  description: Required items that are not signed, a sentence each.
  returned: for a stage
  type: list
  elements: str
checks:
  description: What M(slipway.laravel.release_checks) is to look at, by stage and host.
  returned: for V(plan)
  type: dict
steps:
  description: What there is to do in each stage, look at hosts (C(checks …)) and sign (C(signoff …)).
  returned: for V(plan)
  type: dict
"""
