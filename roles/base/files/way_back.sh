#!/bin/sh
# Keeps a way back for what could end the login in use: "arm SECONDS SERVICE FILE..." saves the files and has systemd
# put them back after that time; "disarm" says that the login has been proven, and fails when that came too late.
set -eu
saved=/run/slipway/way-back
disarm() {
  systemctl stop slipway-way-back.timer 2>/dev/null || true
  systemctl reset-failed slipway-way-back.service 2>/dev/null || true
  rm -rf "$saved"
}
case "$1" in
  arm)
    seconds="$2" service="$3"
    shift 3
    disarm
    # shellcheck disable=SC2174  # both are named
    mkdir -p -m 0700 /run/slipway "$saved"
    number=0
    echo "touch '$saved/gone'" >"$saved/go"
    for file in "$@"; do
      number=$((number + 1))
      if [ -e "$file" ]; then
        cp -p "$file" "$saved/$number"
        echo "cp -p '$saved/$number' '$file'"
      else
        echo "rm -f '$file'"
      fi
    done >>"$saved/go"
    echo "systemctl reload '$service'" >>"$saved/go"
    systemd-run --quiet --unit slipway-way-back --on-active="$seconds" --timer-property=AccuracySec=1s /bin/sh "$saved/go"
    ;;
  disarm)
    if [ -e "$saved/gone" ]; then
      echo "the old settings have come back meanwhile" >&2
      exit 1
    fi
    disarm
    ;;
esac
