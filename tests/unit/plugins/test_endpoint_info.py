from __future__ import annotations

import gzip
import json
import re
import ssl
import subprocess

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _endpoint, _x509

SECRET = "s3" + "cr3t"


def head(connection):
    """Read a request; return its first line, which is empty when there is none, and its headers."""
    lines, stream = [], connection.makefile("rb")
    while line := stream.readline().decode("latin-1").strip():
        lines.append(line)
    first, *fields = lines or [""]
    return first, {name.lower(): value.strip() for name, _colon, value in (field.partition(":") for field in fields)}


@pytest.fixture
def web(tcp_server):
    """A web server: web.pages has by path what it answers; web(tls, context) starts it and returns its address."""

    def start(tls=None, **limits):
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            for name, value in limits.items():
                setattr(context, name, value)

        def answer(connection):
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            first, fields = head(connection)
            if not first.endswith("HTTP/1.1"):
                return connection.close()
            start.requests.append((first, fields))
            status, headers, body = start.pages[first.split()[1]]
            lines = [f"HTTP/1.1 {status} Some", f"Content-Length: {len(body)}", *headers, "", ""]
            connection.sendall("\r\n".join(lines).encode() + (b"" if first.startswith("HEAD") else body))
            return connection.close()

        port = tcp_server(answer)
        return f"{'https' if tls else 'http'}://shop.example.com:{port}"

    start.pages = {"/": (200, [], b"well")}
    start.requests = []
    return start


@pytest.fixture
def ask(run_module):
    """Ask an endpoint that is on this host, whatever its name."""

    def run(url, **args):
        code, result = run_module("endpoint_info", url=url, **{"address": "127.0.0.1", **args})
        assert (code, result["changed"]) == (0, False), result
        return result

    return run


def test_plain_http(web, ask):
    web.pages["/up?x=1"] = (200, ["X-Release-Id: r1", "X-Two: a", "X-Two: b"], b"all is well")
    url = web()
    result = ask(f"{url}/up?x=1", contains="is well", headers={"X-Asked": "yes"})
    first, fields = web.requests[0]
    assert first == "GET /up?x=1 HTTP/1.1"
    assert (fields["host"], fields["x-asked"], fields["accept-encoding"]) == (url[len("http://") :], "yes", "gzip")
    assert (result["reachable"], result["error"], result["status"]) == (True, "", 200)
    assert result["url"] == result["final_url"] == f"{url}/up?..."
    assert result["headers"] == {"content-length": "11", "x-release-id": "r1", "x-two": "a\nb"}
    assert (result["contains"], result["compression"], result["redirects"]) == (True, "", [])
    assert result["peer"] == "127.0.0.1:" + url.rpartition(":")[2]
    assert [result[name] for name in ("tls", "certificate", "tls_versions", "hsts")] == [None] * 4
    assert set(result["milliseconds"]) == {"dns", "connect", "first_byte", "total"}


@pytest.mark.parametrize("status, body", [(204, b""), (500, b"Whoops"), (404, b"x" * 200000)])
def test_every_status_is_an_answer(web, ask, status, body):
    web.pages["/"] = (status, [], body)
    result = ask(web(), contains="x" * 150000)
    assert (result["reachable"], result["status"], result["contains"]) == (True, status, len(body) > 10)


def test_head_has_no_page(web, ask):
    result = ask(web(), method="HEAD")
    assert (web.requests[0][0], result["status"], result["contains"]) == ("HEAD / HTTP/1.1", 200, None)


def test_text_is_found_in_a_page_that_came_compressed(web, ask):
    web.pages["/"] = (200, ["Content-Encoding: gzip"], gzip.compress(b"all is well"))
    result = ask(web(), contains="is well")
    assert (result["contains"], result["compression"]) == (True, "gzip")


