# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the mail host, the queue and the cache that an ``.env`` names, with its credentials.

Private to this collection. Each function returns a sentence that says what is wrong, or None: when all is well, and
when the ``.env`` does not tell where the service is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import smtplib
import ssl
import urllib.parse

from ansible_collections.slipway.laravel.plugins.module_utils import _endpoint
from ansible_collections.slipway.laravel.plugins.module_utils._probe import PATIENCE, connect, given


def _conversation(host: str, port: str, question: bytes) -> str:
    """Return the first line that a service answers a question with."""
    with connect(host, port) as sock:
        sock.sendall(question)
        return sock.makefile("rb").readline(500).decode("utf-8", "replace").strip()


def memcached_problem(env: dict[str, str]) -> str | None:
    """Ask the memcached of an ``.env`` for its version, when cache or sessions lie there."""
    if "memcached" not in [env.get(name) for name in ("CACHE_STORE", "CACHE_DRIVER", "SESSION_DRIVER")]:
        return None
    host, port = given(env.get("MEMCACHED_HOST")) or "127.0.0.1", given(env.get("MEMCACHED_PORT")) or "11211"
    where = host if host.startswith("/") else f"{host}:{port}"
    remedy = "start it, or correct MEMCACHED_* in .env"
    try:
        if given(env.get("MEMCACHED_USERNAME")):
            # With a password it speaks its binary protocol only; that somebody listens has to do.
            connect(host, port).close()
            return None
        answer = _conversation(host, port, b"version\r\n")
    except OSError as exc:
        return f"memcached on {where} of .env cannot be reached: {exc}; {remedy}"
    if answer.startswith("VERSION "):
        return None
    return f"memcached on {where} of .env answers {answer[:100] or 'nothing'!r} to 'version'; {remedy}"


def queue_problem(env: dict[str, str]) -> str | None:
    """Reach the beanstalkd or SQS of an ``.env``; Redis and the database have questions of their own."""
    connection = env.get("QUEUE_CONNECTION") or env.get("QUEUE_DRIVER")
    if connection == "beanstalkd":
        return _beanstalkd_problem(env)
    return _sqs_problem(env) if connection == "sqs" else None


def _beanstalkd_problem(env: dict[str, str]) -> str | None:
    # Up to Laravel 10 the host stands in config/queue.php; those that moved it named it so.
    host = given(env.get("BEANSTALKD_QUEUE_HOST")) or given(env.get("BEANSTALKD_HOST"))
    if not host:
        return None
    port = given(env.get("BEANSTALKD_PORT")) or "11300"
    remedy = "start it, or correct BEANSTALKD_* in .env"
    try:
        answer = _conversation(host, port, b"list-tube-used\r\n")
    except OSError as exc:
        return f"the queue (beanstalkd) on {host}:{port} of .env cannot be reached: {exc}; {remedy}"
    if answer.startswith("USING "):
        return None
    return f"the queue on {host}:{port} of .env is no beanstalkd, it answers {answer[:100]!r}; {remedy}"


def _sqs_problem(env: dict[str, str]) -> str | None:
    """Reach SQS by TLS; whether the key may use the queue only a signed request could tell."""
    prefix = urllib.parse.urlsplit(given(env.get("SQS_PREFIX")) or "")
    region = given(env.get("AWS_DEFAULT_REGION"))
    if not prefix.hostname and not region:
        return None
    host = prefix.hostname or f"sqs.{region}.amazonaws.com"
    tls = prefix.scheme != "http"
    port = prefix.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2] or ("443" if tls else "80")
    try:
        connect(host, port, tls).close()
    except OSError as exc:
        return (
            f"the queue (SQS) on {host}:{port} of .env cannot be reached: {exc}; "
            f"open the way there, or correct SQS_PREFIX and AWS_DEFAULT_REGION in .env"
        )
    return None


