# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking secrets out of what is shown and recorded: values that are known, and whatever looks like a secret.

Private to this collection. Pure: text and data go in and come out. What was masked stays the same when it is masked
again. When in doubt a word too many is masked: a record is kept for ever, and read by many.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "********"

# Values shorter than the first are not masked: they would take letters out of everything. Those shorter than the second
# are masked as words of their own only.
SHORTEST, LONG = 4, 8

# What secrets are called, as the last part of a name: DB_PASSWORD, apiKey, x-auth-token, client_secret_2.
_CALLED = (
    r"(?:passw(?:or)?d|passwd|passphrase|pwd|secret|token|credential|authorization|webhook(?:[_\-]?url)?|dsn|salt"
    # As words of their own, for there is bypass; and as variables of an environment, for basic_auth may name a list.
    r"|pepper|(?<=[_\-])(?:pass|pw)"
    r"|(?:api|app|auth|access|private|deploy|master|encryption|signing|secret|license|client)[_\-]?key"
    r"|(?-i:[A-Z0-9]_(?:KEY|PAT|AUTH)))"
    r"s?(?:[_\-]?(?:\d{1,3}|value|base64|confirmation|old|new|current|previous|plain|text|hash)"
    r"|[_\-](?:prod(?:uction)?|staging|sandbox|dev(?:elopment)?|test(?:ing)?|live|local|v\d{1,3}))?"
)
_NAME = rf"(?<![A-Za-z0-9_.\-])[A-Za-z0-9_.\-]{{0,60}}?{_CALLED}"
_IS_SECRET = re.compile(rf"[A-Za-z0-9_.\- ]*?{_CALLED}\Z", re.IGNORECASE)
# They look like it, and name a place or a key that everybody may know; fastcgi_pass and the like are nginx's.
_HARMLESS = re.compile(
    r"(?:.*[_\-.])?(?:public[_\-]?key|(?:OLD)?PWD|_KEY|(?-i:(?:fastcgi|grpc|memcached|proxy|scgi|uwsgi)_pass))\Z",
    re.IGNORECASE,
)

_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
# Without quotes, a value ends at a blank, or at what separates it from the next one.
_BARE = r"[^\s\"'`,;&|<>(){}\[\]\\]+"
_ASSIGNED = re.compile(
    rf"(?P<name>{_NAME})(?P<sign>[\"']?\s*(?:=>|[:=])\s*)(?P<value>{_QUOTED}|{_BARE})", re.IGNORECASE
)
# Nothing to hide; after a colon, words of a sentence neither, unless it is about a password.
_NOTHING = re.compile(r"(?:null|none|true|false|yes|no|\*+|)\Z", re.IGNORECASE)
_WORD = re.compile(r"[a-z]{1,15}[.:!?]?\Z", re.IGNORECASE)
_PASSWORD = re.compile(r"passw|pwd|passphrase|_(?:pass|pw)", re.IGNORECASE)

_PATTERNS = [
    (re.compile(pattern, flags), rf"\g<1>{MASK}\g<2>")
    for pattern, flags in (
        (
            r"()-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----.*?(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----|\Z)()",
            re.DOTALL,
        ),
        # scheme://user:password@host, where the password may hold an @, and https://token@host
        (r"(\b[a-z][a-z0-9+.\-]{0,30}://)[^\s/?#\"'<>:]*:[^\s/?#\"'<>]*(@)", re.IGNORECASE),
        (r"(\bhttps?://)[^\s/?#\"'<>]+(@)", re.IGNORECASE),
        (r"(\b(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/)[^\s\"'<>]+()", re.IGNORECASE),
        (r"([?&](?:x-amz-(?:signature|credential|security-token)|signature|sig)=)[^\s&\"'<>]+()", re.IGNORECASE),
        # JSON within JSON has a backslash before its quotes
        (rf"({_NAME}\\+[\"']\s*[:=]>?\s*\\+[\"'])[^\"'\\]+()", re.IGNORECASE),
        # Headers, to their end: that of the line, or of the string that they stand in
        (r"(\b(?:proxy-)?authorization\\*[\"']\s*:\s*\\*[\"'])[^\"'\\]+()", re.IGNORECASE),
        (r"(\b(?:proxy-)?authorization\s*[:=]\s*)[^\s'\"][^\r\n']*()", re.IGNORECASE),
        (r"(\b(?:set-)?cookie\\*[\"']?\s*:\s*\\*[\"']?)[^\r\n\"'\\]+()", re.IGNORECASE),
        (r"(\bbearer\s+)[A-Za-z0-9+/._~|\-]{8,}=*()", re.IGNORECASE),
        (r"(\bbasic\s+)[A-Za-z0-9+/]{12,}={0,2}()", re.IGNORECASE),
        # Programs that take passwords as words of their own
        (rf"(\s--?{_CALLED}\s+)(?!-)(?:{_QUOTED}|{_BARE})()", re.IGNORECASE),
        (rf"(\b(?:mysql|mariadb)[a-z\-]*\s(?:[^\n|;&]{{0,200}}?\s)?-p)(?:{_QUOTED}|{_BARE})()", 0),
        (rf"(\b(?:redis-cli|valkey-cli)\s(?:[^\n|;&]{{0,200}}?\s)?(?:-a|--pass)\s+)(?:{_QUOTED}|{_BARE})()", 0),
        (rf"(\bsshpass\s(?:[^\n|;&]{{0,200}}?\s)?-p\s*)(?:{_QUOTED}|{_BARE})()", 0),
        (r"(\bcurl\s(?:[^\n|;&]{0,200}?\s)?(?:-u|--user)[\s=]\s*[\"']?[^\s:\"']+:)[^\s\"']+()", 0),
        (rf"(\bIDENTIFIED\s+(?:WITH\s+\S+\s+)?(?:BY|AS)\s+(?:PASSWORD\s+)?)(?:{_QUOTED})()", re.IGNORECASE),
        # Shapes that nothing else has: AWS, GitHub, GitLab, Slack, Stripe, Google, npm, SendGrid, a Laravel key, a JWT
        (r"(\b)(?:AKIA|ASIA)[A-Z0-9]{16}(\b)", 0),
        (r"(\b)(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w\-]{20,})()", 0),
        (r"(\b)(?:xox[a-z]-[\w\-]{10,}|[srp]k_(?:live|test)_\w{10,}|AIza[\w\-]{35}|npm_[A-Za-z0-9]{36})()", 0),
        (r"(\b)(?:SG\.[\w\-]{16,}\.[\w\-]{16,}|base64:[A-Za-z0-9+/]{22,}={0,2})()", 0),
        (r"(\b)eyJ[\w\-]{8,}\.eyJ[\w\-]{8,}\.[\w\-]*()", 0),
    )
]


