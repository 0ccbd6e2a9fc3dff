"""Lets the tests of the alternative import what those of the defaults ask with."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
