# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what hosts told by the module ``release_checks``. The docstrings make docs/checks.md."""

from __future__ import annotations

import re
import urllib.parse
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.slipway.laravel.plugins.module_utils._endpoint import REDIRECTS
from ansible_collections.slipway.laravel.plugins.module_utils._logs import LEVELS
from ansible_collections.slipway.laravel.plugins.plugin_utils.check_unit import check

Values = dict[str, Any]

_TLS = ("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")
# A process tells its start by the clock of the boot, which is a second off at times.
_CLOCK = timedelta(seconds=2)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _other_release(facts: Values, context: Values) -> list[str]:
    expected = context.get("release")
    if not expected or facts["release"] == expected:
        return []
    return [f"{facts['release']} is live, not {expected}; see why, or sign for the release that is"]


# Pages


def _page_problems(p: Values, facts: Values, context: Values) -> list[str]:
    where, release = facts["url"], context.get("release")
    found = []
    if facts["error"]:
        found.append(f"{where} broke off: {facts['error']}")
    if facts["led_to"]:
        found.append(f"{where} leads to {facts['led_to']}, so that page was not seen; ask for that one, or set follow")
    if facts["status"] not in p["status"]:
        wanted = " or ".join(map(str, p["status"]))
        found.append(f"{where} answered {facts['status']}, not {wanted}; see the log of the application")
    if p["contains"] and not facts["contains"]:
        found.append(f"{where} does not contain {p['contains']!r}; look at the page")
    if p["max_ms"] and facts["ms"] > p["max_ms"]:
        found.append(f"{where} took {facts['ms']:.0f} ms, {p['max_ms']} ms are allowed; see what is slow")
    if facts["release"] and release and facts["release"] != release:
        found.append(f"{where} is served by release {facts['release']}, not by {release}; see where it leads")
    return found


@check("host")
def health(p: Values, facts: Values, context: Values) -> list[str]:
    """The health endpoint answers, and this release does where the answer names one.

    notes: The header C(X-Release-Id), which the role nginx sends, names the release.
    parameters:
      contains: Text that has to be in the first MiB of the page.
      headers: Headers to send; never shown.
      follow: Whether the address may lead to another page. From HTTP to HTTPS of the same page it may.
      verify_tls: Whether a certificate that is not to be trusted is a failure.
      status: {type: list, elements: int, default: [200], description: Statuses that are well.}
      max_ms: {type: int, default: 0, description: "Milliseconds that it may take at most; 0 sets no limit."}
    evidence: Address, status, milliseconds, the release that answered and the address that was connected to.
    """
    return _page_problems(p, facts, context)


@check("host")
def smoke(p: Values, facts: Values, context: Values) -> list[str]:
    """A page, such as the login, shows what it has to show.

    notes: An application that answers errors with 200 is found out by C(contains), a login that guards the page by
      C(follow), which is false.
    parameters:
      contains: Text that has to be in the first MiB of the page.
      headers: Headers to send, such as a token; never shown.
      follow: Whether the address may lead to another page. From HTTP to HTTPS of the same page it may.
      verify_tls: Whether a certificate that is not to be trusted is a failure.
      status: {type: list, elements: int, default: [200], description: Statuses that are well.}
      max_ms: {type: int, default: 0, description: "Milliseconds that it may take at most; 0 sets no limit."}
    evidence: Address, status, milliseconds, whether the text was there, and the release that answered.
    """
    return _page_problems(p, facts, context)


# TLS and the way there


@check("host")
def certificate(p: Values, facts: Values, context: Values) -> list[str]:
    """The certificate of an address is trusted, for its name, and lasts for some days more.

    parameters:
      days: {type: int, default: 14, description: Days that it has to last at least.}
    evidence: Subject, issuer, names, from when until when it is valid, and days left.
    """
    if facts["days_left"] < p["days"]:
        return [
            f"the certificate of {facts['url']} ends on {facts['not_after'][:10]}, in {facts['days_left']} days, "
            f"{p['days']} are asked for; renew it"
        ]
    if not facts["verified"]:
        return [f"the certificate of {facts['url']} is not to be trusted: {facts['error']}; issue it again"]
    return []


