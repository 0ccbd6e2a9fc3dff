"""Sites of every kind by TLS, guarded in every way."""

from __future__ import annotations

import pytest
from test_1_default import ask, ask_all, last_entries

testinfra_hosts = ["ansible://role_hosts"]

# Speaks to nginx by TLS as a browser's websocket does: sends one masked frame, prints what comes back.
WEBSOCKET = """
import base64, hashlib, os, socket, ssl, sys
name, path = sys.argv[1:]
context = ssl.create_default_context(cafile="/root/ca.pem")
stream = context.wrap_socket(socket.create_connection(("127.0.0.1", 443), 10), server_hostname=name)
key = base64.b64encode(os.urandom(16)).decode()
stream.sendall((f"GET {path} HTTP/1.1\\r\\nHost: {name}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                f"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: {key}\\r\\n\\r\\n").encode())
data = b""
while b"\\r\\n\\r\\n" not in data:
    data += stream.recv(4096)
head, frame = data.split(b"\\r\\n\\r\\n", 1)
accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
assert b" 101 " in head.split(b"\\r\\n")[0] and accept in head.decode(), head
mask = os.urandom(4)
stream.sendall(bytes([0x81, 0x80 | 5]) + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(b"hello")))
while len(frame) < 7:
    frame += stream.recv(4096)
print(frame[2:].decode())
"""


def tls(name, path="/", *options, port=443):
    """A request by TLS, as arguments of curl."""
    url = f"https://{name}{path}" if port == 443 else f"https://{name}:{port}{path}"
    return [url, "--cacert", "/root/ca.pem", "--resolve", f"{name}:{port}:127.0.0.1", *options]


def plain(name, path="/", *options):
    return [f"http://{name}{path}", "--resolve", f"{name}:80:127.0.0.1", *options]


def client(address):
    """The client's address, as the trusted proxy on this host names it."""
    return f"-HX-Forwarded-For: {address}"


def test_http_leads_to_https_and_the_apex_to_www(host):
    requests = [plain("www.example.test", "/a?b=1"), plain("example.test", "/a"), tls("example.test", "/a?b=1")]
    answers = ask_all(host, requests)
    assert [(answer.status, answer.headers["location"]) for answer in answers] == [
        (301, "https://www.example.test/a?b=1"),
        (301, "https://example.test/a"),
        (301, "https://www.example.test/a?b=1"),
    ]
    assert "max-age=63072000" in answers[2].headers["strict-transport-security"]


def test_an_application_by_tls(host):
    answer = ask(host, *tls("www.example.test", "/x", client("203.0.113.9"), "--http2"))
    told = answer.json
    assert (told["HTTPS"], told["REQUEST_SCHEME"], told["REMOTE_ADDR"]) == ("on", "https", "203.0.113.9")
    assert answer.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains; preload"
    assert f"'nonce-{told['HTTP_X_REQUEST_ID']}'" in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy-report-only"] == "default-src 'none'"
    assert answer.headers["x-robots-tag"] == 'none "at all"'
    assert answer.headers["x-release-id"] == "20260101-1"


def test_versions_of_http_and_tls(host):
    curl = "curl -sS -o /dev/null -w '%{http_version}' --cacert /root/ca.pem --resolve www.example.test:443:127.0.0.1 "
    assert host.check_output(curl + "https://www.example.test/") == "2"
    assert host.run(curl + "--tls-max 1.2 https://www.example.test/").rc == 35
    if host.system_info.codename == "trixie":
        assert host.check_output(curl + "--http3-only https://www.example.test/") == "3"
        assert ask(host, *tls("www.example.test", "/x")).headers["alt-svc"] == 'h3=":443"; ma=86400'


def test_unknown_names_are_refused(host):
    assert host.run("curl -sS http://127.0.0.1/").rc in (52, 56)
    assert ask(host, "http://127.0.0.1/alive").status == 204
    unknown = host.run("curl -sS --resolve no.example.test:443:127.0.0.1 https://no.example.test/")
    assert unknown.rc == 35
    assert "unrecognized name" in unknown.stderr


@pytest.mark.parametrize("name", ["www.example.test", "app.example.test"])
def test_what_a_foreign_page_asks_for_is_not_compressed(host, name):
    own = [[], ["-HCookie: a=b", f"-HReferer: https://{name}/page"], ["-HSec-Fetch-Site: same-origin"]]
    foreign = [["-HSec-Fetch-Site: cross-site"], ["-HReferer: https://evil.test/"], ["-HCookie: a=b"]]
    requests = [tls(name, "/x", "-HAccept-Encoding: gzip", *headers) for headers in own + foreign]
    encodings = [answer.headers.get("content-encoding") for answer in ask_all(host, requests)]
    assert encodings == ["gzip"] * 3 + [None] * 3


