#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Carry out phases of a release on one host
version_added: 0.1.0
description:
  - Carries out one or several phases of a release of a Laravel or Node application, in the order given, on one host.
    Phases without a fleet-wide barrier between them share one run of the module.
  - The layout below O(root) is that of Capistrano and Deployer, C(current), C(releases/) and C(shared/), so that a
    server released by those can be taken over.
  - C(preflight) names everything that would stop the release, then takes the lock. C(build) makes the artifact, where
    the host is alone and so need not wait for others, and what follows goes on with it; nothing follows when that
    version is live already. C(stage) unpacks the artifact, links what is shared, builds the caches in the final path,
    makes the links of C(filesystems.links), and lets the new release answer a health request while the old one is live.
    C(probe) repeats that request, for a release that is only well after its migrations. Before a rollback C(recache)
    makes the caches anew from what C(shared/.env) has now, until C(revert) puts the old ones back, C(load) shows that
    PHP still loads the release, where a service that its providers do not reach is no more than a warning, and
    C(exchange), where it goes in batches, gives both releases each other's assets, as C(stage) does. C(switch) makes it
    live by one atomic rename.
    C(restart) ends workers of other releases gracefully and reloads PHP-FPM where needed. C(verify) shows that the web
    server, PHP-FPM and each worker run the release. C(revert) goes back. C(finish) removes old releases and gives the
    lock back.
  - On the one host that migrates, C(plan) tells the pending migrations, their SQL and what it risks, and changes
    nothing; whether a release may go on with it is for the caller to judge. C(snapshot) dumps the database, C(migrate)
    applies what is pending, C(restore) makes the database what a snapshot holds, after a snapshot of what it is now.
  - C(down) shuts the site before a migration that what is live would not stand, and shows that it is shut; C(up) opens
    it again. C(revert) and C(finish) open it in any case. A maintenance that was put up by hand is left as it is, and
    said so. Health checks get through by the secret.
  - Every phase but C(preflight) and C(revert) fails when O(run) does not hold the lock. While a phase works the lock
    gets a heartbeat four times in O(lock_ttl); when another run has taken it over meanwhile, the phase stops before its
    next change.
  - C(preflight) removes what a killed run has left, unless O(resume) is true. Nothing that was ever live, and nothing
    that a process runs, is removed. It takes over a maintenance that a killed run has left, so that this run ends it,
    unless O(maintenance_held) says why not.
  - A C(finish) that follows C(verify) in the same run does not fail but warns, since the release is live and well.
  - A phase can be repeated. A release that was staged to the end is recognised and only asked again.
author:
  - The slipway.laravel authors (@slipway)
