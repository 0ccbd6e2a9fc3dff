# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of config_files: renders the templates and hands everything over in one module run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import records_of


def fill(text: str, item: dict[str, Any]) -> str:
    """Replace each {key} by that value of the element."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in item:
            raise AnsibleActionFail(f"config_files: {text} names {match[0]}, which an element of each lacks")
        return str(item[match[1]])

    return re.sub(r"\{(\w+)\}", value, text)


def expand(entry: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The files that an entry stands for, with the variables of each one's template."""
    plain = {key: value for key, value in entry.items() if key not in ("each", "vars")}
    extra = entry.get("vars") or {}
    if entry.get("each") is None:
        yield plain, dict(extra)
        return
    for item in entry["each"]:
        filled = {key: fill(plain[key], item) for key in ("path", "link") if plain.get(key) is not None}
        yield {**plain, **filled}, {**extra, "item": item}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        super().run(tmp, variables)
        args: dict[str, Any] = dict(self._task.args)
        files = []
        for entry in args.get("files") or []:
            if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
                raise AnsibleActionFail("config_files: every element of files is a mapping with a path")
            for file, extra in expand(entry):
                files.append(self.rendered(file, extra, variables))
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.laravel.config_files",
            module_args={**self.writer(variables), **args, "files": files},
            task_vars=variables,
        )
        # The arguments hold the content of every file, secrets among them.
        result.pop("invocation", None)
        return result

    def writer(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Who this inventory is, by names that no controller, checkout or CI changes both of.

        A path would differ between those. An application may be renamed, or an inventory, without losing its files.
        """
        inventory = os.path.basename(records_of("records", tuple(context.CLIARGS.get("inventory") or ())))
        application = self._templar.template(variables.get("laravel_app", "app"))
        return {
            "by": [f"inventory {inventory}", f"application {application}"],
            "take_over": self._templar.template(variables.get("laravel_host_taken_over", False)),
        }

    def rendered(self, file: dict[str, Any], extra: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """The file with its content in place of its template."""
        sources = [key for key in ("template", "content", "link") if file.get(key) is not None]
        wanted = 0 if file.get("state", "file") != "file" else 1
        if len(sources) != wanted:
            raise AnsibleActionFail(
                f"config_files: {file['path']} needs one of template, content and link, or a state that needs none"
            )
        if "template" not in sources:
            return file
        lookup = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        (content,) = lookup.run([file["template"]], variables, template_vars=extra)
        return {**{key: value for key, value in file.items() if key != "template"}, "content": content}
