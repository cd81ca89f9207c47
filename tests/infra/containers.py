"""Podman on a node, for a login without rights, with a small image of this machine's busybox."""

from __future__ import annotations

from tests.infra.nodes import Node

IMAGE = "localhost/tiny:1"

_SETUP = """\
set -eu
# A node shows no control groups; crun wants to see them, though it makes none here.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rshared /
cat >/etc/containers/containers.conf <<END
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=10000:10000"]
END
printf '[storage]\\ndriver = "vfs"\\n' >/etc/containers/storage.conf
printf '%s:100000:65536\\n' "$1" | tee /etc/subuid >/etc/subgid

mkdir -p /var/image/bin
cd /var/image
cp /bin/busybox bin
for library in $(ldd /bin/busybox | grep -o '/[^ ]*'); do
    mkdir -p ".${library%/*}"
    cp "$library" ".$library"
done
for applet in cat echo env id ls sh sleep; do ln -s busybox "bin/$applet"; done
tar -cf /var/image.tar .
"""


def give_podman(node: Node, user: str) -> None:
    """Make podman work for a login of a booted node, and import :data:`IMAGE` there."""
    node.run(["sh", "-c", _SETUP, "sh", user])
    podman(node, user, "import", "/var/image.tar", IMAGE)
    podman(node, user, "system", "migrate")  # ends what it left running


def podman(node: Node, user: str, *words: str) -> str:
    """What podman says to the login."""
    script = 'HOME=$1; cd; shift; exec podman "$@"'
    return node.run(["sh", "-c", script, "sh", f"/home/{user}", *words], user=user).stdout