class _Mail:
    """Where and how an ``.env`` sends mail."""

    def __init__(self, env: dict[str, str]) -> None:
        url = urllib.parse.urlsplit(given(env.get("MAIL_URL")) or "")
        address = url.netloc.rpartition("@")[2]
        self.host = url.hostname or given(env.get("MAIL_HOST")) or ""
        self.port = address.rpartition("]")[2].partition(":")[2] if url.hostname else given(env.get("MAIL_PORT")) or ""
        user, password = url.username or env.get("MAIL_USERNAME"), url.password or env.get("MAIL_PASSWORD")
        self.user = urllib.parse.unquote(given(user) or "") if url.username else given(user)
        self.password = urllib.parse.unquote(password or "") if url.password else given(password) or ""
        encryption = given(env.get("MAIL_ENCRYPTION"))
        scheme = url.scheme or given(env.get("MAIL_SCHEME"))
        # Laravel's mailers take port 465 for TLS from the first byte, whatever MAIL_ENCRYPTION says.
        self.tls = scheme == "smtps" or encryption == "ssl" or self.port == "465"
        self.starttls = encryption == "tls" and not self.tls
        self.where = f"{self.host}:{self.port}"


def _own_name(env: dict[str, str]) -> str:
    """Return the name under which Laravel's mailers greet, since mail hosts refuse others."""
    url = urllib.parse.urlsplit(given(env.get("APP_URL")) or "")
    name = given(env.get("MAIL_EHLO_DOMAIN")) or url.hostname or "localhost"
    with contextlib.suppress(ValueError):
        return f"[{'IPv6:' if ipaddress.ip_address(name).version == 6 else ''}{name}]"
    # smtplib can say nothing else.
    return name if name.isascii() else "localhost"


def _needs_starttls(mail: _Mail, release: str) -> bool:
    """Say whether the application surely sends nothing without STARTTLS.

    Of MAIL_ENCRYPTION=tls Swift Mailer makes that, up to Laravel 8. Since then it is used where it is offered.
    """
    return mail.starttls and bool(release) and os.path.isdir(os.path.join(release, "vendor/swiftmailer/swiftmailer"))


def mail_problem(env: dict[str, str], release: str = "") -> str | None:
    """Greet the mail host of an ``.env`` and log in as the application does. Nothing is sent.

    :param release: directory of the live release, which says by what it sends mail; '' when there is none
    """
    mailer = env.get("MAIL_MAILER") or env.get("MAIL_DRIVER")
    mail = _Mail(env)
    # Laravel's defaults for a host or port that is not given differ from version to version.
    if mailer != "smtp" or not mail.host or not mail.port:
        return None
    about, remedy = f"the mail host {mail.where} of .env", "correct MAIL_* in .env, or the mail host"
    context = _endpoint.tls_context(True)
    named = {"timeout": PATIENCE, "local_hostname": _own_name(env)}
    try:
        if mail.tls:
            client: smtplib.SMTP = smtplib.SMTP_SSL(mail.host, mail.port, context=context, **named)  # type: ignore
        else:
            client = smtplib.SMTP(mail.host, mail.port, **named)  # type: ignore
        try:
            return _mail_refusal(client, mail, context, about, remedy, _needs_starttls(mail, release))
        finally:
            client.close()
    except ssl.SSLCertVerificationError as exc:
        return f"{about} has a certificate that PHP does not trust: {exc.verify_message}; {remedy}"
    except (OSError, ValueError) as exc:
        return f"{about} cannot be used: {exc}; start it, or {remedy}"


def _mail_refusal(
    client: smtplib.SMTP, mail: _Mail, context: ssl.SSLContext, about: str, remedy: str, needs_starttls: bool
) -> str | None:
    client.ehlo_or_helo_if_needed()
    # As Symfony's mailer: STARTTLS wherever it is offered, and then with a certificate that is valid.
    if not mail.tls and client.has_extn("starttls"):
        client.starttls(context=context)
        client.ehlo()
    elif needs_starttls:
        return f"{about} does not offer STARTTLS, which MAIL_ENCRYPTION asks for; {remedy}"
    # Of the ways to log in that are offered smtplib knows these; of XOAUTH2 nothing can be said.
    known = {"CRAM-MD5", "PLAIN", "LOGIN"}.intersection(client.esmtp_features.get("auth", "").split())
    if mail.user and known:
        try:
            client.login(mail.user, mail.password)
        except smtplib.SMTPAuthenticationError as exc:
            told = exc.smtp_error.decode("utf-8", "replace") if isinstance(exc.smtp_error, bytes) else exc.smtp_error
            return f"{about} refuses MAIL_USERNAME and MAIL_PASSWORD: {exc.smtp_code} {told}; {remedy}"
    with contextlib.suppress(OSError):
        client.quit()
    return None