def test_a_rate_limit_is_answered_429(host):
    clients = ["198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.2"]
    answers = ask_all(host, [tls("www.example.test", "/login", client(address)) for address in clients])
    assert [answer.status for answer in answers] == [200, 429, 429, 200]
    assert "limiting requests" in host.file("/var/log/nginx/error.log").content_string


def test_paths_are_open_to_listed_addresses_and_users(host):
    stranger = client("203.0.113.9")
    requests = {
        **{(path, stranger): 403 for path in ("/admin", "/admin/users", "//admin", "/%61dmin", "/x/../admin")},
        ("/admin/users", client("192.0.2.9")): 200,
        # Only what the proxies in front say counts, not what the client says through them.
        ("/admin", client("192.0.2.9, 203.0.113.9")): 403,
        ("/staff", client("192.0.2.7")): 200,
        ("/staff", stranger): 401,
        ("/staff", stranger, "--user", "alice:open sesame"): 200,
        ("/staff", stranger, "--user", "bob:hashed"): 200,
        ("/staff", stranger, "--user", "bob:wrong"): 401,
    }
    answers = ask_all(host, [tls("www.example.test", *request, "--path-as-is") for request in requests])
    assert {request: answer.status for request, answer in zip(requests, answers, strict=True)} == requests


def test_cloudflare_names_the_client_as_well(host):
    answer = ask(host, *tls("www.example.test", "/x", client("203.0.113.9, 198.41.128.5")))
    assert answer.json["REMOTE_ADDR"] == "203.0.113.9"


def test_passwords_are_hashed_and_not_for_everybody(host):
    users = host.file("/etc/nginx/htpasswd/staff")
    assert (users.user, users.group, users.mode) == ("root", "www-data", 0o640)
    assert "open sesame" not in users.content_string


def test_sizes_of_requests(host):
    sizes = [("/form", 900), ("/form", 2000), ("/upload", 2000), ("/upload", 4000)]
    answers = ask_all(host, [tls("www.example.test", path, "-d", "x" * size) for path, size in sizes])
    assert [answer.status for answer in answers] == [200, 413, 200, 413]
    assert answers[2].json["length"] == 2000


def test_extensions_of_users(host):
    answers = ask_all(host, [tls("www.example.test", path) for path in ("/health", "/teapot", "/old/page")])
    assert [answer.status for answer in answers] == [204, 418, 308]
    assert answers[2].headers["location"] == "https://www.example.test/new/page"


@pytest.mark.parametrize(("name", "path"), [("ws.example.test", "/app/key"), ("www.example.test", "/app/key?x=1")])
def test_websockets_are_upgraded(host, name, path):
    assert host.check_output("python3 -c %s %s %s", WEBSOCKET, name, path) == "hello"


def test_what_an_upstream_is_told(host):
    upgrade = ["--http1.1", "-HUpgrade: h2c", "-HConnection: Upgrade, HTTP2-Settings", "-HX-Forwarded-Proto: ftp"]
    answer = ask(host, *tls("ws.example.test", "/a?b=1", client("203.0.113.9"), *upgrade))
    headers = answer.json["headers"]
    assert answer.json["path"] == "/a?b=1"
    assert "upgrade" not in headers
    assert headers["host"] == headers["x-forwarded-host"] == "ws.example.test"
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "203.0.113.9"
    assert headers["x-forwarded-proto"] == "https"


def test_connections_to_an_upstream_stay_open(host):
    peers = {answer.json["peer"] for answer in ask_all(host, [tls("ws.example.test")] * 6)}
    assert len(peers) <= 2, "one for each worker"


def test_a_browser_stays_on_its_server(host):
    first = ask_all(host, [tls("app.example.test")] * 12)
    assert {answer.json["port"] for answer in first} == {3000, 3001}
    assert all("; Secure" in answer.headers["set-cookie"] for answer in first)
    cookies = [answer.headers["set-cookie"].split(";")[0] for answer in first]
    again = ask_all(host, [tls("app.example.test", "/", f"-HCookie: {cookie}") for cookie in cookies * 2])
    assert [answer.json["port"] for answer in again] == [answer.json["port"] for answer in first] * 2
    assert all("set-cookie" not in answer.headers for answer in again)


