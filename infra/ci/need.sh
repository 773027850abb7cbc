#!/usr/bin/env bash
# need.sh COMMAND PACKAGE: makes sure that COMMAND is there, installing Debian's PACKAGE as root if it is not.
set -euo pipefail
command -v "$1" >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "$1 is missing: install it (Debian: apt-get install $2)" >&2
	exit 1
fi
apt-get update -qq >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
command -v "$1" >/dev/null
