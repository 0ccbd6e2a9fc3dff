from __future__ import annotations

import pwd
import re
import shutil
import subprocess

import pytest
from ansible_collections.slipway.laravel.plugins.filter.nginx_drain import nginx_drain

SITE = "etc/nginx/sites-available/site.conf.j2"
FILES = ["file /etc/ssl/slipway/shop/fullchain.pem", "file /etc/ssl/slipway/shop/privkey.pem"]
LARAVEL = {"name": "shop", "kind": "laravel", "root": "/srv/shop/public", "fastcgi_pass": "unix:/run/php/shop.sock"}


def found(*lines):
    """What preflight has registered."""
    return {"stdout_lines": list(lines)}


def render(role, *, platform="trixie", look=(), **given):
    """The first site as the role writes it."""
    nginx = role("nginx", platform, __nginx_look_at=found(*look), **given)
    return nginx.render(SITE, item=nginx.value("__nginx_sites")[0])


def site(role, **changes):
    """A site of the kind laravel, served by HTTP."""
    return render(role, nginx_sites=[LARAVEL | changes])


def secure(role, platform="trixie", **changes):
    return render(role, platform=platform, look=FILES, nginx_sites=[LARAVEL | {"certificate": "shop"} | changes])


def block(text, head):
    """The lines between the braces of one location."""
    return re.search(re.escape(head) + r" \{\n(.*?)\n    \}", text, re.DOTALL)[1]


def test_php_never_sees_the_link(role):
    php = block(render(role), "location = /index.php")
    assert "fastcgi_param SCRIPT_FILENAME $slipway_root$fastcgi_script_name;" in php
    assert "fastcgi_param DOCUMENT_ROOT $slipway_root;" in php
    # The header has to be of the same moment as the path, not of the one when PHP has answered.
    assert "set $slipway_root $realpath_root;\n        set $slipway_release $slipway_release_id;\n" in php
    assert php.index("include /etc/nginx/fastcgi_params;") < php.index("DOCUMENT_ROOT")
    assert "fastcgi_pass unix:/run/php/app.sock;" in php


def test_a_balancer_gets_no_answer_before_the_first_release(role):
    text = site(role)
    asked = text.index("set $slipway_empty $slipway_trusted;")
    assert text.index("if (-f $document_root/index.php) {", asked) < text.index("return 444;", asked)
    # Before any place of the site, whose files are not there either; others get the page.
    assert text.index("return 503;") < asked < text.index("return 444;") < text.index("location / {")
    assert "return 503;" in block(text, "location = /index.php")


def test_no_answer_of_a_server_is_asked_for_again(role):
    pools = [{"name": "shop", "servers": [{"address": "10.0.0.5:80"}, {"address": "10.0.0.6:80"}]}]
    front = {"name": "front", "kind": "proxy", "upstream": "shop"}
    text = render(role, nginx_sites=[front], nginx_upstreams=pools)
    # nginx's own: an error or a timeout, and never for a POST that a server may have begun.
    assert "proxy_pass http://shop;" in text
    assert "proxy_next_upstream" not in text


def test_only_index_php_runs(role):
    text = site(role)
    assert text.count("fastcgi_pass") == 1
    assert "return 404;" in block(text, r"location ~ \.php(?:/|$)")
    assert "return 404;" in block(text, r"location ~ /\.(?!well-known(?:/|$))")


def test_servers_of_this_host_are_never_left_out(role):
    servers = [{"address": address} for address in ("127.0.0.1:3000", "unix:/run/a", "10.0.0.5:3000")]
    pools = [
        {"name": "a", "servers": servers},
        {"name": "b", "keepalive": 0, "servers": [{**servers[0], "max_fails": 1}]},
    ]
    text = role("nginx", nginx_upstreams=pools).render("etc/nginx/conf.d/slipway-upstreams.conf.j2")
    assert re.findall(r"max_fails=(\d)", text) == ["0", "0", "3", "1"]
    assert re.findall("keepalive .*", text) == ["keepalive 32;"]