@check("host")
def tls_versions(p: Values, facts: Values, context: Values) -> list[str]:
    """Old versions of TLS are refused, and a new one is spoken.

    notes: Each version is really tried. Where the OpenSSL of the host cannot speak an old one, nothing is proven.
    parameters:
      minimum: {type: str, choices: [TLSv1.2, TLSv1.3], default: TLSv1.2, description: The oldest that may be accepted.}
    evidence: Whether each version is accepted.
    """
    versions, lowest = facts["versions"], _TLS.index(p["minimum"])
    accepted = [name for name in _TLS[:lowest] if versions[name]]
    untried = [name for name in _TLS[:lowest] if versions[name] is None]
    found = []
    if accepted:
        found.append(f"{facts['url']} accepts {', '.join(accepted)}; leave only {p['minimum']} and newer")
    if untried:
        found.append(f"{', '.join(untried)} cannot be tried from here; check it from a host whose OpenSSL can")
    if not any(versions[name] for name in _TLS[lowest:]):
        found.append(f"{facts['url']} accepts nothing from {p['minimum']} on; allow that")
    return found


@check("host")
def hsts(p: Values, facts: Values, context: Values) -> list[str]:
    """Browsers are told to come by HTTPS only.

    parameters:
      max_age: {type: int, default: 31536000, description: Seconds that browsers have to remember it for at least.}
      include_subdomains: {type: bool, default: false, description: Whether subdomains have to be included.}
      preload: {type: bool, default: false, description: Whether it has to allow the lists that browsers bring along.}
    evidence: The header Strict-Transport-Security taken apart.
    """
    sent = facts["hsts"]
    if not sent:
        return [f"{facts['url']} sends no valid Strict-Transport-Security; set it in the web server, by https"]
    found = []
    if sent["max_age"] < p["max_age"]:
        found.append(f"HSTS of {facts['url']} lasts {sent['max_age']} s, {p['max_age']} are asked for; raise max-age")
    for name, word in (("include_subdomains", "includeSubDomains"), ("preload", "preload")):
        if p[name] and not sent[name]:
            found.append(f"HSTS of {facts['url']} has no {word}; add it")
    return found


@check("host")
def https_redirect(p: Values, facts: Values, context: Values) -> list[str]:
    """Who comes by HTTP is sent to HTTPS.

    parameters:
      url: Address by C(http).
      permanent: {type: bool, default: true, description: Whether the redirect has to be one that lasts (301 or 308).}
      to: {type: str, default: "", description: Name that it may lead to besides the one in C(url).}
    evidence: Status, and where it leads.
    """
    asked, to = urllib.parse.urlsplit(facts["url"]), urllib.parse.urlsplit(facts["location"])
    if asked.scheme != "http":
        return [f"{facts['url']} is not by http, so nothing was shown; give the address by http"]
    if facts["status"] not in REDIRECTS or to.scheme != "https":
        told = f"{facts['status']} {facts['location']}".strip()
        return [f"{facts['url']} is not redirected to https, it answers {told}; add the redirect"]
    if to.hostname not in (asked.hostname, p["to"]):
        return [f"{facts['url']} leads to {to.hostname}; give that name by the parameter to, or correct the redirect"]
    if p["permanent"] and facts["status"] not in (301, 308):
        return [f"{facts['url']} is redirected by {facts['status']}, which does not last; answer 301 or 308"]
    return []


@check("host")
def security_headers(p: Values, facts: Values, context: Values) -> list[str]:
    """The headers are sent that protect visitors, and none that tells about the server.

    parameters:
      headers:
        type: dict
        default:
          X-Content-Type-Options: ^nosniff$
          X-Frame-Options: ^(DENY|SAMEORIGIN)$
          Referrer-Policy: .
        description: A regular expression for the value of each header, small and capital letters alike.
      absent: {type: list, elements: str, default: [X-Powered-By], description: Headers that may not be sent.}
    evidence: Those headers as they were sent.
    """
    sent = facts["headers"]
    facts["headers"] = {name: sent.get(name.lower(), "") for name in (*p["headers"], *p["absent"])}
    found = []
    for name, pattern in p["headers"].items():
        value = facts["headers"][name]
        if not value:
            found.append(f"{facts['url']} sends no {name}; set it in the web server")
        elif not re.search(str(pattern), value, re.IGNORECASE):
            found.append(f"{name} of {facts['url']} is {value!r}, which does not match {pattern}; correct it")
    told = [name for name in p["absent"] if name.lower() in sent]
    return found + [f"{facts['url']} sends {name}, which tells about the server; hide it" for name in told]


@check("host")
def compression(p: Values, facts: Values, context: Values) -> list[str]:
    """A page or file comes compressed to browsers that ask for it.

    notes: Servers do not compress what is small; ask for a page or asset of some KiB.
    evidence: Address, its Content-Type, and the Content-Encoding that it came in.
    """
    if facts["status"] != 200:
        return [f"{facts['url']} answered {facts['status']}, so nothing was shown; give a page that answers 200"]
    if facts["encoding"] != "gzip":
        return [
            f"{facts['url']} ({facts['type'] or 'without a type'}) comes uncompressed; switch gzip on for that "
            f"type, or give a larger page"
        ]
    return []


