#!/bin/sh
# A stand-in for Composer: installs an autoloader, or fails as the file composer-error says.
echo "composer $*" >> "$(dirname "$0")/../calls"
if [ -f composer-error ]; then
    cat composer-error >&2
    exit 2
fi
mkdir vendor && echo "<?php // packages" > vendor/autoload.php
