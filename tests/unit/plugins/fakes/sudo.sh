#!/bin/sh
# A stand-in for sudo: takes note of the command and does not run it.
echo "sudo $*" >> "$(dirname "$0")/../calls"
