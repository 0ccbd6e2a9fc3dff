from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.filter.php_fpm_packages import php_fpm_packages
from ansible_collections.slipway.laravel.plugins.filter.php_ini_value import php_ini_value


def test_extensions_by_any_of_their_names():
    wanted = ["ext-pdo_mysql", "mysql", "json", "ext-openssl", "dom", "SimpleXML", "opcache"]
    assert php_fpm_packages(wanted, ["8.2", "8.5"]) == [
        "php8.2-mysql",
        "php8.2-opcache",
        "php8.2-xml",
        "php8.5-mysql",
        "php8.5-xml",
    ]


@pytest.mark.parametrize(("extensions", "versions"), [("gd", ["8.4"]), (["gd"], "8.4")])
def test_packages_need_lists(extensions, versions):
    with pytest.raises(AnsibleFilterError, match="needs lists"):
        php_fpm_packages(extensions, versions)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "On"),
        (False, "Off"),
        (64, "64"),
        ("256M", "256M"),
        ("", ""),
        ("a;b", "'a;b'"),
        ("E_ALL & ~E_DEPRECATED", "'E_ALL & ~E_DEPRECATED'"),
        ("${HOME}", "'${HOME}'"),
        ('it\'s \\ "x"', '"it\'s \\\\ \\"x\\""'),
    ],
)
def test_ini_value(value, text):
    assert php_ini_value(value) == text


@pytest.mark.parametrize("value", ["a\nb", ["a"], None, "'${a}"])
def test_ini_value_refuses(value):
    with pytest.raises(AnsibleFilterError, match="php_ini_value"):
        php_ini_value(value)
