#!/bin/sh
# A stand-in for npm, and by other names for yarn and pnpm: an install makes node_modules, `run build` makes one hashed
# asset out of resources/app.js and a package.
name=$(basename "$0")
echo "$name $*" >> "$(dirname "$0")/../calls"
case $1 in
    --version) cat "$(dirname "$0")/$name-version" 2> /dev/null || echo 10.2.3 ;;
    ci | install)
        mkdir -p node_modules/.bin && cp package.json node_modules/tool && date +%N > node_modules/.package-lock.json
        ;;
    run)
        mkdir -p public/build
        cat resources/app.js > "public/build/app-$(cat resources/app.js node_modules/tool | sha256sum | cut -c-8).js"
        ;;
    prune | workspaces) rm node_modules/tool ;;
esac