def test_page_of_an_encoding_that_cannot_be_read(web, ask):
    web.pages["/"] = (200, ["Content-Encoding: br"], b"\x0b\x02\x80")
    result = ask(web(), contains="well", headers={"Accept-Encoding": "br"})
    assert web.requests[0][1]["accept-encoding"] == "br"
    assert (result["contains"], result["compression"], result["reachable"]) == (None, "br", True)


def test_page_that_pretends_to_be_compressed(web, ask):
    web.pages["/"] = (200, ["Content-Encoding: gzip"], b"plain")
    result = ask(web(), contains="plain")
    assert (result["reachable"], result["status"], result["contains"]) == (True, 200, None)
    assert "Error -3" in result["error"]


def test_port_of_the_address(web, ask):
    port = web().rpartition(":")[2]
    result = ask("http://shop.example.com/", address=f"127.0.0.1:{port}")
    assert (result["status"], web.requests[0][1]["host"]) == (200, "shop.example.com")


# Redirects


def test_redirects_are_followed_at_the_same_address(web, ask, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate()))
    web.pages.update({"/end?x": (200, ["Strict-Transport-Security: max-age=300"], b"end")})
    tls = web(certificate())
    web.pages["/"] = (301, [f"Location: {tls}/to?token={SECRET}"], b"")
    web.pages[f"/to?token={SECRET}"] = (302, ["Location: /end?x"], b"")
    url = web()
    result = ask(url, contains="end", headers={"X-Token": SECRET})
    assert result["redirects"] == [
        {"url": url, "status": 301, "location": f"{tls}/to?..."},
        {"url": f"{tls}/to?...", "status": 302, "location": "/end?..."},
    ]
    assert (result["final_url"], result["status"], result["contains"]) == (f"{tls}/end?...", 200, True)
    assert result["hsts"] == {"max_age": 300, "include_subdomains": False, "preload": False}
    assert [fields["x-token"] for _first, fields in web.requests] == [SECRET] * 3
    assert SECRET not in json.dumps(result)


def test_redirect_to_another_name_gets_no_secrets(web, ask):
    port = web().rpartition(":")[2]
    web.pages["/login"] = (302, [f"Location: http://localhost:{port}/"], b"")
    url = f"http://shop.example.com:{port}/login"
    result = ask(url.replace("//", f"//ann:{SECRET}@"), headers={"X-Token": SECRET})
    (_first, before), (_second, after) = web.requests
    assert before["authorization"].startswith("Basic ")
    assert before["x-token"] == SECRET
    assert "authorization" not in after
    assert "x-token" not in after
    assert (after["host"], result["final_url"]) == (f"localhost:{port}", f"http://localhost:{port}/")


@pytest.mark.parametrize("limit, seen", [(0, 0), (2, 2)])
def test_redirects_have_an_end(web, ask, limit, seen):
    web.pages["/"] = (307, ["Location: /"], b"")
    result = ask(web(), redirects=limit)
    assert (result["status"], len(result["redirects"])) == (307, seen)
    assert result["headers"]["location"] == "/"


def test_redirect_that_leads_nowhere(web, ask):
    web.pages["/"] = (302, ["Location: ftp://elsewhere/"], b"")
    result = ask(web())
    assert (result["reachable"], result["status"]) == (True, 302)
    assert result["error"].startswith("the redirect to ftp://elsewhere/ cannot be followed: it has to be like https://")


# TLS


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(2)))
    return certificate(2)


def test_tls(web, ask, trusted):
    result = ask(web(trusted))
    assert (result["status"], result["error"]) == (200, "")
    assert result["tls"]["version"] == "TLSv1.3"
    assert result["milliseconds"]["tls"] > 0
    found = result["certificate"]
    assert (found["subject"], found["issuer"]) == ("C=DE, O=Käse, CN=shop",) * 2
    assert (found["names"], found["verified"], found["error"]) == (["shop.example.com"], True, "")
    assert found["days_left"] == 1
    assert result["tls_versions"] is None


