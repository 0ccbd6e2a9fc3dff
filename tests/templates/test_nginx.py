from __future__ import annotations

import re
import shutil
import subprocess

import pytest

LARAVEL = "etc/nginx/sites-available/laravel.conf.j2"


def site(role, **changes):
    nginx = role("nginx")
    return nginx.render(LARAVEL, item=nginx.value("nginx_sites")[0] | changes)


def block(text, head):
    """The lines between the braces of one location."""
    return re.search(re.escape(head) + r" \{\n(.*?)\n    \}", text, re.DOTALL)[1]


def test_php_never_sees_the_link(role):
    php = block(site(role), "location = /index.php")
    assert "fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;" in php
    assert "fastcgi_param DOCUMENT_ROOT $realpath_root;" in php
    assert php.index("include /etc/nginx/fastcgi_params;") < php.index("DOCUMENT_ROOT")
    assert "fastcgi_pass unix:/run/php/app.sock;" in php


def test_only_index_php_runs(role):
    text = site(role)
    assert text.count("fastcgi_pass") == 1
    assert "return 404;" in block(text, r"location ~ \.php(?:/|$)")
    assert "return 404;" in block(text, r"location ~ /\.(?!well-known(?:/|$))")


def test_no_location_has_a_header_of_its_own(role):
    """One would be enough for nginx to forget all the headers of the server."""
    inside = re.findall(r"^ +location [^{]*\{[^}]*\}", site(role), re.MULTILINE)
    assert inside
    assert not any("add_header" in text for text in inside)


def test_every_answer_names_its_release(role):
    assert "    add_header X-Release-Id $slipway_release_id always;" in site(role).splitlines()
    assert 'add_header X-Content-Type-Options "nosniff" always;' in site(role)
    assert "/releases/(?<slipway_id>[^/]+)/public$" in role("nginx").render("etc/nginx/nginx.conf.j2")


def test_hashed_assets_are_kept(role):
    text = site(role, name="my-shop", immutable_paths=["/build/", "/v1.0/"])
    assert '    "~^/build/" "public, max-age=31536000, immutable";' in text
    assert r'    "~^/v1\.0/" "public, max-age=31536000, immutable";' in text
    assert "map $uri $slipway_cache_my_shop {" in text
    assert "try_files $uri =404;" in block(text, "location /v1.0/")
    assert "    add_header Cache-Control $slipway_cache_my_shop;" in text


def test_a_site_without_names_answers_to_all(role):
    assert "    listen 80 default_server;\n    listen [::]:80 default_server;\n    server_name _;\n" in site(role)


def test_a_site_with_names_answers_to_them(role):
    text = site(role, server_names=["shop.example.com", "www.shop.example.com"])
    assert "    listen 80;\n    listen [::]:80;\n    server_name shop.example.com www.shop.example.com;\n" in text


def test_without_ipv6(role):
    nginx = role("nginx", nginx_ipv6_enabled=False)
    assert "[::]" not in nginx.render(LARAVEL, item=nginx.value("nginx_sites")[0])


def test_what_a_site_changes(role):
    text = site(
        role,
        listen=["127.0.0.1:8080"],
        client_max_body_size="1g",
        fastcgi_read_timeout=5,
        headers={"X-Robots-Tag": 'none "at all"'},
        extra="location = /legacy {\n    return 301 /;\n}\n",
    )
    assert "    listen 127.0.0.1:8080 default_server;\n    server_name" in text
    assert "    client_max_body_size 1g;\n" in text
    assert "        fastcgi_read_timeout 5s;\n" in text
    assert r'add_header X-Robots-Tag "none \"at all\"" always;' in text
    assert "X-Frame-Options" not in text
    assert "    location = /legacy {\n        return 301 /;\n    }\n" in text


def test_main_configuration(role):
    text = role("nginx", nginx_client_max_body_size="1g", nginx_http_extra="charset utf-8;").render(
        "etc/nginx/nginx.conf.j2"
    )
    assert text.startswith("#\n# Ansible managed\n#\nuser www-data;\n")
    for line in ("server_tokens off;", "client_max_body_size 1g;", "charset utf-8;", "gzip on;"):
        assert f"    {line}\n" in text


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_accepts_it(role, tmp_path):
    nginx = role("nginx", nginx_http_extra="map_hash_bucket_size 128;")
    sites = nginx.render(LARAVEL, item=nginx.value("nginx_sites")[0])
    named = nginx.value("nginx_sites")[0] | {
        "name": "shop",
        "server_names": ["shop.example.com"],
        "extra": "rewrite_log on;",
    }
    (tmp_path / "site.conf").write_text(sites + nginx.render(LARAVEL, item=named))
    (tmp_path / "nginx.conf").write_text(
        re.sub(r"include /etc/nginx/(sites|conf|modules)[^;]*;", "", nginx.render("etc/nginx/nginx.conf.j2"))
        .replace("    gzip on;", f"    include {tmp_path}/site.conf;\n    gzip on;")
        .replace("/var/log/nginx", str(tmp_path))
        .replace("pid /run", f"pid {tmp_path}")
    )
    test = subprocess.run(["nginx", "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False)
    assert test.returncode == 0, test.stderr
