"""What all commands of ``skyport-core`` share, the small ones among them, and those of gates."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from traitlets import Unicode
from traitlets import default as default_value
from traitlets.config import Application, catch_config_error

from skyport_gates.plugins import PluginError, command_names, load_command

from . import __version__
from .api.openapi import openapi
from .api.tracing import RequestFilter
from .ssh.identity import SSHIdentity
from .store import DatabaseUnusable, upgrade_db


def default_home() -> Path:
    """``$SKYPORT_HOME``, or the place where the XDG rules put a program's state."""
    configured = os.environ.get("SKYPORT_HOME")
    return Path(configured) if configured else Path.home() / ".local/state/skyport"


class CoreApplication(Application):
    """What all commands of ``skyport-core`` share: the home, the database, the configuration."""

    version = __version__

    config_file = Unicode(
        "",
        help="""
        Configuration file, Python with `c = get_config()`. Default: skyport_config.py in the
        home, if there is one.
        """,
    ).tag(config=True)

    home = Unicode(
        help="""
        Folder of the core's state: database, keys, job outputs (mode 0700).
        Default: $SKYPORT_HOME, or ~/.local/state/skyport.
        """
    ).tag(config=True)

    db_url = Unicode(
        help="""
        Database: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME.
        Default: skyport.sqlite in the home.
        """
    ).tag(config=True)

    aliases = {
        "f": "CoreApplication.config_file",
        "config": "CoreApplication.config_file",
        "home": "CoreApplication.home",
        "db-url": "CoreApplication.db_url",
        "log-level": "Application.log_level",
    }
    flags = {
        "debug": ({"Application": {"log_level": logging.DEBUG}}, "Log everything."),
    }

    @default_value("log_level")
    def _log_level_default(self) -> int:
        return logging.INFO

    @default_value("log_datefmt")
    def _log_datefmt_default(self) -> str:
        return "%Y-%m-%d %H:%M:%S"

    @default_value("log_format")
    def _log_format_default(self) -> str:
        return "[%(levelname)1.1s %(asctime)s.%(msecs).03d %(name)s] %(message)s%(request)s"

    @default_value("logging_config")
    def _logging_config_default(self) -> dict[str, Any]:
        """Requests and refusals are logged where the rest is, each with the request's id."""
        return {
            "filters": {"request": {"()": RequestFilter}},
            "handlers": {"console": {"filters": ["request"]}},
            "loggers": {"skyport": {"level": "INFO", "handlers": ["console"]}},
        }

    @default_value("home")
    def _home_default(self) -> str:
        return str(default_home())

    @default_value("db_url")
    def _db_url_default(self) -> str:
        return f"sqlite:///{Path(self.home) / 'skyport.sqlite'}"

    @catch_config_error
    def initialize(self, argv: list[str] | None = None) -> None:
        """Read the command line and the configuration file, and make the home."""
        self.parse_command_line(argv)
        if self.subapp is not None:
            return
        if self.extra_args:
            known = ", ".join(self.subcommands) or "none"
            self.exit_with(f"There is no command {self.extra_args[0]!r}; commands: {known}.")
        self.load_configuration()
        home = Path(self.home)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)

    @catch_config_error
    def load_configuration(self, config_file: str = "", home: str = "") -> None:
        """Read the configuration file, in case with the options that a gate's command got."""
        self.config_file = config_file or self.config_file
        self.home = home or self.home
        file = Path(self.config_file or Path(self.home) / "skyport_config.py")
        if file.exists():
            self.load_config_file(file.name, path=str(file.parent.resolve()))
        elif self.config_file:
            self.exit_with(f"There is no configuration file {file}.")

    def ssh_authority(self) -> str:
        """Public key of the core's SSH authority; "" if the home has none yet."""
        if not SSHIdentity.exists(Path(self.home)):
            return ""
        return SSHIdentity.load(Path(self.home)).user_ca.strip()

    def exit_with(self, message: str) -> None:
        """Print an error that the admin can act on, and exit with status 1."""
        self.log.error("%s", message)
        sys.exit(1)


class UpgradeDB(CoreApplication):
    """Bring the database to the form that this version needs."""

    name = "skyport-core upgrade-db"
    description = "Bring the database to the form that this version needs."

    def start(self) -> None:
        """Run the migrations."""
        try:
            asyncio.run(upgrade_db(self.db_url))
        except DatabaseUnusable as error:
            self.exit_with(str(error))
        self.log.info("The database %s is up to date", self.db_url.rpartition("@")[2])


class ShowSSHCA(CoreApplication):
    """Print the public key that nodes must trust for logins of the core."""

    name = "skyport-core ssh-ca"
    description = """
    Print the public key of the core's SSH authority. A node that names it as TrustedUserCAKeys
    lets the core log in with short-lived certificates.
    """

    def start(self) -> None:
        """Print the key."""
        sys.stdout.write(SSHIdentity.load(Path(self.home)).user_ca.strip() + "\n")


class ShowOpenAPI(Application):
    """Print the OpenAPI document of the REST API."""

    name = "skyport-core openapi"
    description = "Print the OpenAPI 3.1 document of the REST API, as JSON."

    def start(self) -> None:
        """Print the document."""
        sys.stdout.write(json.dumps(openapi().document(), indent=2) + "\n")


Subcommand = type[Application] | Callable[[Application], Application]


def subcommands() -> dict[str, tuple[Subcommand, str]]:
    """The core's own commands, and those that installed gates announce, which stay unloaded."""
    from .certcommand import CertCommand

    return {
        **{name: (_of_gate(name), _help_of_gate(name)) for name in command_names()},
        "upgrade-db": (UpgradeDB, UpgradeDB.description),
        "cert": (CertCommand, CertCommand.description),
        "openapi": (ShowOpenAPI, ShowOpenAPI.description),
        "ssh-ca": (ShowSSHCA, "Print the public key that on-prem nodes must trust."),
    }


def _help_of_gate(name: str) -> str:
    return f"Commands of an installed gate; see skyport-core {name} --help."


def _of_gate(name: str) -> Callable[[Application], Application]:
    def make(parent: Application) -> Application:
        try:
            command = load_command(name)
        except PluginError as error:
            parent.log.error("%s", error)
            sys.exit(1)
        type(parent).clear_instance()
        return command.instance(parent=parent)

    return make
