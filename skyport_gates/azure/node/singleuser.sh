#!/bin/sh
# Stands in for jupyterhub-singleuser: runs it in the container image of /etc/skyport/node.conf.
#
# The container has the network of the machine, since the server listens on an address of its own
# there, and the home of the login at the same path. The environment goes in as a whole, so that no
# token stands among the arguments. Signals reach the server through podman.

set -u
container_image=
# shellcheck source=/dev/null
. "${SKYPORT_CONF:-/etc/skyport/node.conf}"
XDG_RUNTIME_DIR=${SKYPORT_RUN:-/run/skyport}
export XDG_RUNTIME_DIR

set -- jupyterhub-singleuser "$@"
set -- --env-host --env HOME --volume "$HOME:$HOME" --workdir "$PWD" "$container_image" "$@"
if [ -e /etc/cdi/nvidia.yaml ]; then set -- --device nvidia.com/gpu=all "$@"; fi
exec podman run --rm --network host --userns keep-id --cgroups disabled \
    --security-opt label=disable "$@"
