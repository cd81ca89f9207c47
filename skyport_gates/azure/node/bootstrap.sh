#!/bin/sh
# Runs on a machine that Sky Port made, as root, once: installs what its settings ask for.
#
# Until it has ended well, /etc/nologin keeps everybody out, so that no job starts on half a
# machine; if it fails, that file says why, and whoever tries to log in reads it. (/run/nologin
# would not do: systemd removes it when the system is up.) What it prints goes to the console.

set -u
etc=${SKYPORT_ETC:-/etc}
lib=${SKYPORT_LIB:-/usr/local/lib/skyport}
bin=${SKYPORT_BIN:-/usr/local/bin}
opt=${SKYPORT_OPT:-/opt/skyport}
run=${SKYPORT_RUN:-/run/skyport}
state=${SKYPORT_STATE:-/var/lib/skyport}
pause=${SKYPORT_PAUSE:-5}
user= bootstrap=none jupyterhub= container_image=
# shellcheck source=/dev/null
. "$etc/skyport/node.conf"
export DEBIAN_FRONTEND=noninteractive

say() { printf 'skyport-bootstrap: %s\n' "$*"; }

fail() {
    say "failed: $*"
    printf 'Sky Port could not set up this machine: %s.\n' "$*" >"$etc/nologin"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Networks of young machines have their moments.
again() {
    for try in 1 2 3; do
        "$@" && return 0
        [ "$try" = 3 ] || sleep $((try * pause))
    done
    return 1
}

packages() {
    if has apt-get; then
        apt-get -o DPkg::Lock::Timeout=300 -qq update &&
            apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends install "$@"
    elif has dnf; then
        dnf -q -y install "$@"
    else
        say "there is neither apt-get nor dnf to install $*"
        return 1
    fi
}

jupyter() {
    if has jupyterhub-singleuser; then
        say "jupyterhub-singleuser is there"
        return
    fi
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        needed=python3
        has apt-get && needed="python3 python3-venv"
        # shellcheck disable=SC2086
        again packages $needed || fail "Python could not be installed"
    fi
    python3 -m venv "$opt" || fail "no virtual environment could be made in $opt"
    again "$opt/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check \
        "jupyterhub==$jupyterhub" 'jupyterlab>=4.2,<5' ||
        fail "pip could not install jupyterhub $jupyterhub and jupyterlab"
    for program in jupyterhub-singleuser jupyter jupyter-lab jupyter-labhub; do
        ln -sf "$opt/bin/$program" "$bin/$program"
    done
}

# Containers belong to the login, not to root; their places do not depend on who is logged in.
container() {
    has podman || again packages podman uidmap || fail "podman could not be installed"
    grep -qs "^$user:" "$etc/subuid" ||
        usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "$user" ||
        fail "$user could not get subordinate ids"
    mkdir -p "$run" && chown "$user:" "$run" && chmod 700 "$run" || fail "$run could not be made"
    home=$(getent passwd "$user" | cut -d: -f6)
    cd / || fail "there is no /"
    again runuser -u "$user" -- env HOME="$home" XDG_RUNTIME_DIR="$run" \
        podman pull --quiet "$container_image" || fail "podman could not pull $container_image"
    ln -sf "$lib/singleuser" "$bin/jupyterhub-singleuser"
}

own_script() {
    [ -f "$lib/script" ] || return 0
    "$lib/script" || fail "the script bootstrap_script ended with status $?"
}

case $bootstrap in
jupyter) jupyter ;;
container) container ;;
esac
own_script
mkdir -p "$state" && : >"$state/ready"
rm -f "$etc/nologin"
say "ready"
