#!/bin/bash
# Release a version on this host as a script of one's own does that has grown up: the steps of a release and nothing
# that watches over them. No lock, no check before or after, no way back. It builds on each host, from a fresh tree, and
# a host that is told to migrates.
set -euo pipefail
version=$1 migrate=$2 root=/var/www/logbook keep=5
export GIT_SSH_COMMAND="ssh -i $root/.slipway/deploy_key -o UserKnownHostsFile=$root/.slipway/known_hosts"

mirror=$root/.slipway/script.git
[ -d "$mirror" ] || git clone --quiet --mirror ssh://git@git1/srv/git/app.git "$mirror"
git -C "$mirror" fetch --quiet --prune
commit=$(git -C "$mirror" rev-parse "$version^{commit}")
release=$(date -u +%Y%m%dT%H%M%SZ)-${commit:0:8}
path=$root/releases/$release
mkdir "$path"
git -C "$mirror" archive "$commit" | tar -x -C "$path"
echo "$commit" >"$path/REVISION"

cd "$path"
mkdir -p ../../shared/storage/{app/public,framework/{cache/data,sessions,views},logs}
rm -rf storage
ln -s ../../shared/storage storage
ln -s ../../shared/.env .env
composer install --quiet --no-dev --optimize-autoloader --prefer-dist --no-interaction --no-ansi
if [ -f package.json ]; then
    npm ci --silent --no-audit --no-fund
    npm run --silent build >/dev/null
    rm -rf node_modules
fi
for cache in config route view event; do php artisan --quiet "$cache:cache"; done
php artisan --quiet storage:link
[ "$migrate" = no ] || php artisan --quiet migrate --force

ln -s "releases/$release" "$root/current.new"
mv -T "$root/current.new" "$root/current"
php artisan --quiet queue:restart
cd "$root/releases"
ls -1d 2* | head -n -"$keep" | xargs --no-run-if-empty rm -rf
