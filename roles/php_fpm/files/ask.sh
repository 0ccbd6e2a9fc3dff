#!/bin/sh
# shellcheck disable=SC2046,SC2086  # the names are words of their own
# What the host has of the packages, users and groups on standard input ("package php8.4-fpm"); changes nothing.
set -eu
input=$(cat)
named() { printf '%s\n' "$input" | sed -n "s/^$1 //p"; }
installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' $(named package) 2>/dev/null |
  sed -n 's/^installed //p')
printf '%s\n' "$installed" | sed -n 's/^./package &/p'
missing=$(named package | grep -Fxv "$installed" || true)
[ -z "$missing" ] || LC_ALL=C apt-cache policy $missing $(named own) | awk '
  /^[^ ].*:$/ { name = substr($1, 1, length($1) - 1) }
  $1 == "Candidate:" && $2 != "(none)" { print "available " name }'
getent passwd $(named user) | sed 's/:.*//; s/^/user /' || true
getent group $(named group) | sed 's/:.*//; s/^/group /' || true
[ ! -e /etc/apt/sources.list.d/slipway-php.sources ] || echo repository
[ ! -e /etc/apt/keyrings/slipway-php.asc ] || echo "key $(base64 -w 0 /etc/apt/keyrings/slipway-php.asc)"
[ ! -x /usr/local/bin/composer ] || COMPOSER_ALLOW_SUPERUSER=1 /usr/local/bin/composer --version --no-ansi 2>/dev/null |
  sed -n 's/^Composer version \([0-9.]*\).*/composer \1/p'
[ ! -e /etc/slipway/php-fpm.json ] || echo "before $(base64 -w 0 /etc/slipway/php-fpm.json)"
[ ! -e /etc/slipway/php-fpm.json ] || [ ! -x /usr/local/sbin/slipway-php-fpm ] || echo program
