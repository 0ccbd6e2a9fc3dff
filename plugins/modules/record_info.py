#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of this name does the work; here is its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: record_info
short_description: Verify the records of releases
version_added: 0.1.0
description:
  - Reads records that the callback P(slipway.laravel.release_record#callback) wrote, on the controller, whatever host
    the task is for, and compares every byte of them with hashes, with the ledger and with signatures.
  - Any line that was changed, removed, moved, added or taken from another record, an end that was cut off, a record
    that is missing or not in the ledger, and a signature by somebody else is found and named. So is a
    sign-off that is not by the key of whom it names.
  - It fails only when it cannot verify. What it found is in RV(faults).
author:
  - The slipway.laravel authors (@slipway)
requirements:
  - ssh-keygen of OpenSSH 8.9 or newer on the controller
options:
  path:
    description:
      - Directory with the records of an inventory, which is verified with its ledger, or one record, a file that ends
        in C(.jsonl), which is verified with the C(.head) and C(.sig) beside it.
      - Without it, the directory in O(records_dir) that belongs to the inventory of this run.
    type: path
  records_dir:
    description:
      - Directory of all records, which has a directory for each inventory. Without it, where the callback writes.
    type: path
  allowed_signers:
    description:
      - File that says whose keys are whose, in the format of C(ssh-keygen). Without it, the one of the callback, or
        C(allowed_signers) beside the directories of the inventories; when none is there, anybody may have signed.
    type: path
  signed:
    description:
      - Whether what nobody signed is a fault. Without it, that is so when there is a list of those who may sign.
    type: bool
  ledger_head:
    description:
      - The last hash of the ledger at some time, as it was noted elsewhere. It is a fault when the ledger has lost it,
        as when somebody restored all files of an earlier day.
    type: str
    default: ""
  entries:
    description:
      - Return the entries of the record at O(path) as well.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing in any case.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
seealso:
  - module: slipway.laravel.release
"""

EXAMPLES = r"""
- name: Verify all records of this inventory
  slipway.laravel.record_info:
  register: recorded

- name: Show what was released when, and by whom
  ansible.builtin.debug:
    msg: "{{ item.began }} {{ item.by }}: {{ item.version }} {{ item.outcome }}"
  loop: "{{ recorded.records }}"
  loop_control:
    label: "{{ item.record }}"

- name: Verify one record that somebody sent
  slipway.laravel.record_info:
    path: /tmp/20261121T013005Z-1a2b3c4d.jsonl
    allowed_signers: /tmp/allowed_signers
    signed: true
"""

RETURN = r"""
valid:
  description: Whether everything is as it was written.
  returned: success
  type: bool
faults:
  description: What is wrong, each with RV(ignore:file), RV(ignore:line) (0 where it is about the whole file),
    RV(ignore:what), and all of that as RV(ignore:text).
  returned: success
  type: list
  elements: dict
  sample:
    - file: /srv/records/production/20261121T013005Z-1a2b3c4d.jsonl
      line: 4
      what: "was changed: its hash does not fit"
      text: "/srv/records/production/20261121T013005Z-1a2b3c4d.jsonl line 4 was changed: its hash does not fit"
notes:
  description: What limits the verification, or is worth knowing.
  returned: success
  type: list
  elements: str
records:
  description: What the records tell, each with C(record), C(release), C(outcome), C(version), C(by), C(hosts),
    C(began), C(ended), C(entries), C(head) and C(signers), those whose signatures were found good.
  returned: success
  type: list
  elements: dict
entries:
  description: The entries of the record, none when one of them was changed.
  returned: when O(entries) is true
  type: list
  elements: dict
path:
  description: What was verified.
  returned: success
  type: str
"""
