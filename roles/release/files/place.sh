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
# Where a file has the application. A site may serve parts of others as well, by an alias say, and what has the
# application in $1 already has nothing to say of others.
supervisor=$4/supervisor/conf.d
for file in "$4/nginx/sites-enabled/$2.conf" "$4/cron.d/$2" "$4/systemd/system/$2-scheduler.service" \
  "$supervisor/$2"-queue-*.conf "$supervisor/$2-horizon.conf" "$supervisor/$2-reverb.conf"; do
  roots=$(sed -nE -e "s%^ *root +[\"']?(/[^ ;\"']+)/current([/;\"' ].*)?$%\1%p" -e 's%^directory=(/.+)/current$%\1%p' \
    -e "s%^[^#].*[ =\"'](/[^ ;\"'=]+)/current/artisan.*%\1%p" "$file" 2>/dev/null)
  printf '%s\n' "$roots" | grep -qxF "$root" || printf '%s\n' "$roots"
done | sort -u | while read -r other; do
  [ -z "$other" ] || [ ! -e "$other/current" ] || echo "root $other"
done
