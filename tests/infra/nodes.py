"""Real OpenSSH nodes on one machine: each in namespaces of its own, on a network of its own.

A :class:`Fabric` is a bridge, a hub's side (where hub and core run) and nodes. Addresses
10.77.0.0/16 exist inside these namespaces only; the machine itself gets none of them. A
:class:`Node` has its own network, processes, host name, users, host key, sshd and disk: this
machine's root file system below, a tmpfs above, so that it starts fresh at every boot and nothing
of it stays behind. Needs root.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.infra import netns, node_files
from tests.infra.node_files import USERS
from tests.infra.run import forget, kill, record_dir, start_ticks, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
_INIT = Path(__file__).with_name("node_init.sh")
NETWORK = "10.77"
_NEEDED = (CHECKOUT, sys.prefix, sys.base_prefix)


class Fabric:
    """The network of one test module: ``hub`` is the namespace of hub and core.

    Use as a context manager; leaving it removes every node, process and namespace.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._numbers: dict[int, Node] = {}
        self.nodes: dict[str, Node] = {}
        self.bridge = self._namespace("bridge")
        self.hub = self._namespace("hub")
        netns.ip("link add br0 type bridge", "link set br0 up", inside=self.bridge.name)
        self.hub_address = self.plug(self.hub, "hub", 1)
        atexit.register(self.close)

    def __enter__(self) -> Fabric:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove everything; harmless when done already."""
        for node in list(self._numbers.values()):
            node.remove()
        self._stack.close()
        self.nodes.clear()
        atexit.unregister(self.close)

    def add_node(
        self,
        name: str,
        *,
        user_ca: str = "",
        authorized_keys: str = "",
        home_size: str = "256m",
        sshd_config: str = "",
    ) -> Node:
        """Make a node and wait until its sshd answers.

        Parameters
        ----------
        name
            Host name, at most 10 characters.
        user_ca
            Public key of the authority whose user certificates it accepts; ``Node.trust`` later.
        authorized_keys
            Public keys that every user's login accepts.
        home_size
            Size of each user's home, as tmpfs takes it ("64m").
        sshd_config
            Lines added to the node's sshd_config.
        """
        node = Node(self, name, home_size, sshd_config)
        self.nodes[name] = node
        node.trust(user_ca)
        node.authorize(authorized_keys)
        node.boot()
        return node

    def register(self, node: Node) -> int:
        """A number for a node, the lowest that is free; it is removed with the fabric."""
        with self._lock:
            number = next(each for each in itertools.count(10) if each not in self._numbers)
            self._numbers[number] = node
            return number

    def release(self, number: int) -> None:
        """Give a number back."""
        with self._lock:
            self._numbers.pop(number, None)

    def plug(self, namespace: netns.Namespace, port: str, number: int) -> str:
        """Give a namespace a cable to the bridge, and the address that is returned.

        The hardware address follows from the number too, so that a neighbour's memory of it is
        right also after another node got the number.
        """
        high, low = number // 250, number % 250 + 2
        address = f"{NETWORK}.{high}.{low}"
        netns.ip(
            f"link add {port} netns {self.bridge.name} type veth peer name eth0"
            f" address 02:00:0a:4d:{high:02x}:{low:02x} netns {namespace.name}"
        )
        netns.ip(f"link set {port} master br0", f"link set {port} up", inside=self.bridge.name)
        netns.ip(f"addr add {address}/16 dev eth0", "link set eth0 up", inside=namespace.name)
        return address

    def unplug(self, port: str) -> None:
        """Take a cable away at once; a namespace's own end would take it along some time."""
        self.bridge.run(["ip", "link", "delete", port], check=False)

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words before a command that make it run on the hub's side of the network."""
        return self.hub.command_prefix

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process on the hub's side; its pid is the command's own."""
        return subprocess.Popen([*self.prefix, *argv], **options)

    def connector(self) -> aiohttp.TCPConnector:
        """A connector whose connections start at the hub's side."""

        def factory(info: Any) -> socket.socket:
            return self.hub.socket(info[0], info[1])

        return aiohttp.TCPConnector(socket_factory=factory)

    def _namespace(self, label: str) -> netns.Namespace:
        namespace = netns.Namespace(label)
        self._stack.callback(namespace.close)
        return namespace


