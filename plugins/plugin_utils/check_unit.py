# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check is: a function that judges, whose docstring is its documentation and declares its parameters.

The first line of the docstring is what the check proves. Below it stands YAML with ``evidence``, maybe ``notes``, and
``parameters``: options as modules declare them. What concerns the facts of a host is declared by ``SPECS`` of
``module_utils/_checks.py``, and has a description only, here or in ``SHARED``.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Literal

import yaml
from ansible_collections.slipway.laravel.plugins.module_utils._checks import SPECS

Needs = Literal["host", "controller", "evidence"]
# Of the hosts that were asked: each has to be well, any one, or all are judged together.
Spread = Literal["each", "any", "together"]
# Gets the parameters, the facts and the context, and returns sentences that say what is not well. What it leaves in the
# facts is the evidence; on the controller it begins with none.
Judge = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], list[str]]

# Descriptions of parameters that several checks have.
SHARED = {
    "url": "Address to ask. A user, password and query in it are not shown.",
    "address": "Name or address, and maybe C(:port), to connect to instead of the one in C(url): C(127.0.0.1) asks "
    "each host behind a load balancer itself.",
    "timeout": "Seconds for each request.",
}


class UnprovenError(Exception):
    """A fact cannot be had; the message says what was missing and the remedy."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """One check, with what its docstring says."""

    name: str
    needs: Needs
    spread: Spread
    judge: Judge
    summary: str
    parameters: dict[str, dict[str, Any]]
    evidence: str
    notes: str

    @property
    def spec(self) -> dict[str, dict[str, Any]]:
        """Return the parameters as ArgumentSpecValidator takes them."""
        return {
            name: {k: v for k, v in option.items() if k != "description"} for name, option in self.parameters.items()
        }


def check(needs: Needs, spread: Spread = "each") -> Callable[[Judge], Unit]:
    """Make a function a check of its name."""

    def unit(judge: Judge) -> Unit:
        name = judge.__name__
        summary, _blank, rest = inspect.cleandoc(judge.__doc__ or "").partition("\n")
        told = yaml.safe_load(rest)
        own: dict[str, Any] = told.get("parameters") or {}
        of_host = SPECS[name] if needs == "host" else {}
        parameters = {
            option: {**spec, "description": own.get(option) or SHARED[option]} for option, spec in of_host.items()
        }
        parameters |= {option: spec for option, spec in own.items() if option not in of_host}
        notes = told.get("notes", "")
        return Unit(name, needs, spread, judge, summary, parameters, told["evidence"], notes)

    return unit
