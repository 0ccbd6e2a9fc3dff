#!/bin/sh
# The repositories of the applications in ../app and ../next: versions that work and versions that do not.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends git >/dev/null
rm -rf /srv/git/work
git config --system init.defaultBranch main
# Owned by root, and read by the user that releases.
git config --system safe.directory '*'

# version NAME TAG FILE EXPRESSION: the application NAME, with what sed's EXPRESSION makes of FILE
version() {
  mkdir -p "/srv/git/work/$1"
  cd "/srv/git/work/$1"
  cp -R "/srv/git/$1/." .
  grep -rlZ 'VERSION' . | xargs -0 sed -i "s/VERSION/$2/"
  sed -i "$4" "$3"
  # Not in package.json, so that the next build finds the packages that it needs.
  printf '{"version": "%s"}\n' "${2#v}" >version.json
  [ -d .git ] || git init --quiet
  git add --all
  git -c user.name=Slipway -c user.email=slipway@example.com commit --quiet --message "$2"
  git tag "$2"
}
version app v1.0.0 server.js ''
version app v1.1.0 server.js ''
version app v1.2.0-failing-health server.js 's/status(200)/status(500)/'
version app v1.2.0-not-starting server.js "s/'use strict';/& process.exit(3);/"
# The second one, under systemd and under PM2, ends a moment after it has begun to answer.
second="process.env.PORT === '3001' || process.env.NODE_APP_INSTANCE === '1'"
version app v1.2.0-losing-one server.js "\$a if ($second) setTimeout(() => process.exit(3), 1000);"
version next v1.0.0 app/page.js ''
version next v1.1.0 app/page.js ''
version next v1.2.0-not-building app/page.js '$a }'