def is_secret_name(name: str) -> bool:
    """Say whether what goes by this name is a secret."""
    return bool(_IS_SECRET.match(name)) and not _HARMLESS.match(name)


def _forms(value: str) -> set[str]:
    """The ways in which output may show a value."""
    forms = {value, value.strip(), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms |= {quote(value, safe=""), quote_plus(value), value.replace("'", "'\\''")}
    if len(value) >= LONG:
        forms.add(base64.b64encode(value.encode(errors="replace")).decode().rstrip("="))
        # A key of several lines may be shown line by line.
        forms |= {line.strip() for line in value.splitlines() if len(line.strip()) >= 2 * LONG}
    if value.startswith("base64:"):
        forms.add(value[7:])
    return {form for form in forms if len(form) >= SHORTEST and set(form) != {"*"}}


class Masker:
    """Masks the secrets that it knows, and what looks like a secret."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        # The longest first: one may be a part of another.
        words = [
            re.escape(form) if len(form) >= LONG else rf"(?<![\w./\-]){re.escape(form)}(?![\w/\-])"
            for form in sorted(forms, key=lambda form: (-len(form), form))
        ]
        self._known = re.compile("|".join(words)) if words else None

    def text(self, text: str) -> str:
        if self._known:
            text = self._known.sub(MASK, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return _ASSIGNED.sub(_masked_assignment, text)

    def data(self, value: Any) -> Any:
        """Return what JSON can hold of a value, without secrets."""
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, Mapping):
            return {self.known(str(key)): self._under(str(key), inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(inner) for inner in value]
        if isinstance(value, (set, frozenset)):
            return sorted((self.data(inner) for inner in value), key=str)
        return self.text(_text(value))

    def known(self, text: str) -> str:
        """Mask the secrets that are known alone, in what may only look like others, such as SQL."""
        return self._known.sub(MASK, _text(text)) if self._known else _text(text)

    def _under(self, name: str, value: Any) -> Any:
        """Return a value that goes by a name, nothing of it when that is the name of a secret."""
        if not is_secret_name(name):
            return self.data(value)
        if isinstance(value, Mapping):
            return {self.known(str(key)): self._under(name, inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._under(name, inner) for inner in value]
        return value if value is None or isinstance(value, bool) or value == "" else MASK


def _text(value: Any) -> str:
    """Return the text of a value; bytes and characters that are no text are told by their numbers."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()


def _masked_assignment(match: re.Match[str]) -> str:
    name, sign, value = match["name"], match["sign"], match["value"]
    mark = value[0] if value[0] in "\"'" else ""
    plain = value[1:-1] if mark else value
    sentence = ":" in sign and not mark and _WORD.match(plain) and not _PASSWORD.search(name)
    if _HARMLESS.match(name) or _NOTHING.match(plain) or sentence:
        return match[0]
    return f"{name}{sign}{mark}{MASK}{mark}"


def secrets_of(values: Any, name: str = "") -> set[str]:
    """Return the values below names of secrets, such as those of an ``.env`` file."""
    if isinstance(values, Mapping):
        return {secret for key, value in values.items() for secret in secrets_of(value, name or _named(str(key)))}
    if isinstance(values, (list, tuple)):
        return {secret for value in values for secret in secrets_of(value, name)}
    if not name or values is None or isinstance(values, bool):
        return set()
    text = _text(values)
    # A template is none; what it stands for may be.
    return set() if "{{" in text or _NOTHING.match(text) else {text}


def _named(key: str) -> str:
    return key if is_secret_name(key) else ""
