"""``skyport-core``: configuration and wiring of the daemon."""

from __future__ import annotations

import asyncio
import pwd
import signal
from pathlib import Path
from typing import Any

from traitlets import Bool, Dict, Enum, Float, Instance, Int, List, TraitError, Tuple, Type, Unicode
from traitlets import default as default_value
from traitlets import validate as validator

from skyport_gates.descriptors import raise_limit
from skyport_gates.gate import Gate
from skyport_gates.plugins import load_gate_class

from .accounts import parse_accounts
from .api import DoorError
from .commands import CoreApplication, Subcommand, subcommands
from .core import Core
from .door_traits import DoorTraits
from .https_traits import HttpsTraits
from .limit_traits import LimitTraits
from .lock import HAND_OVER, HomeLock, HomeLockedError
from .pki import CertificateError
from .scheduling import FCFS
from .settings import Settings
from .ssh.identity import SSHIdentity
from .ssh.pool import ConnectionPool
from .ssh.runspec import ENGINES
from .store import DatabaseUnusable

LOGIN_PATIENCE = 1.2
"""How many connect_timeouts a job waits for its node before it is placed elsewhere."""

EXIT_TIMEOUT = 8.0
"""Seconds that cancel_on_exit may take; JupyterHub kills a service 10 s after asking it to end."""