def drained_by(role, tmp_path, text):
    """What the role finds on a host with these upstreams."""
    (tmp_path / "upstreams").write_text(text)
    look = role("nginx").value("__nginx_look").replace("/etc/nginx/conf.d/slipway-upstreams.conf", "upstreams")
    done = subprocess.run(["sh", "-c", look], cwd=tmp_path, capture_output=True, text=True, check=True)
    return {"stdout_lines": done.stdout.splitlines()}


def test_server_that_a_release_keeps_out_stays_out(role, tmp_path):
    servers = [{"address": address} for address in ("10.0.0.5:80", "10.0.0.6:80", "10.0.0.7:80")]
    pools = [
        {"name": "a", "servers": [*servers[:2], {**servers[2], "down": True}]},
        {"name": "b", "servers": [{**servers[0], "weight": 2}, servers[1]]},
        {"name": "c", "servers": servers[:1]},
    ]
    before = role("nginx", nginx_upstreams=pools).render("etc/nginx/conf.d/slipway-upstreams.conf.j2")
    drained = nginx_drain(before, ["10.0.0.5"], True)
    assert drained.count("# drained by a release") == 2
    gone = "upstream d {\n    server 10.0.0.9:80 down; # drained by a release\n}\n"
    found = drained_by(role, tmp_path, drained + gone)
    after = role("nginx", nginx_upstreams=pools, __nginx_look_at=found)
    assert after.value("__nginx_drained") == ["10.0.0.5:80"], "one that the inventory no longer has needs no word"
    assert after.value("__nginx_kept_out") == ["10.0.0.5:80"]
    assert after.render("etc/nginx/conf.d/slipway-upstreams.conf.j2") == drained
    pools[1]["servers"][0]["weight"] = 3
    after = role("nginx", nginx_upstreams=pools, __nginx_look_at=found)
    assert after.render("etc/nginx/conf.d/slipway-upstreams.conf.j2") == drained.replace("weight=2", "weight=3")
    assert not any(line.startswith("drained ") for line in drained_by(role, tmp_path, before)["stdout_lines"])


def test_a_server_that_comes_back_for_want_of_others_is_not_said_to_stay_out(role):
    servers = [{"address": "10.0.0.5:80"}, {"address": "10.0.0.6:80"}]
    found = {"stdout_lines": ["drained 10.0.0.5:80"]}

    def kept_out(**pool):
        loaded = role("nginx", nginx_upstreams=[{"name": "a", "servers": servers, **pool}], __nginx_look_at=found)
        assert loaded.value("__nginx_drained") == ["10.0.0.5:80"]
        return loaded.value("__nginx_kept_out")

    assert kept_out() == ["10.0.0.5:80"]
    assert kept_out(balance="hash", hash_key="${cookie_shop}${uri}") == ["10.0.0.5:80"]
    assert kept_out(servers=servers[:1]) == []
    assert kept_out(servers=[servers[0], {**servers[1], "down": True}]) == []


def test_host_without_upstreams_has_the_file_too(role):
    text = role("nginx", nginx_upstreams=[]).render("etc/nginx/conf.d/slipway-upstreams.conf.j2")
    assert text.startswith("#")
    assert "server" not in text


def test_no_location_has_a_header_of_its_own(role):
    """One would be enough for nginx to forget all the headers of the server."""
    inside = re.findall(r"^ +location [^{]*\{[^}]*\}", secure(role), re.MULTILINE)
    assert inside
    assert not any("add_header" in text for text in inside)


def test_every_answer_names_its_release(role):
    assert "    add_header X-Release-Id $slipway_release_id always;" in site(role).splitlines()
    assert "/releases/(?<slipway_id>[^/]+)/public$" in role("nginx").render("etc/nginx/nginx.conf.j2")


def test_headers_give_way_to_those_of_the_application(role):
    text = site(role, name="my-shop", headers={"X-Robots-Tag": 'none "at all"'}, csp="default-src 'self'")
    assert 'map $sent_http_x_robots_tag $slipway_my_shop_x_robots_tag {\n    "" "none \\"at all\\"";' in text
    assert "    add_header X-Robots-Tag $slipway_my_shop_x_robots_tag always;\n" in text
    assert '    "" "default-src \'self\'";' in text
    assert "add_header Content-Security-Policy $slipway_my_shop_content_security_policy always;" in text
    assert "X-Frame-Options" not in text