options:
  root:
    description:
      - Directory of the application.
    type: path
    required: true
  phases:
    description:
      - The phases to carry out, in this order.
    type: list
    elements: str
    choices:
      - preflight
      - build
      - stage
      - plan
      - recache
      - load
      - down
      - snapshot
      - migrate
      - restore
      - probe
      - exchange
      - switch
      - restart
      - verify
      - up
      - revert
      - finish
    required: true
  run:
    description:
      - Name of this run of the playbook, the same on every host; it identifies the holder of the lock.
    type: str
    required: true
  owner:
    description:
      - Who releases, for those who find the lock held.
    type: str
    default: unknown
  release:
    description:
      - Release id, the name of the directory in C(releases/). Needed by every phase but C(preflight), C(down), C(up)
        and C(revert).
    type: str
    default: ""
  previous:
    description:
      - Release id that was live when the run began; C(revert) goes back to it. Empty when there was none.
    type: str
    default: ""
  bad:
    description:
      - Release id that a rollback leaves. C(finish) marks it as bad, so that no later rollback goes there.
    type: str
    default: ""
  artifact:
    description:
      - Path of the artifact on this host, for C(stage).
    type: path
  sha256:
    description:
      - Checksum that the artifact must have.
    type: str
  shared_dirs:
    description:
      - Directories of the application that outlive releases, relative to its root. The first release seeds them.
    type: list
    elements: str
    default: [storage]
  shared_files:
    description:
      - Files of the application that outlive releases.
    type: list
    elements: str
    default: [.env]
  assets_dir:
    description:
      - Directory of built, hashed assets. Those of the live release are kept in the new one for one release, for pages
        that browsers loaded before the switch; and the live one gets those of the new one, for pages of hosts that have
        switched already, and for the case that all go back. Empty to leave that out.
    type: str
    default: public/build
  stage_commands:
    description:
      - Artisan commands that prepare the release in its final path, each as a list of words.
    type: list
    elements: list
    default: [["config:cache"], ["route:cache"], ["view:cache"], ["event:cache"]]
  restart_commands:
    description:
      - Commands, each as a list of words, that C(restart) runs after the old workers were asked to end. They have to
        make
        sure that workers run, for example C(supervisorctl start).
    type: list
    elements: list
    default: []
  workers:
    description:
      - Numbers of long-running processes that C(verify) waits for, by their artisan command, such as four of
        C(queue:work), one of C(horizon) and one of C(reverb:start). None stands in for another. Of a O(kind=node)
        application the number of its servers, as C(node).
      - What one of them has started does not count, nor what ends within two seconds, nor what this user may not see
        because it is another user's.
    type: dict
    default: {}
  fpm_socket:
    description:
      - Socket of the PHP-FPM pool, a path or C(host:port). Empty on a host without PHP-FPM.
    type: str
    default: ""
  fpm_reload:
    description:
      - When C(restart) reloads PHP-FPM, in a rolling release with the batch of the host. A switch alone never needs it,
        since nginx hands over resolved paths.
    type: str
    choices:
      auto: When less than a fifth of OPcache's memory or keys is free, or when it has preloaded code of another
        release.
      always: Each time.
      never: Never.
    default: auto
  fpm_reload_command:
    description:
      - Command that reloads PHP-FPM, as a list of words. C({version}) stands for the version of O(php), such as C(8.4).
    type: list
    elements: str
    default: []
  health_path:
    description:
      - Path of the health page. Any status from 200 to 299 is well.
    type: str
    default: /up
  health_url:
    description:
      - Address of the health page as the web server of this host serves it. Empty on a host without one.
      - A redirect is not followed and is not well.
    type: str
    default: ""
  health_host:
    description:
      - Host header of health requests.
    type: str
    default: localhost
  verify_tls:
    description:
      - Whether the certificate of O(health_url) is checked.
    type: bool
    default: true
  timeout:
    description:
      - Seconds within which C(verify) must find everything well. Workers end the job that they have in hand first, so
        this should be longer than the longest job may take.
      - When nothing else is wrong by then, workers of another release that C(restart) has asked to end and that still
        have a job in hand are a warning only. To go back would not end it sooner.
    type: int
    default: 60
  health_timeout:
    description:
      - Seconds for which the health page and O(smoke) may be not well on end, where that is less than O(timeout).
      - 0 sets no limit of its own.
    type: int
    default: 0
  keep:
    description:
      - Number of releases to keep. The live one, the one a rollback would go to and those with running processes are
        kept
        in any case.
    type: int
    default: 5
  min_free_mb:
    description:
      - MiB that must be free at least. Twice the size of the live release is always asked for.
    type: int
    default: 200
  lock_ttl:
    description:
      - Seconds without a sign of life after which a lock counts as left behind and is taken over. A run gives signs
        on a host only while a module works there, so it has to be longer than the longest build, and than any pause.
      - The holder is a run on the controller, so that a reboot of this host does not free the lock.
    type: int
    default: 3600
  takeover:
    description:
      - Take the lock from whoever holds it.
    type: bool
    default: false
  controller:
    description:
      - The process that carries the run, for the lock. The controller gives it by itself.
    type: str
    default: ""
  dead_run:
    description:
      - A run whose process on the controller has ended, and whose lock is taken for that reason. Where a module of it
        is still at work on this host, that is waited for, for up to a minute. The controller gives it by itself when
        it finds that the holder of the lock was one of its own processes.
    type: str
    default: ""
  build:
    description:
      - What C(build) makes, as the options of M(slipway.laravel.release_build).
      - Its C(live_commit), C(release) and C(force) follow from what C(preflight) found, and its C(run) is O(run).
    type: dict
    default: {}
  artifact_from:
    description:
      - Path of the artifact on the controller, for C(stage) on a host that has no O(artifact). It is taken along in the
        same run of the module, and removed from the host with it.
    type: str
  verify_workers:
    description:
      - Whether C(restart) and C(verify) are about the workers as well. In a batch of a rolling release these still run
        the old one; then both are only about what answers requests, PHP-FPM and the servers of Octane and of Node.
    type: bool
    default: true
  restart_all:
    description:
      - Whether C(restart) also ends workers that run O(release) already, as after its database was restored.
    type: bool
    default: false
  leave_unproven:
    description:
      - Whether C(revert) goes back to O(previous) from what a killed run has left live and unproven as well, where
        O(release) was not live yet. Other hosts have begun to switch, and do not go back to it.
    type: bool
    default: false
  stays_live:
    description:
      - Whether O(release) stays live, though the run has failed. Users were let in by then, to a restored database that
        fits this release alone. Then O(previous) is O(release), and C(revert) leaves it the caches of C(recache).
    type: bool
    default: false
  stay_shut:
    description:
      - Whether C(revert) leaves the host as it is and in maintenance, since what is live may not fit the database. It
        gives the lock back, and O(maintenance_held) says why the site is shut.
    type: bool
    default: false
  kind:
    description:
      - What the application is. With V(node) nothing of PHP is asked for or run. C(stage) unpacks and links what is
        shared, and starts O(probe_command) where it is given; C(restart) runs O(restart_commands) alone; C(verify)
        looks for JavaScript processes with the release as working directory.
    type: str
    choices: [laravel, node]
    default: laravel
  probe_command:
    description:
      - Command, as a list of words, that starts a O(kind=node) application in the staged release for a moment, to be
        asked for O(health_path) before it gets traffic. C({port}) in it stands for a free port, which is also in
        C(PORT). It is ended afterwards. It has the variables of O(environment) only, not those of the application's
        service.
    type: list
    elements: str
    default: []
  resume:
    description:
      - Keep what a killed run has left, so that this one goes on with its release; RV(phases) of C(preflight) tells it
        as C(unfinished). Without it the leftovers are removed.
    type: bool
    default: false
  rollback:
    description:
      - Whether the run is a rollback. Then RV(phases) of C(preflight) tells as C(environments) what earlier releases
        have cached of another C(.env), and C(revert) removes no release.
    type: bool
    default: false
  version:
    description:
      - Version that was asked for, such as a tag. C(preflight) notes it, and refuses to O(resume) that of another one.
    type: str
    default: ""
  maintenance_secret:
    description:
      - What lets a request through Laravel's maintenance, C(/<secret>) in a browser; 8 characters or more out of
        letters, digits and C(._~-). The same on every host. C(down) of a O(kind=laravel) application needs it.
    type: str
    default: ""
  maintenance_flags:
    description:
      - Files that this user may write, which make nginx answer 503 as long as they are there, whatever PHP does. They
        are set beside Laravel's own maintenance; a O(kind=node) application has nothing else.
    type: list
    elements: str
    default: []
  maintenance_retry:
    description:
      - Seconds after which clients may ask again, sent as C(Retry-After).
    type: int
    default: 60
  maintenance_render:
    description:
      - View that Laravel shows, such as C(errors::503), made beforehand so that it needs nothing of the application.
        Empty for the application's own page, which it makes each time.
    type: str
    default: ""
  maintenance_path:
    description:
      - Page that must answer 503 in maintenance, and something else with the secret. Not the health page, which Laravel
        11 and later leave open.
    type: str
    default: /
  maintenance_kept:
    description:
      - Whether C(down) and C(up) are an operator's wish, and no part of a release. What C(down) shuts then stays shut
        until C(up) has this option too, or until a release has gone live and is carried out to C(finish). C(revert)
        leaves it. C(up) without this option ends only what C(down) of the same run has begun.
    type: bool
    default: false
  maintenance_held:
    description:
      - Why no later run may open the site that C(down) shuts, until C(up) or C(finish) of this one do. It is noted
        before a C(restore), so that it is still there when that, or the controller, is killed.
      - A run without this option fails at C(preflight) where an earlier one has left such a note, and ends no such
        maintenance. C(revert) ends what this run has noted itself, unless O(stay_shut) is true.
    type: str
    default: ""
  expect:
    description:
      - What C(preflight) is to find besides what every release needs. What is left out is not looked at.
    type: dict
    suboptions:
      app_env:
        description: The C(APP_ENV) that the C(.env) has to have.
        type: str
        default: ""
      app_url:
        description: The C(APP_URL) that it has to have. A final slash and the usual port make no difference.
        type: str
        default: ""
      max_failed_jobs:
        description:
          - Number of failed jobs that may lie in the queue. The live release is booted to count them, which takes about
            0.3 s.
        type: int
      services:
        description:
          - Units of systemd that have to be active. C({version}) stands for the version of O(php), such as C(8.4).
        type: list
        elements: str
        default: []
      hosts:
        description:
          - Names of the site. Each has to have an address in the DNS, as this host asks it. Patterns are left out.
        type: list
        elements: str
        default: []
      addresses:
        description:
          - Addresses that the names of O(expect.hosts) may lead to, those of the load balancer for example. Empty
            allows any.
        type: list
        elements: str
        default: []
      min_certificate_days:
        description:
          - Days that the certificate of each of O(expect.hosts) has to be valid for. It is also to be trusted where
            O(verify_tls) is set.
        type: int
      certificate_address:
        description:
          - Where certificates are asked for, C(host:port). By default at the host of O(health_url), and its port if
            that is one of HTTPS, otherwise 443.
        type: str
        default: ""
      now:
        description:
          - Time of the controller when it began this task, in seconds since 1970, to compare this host's clock with.
        type: float
      max_clock_skew:
        description:
          - Seconds that this host's clock may differ from O(expect.now). The start of the task is part of them.
        type: int
        default: 60
      skip:
        description:
          - Checks to leave out.
          - V(database), V(redis), V(cache), V(queue) and V(mail) read C(.env) as Laravel's own configuration does.
            Leave those out that the application reaches in another way. V(database) warns of an SQLite file that would
            lie in each release as well.
          - V(environment) refuses C(APP_DEBUG) that is on where C(APP_ENV) or O(expect.app_env) is C(production), and
            warns of it elsewhere.
          - V(workers), for workers of the application whose working directory is no release, is one of C(verify) too.
        type: list
        elements: str
        choices:
          - cache
          - certificate
          - clock
          - database
          - directories
          - environment
          - failed_jobs
          - mail
          - names
          - programs
          - queue
          - redis
          - rights
          - services
          - space
          - workers
        default: []
      warn:
        description:
          - Checks whose problems are warnings. A rollback, for example, has to be possible while the mail host is down,
            and when the release that it leaves has filled the disk.
        type: list
        elements: str
        choices:
          - cache
          - certificate
          - clock
          - database
          - directories
          - environment
          - failed_jobs
          - mail
          - names
          - programs
          - queue
          - redis
          - rights
          - services
          - space
          - workers
        default: []
  requires:
    description:
      - What the release asks for, as M(slipway.laravel.release_build) returns it. C(stage) compares the host with it
        before anything is unpacked, and names all that is missing.
    type: dict
    suboptions:
      php:
        description:
          - Constraint of Composer for the version of PHP, or a list of constraints that all have to be met. PHP is
            asked on the command line and, where there is O(fpm_socket), through PHP-FPM.
        type: raw
      extensions:
        description: Extensions of PHP, with or without C(ext-).
        type: list
        elements: str
        default: []
      env_keys:
        description: Keys that the shared C(.env) has to have, with whatever value.
        type: list
        elements: str
        default: []
      node:
        description: Constraint of npm for the version of Node. Looked at for an application of Node only.
        type: str
  optional_env:
    description:
      - Keys of O(requires.env_keys) that may be missing. Patterns such as C(AWS_*) are understood.
    type: list
    elements: str
    default: []
  differing_env:
    description:
      - Keys of the shared C(.env) that may have another value on each host. Patterns such as C(AWS_*) are understood.
    type: list
    elements: str
    default: []
  env_salt:
    description:
      - A secret that the hosts of one run have in common. With it, RV(offer) tells whether hosts have the same values
        in their C(.env), and nobody which.
    type: str
    default: ""
  node:
    description:
      - Name or path of the Node interpreter, for O(requires.node).
    type: str
    default: node
  smoke:
    description:
      - Pages that C(verify) asks for besides the health page, until O(timeout) is over.
      - A redirect is followed only from HTTP to HTTPS of the same name and path, at the same address.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Path of a page, which the web server of O(health_url) is asked for. A host without one does not ask.
        type: str
      url:
        description:
          - Address of a page anywhere, through the front door for example, instead of O(smoke[].path).
          - What it has before an C(@) or behind a C(?) is not shown.
        type: str
      host:
        description:
          - Host header, and name that TLS asks for. By default O(health_host) for O(smoke[].path), and the name in
            O(smoke[].url).
        type: str
        default: ""
      status:
        description:
          - Status that it has to answer, or a list of those that are well. By default any from 200 to 299.
        type: list
        elements: int
        default: []
      status_below:
        description:
          - Any status below this one is well, instead of O(smoke[].status), whichever release the page is of. V(500)
            finds a page that fails where it is not known what it shows, such as a login or a redirect.
          - The answer 503 of a maintenance that somebody has put up by hand is well too.
        type: int
      contains:
        description:
          - Text that has to be in the first MiB of the page.
        type: str
        default: ""
      max_ms:
        description:
          - Milliseconds that it may take at most. 0 sets no limit.
        type: int
        default: 0
  snapshot_command:
    description:
      - Command, as a list of words, by which C(snapshot) has the snapshot of a managed database taken. The last line
        that it prints is the id. C({snapshot}) in a word stands for a name that no other snapshot has, C({release}) for
        O(release), or, before a C(restore), for that name too.
      - Empty for a dump of the database that the shared C(.env) names, into C(.slipway/snapshots/), by C(mariadb-dump),
        C(mysqldump) or C(pg_dump), or for SQLite as a copy of its file.
    type: list
    elements: str
    default: []
  restore_command:
    description:
      - Command, as a list of words, by which C(restore) has a snapshot restored that O(snapshot_command) took. It must
        not end before the database serves again. C({snapshot}) in a word stands for O(snapshot_id) and has to be there,
        C({release}) for O(release).
      - O(snapshot_command) takes a snapshot of what is there first. When the command fails, it is asked to restore
        that.
    type: list
    elements: str
    default: []
  snapshot_required:
    description:
      - Whether C(snapshot) fails on a host without a program that dumps the database. Otherwise it says so and goes on.
    type: bool
    default: true
  snapshot_keep:
    description:
      - Number of snapshots to keep. Those of the newest release are kept in any case.
    type: int
    default: 3
  snapshot_id:
    description:
      - Id of the snapshot that C(restore) restores.
    type: str
    default: ""
  migrate_isolated:
    description:
      - Whether C(migrate) also takes the lock of C(artisan migrate --isolated), which keeps off whoever migrates with
        it by hand or in a container's entry point. When somebody else holds it, the phase fails; of itself the command
        would exit with 0.
    type: str
    choices:
      auto: Where this Laravel has it (9 and later) and the cache store has locks that other processes see.
      always: Fail where that is not so.
      never: Never.
    default: auto
  seeders:
    description:
      - Classes of seeders that C(migrate) runs each time after the migrations. They have to bear being repeated.
    type: list
    elements: str
    default: []
  artifact_url:
    description:
      - Address from which C(stage) fetches the artifact by HTTP or HTTPS, instead of O(artifact). A user, a password
        and a query in it are never shown.
      - O(sha256) is checked before anything is unpacked. An artifact that is in C(.slipway/artifacts) already with that
        checksum is not fetched again.
      - Fails after 30 seconds without data; a connection that breaks is tried 3 times.
    type: str
