#!/bin/sh
# A stand-in for systemctl is-active: units whose name begins with "dead" are not.
shift
status=0
for unit in "$@"; do
    case "$unit" in
        dead*) echo inactive; status=3 ;;
        *) echo active ;;
    esac
done
exit "$status"
