"""Masking: what is known to be secret, and what looks like it, in all the forms in which output shows it."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.masking import MASK, Masker, is_secret_name, secrets_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

SECRET = "S3cr3t-of.the_test"  # noqa: S105
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAABG5vbmU\n-----END OPENSSH PRIVATE KEY-----"

TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
# A secret of stars could not be told from a mask.
SECRETS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=8, max_size=40), max_size=4)


@pytest.mark.parametrize(
    "text",
    [
        "https://ann:{}@example.com/repo.git",
        "mysql://root:{}@db1:3306/app?charset=utf8",
        "redis://:{}@127.0.0.1:6379",
        "could not read from https://{}@github.com/acme/app",
        "https://hooks.slack.com/services/{}",
        "https://bucket.s3.amazonaws.com/app.tar.gz?X-Amz-Expires=60&X-Amz-Signature={}&x=1",
        "Authorization: Bearer {}",
        "authorization: {}",
        '{{"Authorization": "Basic {}"}}',
        "curl -H 'Authorization: token {}' https://api.example.com",
        'Authorization: Digest username="ann", {}',
        "sent Bearer {} to the server",
        "Set-Cookie: laravel_session={}; path=/",
        "mysqldump --user=app --password={} app",
        "mysqldump --user app --password {} app",
        "mysqldump --password='{}' app",
        "mysqldump -u app -p{} app",
        "redis-cli -h cache -a {} ping",
        "curl -s -u ann:{} https://example.com",
        "sshpass -p {} ssh web1",
        "DB_PASSWORD={}",
        'export DB_PASSWORD="{} and more"',
        "REDIS_PASSWORD: {}",
        "'password' => '{}',",
        '{{"password":"{}"}}',
        '"{{\\"password\\": \\"{}\\"}}"',
        "client_secret={}&grant_type=x",
        "https://example.com/login?token={}",
        "X-Api-Key: {}",
        "AWS_SECRET_ACCESS_KEY={}",
        "STRIPE_KEY={}",
        "apiToken = {}",
        "SENTRY_LARAVEL_DSN={}",
        "DB_PASS={}",
        "LDAP_BIND_PW={}",
        "GITHUB_PAT={}",
        "REDIS_AUTH={}",
        "TEAMS_WEBHOOK_URL={}",
        "API_KEY_PROD={}",
        "CREATE USER 'app'@'%' IDENTIFIED BY '{}'",
    ],
)
def test_what_looks_like_a_secret_is_masked(text):
    shown = Masker().text(text.format(SECRET))
    assert SECRET not in shown
    assert MASK in shown
    # What stands around it stays.
    for word in ("example.com", "db1:3306/app", "mysqldump", "redis-cli", "grant_type"):
        assert (word in text) <= (word in shown), shown


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "glpat-16C7e42F292c6912E771",
        "xoxb-123456789012-abcdefABCDEF",
        "sk_live_51H8abcdefABCDEF",
        "base64:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        KEY,
        KEY[:60],
    ],
)
def test_shapes_that_nothing_else_has_are_masked(secret):
    assert Masker().text(f"it says {secret} there").replace(" there", "") == f"it says {MASK}"


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/up answered 500",
        "git@github.com:acme/app.git",
        "ssh://git@github.com/acme/app.git",
        "ann@example.com",
        "Fix the token: refresh it before it ends",
        "The password was changed",
        "DB_PASSWORD=",
        "password: null",
        "AUTH_GUARD=web, TOKEN_TTL=3600, FTP_PASSIVE=1, CACHE_KEY_PREFIX=shop_",
        "proxy_pass: http://127.0.0.1:3000",
        "--bypass=all",
        "SSH_PUBLIC_KEY=ssh-ed25519 AAAA",
        "PWD=/var/www/app",
        "public_key: abc123",
        "basic checks passed",
        "sha256 " + "5f" * 32,
        "commit " + "c0" * 20,
        "releases/20261121T013005Z-1a2b3c4d",
        "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----",
        "mysql -u app -p app",
        "2026-11-21T01:30:05.123456Z",
    ],
)
def test_what_is_no_secret_stays(text):
    assert Masker(["another secret"]).text(text) == text


def test_known_values_are_masked_in_every_form():
    secret = 'pä55 "w0rd"/of+db\n'  # noqa: S105
    masker = Masker([secret])
    for form in (
        secret,
        json.dumps(secret),
        json.dumps({"a": secret}, ensure_ascii=False),
        quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode(),
    ):
        shown = masker.text(f"found {form} here")
        assert "55" not in shown and "NTUg" not in shown, form


def test_a_secret_within_another_and_one_with_an_end_of_line():
    assert Masker(["abcdefgh", "abcdefgh-ijk", "pa55w0rd\n"]).text("(abcdefgh-ijk) pa55w0rd.") == f"({MASK}) {MASK}."


def test_key_of_several_lines_is_masked_line_by_line():
    key = "-----BEGIN KEY-----\n" + "\n".join(f"line{number:02}ofthedeploykey" for number in range(3)) + "\n"
    shown = Masker([key]).text("error in line01ofthedeploykey: bad")
    assert shown == f"error in {MASK}: bad"


def test_short_values_are_words_and_very_short_ones_are_nothing():
    masker = Masker(["root", "app"])
    assert masker.text("user root of /var/root and rooted app") == f"user {MASK} of /var/root and rooted app"


def test_values_under_names_of_secrets_are_masked_whatever_they_are():
    data = {
        "db_password": "x",
        "tokens": ["a", {"b": 1}],
        "port": 3306,
        "secret": 12345,
        "has_password": True,
        "password": "",
        "api_key": None,
        "public_key": "ssh-ed25519 AAAA",
        "text": ("see", "DB_PASSWORD=abc"),
        "ratio": float("nan"),
        "when": {"b", "a"},
        b"bytes".decode(): b"\xff\xfe",
        "surrogate": "name\udcff",
        7: "seven",
    }
    assert Masker().data(data) == {
        "db_password": MASK,
        "tokens": [MASK, {"b": MASK}],
        "port": 3306,
        "secret": MASK,
        "has_password": True,
        "password": "",
        "api_key": None,
        "public_key": "ssh-ed25519 AAAA",
        "text": ["see", f"DB_PASSWORD={MASK}"],
        "ratio": "nan",
        "when": ["a", "b"],
        "bytes": "\\xff\\xfe",
        "surrogate": "name\\udcff",
        "7": "seven",
    }


def test_values_of_an_environment_that_are_secret():
    env = {
        "APP_ENV": "production",
        "APP_KEY": "base64:abc",
        "DB_PASSWORD": "pa55word",
        "MAIL_PASSWORD": None,
        "REDIS_PASSWORD": "{{ vault_redis }}",
        "nested": {"github_tokens": ["one", "two"]},
        "API_SECRET": "null",
        "PIN_SECRET": 123456,
    }
    assert secrets_of(env) == {"base64:abc", "pa55word", "one", "two", "123456"}


@pytest.mark.parametrize(
    "name",
    [
        *("DB_PASSWORD", "apiKey", "x-auth-token", "client_secret_2", "STRIPE_KEY", "deploy_key"),
        *("DB_PASS", "SMTP_PASS", "db_pass", "REDIS_AUTH", "BASIC_AUTH", "LDAP_BIND_PW", "GITHUB_PAT", "HASH_PEPPER"),
        *("TEAMS_WEBHOOK_URL", "DB_PASSWORD_PROD", "API_KEY_PROD", "STRIPE_SECRET_LIVE", "APP_KEY_V2"),
    ],
)
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("keyboard", "monkey", "cache_key", "public_key", "sha256", "PWD", "signed", "key"),
        *("AUTH_GUARD", "AUTH_MODEL", "PASSWORD_TIMEOUT", "FTP_PASSIVE", "KEY_PREFIX", "TOKEN_TTL", "MAIL_BYPASS"),
        *("SANCTUM_TOKEN_PREFIX", "AUTH_PASSWORD_RESET_TOKEN_TABLE", "fastcgi_pass", "basic_auth", "USE_OAUTH", "PATH"),
    ],
)
def test_names_of_what_is_no_secret(name):
    assert not is_secret_name(name)


@given(SECRETS, st.lists(TEXT, max_size=5), st.randoms())
@settings(deadline=None, max_examples=300)
def test_no_known_secret_comes_through(secrets, texts, random):
    pieces = [*secrets, *texts]
    random.shuffle(pieces)
    masker = Masker(secrets)
    shown = masker.text("".join(pieces))
    assert not any(secret in shown for secret in secrets)
    shown = json.dumps(masker.data({"a": pieces, "".join(pieces): {"b": "".join(pieces)}}))
    assert not any(json.dumps(secret)[1:-1] in shown for secret in secrets)


WORDS = st.sampled_from(
    ["password", "DB_PASSWORD", "token", "Authorization:", "Bearer", "https://", "@", ":", "=", " "]
)


@given(SECRETS, st.lists(WORDS | TEXT | st.sampled_from(['"', "'", "\\", "\n", "--", MASK, SECRET]), max_size=12))
@settings(deadline=None, max_examples=500)
def test_what_is_masked_stays_as_it_is(secrets, pieces):
    masker = Masker(secrets)
    once = masker.text("".join(pieces))
    assert masker.text(once) == once


@given(st.text("abcdefgh XYZ0123456789", min_size=1), st.sampled_from("ABC"))
@settings(deadline=None)
def test_words_without_secrets_stay(text, letter):
    assume("mysql" not in text)
    assert Masker().text(text + letter) == text + letter


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "A_",
        "x://",
        "password",
        "password=",
        "http://a:",
        "token: ",
        "-p ",
        "mysql ",
        "curl ",
        "redis-cli ",
        "sshpass ",
        '"',
        "\\",
        "=",
        "_KEY",
        "ey",
    ],
)
def test_long_output_costs_no_time(piece):
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    Masker(["a known secret"]).text(text)
    assert time.process_time() - began < 2
