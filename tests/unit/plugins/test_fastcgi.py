from __future__ import annotations

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _fastcgi


def test_what_php_fpm_is_asked(fpm):
    _fastcgi.get(fpm.address, "/srv/r1/public/index.php", "/up?full=1", "shop.example.com")
    asked = fpm.requests[0]
    assert asked["SCRIPT_FILENAME"] == "/srv/r1/public/index.php"
    assert asked["DOCUMENT_ROOT"] == "/srv/r1/public"
    assert (asked["REQUEST_URI"], asked["DOCUMENT_URI"], asked["QUERY_STRING"]) == ("/up?full=1", "/up", "full=1")
    assert asked["HTTP_HOST"] == "shop.example.com"


def test_long_values_arrive_whole(fpm):
    uri = "/" + "a" * 500
    _fastcgi.get(fpm.address, "/index.php", uri)
    assert fpm.requests[0]["REQUEST_URI"] == uri


@pytest.mark.parametrize("head, status", [(b"", 200), (b"Status: 503 Service Unavailable\r\n", 503)])
def test_status_headers_and_body(fpm, head, status):
    fpm.stdout = head + b"X-Release-Id: r1\r\nContent-Type: text/html; charset=utf-8\r\n\r\nb\xc3\xb6dy\r\n\r\nrest"
    response = _fastcgi.get(fpm.address, "/index.php")
    assert response.status == status
    assert response.headers["x-release-id"] == "r1"
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.body == "b\u00f6dy\r\n\r\nrest"


def test_body_of_several_records(fpm):
    body = b"0123456789" * 20000
    fpm.stdout = b"Content-Type: text/plain\r\n\r\n" + body
    assert _fastcgi.get(fpm.address, "/index.php").body == body.decode()


def test_error_stream_is_kept_apart(fpm):
    fpm.stdout, fpm.stderr = b"Status: 500\r\n\r\n", b"PHP message: PHP Fatal error: boom\n"
    response = _fastcgi.get(fpm.address, "/index.php")
    assert (response.status, response.body, response.stderr) == (500, "", "PHP message: PHP Fatal error: boom")


def test_broken_connection(fpm):
    fpm.breaks_off = True
    with pytest.raises(_fastcgi.FastCGIError, match="closed the connection in the middle of an answer"):
        _fastcgi.get(fpm.address, "/index.php")


def test_status_that_is_none(fpm):
    fpm.stdout = b"Status: nonsense\r\n\r\n"
    with pytest.raises(_fastcgi.FastCGIError, match="does not answer on"):
        _fastcgi.get(fpm.address, "/index.php")


@pytest.mark.parametrize("address", ["/nowhere.sock", "127.0.0.1:1"])
def test_nobody_listens(address):
    with pytest.raises(_fastcgi.FastCGIError, match=f"PHP-FPM does not answer on {address}"):
        _fastcgi.get(address, "/index.php")
