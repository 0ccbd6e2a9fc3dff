"""Fingerprints of keys, compared with what GnuPG says of them."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.filter.openpgp_fingerprints import openpgp_fingerprints

FINGERPRINT = "6A1074427ACDA18EC9607BB980350C8F61E3AACC"
KEY = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawFQcBYJKwYBBAHaRw8BAQdAyeUj6LngldmrMoOYAyRUshkFIgMGICgU5n5H
CXOyY+O0DGtleUBsYWIudGVzdIiQBBMWCAA4FiEEahB0QnrNoY7JYHu5gDUMj2Hj
qswFAmsBUHACGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQgDUMj2Hjqszk
ZwD+PGqroiS4JB0y0z1+ktjojLXm1F2gwoQlx1h4XvA2uhUBAMcg4WvkZV2AarkW
SQVlPRdy02Y3bsPzAIH5+6TN7gQP
=uiDO
-----END PGP PUBLIC KEY BLOCK-----
"""


def test_the_primary_key_counts() -> None:
    assert openpgp_fingerprints(KEY) == [FINGERPRINT]


def test_line_ends_and_headers_do_not_matter() -> None:
    assert openpgp_fingerprints(KEY.replace("BLOCK-----\n", "BLOCK-----\nVersion: 1\n", 1)) == [FINGERPRINT]
    assert openpgp_fingerprints(KEY.replace("\n", "\r\n")) == [FINGERPRINT]


def test_two_keys_are_two() -> None:
    assert openpgp_fingerprints(KEY + KEY) == [FINGERPRINT] * 2


@pytest.mark.parametrize("text", ["", "<html>not found</html>", KEY.replace("mD", "!!", 1)])
def test_what_is_no_key_has_none(text: str) -> None:
    assert openpgp_fingerprints(text) == []


def test_another_type_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="needs a text"):
        openpgp_fingerprints(None)  # type: ignore[arg-type]
