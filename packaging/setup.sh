#!/bin/sh
# Makes this checkout ready: packaging/setup.sh run|test
#
#   run    .venv with the locked dependencies, and the system libraries that Qt loads
#   test   that, the development dependencies, the validators of the desktop files and a C compiler
#
# System packages are installed when that is allowed (root, or sudo without a password), else named in one line.
# A second call with nothing changed installs nothing, asks no network and takes a fraction of a second.
set -eu
cd "$(dirname "$0")/.."

mode=${1:-run}
case $mode in
run) lock=requirements.lock ;;
test) lock=requirements-dev.lock ;;
*) echo "usage: packaging/setup.sh run|test" >&2 && exit 2 ;;
esac

say() { echo "memviz setup: $*" >&2; }

# -- system packages ------------------------------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null </dev/null
}

# install_packages WHY PACKAGE...: true when they are there afterwards
install_packages() {
    why=$1 && shift
    if may_install; then
        say "installing $* ($why)"
        log=$(mktemp)
        # A stale package list names files that the mirror no longer has, so it is refreshed first.
        if as_root apt-get update -qq >"$log" 2>&1 </dev/null &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
                >>"$log" 2>&1 </dev/null; then
            rm -f "$log" && return 0
        fi
        tail -n 5 "$log" >&2 && rm -f "$log"
    fi
    say "$why needs system packages; please run: sudo apt-get install $*"
    return 1
}

# -- Python ---------------------------------------------------------------------------------------------------------

find_python() {
    for candidate in ${PYTHON:-} python3.11 python3 python3.12 python3.13; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate" && return
        fi
    done
    say "no Python 3.11 or newer found; please run: sudo apt-get install python3 python3-venv"
    exit 1
}

make_environment() {
    python=$(find_python)
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        # Debian packs the part of the standard library that makes environments by itself.
        install_packages "making .venv" "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" ||
            exit 1
    fi
    "$python" -m venv .venv
}

if [ ! -x .venv/bin/python ]; then
    make_environment
elif ! grep -qF "$(pwd -P)/.venv" .venv/bin/activate; then
    say "$(pwd -P)/.venv was made for another folder; please remove it and run this again"
    exit 1
fi

# -- what is missing ------------------------------------------------------------------------------------------------

# Asked each time: it takes 50 ms, and a line that was not heeded is worth repeating.
missing=$(.venv/bin/python packaging/missing_packages.py "$mode")
case $mode in run) purpose="the window" ;; *) purpose="testing" ;; esac
# shellcheck disable=SC2086  # a list of words
[ -z "$missing" ] || install_packages "$purpose" $missing || true

want=$(cat pyproject.toml requirements.lock requirements-dev.lock memviz/__init__.py packaging/setup.sh | sha256sum)
for stamp in .venv/memviz-test.stamp ".venv/memviz-$mode.stamp"; do
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then exit 0; fi
done

say "installing the dependencies of $lock into .venv (the first time, about 100 MB)"
pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input -qq "$@" </dev/null; }
pip install --require-hashes -r "$lock"
pip install --no-index --no-deps --no-build-isolation -e .
echo "$want" >".venv/memviz-$mode.stamp"
