#!/bin/sh
# The server with the database of the application, and its repository with the versions of this scenario.
# host.sh PASSWORD: that of the application's account
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends composer git php-cli php-laravel-framework php-pgsql postgresql >/dev/null
useradd --create-home deploy

runuser -u postgres -- psql -Xq -v ON_ERROR_STOP=1 -v password="$1" <<'SQL'
create role logbook login password :'password';
create role report;
create database logbook owner logbook;
\connect logbook
create extension pgcrypto;
create extension citext;
SQL

chown -R root:root /srv
/srv/examples/build-repository /srv/git
cd /srv/git
git config user.name Slipway
git config user.email slipway@example.com
# Without a front end there is nothing to fetch.
git rm --quiet package.json package-lock.json vite.config.js

# version TAG PARENT: lay what it changes over PARENT
version() {
  git checkout --quiet --detach "$2"
  cp -R "/srv/versions/$1/." .
  git add --all
  git commit --quiet --message "$1"
  git tag "$1"
}
git commit --quiet --message 'No front end'
version first HEAD
version additive first
version locks additive
version concurrently additive
version not-null concurrently
version destructive concurrently
# Owned by root, and read by the user that releases.
git config --system safe.directory '*'