class SkyPortCore(DoorTraits, HttpsTraits, LimitTraits, CoreApplication):
    """The daemon: queue, scheduler, lifecycle, SSH and REST API."""

    name = "skyport-core"
    description = "Sky Port's core: runs Jupyter servers and batch jobs on the nodes of its sites."
    examples = """
    skyport-core                                    # this machine as the only site
    skyport-core -f /etc/skyport/skyport_config.py  # sites of your own
    skyport-core ssh-ca                             # the key that on-prem nodes must trust
    """

    gates = Dict(
        default_value={"local": "local"},
        help="""
        The sites: name → gate class (an entry point of the group skyport.gates, or
        module:Class), or name → {"class": …, option: value, …}. Several sites may use one class:

            c.SkyPortCore.gates = {
                "local": "local",
                "lab": {"class": "onprem", "inventory": [{"name": "node1", …}]},
            }
        """,
    ).tag(config=True)

    socket_path = Unicode(
        help="Unix socket of the API (mode 0600). Default: core.sock in the home."
    ).tag(config=True)

    allowed_users = List(
        Unicode(),
        help="""
        Login names that may use the Unix socket besides root and the core's own user, such as
        the one that JupyterHub runs as. They are trusted with the jobs of all users. Anybody may
        connect to the socket then (mode 0666), and the core answers only those that the kernel
        says are allowed. Its folder must let them in, which the home does not: set socket_path.
        """,
    ).tag(config=True)

    takeover = Bool(
        False,
        help="""
        Ask a core that already runs with this home to leave, instead of giving up. For a core
        that JupyterHub manages: a hub that was killed leaves its core behind.
        """,
    ).tag(config=True)

    cancel_on_exit = Bool(
        False,
        help="""
        Cancel all jobs when the core is asked to end, and wait up to 8 s for that. For a
        demonstration that leaves nothing behind; a core in service lets its jobs go on.
        """,
    ).tag(config=True)

    policy_class = Type(FCFS, help="Scheduling policy: a class with a plan() method.").tag(
        config=True
    )

    default_cpus = Float(1, min=0.001, help="Cores of a job that does not say.").tag(config=True)
    default_memory = Int(1024, min=1, help="MiB of a job that does not say.").tag(config=True)

    allocate_timeout = Float(60, min=1, help="Seconds to log in to a fixed node.").tag(config=True)
    partition_timeout = Float(
        900, min=1, help="Seconds until resources made for a job must be usable, or gone."
    ).tag(config=True)
    block_time = Float(
        600,
        min=1,
        help="Seconds for which an offer that failed is not used, if its site does not say.",
    ).tag(config=True)
    boot_timeout = Float(
        300, min=1, help="Seconds a new machine may take until the core can log in to it."
    ).tag(config=True)
    staging_timeout = Float(120, min=1, help="Seconds to bring a job's files to its node.").tag(
        config=True
    )
    collect_timeout = Float(
        60, min=1, help="Seconds to stop a job and bring its results home."
    ).tag(config=True)
    node_lost_timeout = Float(
        300, min=1, help="Seconds a node may be silent before its running jobs fail."
    ).tag(config=True)
    tunnel_wait = Float(
        90, min=0, help="Seconds a new connection to a job waits while its node is silent."
    ).tag(config=True)
    stop_grace = Float(
        5, min=0, help="Seconds between the request to end and the kill of a job."
    ).tag(config=True)
    connect_timeout = Float(10, min=0.5, help="Seconds for one SSH login.").tag(config=True)
    keepalive_interval = Float(
        5, min=0.1, help="Seconds between two signs of life on an SSH connection."
    ).tag(config=True)
    keepalive_count = Int(
        3, min=1, help="Missing signs of life after which a connection counts as lost."
    ).tag(config=True)
    refresh_interval = Float(
        1, min=0.1, help="Seconds between two looks at the gates' inventories (their caches)."
    ).tag(config=True)
    reap_interval = Float(
        60, min=1, help="Seconds between two searches for leftovers at elastic sites."
    ).tag(config=True)

    max_offers = Int(
        20,
        min=1,
        help="""
        How many offers of elastic sites a job tries that turn out to be out of capacity or beyond
        a quota, before it fails.
        """,
    ).tag(config=True)
    keep_time = Float(
        14 * 86400,
        min=1,
        help="Seconds that a machine which its owner keeps may sleep before it is deleted.",
    ).tag(config=True)

    tunnel_address = Unicode(
        "",
        help="""
        Listen for the jobs on this address, each on a port of its own (tunnel_ports), instead of
        a loopback address a job. For a hub or proxy on another machine; whoever reaches this
        address reaches the jobs' ports.
        """,
    ).tag(config=True)
    tunnel_ports = Tuple(
        Int(), Int(), default_value=(20000, 29999), help="First and last port for tunnel_address."
    ).tag(config=True)

    container_engine = Enum(
        ENGINES,
        "auto",
        help="""
        What runs the container images of jobs on the nodes: podman, docker, apptainer (or
        singularity); auto: the first of these that a node has; none: the job runs on the node
        itself, for nodes that already hold what the images hold.
        """,
    ).tag(config=True)

    input_timeout = Float(
        86400,
        min=1,
        help="""
        Seconds that a job may wait for its input files to be uploaded. The job fails once they
        have passed.
        """,
    ).tag(config=True)

    max_walltime = Int(
        0,
        min=0,
        help="""
        Longest walltime in seconds that users may ask for, at the submission or later; a job
        that asks for none gets it. 0: any. Does not hold for admins and the hub.
        """,
    ).tag(config=True)

    record_time = Float(
        90 * 86400,
        min=0,
        help="""
        Seconds after its end for which the record of a job is kept, with its events, logs and
        results. 0: for ever. What it used stays in the accounts.
        """,
    ).tag(config=True)

    accounts = Dict(
        key_trait=Unicode(),
        help="""
        Accounts that jobs may name: name → {"users": [...], "sites": [...]}, who may use it and
        where its jobs run; an empty list, or none, means all. Without any, each site is an
        account of the same name that is open to all.
        """,
    ).tag(config=True)

    storages = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        Shared storages that jobs may name: name → path on the nodes. A job finds the path in
        SKYPORT_STORAGE_<NAME>, and that of its first one in SKYPORT_STORAGE.
        """,
    ).tag(config=True)

    allow_shell = Bool(
        True,
        help="Let users open terminals and run commands on the nodes of their running jobs.",
    ).tag(config=True)

    core = Instance(Core, allow_none=True)

    @default_value("subcommands")
    def _subcommands_default(self) -> dict[str, tuple[Subcommand, str]]:
        return subcommands()

    @default_value("socket_path")
    def _socket_path_default(self) -> str:
        return str(Path(self.home) / "core.sock")

    @validator("tunnel_ports")
    def _check_tunnel_ports(self, proposal: Any) -> tuple[int, int]:
        first, last = proposal.value
        if not 1 <= first <= last <= 65535:
            raise TraitError(
                f"tunnel_ports is {first}-{last}; allowed: two ports from 1 to 65535, first ≤ last"
            )
        return first, last

    def sites(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """For each site the name of its gate class and its options. Raises ValueError."""
        found = {}
        for name, choice in self.gates.items():
            options = dict(choice) if isinstance(choice, dict) else {"class": choice}
            kind = options.pop("class", None)
            if not kind:
                raise ValueError(f"gates[{name!r}] needs a 'class', such as 'local' or 'onprem'")
            found[name] = str(kind), options
        return found

    def make_gates(self) -> dict[str, Gate]:
        """The configured gates, by site name.

        Raises ValueError for a class that cannot be loaded or an option that it does not know.
        """
        gates = {}
        for name, (kind, options) in self.sites().items():
            gate_class = load_gate_class(kind)
            unknown = sorted(set(options) - set(gate_class.class_trait_names(config=True)))
            if unknown:
                known = ", ".join(sorted(gate_class.class_trait_names(config=True)))
                raise ValueError(
                    f"gates[{name!r}] has unknown options {', '.join(unknown)}; allowed: {known}"
                )
            gates[name] = gate_class(parent=self, name=name, **options)
        return gates

    def make_core(self) -> Core:
        """The core as configured, not started."""
        return Core(
            home=Path(self.home),
            db_url=self.db_url,
            gates=self.make_gates(),
            policy=self.policy_class(),
            settings=self.make_settings(),
            make_pool=self.make_pool,
            socket_path=Path(self.socket_path),
            allowed_uids=frozenset(map(_uid, self.allowed_users)),
            hub=self.make_hub_options(),
            https=self.make_https_options(),
            certificate_days=self.certificate_days,
            hub_certificate_hours=self.hub_certificate_hours,
            rates=self.make_rates(),
            refresh_interval=self.refresh_interval,
            reap_interval=self.reap_interval,
            log=self.log,
        )

    def make_pool(self, identity: SSHIdentity) -> ConnectionPool:
        """The pool of SSH connections, as configured."""
        return ConnectionPool(
            identity,
            connect_timeout=self.connect_timeout,
            keepalive_interval=self.keepalive_interval,
            keepalive_count=self.keepalive_count,
            log=self.log,
        )

    def make_settings(self) -> Settings:
        """The limits and defaults that the traits say."""
        return Settings(
            allocate_timeout=self.allocate_timeout,
            login_timeout=self.connect_timeout * LOGIN_PATIENCE,
            partition_timeout=self.partition_timeout,
            boot_timeout=self.boot_timeout,
            block_time=self.block_time,
            staging_timeout=self.staging_timeout,
            collect_timeout=self.collect_timeout,
            node_lost_timeout=self.node_lost_timeout,
            tunnel_wait=self.tunnel_wait,
            stop_grace=self.stop_grace,
            max_offers=self.max_offers,
            keep_time=self.keep_time,
            max_output=self.max_output,
            max_output_files=self.max_output_files,
            max_input=self.max_input,
            max_log=self.max_log,
            max_jobs=self.max_jobs,
            max_inputs_total=self.max_inputs_total,
            max_outputs_total=self.max_outputs_total,
            max_stored_total=self.max_stored_total,
            allow_shell=self.allow_shell,
            default_cpus=self.default_cpus,
            default_memory=self.default_memory,
            tunnel_address=self.tunnel_address,
            tunnel_ports=self.tunnel_ports,
            container_engine=self.container_engine,
            storages=dict(self.storages),
            max_walltime=self.max_walltime,
            record_time=self.record_time,
            accounts=parse_accounts(self.accounts),
            input_timeout=self.input_timeout,
            allowed_forwards=tuple(self.allowed_forwards),
            peer_forwards=self.peer_forwards,
        )

    def start(self) -> None:
        """Run until SIGTERM or SIGINT."""
        if self.subapp is not None:
            self.subapp.start()
            return
        lock = HomeLock(Path(self.home))
        try:
            lock.acquire(takeover=self.takeover)
            self.core = self.make_core()
        except (HomeLockedError, ValueError, TraitError) as error:
            self.exit_with(str(error))
        raise_limit()
        try:
            asyncio.run(self._serve())
        except (CertificateError, DatabaseUnusable, DoorError) as error:
            self.exit_with(str(error))
        finally:
            lock.release()

    async def _serve(self) -> None:
        assert self.core is not None  # noqa: S101 (typing)
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        handed_over = False

        def hand_over() -> None:
            nonlocal handed_over
            handed_over = True
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        loop.add_signal_handler(HAND_OVER, hand_over)
        await self.core.start()
        await stopping.wait()
        if self.cancel_on_exit and not handed_over:
            self.log.info("Stopping, all jobs first")
            await self.core.cancel_all(EXIT_TIMEOUT)
        else:
            self.log.info("Stopping; the jobs on the nodes go on")
        await self.core.stop()


def _uid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ValueError(
            f"allowed_users names {user!r}, which is no login of this machine"
        ) from None


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``skyport-core``."""
    SkyPortCore.launch_instance(argv)