@check("host")
def dns(p: Values, facts: Values, context: Values) -> list[str]:
    """The DNS leads a name to the right addresses, with a time to live that lets it be moved soon.

    notes: What remembers answers tells a time to live that is shorter than the one entered; only the server that is
      responsible for the name tells that one.
    parameters:
      domain: Name to look up.
      type: "Kind of record: C(A) for IPv4, C(AAAA) for IPv6."
      server: Name server to ask, and maybe C(:port), by default the first one of the host.
      timeout: Seconds for the answer.
      addresses: {type: list, elements: str, default: [], description: Addresses that it may lead to; any when empty.}
      cname: {type: str, default: "", description: Name that it has to be an alias of; none when empty.}
      ttl: {type: int, default: 300, description: Seconds that an answer may be kept at most.}
    evidence: The server that was asked, and its records with their time to live.
    """
    name, records = facts["domain"], facts["records"]
    values = [record["value"] for record in records if record["type"] == p["type"]]
    found = []
    if not values:
        found.append(f"{name} has no {p['type']} record; enter it in the DNS")
    strange = [value for value in values if p["addresses"] and value not in p["addresses"]]
    if strange:
        found.append(f"{name} leads to {', '.join(strange)}, not to {' or '.join(p['addresses'])}; correct the DNS")
    aliases = [record["value"].lower() for record in records if record["type"] == "CNAME"]
    if p["cname"] and p["cname"].lower().rstrip(".") not in aliases:
        found.append(f"{name} is no alias of {p['cname']}; correct the DNS")
    longest = max((record["ttl"] for record in records), default=0)
    if longest > p["ttl"]:
        found.append(f"answers for {name} may be kept {longest} s, {p['ttl']} are allowed; lower the TTL")
    return found


# The application


@check("host")
def debug_off(p: Values, facts: Values, context: Values) -> list[str]:
    """Debug mode is off, in the configuration that is in effect.

    notes: The live release is asked, whose cached configuration counts; before the first release the shared C(.env).
    parameters:
      environment: {type: str, default: "", description: What C(APP_ENV) has to be; anything when empty.}
    evidence: Release or file that told it, APP_DEBUG and APP_ENV.
    """
    found = []
    if facts["debug"]:
        found.append(
            "APP_DEBUG is on, which shows secrets to visitors; set it to false in .env, or, where the inventory has "
            "laravel_env, in that, run the site playbook, and cache again"
        )
    if p["environment"] and facts["environment"] != p["environment"]:
        found.append(f"APP_ENV is {facts['environment']}, not {p['environment']}; correct one of them")
    return found


@check("host")
def log_level(p: Values, facts: Values, context: Values) -> list[str]:
    """The log is not flooded, and errors are in it.

    notes: The channels of a stack count each for itself.
    parameters:
      minimum:
        type: str
        choices: [debug, info, notice, warning, error]
        default: info
        description: The lowest level that a channel may log from. One channel at least has to log errors.
    evidence: The channels that the default log ends in, with their drivers and levels.
    """
    lowest = LEVELS.index(p["minimum"])
    levels = {channel["channel"]: LEVELS.index(channel["level"]) for channel in facts["channels"]}
    found = [
        f"the log channel {name} logs from {LEVELS[level]} on, {p['minimum']} is the lowest allowed; set LOG_LEVEL"
        for name, level in levels.items()
        if level < lowest
    ]
    if all(level > LEVELS.index("error") for level in levels.values()):
        found.append("no log channel logs errors; set LOG_LEVEL to error or lower")
    return found


@check("host")
def maintenance_off(p: Values, facts: Values, context: Values) -> list[str]:
    """The application is not in maintenance mode.

    evidence: The live release, and whether it is in maintenance mode.
    """
    if facts["maintenance"]:
        return ["the application is in maintenance mode; end it by playbooks/maintenance.yml or artisan up"]
    return []


@check("host")
def failed_jobs(p: Values, facts: Values, context: Values) -> list[str]:
    """No more jobs have failed than are allowed.

    parameters:
      maximum: {type: int, default: 0, description: Failed jobs that are allowed.}
    evidence: Number of failed jobs.
    """
    if facts["failed_jobs"] <= p["maximum"]:
        return []
    return [
        f"{facts['failed_jobs']} jobs have failed, {p['maximum']} are allowed; see artisan queue:failed, then retry or "
        f"flush them"
    ]


