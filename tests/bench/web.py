#!/usr/bin/env python3
"""Requests per second and p99 of the sample application's pages: our configuration against the distribution's own.

On a host of an inventory, the demo's unless another is named, a second nginx and a second PHP-FPM serve the same
release on another port, with the files as the packages bring them: nginx.conf, php-fpm.conf, the pool www, php.ini and
OPcache's settings, and the site that Laravel's documentation shows. wrk asks both in turn, in rounds that swap who
comes first. The figures are medians of the rounds. What this adds to the host is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PORT = 8099
# Two static files of 8 KiB: one that nobody compresses, and a text with its compressed twin beside it, as a build
# leaves assets. The stock configuration sends the text as it is.
PAGES = ["/up", "/", "/notes", "/bench.bin", "/bench.txt"]

# Files of the packages, unpacked; only paths, the pool's user and the port are changed, since both run side by side.
# The user has to be the one that owns the application's files.
START = r"""
set -euo pipefail
port=$1 host=$2 app=$3 user=$4
work=/var/tmp/slipway-bench
rm -rf "$work"; mkdir -p "$work/deb" "$work/log" "$work/conf.d"
cd "$work/deb"
dpkg-query -W wrk >/dev/null 2>&1 || touch "$work/wrk-was-missing"
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq -y --no-install-recommends wrk >/dev/null 2>&1 \
  || { apt-get update -qq && apt-get install -qq -y --no-install-recommends wrk >/dev/null; }
fpm=$(ls /usr/sbin/php-fpm[0-9]* | head -n 1); version=${fpm##*php-fpm}
chown _apt .
apt-get download -qq nginx-common "php$version-fpm" "php$version-common"
for deb in *.deb; do dpkg-deb -x "$deb" tree; done
etc=$work/deb/tree/etc

# PHP-FPM: php.ini as the package installs it, and of conf.d what the packages bring.
for file in "/etc/php/$version/fpm/conf.d/"*.ini; do
  case $(readlink "$file") in *mods-available*) cp -L "$file" "$work/conf.d/" ;; esac
done
sed -e "s|^pid = .*|pid = $work/fpm.pid|; s|^error_log = .*|error_log = $work/log/fpm.log|" \
    -e "s|^include=.*|include=$work/www.conf|" "$etc/php/$version/fpm/php-fpm.conf" >"$work/php-fpm.conf"
sed -e "s|^user = .*|user = $user|; s|^group = .*|group = $user|; s|^listen = .*|listen = $work/fpm.sock|" \
    "$etc/php/$version/fpm/pool.d/www.conf" >"$work/www.conf"
systemd-run --quiet --unit slipway-bench-fpm --setenv PHP_INI_SCAN_DIR="$work/conf.d" \
  "$fpm" --nodaemonize -c "/usr/lib/php/$version/php.ini-production" --fpm-config "$work/php-fpm.conf"

cat >"$work/site.conf" <<END
server {
    listen $port;
    server_name $host;
    root $app/current/public;
    add_header X-Frame-Options "SAMEORIGIN";
    add_header X-Content-Type-Options "nosniff";
    index index.php;
    charset utf-8;
    location / { try_files \$uri \$uri/ /index.php?\$query_string; }
    location = /favicon.ico { access_log off; log_not_found off; }
    location = /robots.txt  { access_log off; log_not_found off; }
    error_page 404 /index.php;
    location ~ ^/index\.php(/|\$) {
        fastcgi_pass unix:$work/fpm.sock;
        fastcgi_param SCRIPT_FILENAME \$realpath_root\$fastcgi_script_name;
        include fastcgi_params;
        fastcgi_hide_header X-Powered-By;
    }
    location ~ /\.(?!well-known).* { deny all; }
}
END
sed -e "s|^pid .*|pid $work/nginx.pid;|; s|/var/log/nginx/|$work/log/|" -e '/modules-enabled/d; /conf\.d/d' \
    -e "s|include /etc/nginx/sites-enabled/.*|include $work/site.conf;|; s|/etc/nginx/mime.types|mime.types|" \
    "$etc/nginx/nginx.conf" >"$work/nginx.conf"
cp "$etc/nginx/fastcgi_params" "$etc/nginx/mime.types" "$work/"
/usr/sbin/nginx -q -t -c "$work/nginx.conf"
systemd-run --quiet --unit slipway-bench-nginx /usr/sbin/nginx -c "$work/nginx.conf" -g 'daemon off;'