extends_documentation_fragment:
  - slipway.laravel.laravel
  - slipway.laravel.laravel.php
attributes:
  check_mode:
    description: C(preflight) looks at everything and takes no lock; the other phases say whether they would change
      something.
    support: full
  diff_mode:
    description: Shows the release that C(current) points at, before and after.
    support: full
"""

EXAMPLES = r"""
- name: Go live with a release that is staged on every host
  slipway.laravel.release:
    root: /var/www/app
    run: "{{ run_id }}"
    release: 20261121T013005Z-1a2b3c4d
    phases: [switch]

- name: Restart and prove it
  slipway.laravel.release:
    root: /var/www/app
    run: "{{ run_id }}"
    release: 20261121T013005Z-1a2b3c4d
    phases: [restart, verify, finish]
    fpm_socket: /run/php/app.sock
    health_url: http://127.0.0.1/up

- name: Stage an application of Node, and see that it starts
  slipway.laravel.release:
    root: /var/www/web
    run: "{{ run_id }}"
    release: 20261121T013005Z-1a2b3c4d
    kind: node
    phases: [stage]
    artifact: /var/www/web/.slipway/artifacts/20261121T013005Z-1a2b3c4d.tar.gz
    sha256: "{{ build.sha256 }}"
    shared_dirs: []
    shared_files: []
    assets_dir: .next/static
    probe_command: [node, node_modules/next/dist/bin/next, start, --port, "{port}"]
    health_path: /
