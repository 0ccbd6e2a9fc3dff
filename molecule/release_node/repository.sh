#!/bin/sh
# The repository of the application in ../app: two versions that work and two that do not.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends git >/dev/null
rm -rf /srv/git/work
mkdir -p /srv/git/work
cd /srv/git/work
git -c init.defaultBranch=main init --quiet
git config user.name Slipway
git config user.email slipway@example.com

# version TAG UP LINE: UP is the status of its health page, LINE the first line of its server
version() {
  cp -R /srv/git/app/. .
  sed -i "s/UP)/$2)/; s/'use strict';/'use strict'; $3/" server.js
  sed -i "s/VERSION/$1/" assets/page.js
  # Not in package.json, so that the next build finds the packages that it needs.
  printf '{"version": "%s"}\n' "${1#v}" >version.json
  git add --all
  git commit --quiet --message "$1"
  git tag "$1"
}
version v1.0.0 200 ''
version v1.1.0 200 ''
version v1.2.0-failing-health 500 ''
version v1.2.0-not-starting 200 'process.exit(3);'
# Owned by root, and read by the user that releases.
git config --system safe.directory '*'