@check("host")
def queue_depth(p: Values, facts: Values, context: Values) -> list[str]:
    """The jobs that wait are no more than the workers manage.

    parameters:
      queues: Names of queues; the default one when empty.
      maximum: {type: int, default: 1000, description: Jobs that may wait in each.}
    evidence: Number of jobs in each queue.
    """
    return [
        f"{size} jobs wait in the queue {name}, {p['maximum']} are allowed; see whether its workers run, or add some"
        for name, size in facts["queues"].items()
        if size > p["maximum"]
    ]


@check("host")
def log_errors(p: Values, facts: Values, context: Values) -> list[str]:
    """Since the switch the log of the application has no new errors.

    notes: Entries in Laravel's own form and lines of JSON (JsonFormatter) are counted by level; their texts, which may
      hold secrets, are not shown. Where there is no log, or what was written to it can be read as neither, the check is
      not well.
    parameters:
      files: Patterns of the log files, below C(shared).
      level:
        type: str
        choices: [warning, error, critical]
        default: error
        description: Entries of this level and above count.
      maximum: {type: int, default: 0, description: Entries that are allowed.}
    evidence: The files, those that cannot be read, the span of time, and the number of entries of each level.
    """
    found = _other_release(facts, context)
    found += [
        f"{path} was written since {facts['switched_at']}, and no line of that time can be read; log in Laravel's own "
        f"form or as JSON, or let a person who reads that log sign"
        for path in facts["unreadable"]
    ]
    lowest = LEVELS.index(p["level"])
    count = sum(facts["entries"][level] for level in LEVELS[lowest:])
    if count > p["maximum"]:
        places = ", ".join(facts["files"])
        found.append(f"{count} entries from {p['level']} on since {facts['switched_at']}; read them in {places}")
    if min((LEVELS.index(level) for level in facts["logged_from"]), default=0) > lowest:
        found.append(f"the log holds nothing below {facts['logged_from'][0]}; set LOG_LEVEL to {p['level']} or lower")
    return found


@check("host")
def opcache(p: Values, facts: Values, context: Values) -> list[str]:
    """OPcache is on in PHP-FPM, and has room.

    notes: PHP-FPM itself is asked. Hosts without PHP-FPM are passed over.
    parameters:
      free_percent: {type: float, default: 5, description: Percentage of memory and of keys that has to be free.}
    evidence: Whether it is on, what is free of memory and keys, cached scripts, and the rate of hits.
    """
    if not facts["enabled"]:
        return ["OPcache is off in PHP-FPM; set opcache.enable=1, and reload PHP-FPM"]
    left = min(facts.get("free_percent", 0.0), facts.get("free_keys_percent", 0.0))
    if left < p["free_percent"]:
        return [f"OPcache has {left} % left, {p['free_percent']:g} % are asked for; give it more memory or keys"]
    return []


# What runs


@check("host", "together")
def workers(p: Values, facts: Values, context: Values) -> list[str]:
    """Every worker runs the release, and there are as many as there have to be.

    notes: Told by the working directory of each process. What a worker has started, as Horizon does, is counted only by
      C(command), and has to run the release as well.
    parameters:
      minimum: {type: int, default: 1, description: Workers that there have to be on all hosts together.}
      command: {type: str, default: "", description: "Count only processes of this command, such as C(queue:work)."}
    evidence: The live release of each host, and its workers with pid, command, release, start and parent.
    """
    found, count = [], 0
    for host, known in facts.items():
        found += [f"{host}: {problem}" for problem in _other_release(known, context)]
        for worker in known["workers"]:
            if p["command"] and worker["command"] != p["command"]:
                continue
            if worker["release"] == known["release"]:
                count += bool(p["command"]) or not worker["parent"]
            else:
                who = f"{worker['command']} (pid {worker['pid']}) runs {worker['release']}"
                found.append(f"{host}: {who}, not {known['release']}; end it, so that its supervisor starts it anew")
    if count < p["minimum"]:
        found.append(f"{count} of {p['minimum']} workers run the release; start the others")
    return found