def test_hashed_assets_are_kept(role):
    text = site(role, name="my-shop", immutable_paths=["/build/", "/v1.0/"])
    assert '    "~^/build/" "public, max-age=31536000, immutable";' in text
    assert r'    "~^/v1\.0/" "public, max-age=31536000, immutable";' in text
    assert "map $uri $slipway_cache_my_shop {" in text
    assert "try_files $uri =404;" in block(text, "location /v1.0/")
    assert "    add_header Cache-Control $slipway_cache_my_shop;" in text


def test_a_site_without_names_answers_to_all(role):
    assert "    listen 80 default_server;\n    listen [::]:80 default_server;\n    server_name _;\n" in render(role)
    assert "return 444" not in role("nginx").render("etc/nginx/conf.d/slipway-default.conf.j2")


def test_a_site_with_names_answers_to_them_and_nobody_to_others(role):
    text = site(role, server_names=["shop.example.com", "www.shop.example.com"])
    assert "    listen 80;\n    listen [::]:80;\n    server_name shop.example.com www.shop.example.com;\n" in text
    nginx = role("nginx", nginx_sites=[LARAVEL | {"server_names": ["a.example.com"]}])
    refusal = nginx.render("etc/nginx/conf.d/slipway-default.conf.j2")
    assert "    listen 80 default_server;\n    listen [::]:80 default_server;\n    server_name _;\n" in refusal
    assert "        return 444;" in block(refusal, "location /")
    assert "    include /etc/nginx/snippets/slipway-acme.conf;\n" in refusal


def test_without_ipv6(role):
    assert "[::]" not in render(role, nginx_ipv6_enabled=False)


def test_what_a_site_changes(role):
    text = site(
        role,
        listen=["127.0.0.1:8080"],
        client_max_body_size="1g",
        fastcgi_read_timeout=5,
        extra="location = /legacy {\n    return 301 /;\n}\n",
    )
    assert "    listen 127.0.0.1:8080 default_server;\n    server_name" in text
    assert "    client_max_body_size 1g;\n" in text
    assert "        fastcgi_read_timeout 5s;\n" in text
    assert "    location = /legacy {\n        return 301 /;\n    }\n" in text


@pytest.mark.parametrize(
    ("platform", "listen", "switch"),
    [
        ("bookworm", "listen 443 ssl http2;", False),
        ("jammy", "listen 443 ssl http2;", False),
        ("noble", "listen 443 ssl http2;", False),
        ("trixie", "listen 443 ssl;", True),
        ("forky", "listen 443 ssl;", True),
    ],
)
def test_http2_is_switched_on_as_the_version_wants_it(role, platform, listen, switch):
    text = secure(role, platform, server_names=["shop.example.com"])
    assert f"    {listen}\n" in text
    assert ("    http2 on;\n" in text) is switch


def test_the_installed_version_wins(role):
    look = [*FILES, "version 1.28.0", "http3"]
    text = render(role, platform="bookworm", look=look, nginx_sites=[LARAVEL | {"certificate": "shop"}])
    assert "    http2 on;\n" in text


def test_an_old_nginx_borrows_a_certificate_to_refuse(role):
    sites = [LARAVEL | {"certificate": "shop", "server_names": ["a.example.com"]}]
    given = {"__nginx_look_at": found(*FILES), "nginx_sites": sites}
    old, new = (
        role("nginx", name, **given).render("etc/nginx/conf.d/slipway-default.conf.j2") for name in ("jammy", "noble")
    )
    assert "ssl_certificate /etc/ssl/slipway/shop/fullchain.pem;" in old
    assert "ssl_reject_handshake" not in old
    assert "ssl_reject_handshake on;" in new