def test_static_sites(host):
    user = ("--user", "alice:open sesame")
    docs, missing, stranger, moved, page, anybody, behind, kept = ask_all(
        host,
        [
            tls("docs.own.test", port=8443),
            tls("docs.own.test", "/none", port=8443),
            tls("docs.own.test", "/", client("203.0.113.9"), port=8443),
            ["http://docs.own.test:8080/a", "--resolve", "docs.own.test:8080:127.0.0.1"],
            plain("spa.example.test", "/any/route", *user),
            plain("spa.example.test"),
            plain("spa.example.test", "/a", "-HX-Forwarded-Proto: http", *user),
            plain("spa.example.test", "/a", "-HX-Forwarded-Proto: https", *user),
        ],
    )
    assert docs.body == "<p>docs\n"
    assert (missing.status, missing.body) == (404, "<p>nothing here\n")
    assert stranger.status == 403
    assert moved.headers["location"] == "https://docs.own.test:8443/a"
    assert (page.status, page.body) == (200, "<p>spa\n")
    assert anybody.status == 401
    assert behind.headers["location"] == "https://spa.example.test/a"
    assert kept.headers["strict-transport-security"].startswith("max-age=")


def test_redirects(host):
    answer = ask(host, *plain("old.example.test", "/a?b=1"))
    assert (answer.status, answer.headers["location"]) == (302, "https://www.example.test/a?b=1")


def test_a_site_without_its_certificate_waits(host):
    host.check_output("mkdir -p /srv/acme/.well-known/acme-challenge")
    host.check_output("echo proof >/srv/acme/.well-known/acme-challenge/token")
    # The last is of a site that nginx is still to get.
    names = ["soon.example.test", "www.example.test", "spa.example.test", "tomorrow.example.test"]
    answers = ask_all(host, [plain(name, "/.well-known/acme-challenge/token") for name in names])
    assert [answer.body for answer in answers] == ["proof\n"] * 4
    assert ask(host, *plain("soon.example.test")).status == 503


def test_before_the_first_release_a_balancer_gets_no_answer_and_asks_another_host(host):
    curl = "curl --silent --max-time 5 --cacert /root/ca.pem --resolve www.example.test:443:127.0.0.1 --data a=1"
    curl = f"{curl} --output /dev/null --write-out '%{{http_code}}'"
    try:
        host.check_output("mv /var/www/app/current /var/www/app/away")
        # 000: no answer at all. No file of the site is there either.
        found = [host.run(f"{curl} https://www.example.test{path}").stdout for path in ("/", "/build/app.js")]
        assert found == ["000", "000"]
    finally:
        host.check_output("mv /var/www/app/away /var/www/app/current")


def test_maintenance_of_one_site(host):
    try:
        host.check_output("runuser -u www-data -- touch /srv/maintenance/shop")
        requests = [tls("www.example.test", "/x"), tls("www.example.test", "/x", client("192.0.2.1"))]
        shut, let_in, other = ask_all(host, [*requests, tls("app.example.test", "/x")])
        assert (shut.status, shut.body) == (503, "<p>closed for today\n")
        assert (let_in.status, other.status) == (200, 200)
    finally:
        host.check_output("rm -f /srv/maintenance/shop")


def test_the_log(host):
    ask_all(host, [tls("www.example.test", "/x?token=1", client("203.0.113.9")), tls("ws.example.test", "/not-logged")])
    entry = last_entries(host, 1)[0]
    assert (entry["uri"], entry["remote_addr"], entry["host"]) == ("/x?token=1", "203.0.113.9", "www.example.test")


def test_readers_of_the_log_and_nobody_else(host):
    read = "runuser -u %s -- head -c 1 /var/log/nginx/access.log"
    for rotation in ("", "logrotate --force /etc/logrotate.d/nginx"):
        host.check_output(rotation or "true")
        assert (host.run(read, "nobody").rc, host.run(read, "games").rc) == (0, 1)


def test_status_page_is_local(host):
    assert "Active connections" in ask(host, "http://127.0.0.1:8081/status").body


def test_what_left_the_list_is_gone(host):
    assert not host.file("/etc/nginx/sites-available/app.conf").exists
    assert not host.file("/etc/nginx/sites-enabled/app.conf").exists


def test_effective_settings(host):
    effective = host.check_output("nginx -T")
    for line in (
        "worker_processes 2;",
        "worker_shutdown_timeout 30s;",
        "    keepalive_timeout 20;",
        "    open_file_cache_valid 5s;",
        "gzip_comp_level 3;",
        "ssl_ecdh_curve X25519:prime256v1;",
        "resolver 127.0.0.53 ipv6=off;",
        "        fastcgi_keep_conn on;",
        "        fastcgi_param APP_REGION lab;",
    ):
        assert f"\n{line}\n" in effective, line
    assert "gzip_static on" not in effective
