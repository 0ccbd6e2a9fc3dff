#!/bin/sh
# What stands against an application $2 of the user $3 in the directory $1, by the files in $4 (/etc) as well: what of it
# belongs to whom else, and which other directory with a release nginx, workers or the scheduler use; changes nothing.
set -u
root=${1%/}
for name in releases shared .slipway; do
  [ ! -d "$root/$name" ] || stat -L -c '%U %n' "$root/$name" | sed -n "/^$3 /!s/^/owner /p"
done
# With a release in it, it has moved already.
[ ! -e "$root/current" ] || exit 0
cat "$4/nginx/sites-enabled/$2.conf" "$4/cron.d/$2" "$4/systemd/system/$2-scheduler.service" \
  "$4/supervisor/conf.d/$2"-queue-*.conf "$4/supervisor/conf.d/$2-horizon.conf" "$4/supervisor/conf.d/$2-reverb.conf" \
  2>/dev/null | grep -oE "/[^ ;\"'=]+/current" | sort -u | while read -r current; do
  [ ! -e "$current" ] || echo "root ${current%/current}"
done