class Node:
    """One machine of a fabric; made by :meth:`Fabric.add_node`."""

    def __init__(
        self, fabric: Fabric, name: str, home_size: str = "256m", sshd_config: str = ""
    ) -> None:
        self.name = name
        self._fabric = fabric
        self._home_size = home_size
        self._number = fabric.register(self)
        self._port = f"p{self._number}"
        self._folder = record_dir(f"{fabric.hub.name}-{self._number}")
        self._namespace = netns.Namespace(f"n{self._number}")
        self._unshare: subprocess.Popen[bytes] | None = None
        self.address = fabric.plug(self._namespace, self._port, self._number)
        self._write_files(sshd_config)

    # -- power ---------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the node with a fresh disk, cable in, and wait for its sshd."""
        self.link(True)
        self._start(self._namespace.command_prefix, {**os.environ, "HOME_SIZE": self._home_size})
        self.wait_ssh()

    @property
    def up(self) -> bool:
        """Whether it is booted."""
        return self._unshare is not None and self._unshare.poll() is None

    def crash(self) -> None:
        """Everything on the node dies at once; its kernel still answers (connections refused)."""
        if self._unshare is None:
            return
        with contextlib.suppress(LookupError):
            kill(self._init_pid())
        self._unshare.kill()
        self._unshare.wait()
        self._unshare = None

    def poweroff(self) -> None:
        """The node vanishes without a word: packets to it get no answer."""
        self.link(False)
        self.crash()

    def remove(self) -> None:
        """Crash the node and remove its namespace and files."""
        self.crash()
        self._fabric.unplug(self._port)
        self._namespace.close()
        forget(self._folder)
        self._fabric.release(self._number)

    # -- sshd ----------------------------------------------------------------------------------

    def kill_sshd(self) -> None:
        """kill -9 for every sshd, listener and sessions; the jobs they started live on."""
        for pid, name in self._processes():
            if name.startswith("sshd"):
                kill(pid)
        wait_until(
            lambda: not any(name.startswith("sshd") for _, name in self._processes()),
            f"end of sshd on {self.name}",
        )

    def start_sshd(self) -> None:
        """Start sshd again and wait until it answers."""
        self.run(["/usr/sbin/sshd", "-E", "/var/log/sshd.log"])
        self.wait_ssh()

    def wait_ssh(self, timeout: float = 15.0) -> None:
        """Wait for sshd's banner, as seen from the hub's side."""

        def banner() -> bool:
            with (
                contextlib.suppress(OSError),
                self._fabric.hub.connect(self.address, 22, timeout=1.0) as connection,
            ):
                return connection.recv(8) == b"SSH-2.0-"
            if self._unshare is not None and self._unshare.poll() is not None:
                raise RuntimeError(f"{self.name} did not boot:\n{self.boot_log()}")
            return False

        wait_until(banner, f"sshd of {self.name}", timeout)

    def boot_log(self) -> str:
        """What the node printed while booting."""
        return (self._folder / "init.log").read_text()

    @property
    def host_key(self) -> str:
        """The public host key, as "ssh-ed25519 AAAA…"."""
        text = (self._folder / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        return " ".join(text.split()[:2])

    def swap_host_key(self) -> None:
        """Give the node another host key, as after a new installation or by an impostor."""
        self._make_host_key()
        if self._unshare is not None:
            self._copy_in("etc/ssh/ssh_host_ed25519_key", mode=0o600)
            self.kill_sshd()
            self.start_sshd()

    def trust(self, user_ca: str) -> None:
        """Accept user certificates of this authority ("" for none), now and after boots."""
        path = self._folder / "etc/ssh/user_ca.pub"
        path.write_text(user_ca.strip() + "\n" if user_ca else "")
        if self._unshare is not None:
            self._copy_in("etc/ssh/user_ca.pub", mode=0o644)

    def authorize(self, keys: str) -> None:
        """Keys that every user's login accepts from the next boot on."""
        (self._folder / "authorized_keys").write_text(keys.strip() + "\n" if keys else "")

    # -- network -------------------------------------------------------------------------------

    def link(self, up: bool) -> None:
        """Plug or pull the cable."""
        state = "up" if up else "down"
        netns.ip(f"link set {self._port} {state}", inside=self._fabric.bridge.name)

    def drop(self, on: bool) -> None:
        """Partition: silently drop every packet from and to the node."""
        self._namespace.run(["nft", "delete", "table", "inet", "cut"], check=False)
        if on:
            chains = "".join(
                f"chain {hook} {{ type filter hook {hook} priority 0; {way} lo accept; drop; }}\n"
                for hook, way in (("input", "iif"), ("output", "oif"))
            )
            self._namespace.run(["nft", "-f", "-"], text=f"table inet cut {{\n{chains}}}\n")

    def rate(self, rate: str | None) -> None:
        """Limit the cable both ways, to "20mbit" for instance; None: no limit."""
        ends = ((self._fabric.bridge, self._port), (self._namespace, "eth0"))
        for namespace, device in ends:
            where = ["tc", "-n", namespace.name, "qdisc"]
            if rate is None:
                subprocess.run(
                    [*where, "delete", "dev", device, "root"], check=False, capture_output=True
                )
            else:
                shape = ["tbf", "rate", rate, "burst", "64kb", "latency", "200ms"]
                subprocess.run([*where, "replace", "dev", device, "root", *shape], check=True)

    # -- inside --------------------------------------------------------------------------------

    def run(
        self, command: Sequence[str], *, user: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the node without SSH, as root or as one of its users."""
        words = list(command)
        if user:
            become = f"--reuid={user} --regid={user} --init-groups --reset-env".split()
            words = ["setpriv", *become, "--", *words]
        return subprocess.run([*self._enter(), *words], text=True, capture_output=True, check=check)

    def read(self, path: str) -> str:
        """Text of a file on the node; "" when there is none."""
        result = self.run(["cat", path], check=False)
        return result.stdout if result.returncode == 0 else ""

    def user_processes(self, user: str | None = None) -> list[str]:
        """Command lines of what the node's users run, without sshd's own sessions."""
        wanted = {each.uid for each in USERS if user in (None, each.name)}
        lines = []
        for pid, name in self._processes():
            with contextlib.suppress(OSError):
                proc = Path(f"/proc/{pid}")
                if proc.stat().st_uid in wanted and not name.startswith("sshd"):
                    words = (proc / "cmdline").read_bytes().split(b"\0")
                    lines.append(b" ".join(words).decode(errors="replace").strip())
        return lines

    def fill_disk(self, user: str) -> None:
        """Leave not one free byte in a user's home."""
        script = "dd if=/dev/zero of=$HOME/.fill bs=64k 2>/dev/null; ! echo x >> $HOME/.fill"
        self.run(["sh", "-c", script], user=user)

    def free_disk(self, user: str) -> None:
        """Undo :meth:`fill_disk`."""
        self.run(["rm", "-f", f"/home/{user}/.fill"])

    def set_shell(self, user: str, shell: str) -> None:
        """Change a login's shell until the next boot; "/usr/sbin/nologin" refuses it."""
        self.run(["sed", "-i", f"s#^\\({user}:.*:\\)[^:]*$#\\1{shell}#", "/etc/passwd"])

    # -- parts ---------------------------------------------------------------------------------

    def _start(self, prefix: Sequence[str], env: Mapping[str, str]) -> None:
        """Start the first process; ``prefix`` puts it into the node's network."""
        with (self._folder / "init.log").open("ab") as log:
            self._unshare = subprocess.Popen(
                [
                    *prefix,
                    *("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"),
                    *("sh", str(_INIT), str(self._folder), self.name),
                ],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _init_pid(self) -> int:
        assert self._unshare is not None, f"{self.name} is off"
        pid = self._unshare.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            raise LookupError(f"{self.name} has no first process")
        return int(children[0])

    def _enter(self) -> list[str]:
        options = ["--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd"]
        return ["nsenter", f"--target={self._init_pid()}", *options, "--"]

    def _processes(self) -> Iterator[tuple[int, str]]:
        """``(pid, name)``, pids as this machine counts them, of all on the node."""
        inside = Path(f"/proc/{self._init_pid()}/ns/pid").readlink()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and start_ticks(int(entry.name)) is not None:
                with contextlib.suppress(OSError):
                    if (entry / "ns/pid").readlink() == inside:
                        yield int(entry.name), (entry / "comm").read_text().strip()

    def _copy_in(self, path: str, mode: int) -> None:
        text = (self._folder / path).read_text()
        script = 'umask 077; cat > "$1" && chmod "$2" "$1"'
        subprocess.run(
            [*self._enter(), "sh", "-c", script, "sh", f"/{path}", f"{mode:o}"],
            input=text,
            text=True,
            check=True,
        )

    def _make_host_key(self) -> None:
        key = self._folder / "etc/ssh/ssh_host_ed25519_key"
        key.unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(key)],
            check=True,
        )

    def _write_files(self, sshd_config: str) -> None:
        (self._folder / "etc/ssh").mkdir(parents=True)
        (self._folder / "fs").mkdir()
        node_files.write_accounts(self._folder)
        etc = self._folder / "etc"
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{self.address} {self.name}\n")
        (etc / "ssh/sshd_config").write_text(node_files.SSHD_CONFIG + sshd_config)
        self._make_host_key()
        (self._folder / "mounts").write_text("".join(needed_mounts()))


def needed_mounts() -> list[str]:
    """What every node is shown of this machine: the checkout and the Python that runs it."""
    return node_files.mounts(_NEEDED)
