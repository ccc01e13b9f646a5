#!/bin/sh
# Makes sure that the system libraries Blender's module and OpenCV load are there: installs them with apt-get where it
# may, says what to do where it may not. With --browser also Chromium, for the tests that drive a page.
set -eu

missing=""
need() { # library, Debian package
    ldconfig -p | grep -q "$1" || missing="$missing $2"
}
PATH="$PATH:/sbin:/usr/sbin"
need libGL.so.1 libgl1
need libEGL.so.1 libegl1
need libX11.so.6 libx11-6
need libXext.so.6 libxext6
need libXi.so.6 libxi6
need libXrender.so.1 libxrender1
need libXfixes.so.3 libxfixes3
need libXxf86vm.so.1 libxxf86vm1
need libxkbcommon.so.0 libxkbcommon0
need libSM.so.6 libsm6
need libICE.so.6 libice6
need libgthread-2.0.so.0 libglib2.0-0
if [ "${1:-}" = --browser ] && ! command -v chromium >/dev/null; then
    missing="$missing chromium"
fi
[ -n "$missing" ] || exit 0

root=""
if [ "$(id -u)" != 0 ]; then
    root="sudo -n"
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
        root=none
    fi
fi
if [ "$root" = none ] || ! command -v apt-get >/dev/null; then
    if [ "$missing" = " chromium" ]; then
        echo "Chromium is not installed: the browser tests will be skipped (apt-get install chromium)"
        exit 0
    fi
    echo "These system libraries are missing, and this user may not install them. Have them installed with:" >&2
    echo "    sudo apt-get install$missing" >&2
    exit 1
fi
echo "installing system libraries:$missing"
$root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing >/dev/null
