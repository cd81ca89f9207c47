"""What an admin can set for the spawner, and what users may then ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jupyterhub.traitlets import ByteSpecification
from pydantic import ValidationError
from traitlets import (
    Bool,
    Dict,
    Enum,
    Float,
    Integer,
    List,
    TraitError,
    Unicode,
    default,
    validate,
)
from traitlets.config import LoggingConfigurable

from skyport_core.client import default_socket

from .options import Limits, Profile


class SkyPortSettings(LoggingConfigurable):
    """The configurable traits of :class:`~skyport_spawner.SkyPortSpawner`."""

    start_timeout = Integer(
        600,
        help="""
        Seconds that a start may take, from the request until the server answers.

        It includes waiting in the queue and, at elastic sites, making a machine. A start that
        takes longer is cancelled, and its user is told what it was waiting for.
        """,
    ).tag(config=True)

    ip = Unicode(
        "127.0.0.1",
        help="""
        Not used: each server listens on a loopback address of its own on its node, which the core
        chooses and reaches over SSH.
        """,
    ).tag(config=True)

    port = Integer(
        0,
        min=0,
        max=65535,
        help="""
        Port that servers listen on; 0: 8888. All may use the same: each has its own address.
        """,
    ).tag(config=True)

    env_keep = List(
        Unicode(),
        ["JUPYTERHUB_SINGLEUSER_APP", "LANG", "LC_ALL"],
        help="""
        Variables of the hub's own environment that servers get too.

        What describes the hub's machine (PATH, VIRTUAL_ENV, CONDA_*, LD_LIBRARY_PATH …) is never
        sent; set it in c.Spawner.environment if the nodes need it.
        """,
    ).tag(config=True)

    core_socket = Unicode(
        help="""
        Unix socket of the core.

        Default: $SKYPORT_SOCKET, else core.sock in $SKYPORT_HOME, which is
        ~/.local/state/skyport when it is not set. The hub must run as the core's own user, as
        root, or as one of c.SkyPortCore.allowed_users.
        """,
    ).tag(config=True)

    core_timeout = Float(
        30.0,
        min=0,
        help="""
        Seconds that a start waits for a core that does not answer, before it fails.

        Long enough for a restart of the core, so that nobody notices one.
        """,
    ).tag(config=True)

    stop_timeout = Float(
        60.0,
        min=0,
        help="""
        Seconds that stopping a server may take as far as the hub is concerned.

        After that the hub counts the server as stopped; the core goes on to stop it, to bring its
        results home and to remove what was made for it.
        """,
    ).tag(config=True)

    pending_cancels_path = Unicode(
        help="""
        Folder with one empty file for each job that the core has still to be told to cancel.

        A stop while the core is away is kept here and made good when the core is back, also by
        the next hub. Must be on a disk that survives a restart of the hub, and writable for it.

        Default: hub/pending-cancels beside the core's socket.
        """,
    ).tag(config=True)

    username_template = Unicode(
        "{username}",
        help="""
        Login on the node, for sites whose nodes know several users.

        `{username}` is the hub's user name; what Spawner.template_namespace() adds can be used
        too. Sites with a fixed login take no notice.
        """,
    ).tag(config=True)

    forward_hub = Bool(
        True,
        help="""
        Carry the hub's API to the node over the SSH connection.

        Then nodes need no route to the hub. When switched off, servers connect to the URL the hub
        gives them (c.Spawner.hub_connect_url), which their nodes must be able to reach.
        """,
    ).tag(config=True)

    server_timeout = Integer(
        120,
        min=1,
        help="""
        Seconds that a server has to answer on its port once it was started on its node.

        Slow file systems under a large Python environment may need more. The whole of a start,
        waiting in the queue included, is limited by start_timeout.
        """,
    ).tag(config=True)

    labels = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        Labels that a node must carry to be used, such as {"disk": "ssd"}.

        Together with group_overrides this keeps nodes for some of the users.
        """,
    ).tag(config=True)

    outputs = List(
        Unicode(),
        help="""
        Patterns of files below the login's home that the core brings home when a server ends,
        such as "results/**". For nodes that do not outlive their server.
        """,
    ).tag(config=True)

    allowed_sites = List(
        Unicode(),
        help="""
        Sites that users may choose; empty: all. The first is taken when a user chooses none.
        """,
    ).tag(config=True)

    allowed_flavors = List(
        Unicode(),
        help="""
        Flavors that users may choose, as "name" or "site/name"; empty: all. The first is taken
        when a user chooses none.
        """,
    ).tag(config=True)

    max_cpus = Float(
        None, allow_none=True, help="The most CPUs a user may ask for; None: no limit."
    ).tag(config=True)

    max_memory = ByteSpecification(
        None,
        help="""
        The most memory a user may ask for, in bytes or with a suffix K, M, G or T; None: no limit.
        """,
    ).tag(config=True)

    max_gpus = Integer(
        None, allow_none=True, help="The most GPUs a user may ask for; None: no limit."
    ).tag(config=True)

    max_walltime = Integer(
        None,
        allow_none=True,
        help="""
        The longest time, in seconds, that a user's server may run; None: no limit.

        Servers of users who ask for no time get default_walltime, or this.
        """,
    ).tag(config=True)

    default_walltime = Integer(
        None,
        allow_none=True,
        help="Seconds that a server may run when its user does not say; None: max_walltime.",
    ).tag(config=True)

    max_price = Float(
        None,
        allow_none=True,
        min=0.0,
        help="""
        The most that the machine of a user's server may cost per hour, in the currency of its
        site; None: no limit. Dearer offers are not shown and not used.
        """,
    ).tag(config=True)

    allow_spot = Bool(
        True,
        help="""
        Let users choose spot machines, which are cheaper and which their site may take back at
        short notice.
        """,
    ).tag(config=True)

    allow_keep = Bool(
        True,
        help="""
        Let users keep the machine of a server: when the server stops it sleeps, with its files,
        and the next start wakes it. Its disk is billed meanwhile; the core's keep_time ends that.
        """,
    ).tag(config=True)

    on_eviction = Enum(
        ["fail", "requeue", "move"],
        "move",
        help="""
        What becomes of a server whose spot machine is taken back: it ends (fail), or starts again
        on another machine (requeue), there with the files that outputs names (move).
        """,
    ).tag(config=True)

    profiles = List(
        Dict(),
        help="""
        Prepared sets of options. When there are any, users choose one of them and nothing else.

        Each is a dict with a `name` (letters, digits, dots and dashes), and optionally a `title`,
        a `description`, `groups` (who may use it: members of any of these; left out: all) and
        `options`, which are the same as in the form: site, flavor, region, zone, spot, max_price,
        image, keep, cpus, memory, gpus, walltime. The first that a user may use is the default.

        Example::

            c.SkyPortSpawner.profiles = [
                {"name": "small", "title": "Small", "options": {"cpus": 1, "memory": "2G"}},
                {
                    "name": "gpu",
                    "title": "One GPU for a working day",
                    "groups": ["ml"],
                    "options": {"site": "lab", "gpus": 1, "walltime": "8h"},
                },
            ]
        """,
    ).tag(config=True)

    extra_options = List(
        Unicode(),
        help="""
        Names of further user options, which your own apply_user_options or hooks handle. All
        others that Sky Port does not know are refused. Keys of an apply_user_options that is a
        dict need not be named.
        """,
    ).tag(config=True)

    @default("core_socket")
    def _core_socket_default(self) -> str:
        return str(default_socket(os.environ))

    @default("pending_cancels_path")
    def _pending_cancels_path_default(self) -> str:
        return str(Path(self.core_socket).parent / "hub" / "pending-cancels")

    @validate("profiles")
    def _check_profiles(self, proposal: Any) -> list[dict[str, Any]]:
        names = set()
        for number, raw in enumerate(proposal.value):
            try:
                name = Profile.model_validate(raw).name
            except ValidationError as error:
                raise TraitError(f"profiles[{number}] is not valid: {error}") from None
            if name in names:
                raise TraitError(f"profiles has two of the name {name!r}")
            names.add(name)
        return list(proposal.value)

    def limits(self, groups: frozenset[str]) -> Limits:
        """What a member of these groups may ask for."""
        profiles = [Profile.model_validate(raw) for raw in self.profiles]
        return Limits(
            sites=tuple(self.allowed_sites),
            flavors=tuple(self.allowed_flavors),
            cpus=self.max_cpus,
            memory=mebibytes(self.max_memory),
            gpus=self.max_gpus,
            walltime=self.max_walltime,
            default_walltime=self.default_walltime,
            price=self.max_price,
            spot=self.allow_spot,
            keep=self.allow_keep,
            profiles=tuple(one for one in profiles if not one.groups or one.groups & groups),
        )


def mebibytes(size: int | None) -> int | None:
    """Bytes as whole MiB, at least 1; None stays None."""
    return None if size is None else max(1, size // 2**20)