@pytest.mark.parametrize("validate", [True, False])
def test_certificate_of_another_name(web, ask, trusted, validate):
    url = web(trusted).replace("shop", "www")
    result = ask(url, validate_certs=validate)
    assert result["reachable"] is not validate
    assert ("CERTIFICATE_VERIFY_FAILED" in result["error"]) is validate
    found = result["certificate"]
    assert (found["verified"], found["names"]) == (False, ["shop.example.com"])
    assert "Hostname mismatch" in found["error"]
    assert len(web.requests) == (not validate)


def test_certificate_of_an_unknown_authority(web, ask, certificate):
    found = ask(web(certificate()))["certificate"]
    assert (found["verified"], found["error"].replace("-", " ")) == (False, "self signed certificate")


def test_versions_of_tls(web, ask, trusted):
    limits = {"minimum_version": ssl.TLSVersion.TLSv1_2, "maximum_version": ssl.TLSVersion.TLSv1_2}
    result = ask(web(trusted, **limits), tls_versions=True)
    assert result["tls"]["version"] == "TLSv1.2"
    assert result["tls_versions"] == {"TLSv1.0": False, "TLSv1.1": False, "TLSv1.2": True, "TLSv1.3": False}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_version_of_tls_is_found(tcp_server, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate())
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    port = tcp_server(lambda connection: context.wrap_socket(connection, server_side=True).close())
    assert set(_endpoint.tls_versions("127.0.0.1", port, "shop.example.com", 5).values()) == {True}


# What does not answer


def test_endpoint_that_is_down(ask):
    result = ask("https://localhost:1/", tls_versions=True)
    assert (result["reachable"], result["status"], result["peer"], result["headers"]) == (False, None, "", {})
    assert "Connection refused" in result["error"]
    assert result["dns"]["addresses"]
    assert result["certificate"] == {"verified": False, "error": result["error"]}
    assert result["tls_versions"] is None


@pytest.mark.parametrize("url", ["https://none.invalid/", f"https://{'a' * 70}.example.com/", "http://a..b/"])
def test_name_that_does_not_exist(ask, url):
    result = ask(url, address="")
    assert (result["reachable"], result["dns"]["addresses"]) == (False, [])
    assert result["dns"]["error"] == result["error"] != ""


def test_port_without_tls(tcp_server, ask):
    bad = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    port = tcp_server(lambda connection: (connection.recv(65536), connection.sendall(bad)))
    result = ask(f"https://shop.example.com:{port}/")
    assert result["reachable"] is False
    assert "SSL" in result["error"]
    assert set(result["certificate"]) == {"verified", "error"}


def test_server_that_says_nothing(tcp_server, ask):
    port = tcp_server(lambda connection: connection.recv(1) and connection.recv(65536) and connection.recv(1))
    result = ask(f"http://shop.example.com:{port}/", timeout=1)
    assert (result["reachable"], result["error"]) == (False, "no answer in time")


def test_server_that_drips_has_no_more_time(tcp_server, ask):
    def answer(connection):
        head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        connection.settimeout(0.2)
        while True:
            connection.sendall(b"x")
            try:
                connection.recv(1)
                return
            except TimeoutError:
                continue

    result = ask(f"http://shop.example.com:{tcp_server(answer)}/", timeout=1)
    assert (result["reachable"], result["status"], result["error"]) == (True, 200, "no answer in time")


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n"])
def test_server_that_speaks_no_http(tcp_server, ask, answer):
    port = tcp_server(lambda connection: (head(connection), connection.sendall(answer)))
    result = ask(f"http://shop.example.com:{port}/")
    assert (result["reachable"], bool(result["error"])) == (False, True)


def test_header_that_cannot_be_sent(web, ask):
    result = ask(web(), headers={"X-Token": f"{SECRET}\r\nX-Other: 1"})
    assert result["error"] == "the name or a header has characters that HTTP does not allow"
    assert SECRET not in json.dumps(result)


# What is no address, and what is secret in one