"""

RETURN = r"""
phases:
  description:
    - One entry for each phase that was begun, with C(phase), C(seconds), C(changed) and its evidence.
    - C(preflight) has among others C(history), the releases as they went live, oldest first, one as often as it did,
      C(switched_at), when each of these was, C(bad) and C(migrated), which of the C(releases) were bad and which
      migrated, C(snapshots), with C(id), C(created_at), the C(release) that each was taken before, and whether it is
      C(managed), taken by O(snapshot_command), C(commits), those of the C(releases), as far as they are known,
      C(environments), in a O(rollback) by release the names of what it has cached with other values than C(shared/.env)
      has now, C(decisive) those of the database, Redis and the key, C(others), and whether that is C(known),
      C(taken_from), the holder that the lock was taken from, C(unfinished), what a killed run was about (C(run),
      C(owner), C(since), C(release), C(version), C(commit), C(phase), C(artifact), C(sha256), and whether it is
      C(staged) here), C(unproven), the live release where such a run has switched to it and no release has finished
      since, C(rolled_back_from), in its place what a killed rollback has left for the live release, C(removed), the
      releases of such a run that were removed, C(maintenance), one that it had left, C(flags), how many
      O(maintenance_flags) there are, and C(goes_with_a_restore), where O(maintenance_held) announces one, what of the
      application is in its database besides data, C(maintenance) or C(queue).
    - C(load) has C(by), what has loaded the release, and C(note) where a provider ended with an error that may be of a
      service.
    - C(verify) has C(workers) with C(pid), C(command), C(release) and C(started), those of them that still end a job
      in the code of another release as C(finishing), and C(answers), the number of
      requests, one for each process of the PHP-FPM pool, many of them at once, that the web server answered in the
      name of the release, and C(pages), what the health page and the smoke checks answered.
    - C(down) and C(up) have C(shown), what answered which status, and C(left), when a maintenance was put up by hand.
      C(down) has C(entrance), by what the application lets somebody in, V(secret), O(maintenance_secret), or
      V(earlier secret), that of a maintenance which was there before, if it had one; empty when it is not the
      application that is shut.
    - C(revert) has C(lost) where the lock was V(taken) by another run, or V(given back), and the release is live.
    - C(restore) that failed has C(unchanged) where the database is known to be what it was before.
  returned: always
  type: list
  elements: dict
