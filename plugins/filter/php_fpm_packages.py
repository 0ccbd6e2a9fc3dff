# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: php_fpm_packages
short_description: Packages that bring PHP extensions
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Names the packages of Debian, Ubuntu and the usual third-party repositories that bring the extensions, whether an
    extension is named as its package (V(mysql)) or as C(composer.json) names it (V(ext-pdo_mysql)).
  - Extensions that every PHP has on these platforms need no package.
options:
  _input:
    description: Extensions.
    type: list
    elements: str
    required: true
  versions:
    description: Versions of PHP, such as V(8.4); the extensions are for each of them.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
packages: "{{ ['ext-pdo_mysql', 'json', 'redis'] | slipway.laravel.php_fpm_packages(['8.4']) }}"
"""

RETURN = r"""
_value:
  description: The packages, sorted.
  type: list
  elements: str
"""

from collections.abc import Callable, Sequence

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name

# In the binary itself or in phpX.Y-common, which every other package needs.
# fmt: off
ALWAYS = frozenset((
    "calendar", "core", "ctype", "date", "exif", "ffi", "fileinfo", "filter", "ftp", "gettext", "hash", "iconv",
    "json", "libxml", "openssl", "pcntl", "pcre", "pdo", "phar", "posix", "random", "reflection", "session", "shmop",
    "sockets", "sodium", "spl", "standard", "sysvmsg", "sysvsem", "sysvshm", "tokenizer", "zlib",
))
# fmt: on
PACKAGES = {
    "dom": "xml",
    "mysqli": "mysql",
    "mysqlnd": "mysql",
    "pdo_mysql": "mysql",
    "pdo_pgsql": "pgsql",
    "pdo_sqlite": "sqlite3",
    "simplexml": "xml",
    "sqlite": "sqlite3",
    "xmlreader": "xml",
    "xmlwriter": "xml",
    "xsl": "xml",
    "zend opcache": "opcache",
}


def php_fpm_packages(extensions: Sequence[str], versions: Sequence[str]) -> list[str]:
    """The packages that bring the extensions for each version."""
    for value in (extensions, versions):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise AnsibleFilterError(f"php_fpm_packages needs lists, got {native_type_name(value)}")
    names = {extension.lower().removeprefix("ext-") for extension in extensions} - ALWAYS
    wanted = sorted({PACKAGES.get(name, name) for name in names})
    return [
        f"php{version}-{name}"
        for version in versions
        for name in wanted
        # Part of PHP itself since 8.5.
        if name != "opcache" or tuple(int(number) for number in version.split(".")) < (8, 5)
    ]


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"php_fpm_packages": php_fpm_packages}