def test_a_site_without_its_certificate_lets_in_the_authority_alone(role):
    text = render(role, nginx_sites=[LARAVEL | {"certificate": "shop", "server_names": ["a.example.com"]}])
    assert "include /etc/nginx/snippets/slipway-acme.conf;" in text
    assert "        return 503;" in text
    assert "443" not in text
    assert "fastcgi_pass" not in text


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, ["deploy"]),
        ({"laravel_user": "root"}, ["root"]),
        ({"nginx_log_readers": ["root", "nobody-here"]}, ["root", "nobody-here"]),
    ],
)
def test_logs_are_read_by_users_that_the_host_has(role, tmp_path, given, asked):
    own = tmp_path / "own.pem"
    own.write_text("one")
    sites = [LARAVEL | {"tls": {"certificate": str(own), "key": str(tmp_path / "none.pem")}}]
    nginx = role("nginx", nginx_sites=sites, **given)
    look_for = nginx.value("__nginx_look_for")
    assert look_for == [str(own), str(tmp_path / "none.pem"), *(f"user:{name}" for name in asked)]
    argv = ["/bin/sh", "-c", nginx.value("__nginx_look"), "look", *look_for]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    assert f"file {own}" in lines
    there = role("nginx", nginx_sites=sites, __nginx_look_at=found(*lines), **given).value("__nginx_log_readers")
    assert there == [name for name in asked if name in {user.pw_name for user in pwd.getpwall()}]


def test_http_goes_to_https_at_its_port(role):
    assert "        return 301 https://$host$request_uri;" in secure(role)
    assert "        return 301 https://$host:8443$request_uri;" in secure(role, tls_listen=["8443"])


def test_a_template_of_ones_own(role, tmp_path):
    own = tmp_path / "own.conf.j2"
    own.write_text(
        "{% extends 'etc/nginx/sites-available/laravel.conf.j2' %}{% block extra %}    # mine\n{% endblock %}"
    )
    nginx = role("nginx", nginx_sites=[LARAVEL | {"template": "own.conf.j2"}])
    nginx.variables["ansible_search_path"].append(str(tmp_path))
    text = nginx.render(SITE, item=nginx.value("__nginx_sites")[0])
    assert text.rstrip().endswith("# mine\n}")
    assert "fastcgi_pass unix:/run/php/shop.sock;" in text


def test_passwords_are_hashed_the_same_each_time(role):
    nginx = role("nginx")
    users = {"alice": "open sesame", "bob": "$6$salt$hash"}
    text = nginx.render("etc/nginx/htpasswd.j2", item={"name": "staff", "users": users})
    assert re.fullmatch(r"alice:\$6\$[0-9a-f]{16}\$[A-Za-z0-9./]{86}\nbob:\$6\$salt\$hash\n", text)
    assert text == nginx.render("etc/nginx/htpasswd.j2", item={"name": "staff", "users": users})


def test_main_configuration(role):
    text = role("nginx", nginx_client_max_body_size="1g", nginx_http_extra="charset utf-8;").render(
        "etc/nginx/nginx.conf.j2"
    )
    assert text.startswith("#\n# Ansible managed\n#\nuser www-data;\n")
    for line in ("server_tokens off;", "client_max_body_size 1g;", "charset utf-8;"):
        assert f"    {line}\n" in text


@pytest.mark.parametrize("platform", ["bookworm", "trixie", "jammy", "noble"])
def test_brotli_is_where_it_is_packaged(role, platform):
    text = role("nginx", platform).render("etc/nginx/conf.d/slipway-compression.conf.j2")
    assert ("brotli on;" in text) is (platform != "jammy")


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_accepts_it(role, tmp_path):
    nginx = role("nginx", "bookworm", nginx_brotli_enabled=False, nginx_http_extra="map_hash_max_size 4096;")
    parts = ["clients", "compression", "default", "log", "tls", "upstreams"]
    text = nginx.render("etc/nginx/nginx.conf.j2")
    here = "\n".join(nginx.render(f"etc/nginx/conf.d/slipway-{part}.conf.j2") for part in parts)
    here += nginx.render(SITE, item=nginx.value("__nginx_sites")[0])
    (tmp_path / "nginx.conf").write_text(
        re.sub(r"include /etc/nginx/(sites|modules|snippets)[^;]*;", "", text)
        .replace("    include /etc/nginx/conf.d/*.conf;", re.sub(r"include /etc/nginx/snippets[^;]*;", "", here))
        .replace("/var/log/nginx", str(tmp_path))
        .replace("pid /run", f"pid {tmp_path}")
    )
    test = subprocess.run(["nginx", "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False)
    assert test.returncode == 0, test.stderr
