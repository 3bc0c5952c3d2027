#!/bin/sh
# Installs what lets the window, which never runs as root, read this machine's memory map through polkit:
#
#   sudo packaging/install-helper.sh            install
#   sudo packaging/install-helper.sh remove     take it away again
#
# Two copies of one small program, for polkit allows by path: one may only read, the other may act, too. They belong to
# root, need nothing but the system's python3, and see nothing of this checkout. DESTDIR is for who makes packages.
set -eu
cd "$(dirname "$0")/.."

libexec=${DESTDIR:-}/usr/libexec
actions=${DESTDIR:-}/usr/share/polkit-1/actions
policy=io.github.memviz.memviz.policy

if [ -z "${DESTDIR:-}" ] && [ "$(id -u)" != 0 ]; then
    echo "memviz install-helper: only root may install it; please run: sudo $0 $*" >&2
    exit 1
fi

case ${1:-install} in
install)
    mkdir -p "$libexec" "$actions"
    for name in memviz-helper memviz-helper-actions; do
        # -I: no environment variable and no folder of a user's says what it runs.
        { echo '#!/usr/bin/python3 -I' && cat memviz/live_helper.py; } >"$libexec/.$name.new"
        chmod 755 "$libexec/.$name.new"
        mv "$libexec/.$name.new" "$libexec/$name"
    done
    install -m 644 "packaging/$policy" "$actions/$policy"
    echo "memviz install-helper: $libexec/memviz-helper may read, $libexec/memviz-helper-actions may act; polkit asks."
    command -v pkexec >/dev/null || echo "memviz install-helper: polkit is missing; please run: sudo apt-get install pkexec" >&2
    ;;
remove)
    rm -f "$libexec/memviz-helper" "$libexec/memviz-helper-actions" "$actions/$policy"
    echo "memviz install-helper: it is gone"
    ;;
*)
    echo "usage: packaging/install-helper.sh [install|remove]" >&2
    exit 2
    ;;
esac
