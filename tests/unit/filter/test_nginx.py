from __future__ import annotations

import subprocess

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.filter.nginx_problems import nginx_problems
from ansible_collections.slipway.laravel.plugins.filter.nginx_sites import nginx_sites
from ansible_collections.slipway.laravel.plugins.filter.sha512_crypt import sha512_crypt

KINDS = {"static": ["root"], "proxy": ["upstream"]}
DOCS = {"name": "docs", "kind": "static", "root": "/srv/docs", "server_names": ["docs.test"]}
LIVE = "/etc/letsencrypt/live/docs"
OWN = "/etc/ssl/slipway/docs"


def files(folder, *names):
    return [f"file {folder}/{name}.pem" for name in names]


def problems(*sites, found=(), **options):
    return nginx_problems(nginx_sites(list(sites), found=list(found)), found=list(found), kinds=KINDS, **options)


def test_a_plain_site_listens_on_both_protocols():
    (site,) = nginx_sites([DOCS])
    assert (site["http"], site["https"], site["tls"]) == (["80", "[::]:80"], [], None)
    (site,) = nginx_sites([DOCS], http_port=8080, ipv6=False)
    assert site["http"] == ["8080"]


@pytest.mark.parametrize("folder", [LIVE, OWN])
def test_a_certificate_is_found_where_it_lies(folder):
    (site,) = nginx_sites([DOCS | {"certificate": "docs"}], found=files(folder, "fullchain", "privkey", "chain"))
    assert not site["pending"]
    assert site["https"] == ["443", "[::]:443"]
    assert site["tls"]["certificate"] == f"{folder}/fullchain.pem"
    assert site["tls"]["chain"] == f"{folder}/chain.pem"


@pytest.mark.parametrize("found", [[], files(LIVE, "fullchain"), files(OWN, "privkey")])
def test_without_certificate_or_key_a_site_waits(found):
    (site,) = nginx_sites([DOCS | {"certificate": "docs"}], found=found)
    assert site["pending"]
    assert site["https"] == []
    assert problems(DOCS | {"certificate": "docs"}, found=found) == []


def test_a_certificate_that_was_served_must_not_vanish():
    found = ["tls /etc/nginx/sites-available/docs.conf"]
    (problem,) = problems(DOCS | {"certificate": "docs"}, found=found)
    assert problem.startswith(f"nginx_sites: {LIVE}/fullchain.pem and {LIVE}/privkey.pem of docs are gone while")


def test_own_files_have_to_be_there_and_those_of_certbot_may_come():
    own = {"certificate": "/srv/a.pem", "key": "/srv/b.pem"}
    assert problems(DOCS | {"tls": own}) == [
        "nginx_sites: /srv/a.pem and /srv/b.pem of docs do not exist on the host; put them there"
    ]
    live = {"certificate": f"{LIVE}/fullchain.pem", "key": f"{LIVE}/privkey.pem"}
    assert problems(DOCS | {"tls": live}) == []


@pytest.mark.parametrize(
    ("sizes", "largest"), [(["512k", "1m"], "1m"), (["1g", "64m"], "1g"), (["0", "1g"], "0"), (["64x", "1"], "1")]
)
def test_php_takes_what_the_largest_path_takes(sizes, largest):
    site, path = sizes
    paths = [{"path": "/upload", "client_max_body_size": path}]
    assert nginx_sites([DOCS | {"client_max_body_size": site, "paths": paths}])[0]["body_size"] == largest


def test_upstreams_are_names_or_addresses():
    paths = [{"path": "/a", "upstream": "pool"}, {"path": "/b", "upstream": "127.0.0.1:1"}]
    (site,) = nginx_sites([DOCS | {"name": "my-docs", "paths": paths}], upstreams=["pool"])
    assert [(place["pool"], place["pool_address"]) for place in site["places"]] == [
        ("pool", ""),
        ("slipway_my_docs_2", "127.0.0.1:1"),
    ]


@pytest.mark.parametrize(
    ("line", "listens", "clash"),
    [
        ('listen 0.0.0.0:80 users:(("apache2",pid=7,fd=4))', [], True),
        ('listen [::]:443 users:(("apache2",pid=7,fd=4))', ["443"], True),
        ('listen 127.0.0.1:443 users:(("apache2",pid=7,fd=4))', ["10.0.0.1:443"], False),
        ('listen 10.0.0.1:443 users:(("apache2",pid=7,fd=4))', ["10.0.0.1:443"], True),
        ('listen *:80 users:(("nginx",pid=7,fd=4))', [], False),
        ('listen *:8080 users:(("apache2",pid=7,fd=4))', [], False),
        ("listen *:80", [], False),
    ],
)
def test_ports_in_use(line, listens, clash):
    found = problems(DOCS, found=[line], listens=listens)
    assert bool(found) is clash
    if clash:
        assert found[0].endswith("is in use by apache2 (process 7); stop it, or let nginx listen on another port")


def test_names_are_claimed_once_for_each_address():
    other = DOCS | {"name": "other"}
    assert problems(DOCS, other) == [
        "nginx_sites: docs and other answer to docs.test on the same address; leave it to one of them"
    ]
    assert problems(DOCS, other | {"listen": ["8080"]}) == []
    assert problems(DOCS, DOCS)[0] == "nginx_sites: docs is listed 2 times; give each site a name of its own"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "a b"}, "a b needs a name of small letters"),
        ({"kind": "wiki"}, "docs has the kind wiki; take one of static, proxy"),
        ({"root": ""}, "docs needs root, since its kind is static"),
        ({"server_names": [], "redirect_names": ["a.test"]}, "docs has redirect_names and needs server_names"),
        ({"tls": {"certificate": "/a.pem"}}, "docs needs both certificate and key in tls"),
        ({"rate_limit": "slow"}, "docs has the rate_limit slow, which nginx_rate_limits lacks"),
        ({"basic_auth": "staff"}, "docs has the basic_auth staff, which nginx_basic_auth lacks"),
        ({"upstream": "http://a:1/"}, "docs has the upstream http://a:1/; take host:port"),
    ],
)
def test_shapes_that_nginx_would_not_serve(change, says):
    (problem,) = problems(DOCS | change)
    assert problem.startswith(f"nginx_sites: {says}")


@pytest.mark.parametrize("password", ["a", "open sesame", "ü" * 40])
def test_sha512_crypt_is_what_openssl_makes(password):
    argv = ["openssl", "passwd", "-6", "-salt", "Salt.123/", password]
    assert sha512_crypt(password, "Salt.123/") == subprocess.check_output(argv, text=True).strip()


@pytest.mark.parametrize(("password", "salt"), [(1, "salt"), ("a", ""), ("a", "s" * 17), ("a", "$")])
def test_sha512_crypt_refuses(password, salt):
    with pytest.raises(AnsibleFilterError, match="sha512_crypt needs"):
        sha512_crypt(password, salt)