left_out:
  description: Hosts that the play names and C(--limit) leaves out, told by the controller.
  returned: when C(preflight) was carried out
  type: list
  elements: str
offer:
  description: What the host has for a release, for the option O(slipway.laravel.release_build#module:offers).
  returned: when C(preflight) was carried out without C(build)
  type: dict
  contains:
    kind:
      description: O(kind).
      type: str
    interpreters:
      description: By name the C(version) of each, and the C(extensions) of PHP, on the command line and by PHP-FPM.
      type: dict
    problem:
      description: Why the interpreter cannot be run.
      type: str
    note:
      description: Why PHP-FPM does not tell.
      type: str
    env:
      description:
        - The C(path) of the shared C(.env) and its C(keys), without values, or the C(problem) of reading it.
        - Its C(prints), by key, are the same on hosts with the same value, within a run with one O(env_salt).
      type: dict
    optional:
      description: O(optional_env).
      type: list
      elements: str
    differing:
      description: O(differing_env).
      type: list
      elements: str
build:
  description: What M(slipway.laravel.release_build) returns, but for its C(phases).
  returned: when C(build) was carried out
  type: dict
release:
  description: O(release), or the one that C(build) made.
  returned: always
  type: str
current:
  description: Release id that is live now, null when there is none.
  returned: always
  type: str
failed_phase:
  description: The phase that failed.
  returned: failure
  type: str
"""

import contextlib
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._dotenv import parse_dotenv
from ansible_collections.slipway.laravel.plugins.module_utils._masking import Masker, secrets_of
from ansible_collections.slipway.laravel.plugins.module_utils._phase import PhaseError
from ansible_collections.slipway.laravel.plugins.module_utils._phases import Phases

PHASES = [
    *("preflight", "build", "stage", "plan", "recache", "load", "down", "snapshot", "migrate", "restore", "probe"),
    *("exchange", "switch", "restart", "verify", "up", "revert", "finish"),
]
# What preflight looks at, for the option that leaves something out.
CHECKS = (
    *("cache", "certificate", "clock", "database", "directories", "environment", "failed_jobs", "mail", "names"),
    *("programs", "queue", "redis", "rights", "services", "space", "workers"),
)


def argument_spec() -> dict[str, dict[str, Any]]:
    text = {"type": "str", "default": ""}
    return {
        "root": {"type": "path", "required": True},
        "phases": {"type": "list", "elements": "str", "choices": PHASES, "required": True},
        "run": {"type": "str", "required": True},
        "owner": {"type": "str", "default": "unknown"},
        "release": text,
        "previous": text,
        "bad": text,
        "artifact": {"type": "path"},
        "sha256": {"type": "str"},
        "shared_dirs": {"type": "list", "elements": "str", "default": ["storage"]},
        "shared_files": {"type": "list", "elements": "str", "default": [".env"]},
        "assets_dir": {"type": "str", "default": "public/build"},
        "stage_commands": {
            "type": "list",
            "elements": "list",
            "default": [["config:cache"], ["route:cache"], ["view:cache"], ["event:cache"]],
        },
        "restart_commands": {"type": "list", "elements": "list", "default": []},
        "workers": {"type": "dict", "default": {}},
        "fpm_socket": text,
        "fpm_reload": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
        "fpm_reload_command": {"type": "list", "elements": "str", "default": []},
        "health_path": {"type": "str", "default": "/up"},
        "health_url": text,
        "health_host": {"type": "str", "default": "localhost"},
        "verify_tls": {"type": "bool", "default": True},
        "timeout": {"type": "int", "default": 60},
        "health_timeout": {"type": "int", "default": 0},
        "keep": {"type": "int", "default": 5},
        "min_free_mb": {"type": "int", "default": 200},
        "lock_ttl": {"type": "int", "default": 3600},
        "takeover": {"type": "bool", "default": False},
        "controller": text,
        "dead_run": text,
        "kind": {"type": "str", "choices": ["laravel", "node"], "default": "laravel"},
        "probe_command": {"type": "list", "elements": "str", "default": []},
        "resume": {"type": "bool", "default": False},
        "rollback": {"type": "bool", "default": False},
        "version": text,
        "maintenance_secret": {"type": "str", "default": "", "no_log": True},
        "maintenance_flags": {"type": "list", "elements": "str", "default": []},
        "maintenance_retry": {"type": "int", "default": 60},
        "maintenance_render": text,
        "maintenance_path": {"type": "str", "default": "/"},
        "maintenance_kept": {"type": "bool", "default": False},
        "maintenance_held": text,
        # plan, snapshot, migrate, restore
        "snapshot_command": {"type": "list", "elements": "str", "default": []},
        "restore_command": {"type": "list", "elements": "str", "default": []},
        "snapshot_required": {"type": "bool", "default": True},
        "snapshot_keep": {"type": "int", "default": 3},
        "snapshot_id": text,
        "migrate_isolated": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
        "seeders": {"type": "list", "elements": "str", "default": []},
        "php": {"type": "str", "default": "php"},
        "environment": {"type": "dict", "default": {}, "no_log": True},
        # The action plugin of the same name has made an artifact of it.
        "artifact_from": {"type": "str"},
        # As a whole, since its options are those of another module; what is no secret in it is shown all the same.
        "build": {"type": "dict", "default": {}, "no_log": True},
        "verify_workers": {"type": "bool", "default": True},
        "restart_all": {"type": "bool", "default": False},
        "leave_unproven": {"type": "bool", "default": False},
        "stays_live": {"type": "bool", "default": False},
        "stay_shut": {"type": "bool", "default": False},
        **_checks_spec(),
    }


def _checks_spec() -> dict[str, dict[str, Any]]:
    """Return the options of what is looked at before, and asked for after a release."""
    text, names = {"type": "str", "default": ""}, {"type": "list", "elements": "str", "default": []}
    expect = {
        "app_env": text,
        "app_url": text,
        "max_failed_jobs": {"type": "int"},
        "services": names,
        "hosts": names,
        "addresses": names,
        "min_certificate_days": {"type": "int"},
        "certificate_address": text,
        "now": {"type": "float"},
        "max_clock_skew": {"type": "int", "default": 60},
        "skip": {**names, "choices": list(CHECKS)},
        "warn": {**names, "choices": list(CHECKS)},
    }
    requires = {
        "php": {"type": "raw"},
        "extensions": names,
        "env_keys": {**names, "no_log": False},
        "node": {"type": "str"},
    }
    smoke = {
        "path": {"type": "str", "no_log": True},
        "url": {"type": "str", "no_log": True},
        "host": text,
        "status": {"type": "list", "elements": "int", "default": []},
        "status_below": {"type": "int"},
        "contains": text,
        "max_ms": {"type": "int", "default": 0},
    }
    either = {
        "mutually_exclusive": [("path", "url"), ("status", "status_below")],
        "required_one_of": [("path", "url")],
    }
    return {
        "expect": {"type": "dict", "options": expect, "apply_defaults": True},
        "requires": {"type": "dict", "options": requires, "apply_defaults": True},
        "optional_env": names,
        "differing_env": names,
        "env_salt": {"type": "str", "default": "", "no_log": True},
        "node": {"type": "str", "default": "node"},
        "smoke": {"type": "list", "elements": "dict", "default": [], "options": smoke, **either},
        "artifact_url": {"type": "str", "no_log": True},
    }


def masker_of(shared: str) -> Masker:
    """Return what knows the secrets of the application's environment: commands that fail may tell them."""
    try:
        with open(os.path.join(shared, ".env"), encoding="utf-8", errors="replace") as handle:
            return Masker(secrets_of(parse_dotenv(handle.read())))
    except OSError:
        return Masker()


def without_secrets(evidence: Any, masker: Masker) -> Any:
    """Return what a phase tells without the secrets that programs and pages may have said in it.

    Words without a blank stay: ids, paths, versions and addresses are what the next phases go by, and a password such
    as ``production`` would blot them out.
    """
    if isinstance(evidence, dict):
        return {name: without_secrets(value, masker) for name, value in evidence.items()}
    if isinstance(evidence, (list, tuple)):
        return [without_secrets(value, masker) for value in evidence]
    return masker.known(evidence) if isinstance(evidence, str) and " " in evidence.strip() else evidence


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    phases: list[str] = module.params["phases"]
    nameless = {"preflight", "down", "up", "revert"}
    if "build" in phases:
        if phases[:2] != ["preflight", "build"] or module.params["release"]:
            module.fail_json(
                msg="build follows preflight, with which a run begins, and finds the release itself; elsewhere there "
                "is slipway.laravel.release_build"
            )
    elif not module.params["release"] and not nameless.issuperset(phases):
        module.fail_json(msg=f"release is needed for the phases {', '.join(p for p in phases if p not in nameless)}")
    if module.params["release"] in (".", "..") or "/" in module.params["release"]:
        module.fail_json(msg=f"release {module.params['release']!r} is not the name of a directory in releases/")
    if not all(str(count).isdigit() for count in module.params["workers"].values()):
        module.fail_json(msg="workers has numbers by command, such as {queue:work: 4, horizon: 1}")
    with contextlib.ExitStack() as until_end:
        carry_out(module, Phases(module, until_end))


def carry_out(module: AnsibleModule, work: Phases) -> None:
    """Carry out the phases, one after the other, until one fails."""
    done: list[dict[str, Any]] = []

    def result() -> dict[str, Any]:
        found: dict[str, Any] = {"release": module.params["release"], "phases": done}
        if work.built:
            found["build"] = work.built
        elif work.offer:
            found["offer"] = work.offer
        return found

    live_before = work.layout.current()
    for phase in module.params["phases"]:
        started = time.monotonic()
        try:
            evidence = work.run(phase)
        except PhaseError as exc:
            from ansible_collections.slipway.laravel.plugins.module_utils._migrate import (  # noqa: PLC0415
                without_values,
            )

            seconds = round(time.monotonic() - started, 3)
            masker = masker_of(work.layout.shared_dir)
            # Any command of the application may have asked its database.
            error = without_values(str(exc))
            proven = any(entry["phase"] == "verify" for entry in done)
            failed = {"phase": phase, "seconds": seconds, "changed": False, **exc.evidence, "error": error}
            done.append(masker.data(failed))
            if phase == "finish" and proven:
                module.warn(masker.text(f"finish: {error}"))
                break
            module.fail_json(
                msg=masker.text(f"{phase}: {error}"),
                failed_phase=phase,
                current=work.layout.current(),
                changed=any(entry["changed"] for entry in done),
                **result(),
                # What a command of the build printed.
                **masker.data(getattr(exc.__cause__, "details", {})),
            )
        masker = masker_of(work.layout.shared_dir)
        evidence = without_secrets(evidence, masker)
        # The error of an application, too, where it needs its migrations, or a service that cannot be reached.
        evidence.update({name: masker.text(evidence[name]) for name in ("probe", "note") if name in evidence})
        if "note" in evidence:
            module.warn(evidence["note"])
        done.append({"phase": phase, "seconds": round(time.monotonic() - started, 3), **evidence})
        if work.built.get("up_to_date"):
            break
    live = work.layout.current()
    live_after = live
    if module.check_mode:
        planned = {"switch": module.params["release"], "revert": module.params["previous"] or None}
        changing = [entry["phase"] for entry in done if entry["changed"] and entry["phase"] in planned]
        live_after = planned[changing[-1]] if changing else live
    diff = {"before": f"current -> {live_before}\n", "after": f"current -> {live_after}\n"}
    changed = any(entry["changed"] for entry in done)
    module.exit_json(changed=changed, current=live, diff=diff, **result())


if __name__ == "__main__":
    main()
