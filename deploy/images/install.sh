#!/bin/sh
# Installs virtfn into a Python environment, as the images are built; a test runs it in a fresh one.
#
#   install.sh controller             what the controller needs
#   install.sh daemon PLUGIN...       the daemon with vendor plugins, by the names of their folders: intel mellanox
#
# SOURCE is the top of the source tree (default: two folders up), PYTHON the environment's interpreter (default: python3).
# The plugins `generic` and `virtual` belong to every daemon; the controller has all, as policies name hardware of any.
set -eu

source=${SOURCE:-$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)}
python=${PYTHON:-python3}
what=${1:-}
[ $# -eq 0 ] || shift

fail() {
    echo "install.sh: $*" >&2
    exit 2
}

case $what in
controller)
    [ $# -eq 0 ] || fail "the controller takes no plugins by name, it has all of them"
    plugins=""
    for folder in "$source"/plugins/*/; do
        plugins="$plugins $(basename "$folder")"
    done
    ;;
daemon) plugins="generic virtual" ;;
*) fail "say what to install: controller, or daemon with the names of plugins" ;;
esac

for name in "$@"; do
    case " $plugins " in *" $name "*) continue ;; esac
    [ -f "$source/plugins/$name/pyproject.toml" ] || fail "there is no plugin $name in $source/plugins"
    plugins="$plugins $name"
done

set -- "$source/core[kube]"
for name in $plugins; do
    set -- "$@" "$source/plugins/$name"
done
"$python" -m pip install --disable-pip-version-check --quiet "$@"

# It must run as it is, and know what it was built with.
"$python" -m pip check
"$python" -m virtfn.cli.main "$what" --help >/dev/null
"$python" -m virtfn.cli.main plugins