seq 2000 | head -c 8192 | tee "$app/current/public/bench.txt" >"$app/current/public/bench.bin"
gzip -9 --force --keep "$app/current/public/bench.txt"
cat >"$work/report.lua" <<'END'
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\nRESULT {"requests": %d, "seconds": %f, "p99": %f, "bytes": %d, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(99) / 1000, summary.bytes, failed))
end
END
for url in "http://127.0.0.1:$port/up" "http://127.0.0.1:80/up"; do
  for try in $(seq 100); do
    status=$(python3 - "$url" "$host" <<'END'
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Host": sys.argv[2]})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError as error:
    print(error)
END
)
    [ "$status" = 200 ] && break
    sleep .1
  done
  [ "$status" = 200 ] || { echo "$url answers $status" >&2; tail -n 3 "$work"/log/* >&2; exit 1; }
done
"$fpm" --version | head -n 1
/usr/sbin/nginx -v 2>&1
"""

STOP = r"""
app=$1 work=/var/tmp/slipway-bench
systemctl stop slipway-bench-nginx.service slipway-bench-fpm.service 2>/dev/null
systemctl reset-failed slipway-bench-nginx.service slipway-bench-fpm.service 2>/dev/null
rm -f "$app"/releases/*/public/bench.{bin,txt,txt.gz}
[ ! -e "$work/wrk-was-missing" ] || DEBIAN_FRONTEND=noninteractive apt-get purge -qq -y --autoremove wrk >/dev/null
rm -rf "$work"
"""

MEASURE = r"""
url=$1 host=$2 seconds=$3 connections=$4
exec wrk --threads 1 --connections "$connections" --duration "${seconds}s" --timeout 10s --latency \
  --header "Host: $host" --header 'Accept-Encoding: gzip' --script /var/tmp/slipway-bench/report.lua "$url"
"""


class Host:
    """The host over SSH, as root."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.argv = ["ssh", "-F", str(arguments.ssh_config), arguments.host, "sudo", "bash", "-s", "--"]

    def run(self, script: str, *words: str, check: bool = True) -> str:
        done = subprocess.run([*self.argv, *words], input=script, text=True, capture_output=True, check=False)
        if check and done.returncode:
            sys.exit(f"{' '.join(self.argv)} exited {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout


def variables(arguments: argparse.Namespace) -> dict[str, object]:
    """What the inventory says of the host."""
    argv = [str(ROOT / ".venv/bin/ansible"), arguments.host, "-i", arguments.inventory, "-m", "ansible.builtin.debug"]
    names = ["laravel_root", "laravel_user", "laravel_server_names"]
    text = "{{ [laravel_root, laravel_user, (laravel_server_names | default(['localhost'])) | first] | to_json }}"
    # The checkout's ansible.cfg shows results as YAML.
    env = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run([*argv, "-a", f"msg={text}"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} exited {done.returncode}\n{done.stdout}{done.stderr}")
    found = json.loads(done.stdout[done.stdout.index("{") :])["msg"]
    return dict(zip(names, json.loads(found) if isinstance(found, str) else found, strict=True))


def measure(
    host: Host, port: int, page: str, name: str, arguments: argparse.Namespace, seconds: int
) -> dict[str, float]:
    url = f"http://127.0.0.1:{port}{page}"
    output = host.run(MEASURE, url, name, str(seconds), str(arguments.connections))
    result: dict[str, float] = json.loads(output.rsplit("RESULT ", 1)[1].splitlines()[0])
    if result["failed"]:
        sys.exit(f"{url}: {result['failed']} of {result['requests']} requests failed\n{output}")
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", "--inventory", default="inventories/demo")
    parser.add_argument("--host", default="demo-app", help="host of the inventory (demo-app)")
    parser.add_argument("--ssh-config", type=Path, default=ROOT / ".lab/ssh_config")
    parser.add_argument("-n", "--rounds", type=int, default=4, help="rounds of each page (4)")
    parser.add_argument("-s", "--seconds", type=int, default=5, help="seconds of each measurement (5)")
    parser.add_argument("-c", "--connections", type=int, default=16, help="connections at the same time (16)")
    arguments = parser.parse_args()
    found = variables(arguments)
    app, user, name = (str(found[key]) for key in ("laravel_root", "laravel_user", "laravel_server_names"))
    host = Host(arguments)
    sides = {"ours": 80, "stock": PORT}
    try:
        print(host.run(START, str(PORT), name, app, user).strip(), flush=True)
        print(f"{arguments.rounds} rounds of {arguments.seconds} s, {arguments.connections} connections\n", flush=True)
        print(f"{'page':20} {'':6} {'ours':>9} {'stock':>9} {'ours/stock':>11}", flush=True)
        for page in PAGES:
            results: dict[str, list[dict[str, float]]] = {"ours": [], "stock": []}
            for port in sides.values():
                measure(host, port, page, name, arguments, 1)  # caches are warm after it
            for number in range(arguments.rounds):
                for side in sorted(sides, reverse=bool(number % 2)):
                    results[side].append(measure(host, sides[side], page, name, arguments, arguments.seconds))
            rate = {side: statistics.median(r["requests"] / r["seconds"] for r in of) for side, of in results.items()}
            p99 = {side: statistics.median(r["p99"] for r in of) for side, of in results.items()}
            size = {side: statistics.median(r["bytes"] / r["requests"] for r in of) for side, of in results.items()}
            for unit, value in (("req/s", rate), ("p99 ms", p99), ("bytes", size)):
                ratio = value["ours"] / value["stock"]
                print(f"{page:20} {unit:6} {value['ours']:9.1f} {value['stock']:9.1f} {ratio:11.2f}", flush=True)
    finally:
        host.run(STOP, app, check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