@pytest.mark.parametrize(
    "url",
    ["shop.example.com", "ftp://shop/", "https:///up", f"https://ann:{SECRET}", "http://shop/a b", "http://[::1/", ""],
)
def test_url_that_is_none(run_module, url):
    code, result = run_module("endpoint_info", url=url)
    assert (code, "url is no address: it has to be like https://" in result["msg"]) == (1, True)
    assert SECRET not in json.dumps(result)


def test_secrets_are_not_shown(web, ask, run_module):
    cookies = [f"Set-Cookie: session={SECRET}; path=/; secure; httponly", f"Set-Cookie: b={SECRET}"]
    web.pages[f"/a?token={SECRET}"] = (
        200,
        [*cookies, f"Location: /b?{SECRET}", f"Refresh: 5; url=/a?token={SECRET}"],
        b"",
    )
    url = web().replace("//", f"//ann:{SECRET}@")
    result = ask(f"{url}/a?token={SECRET}#{SECRET}", headers={"Authorization": f"Bearer {SECRET}"})
    assert web.requests[0][1]["authorization"] == f"Bearer {SECRET}"
    assert result["headers"]["set-cookie"] == "session=...; path=/; secure; httponly\nb=..."
    assert re.fullmatch(r"http://shop\.example\.com:\d+/a\?\.\.\.", result["url"])
    assert SECRET not in json.dumps(result) + run_module.stderr


# The parts


@pytest.mark.parametrize(
    "value, found",
    [
        ("max-age=31536000; includeSubDomains; preload", (31536000, True, True)),
        ('max-age="0"', (0, False, False)),
        ("Max-Age=5 ;INCLUDESUBDOMAINS", (5, True, False)),
        ("max-age=5\nmax-age=6; preload", (5, False, False)),
        ("includeSubDomains", None),
        ("", None),
        ("max-age=x", None),
    ],
)
def test_hsts(value, found):
    keys = ("max_age", "include_subdomains", "preload")
    assert _endpoint.hsts(value) == (found and dict(zip(keys, found, strict=True)))


@pytest.mark.parametrize(
    "address, found",
    [
        ("10.0.0.1", ("10.0.0.1", 443)),
        ("host:8443", ("host", 8443)),
        ("[::1]:8443", ("::1", 8443)),
        ("[::1]", ("::1", 443)),
        ("::1", ("::1", 443)),
    ],
)
def test_address(address, found):
    assert _endpoint.address_of(address, 443) == found


def test_ipv6_target():
    target = _endpoint.Target("https://[::1]:8443/ä")
    assert (target.host, target.server_name, target.path) == ("[::1]:8443", "::1", "/%C3%A4")


def der_of(path):
    return ssl.PEM_cert_to_DER_cert(re.search(r"-----BEGIN CERT.*", path.read_text(), re.DOTALL)[0])


def test_certificate_is_read_as_openssl_reads_it(certificate):
    path = certificate(20000, "DNS:a.example.com,DNS:*.example.com,IP:10.0.0.1,IP:::1,email:a@b")
    found = _x509.parse(der_of(path))
    assert found["names"] == ["a.example.com", "*.example.com", "10.0.0.1", "::1"]
    argv = ["openssl", "x509", "-in", path, "-noout", "-startdate", "-enddate"]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    for name, key in (("not_before", "notBefore"), ("not_after", "notAfter")):
        assert f"{key}={found[name]:%b} {found[name].day:2} {found[name]:%H:%M:%S %Y} GMT" in told
    assert found["not_after"].year > 2050


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x30\x03\x30\x01\x00"])
def test_what_is_no_certificate(data):
    with pytest.raises(ValueError, match="no certificate"):
        _x509.parse(data)


def test_certificate_that_is_cut_off(certificate):
    whole = der_of(certificate())
    for size in range(len(whole)):
        with pytest.raises(ValueError):
            _x509.parse(whole[:size])
