#!/bin/sh
# A stand-in for Composer: installs packages and an autoloader that names the classes of app/, or fails as the file
# composer-error says.
echo "composer $*" >> "$(dirname "$0")/../calls"
if [ -f composer-error ]; then
    cat composer-error >&2
    exit 2
fi
case $1 in
    show) echo '{"platform": ["php 8.4.1", "composer 2.8.8"]}' ;;
    install) mkdir -p vendor/acme && cp composer.lock vendor/acme/package ;;
    dump-autoload) [ -f vendor/acme/package ] || exit 1 ;;
esac
if [ "$1" != show ]; then
    { echo "<?php // packages"; ls app 2> /dev/null || true; } > vendor/autoload.php
fi
