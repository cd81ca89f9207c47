"""``skyport-core gate serve NAME``: offer a site of the configuration to cores elsewhere."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from traitlets import Bunch, Int, List, TraitError, Unicode, default, validate
from traitlets.config import catch_config_error

from ..command import CommandError, GateCommand
from ..gate import Gate, GateError
from .holder import Holders, Revoked
from .server import GateServer
from .tenants import Tenants
from .tls import server_context


class ServeCommand(GateCommand):
    """``skyport-core gate serve``."""

    name = "skyport-core gate serve"
    description = """
    Offer a site of the configuration over HTTPS, so that its gate runs near the site while the core
    is elsewhere. The other core uses it by the gate class "http" ("http-nodes" for a site with
    fixed nodes). Runs until it is interrupted; what was made at the site stays.
    """
    examples = """
    skyport-core gate serve lab --host=0.0.0.0 --certfile=cert.pem --keyfile=key.pem \\
        --cafile=ca.pem --allow=hub-core
    """

    gate_class = Gate

    host_address = Unicode("127.0.0.1", help="Address to listen on.").tag(config=True)
    port = Int(8444, help="Port to listen on; 0: any free one.").tag(config=True)
    certfile = Unicode(help="PEM file of the server's certificate.").tag(config=True)
    keyfile = Unicode(help="PEM file of its private key.").tag(config=True)
    cafile = Unicode(help="PEM file of the authority whose certificates cores show.").tag(
        config=True
    )
    crlfile = Unicode(
        help="""
        File of revoked certificates (CRL, PEM or DER), as "skyport-core cert crl" writes it. It is
        read again when it changes.
        """
    ).tag(config=True)
    allow = List(
        Unicode(),
        help="""
        Name (common name) in the certificate of a core that may use the gate; may be given several
        times. At least one is needed.
        """,
    ).tag(config=True)
    folder = Unicode(
        help="Where what is known of the cores is kept. Default: served/NAME in the home."
    ).tag(config=True)

    aliases = {
        **GateCommand.aliases,
        "host": "ServeCommand.host_address",
        "port": "ServeCommand.port",
        "certfile": "ServeCommand.certfile",
        "keyfile": "ServeCommand.keyfile",
        "cafile": "ServeCommand.cafile",
        "crlfile": "ServeCommand.crlfile",
        "allow": "ServeCommand.allow",
        "folder": "ServeCommand.folder",
    }

    @validate("port")
    def _valid_port(self, proposal: Bunch) -> int:
        port = int(proposal["value"])
        if not 0 <= port <= 65535:
            raise TraitError(f"--port is {port}; allowed: 0 to 65535")
        return port

    @default("log_level")
    def _log_level_default(self) -> int:
        return logging.INFO

    @catch_config_error
    def initialize(self, argv: list[str] | None = None) -> None:
        """Read the command line; its argument is the name of the site."""
        self.parse_command_line(argv)
        if len(self.extra_args) > 1 or not (self.extra_args or self.site):
            self.fail("name one site, such as: skyport-core gate serve lab")
        if self.extra_args:
            self.site = self.extra_args.pop()
        self.host.load_configuration(self.config_file, self.home)

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT."""
        if not self.allow:
            raise CommandError(
                "allow is empty, so that nobody could come in; give --allow=NAME with the common "
                "name in the core's certificate"
            )
        try:
            asyncio.run(self._serve())
        except GateError as error:
            raise CommandError(f"{error.message} {error.hint}".strip()) from error
        except OSError as error:
            where = f"{self.host_address}:{self.port}"
            raise CommandError(f"cannot listen on {where}: {error.strerror or error}") from error
        return 0

    async def _serve(self) -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        context = server_context(self.cafile, self.certfile, self.keyfile)
        tenants = Tenants(self._folder(), self.make_gate, self.log)
        revoked = Revoked(Path(self.crlfile)) if self.crlfile else None
        holders = Holders(self.allow, revoked)
        server = GateServer(self.make_gate, tenants, holders, self.log)
        try:
            port = await server.open(self.host_address, self.port, context)
            sys.stdout.write(f"Serving {self.site} at https://{self.host_address}:{port}\n")
            sys.stdout.flush()
            await stopping.wait()
        finally:
            await server.close()

    def _folder(self) -> Path:
        home = Path(self.host.home)
        folder = Path(self.folder) if self.folder else home / "served" / self.site
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        return folder


class ServedCommand(GateCommand):
    """``skyport-core gate``."""

    name = "skyport-core gate"
    description = "Commands about sites whose gate runs elsewhere."
    gate_class = Gate
    subcommands = {"serve": (ServeCommand, "Offer a site to cores elsewhere.")}