@check("host", "together")
def restarted(p: Values, facts: Values, context: Values) -> list[str]:
    """Horizon and Reverb, or other long-running commands, were started anew with the release.

    parameters:
      commands:
        type: list
        elements: str
        default: [horizon, "reverb:start"]
        description: Artisan commands, each of which has to run on one host at least.
    evidence: When each host switched, and its workers with pid, command, release, start and parent.
    """
    found = [f"{host}: {problem}" for host, known in facts.items() for problem in _other_release(known, context)]
    for command in p["commands"]:
        running = [
            (host, known, worker)
            for host, known in facts.items()
            for worker in known["workers"]
            if worker["command"] == command
        ]
        if not running:
            found.append(f"{command} runs on none of {', '.join(facts)}; start it, or leave it out of commands")
        for host, known, worker in running:
            late = _moment(worker["started"]) + _CLOCK >= _moment(known["switched_at"])
            if worker["release"] != known["release"] or not late:
                since = f"since {worker['started']} with {worker['release']}"
                found.append(f"{host}: {command} (pid {worker['pid']}) has been running {since}; restart it")
    return found


@check("host", "any")
def scheduler(p: Values, facts: Values, context: Values) -> list[str]:
    """The scheduler has just run, on one host at least.

    notes: Told by its timer of systemd, or by the time and the end of the log that the role scheduler has it write to.
    parameters:
      app: Name of the application, which timer and log begin with.
      log: Log of the scheduler, by default C(/var/log/<app>-scheduler.log).
      seconds: {type: int, default: 120, description: Seconds that its last run may be ago.}
    evidence: When it ran, what told it, and whether it succeeded.
    """
    if facts["seconds_ago"] > p["seconds"]:
        return [
            f"the scheduler ran {facts['seconds_ago']} s ago ({facts['by']}), {p['seconds']} are allowed; see "
            f"whether cron or its timer runs"
        ]
    if not facts["succeeded"]:
        return [f"the last run of the scheduler failed; see {facts['by']}"]
    return []


@check("host", "any")
def backup(p: Values, facts: Values, context: Values) -> list[str]:
    """There is a backup that is young enough, on one host at least.

    notes: Told by the newest file of a pattern; whether it can be restored only a drill proves.
    parameters:
      path: Pattern of the backup's files, such as C(/var/backups/app/*.sql.gz).
      hours: {type: float, default: 24, description: Hours that it may be old at most.}
      bytes: {type: int, default: 1, description: Bytes that it has to have at least.}
    evidence: The newest file, when it was written, and its size.
    """
    found = []
    if facts["hours"] > p["hours"]:
        found.append(f"{facts['path']} is {facts['hours']:g} hours old, {p['hours']:g} are allowed; make a backup")
    if facts["size"] < p["bytes"]:
        found.append(f"{facts['path']} has {facts['size']} bytes, {p['bytes']} are asked for; see why it is so small")
    return found


@check("host", "together")
def traffic(p: Values, facts: Values, context: Values) -> list[str]:
    """For some minutes after the switch, errors and response times stayed within limits.

    notes: Counted in the access log as the role nginx has it written (JSON). The check is not well before that time has
      passed. Limits hold for all hosts together, and the response time for each.
    parameters:
      log: The access log. Its older part, C(.1), is read as well when the switch is in there.
      minutes: Minutes after the switch that are looked at, 0 for those until now.
      server: Count only requests for this name.
      requests: {type: int, default: 1, description: "Requests that there have to be; of none, nothing is proven."}
      error_percent: {type: float, default: 1, description: Percentage of requests that the server may fail (5xx).}
      p95_ms: {type: int, default: 1500, description: Milliseconds within which 95 of 100 requests have to be answered.}
    evidence: For each host the span of time, requests, failed ones, and the response time of 95 of 100 (p95).
    """
    found = []
    for host, known in facts.items():
        found += [f"{host}: {problem}" for problem in _other_release(known, context)]
        if known["minutes"] < p["minutes"]:
            ready = _moment(known["switched_at"]) + timedelta(minutes=p["minutes"])
            found.append(
                f"{host}: {known['minutes']:g} of {p['minutes']} minutes have passed since the switch; check again "
                f"from {ready:%H:%M} UTC on"
            )
        if known["p95_ms"] > p["p95_ms"]:
            slow = f"95 % of requests took up to {known['p95_ms']} ms, {p['p95_ms']} ms are allowed"
            found.append(f"{host}: {slow}; see in the log which are slow")
    requests = sum(known["requests"] for known in facts.values())
    failed = sum(known["failed"] for known in facts.values())
    if requests < max(1, p["requests"]):
        return [
            *found,
            f"there were {requests} requests, {max(1, p['requests'])} are asked for; wait for visitors, and see "
            f"whether the log is that of nginx_log_format: json",
        ]
    if 100 * failed / requests > p["error_percent"]:
        told = f"{failed} of {requests} requests failed, {100 * failed / requests:.2f} %"
        found.append(f"{told}, {p['error_percent']:g} % are allowed; see the log of the application")
    return found
