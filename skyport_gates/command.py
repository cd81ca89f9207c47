"""The contract of commands that a gate adds to ``skyport-core``.

A package announces such a command in the entry-point group ``skyport.commands``; its name there is
the subcommand's. It is a traitlets Application derived from :class:`GateCommand`, and works on the
sites of the core's own configuration, so that no option has to be written down twice::

    skyport-core NAME … -f skyport_config.py --site SITE --LabGate.option=value
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn, Protocol, cast

from traitlets import TraitError, Unicode, default
from traitlets.config import Application, Config, catch_config_error
from traitlets.config.loader import DeferredConfig

from .gate import Gate
from .plugins import load_gate_class


class CommandHost(Protocol):
    """What the core's application offers to its subcommands."""

    config: Config
    home: str

    def load_configuration(self, config_file: str, home: str) -> None:
        """Read the configuration file; "" takes the default of either."""
        ...

    def sites(self) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
        """For each configured site the name of its gate class and its options; ValueError."""
        ...

    def ssh_authority(self) -> str:
        """Public key of the core's SSH authority as one line; "" if there is none yet."""
        ...


class CommandError(Exception):
    """What ends a command with exit status 1; the message says what to do."""


class GateCommand(Application):
    """Base of a gate's commands.

    A subclass either has ``subcommands``, or implements :meth:`run`. Options of the site's gate
    may be given on the command line too and win over the file.
    """

    gate_class: ClassVar[type[Gate]]
    """The gate that the command is for; sites of derived classes count too."""

    config_file = Unicode(
        help="Configuration file of the core. Default: skyport_config.py in its home."
    ).tag(config=True)

    home = Unicode(help="The core's home. Default: $SKYPORT_HOME, or ~/.local/state/skyport.").tag(
        config=True
    )

    site = Unicode(
        help="""
        Name of the site in c.SkyPortCore.gates. Default: the only one of its class.
        """
    ).tag(config=True)

    aliases = {
        "f": "GateCommand.config_file",
        "config": "GateCommand.config_file",
        "home": "GateCommand.home",
        "site": "GateCommand.site",
    }

    @default("log_level")
    def _log_level_default(self) -> int:
        return logging.WARNING

    @property
    def host(self) -> CommandHost:
        """The core's application, at the root of the commands."""
        above: Any = self.parent
        while above.parent is not None:
            above = above.parent
        return cast(CommandHost, above)

    @catch_config_error
    def initialize(self, argv: list[str] | None = None) -> None:
        """Read the command line, and the configuration file that it names."""
        self.parse_command_line(argv)
        if self.subapp is None and not self.subcommands:
            if self.extra_args:
                self.fail(f"{' '.join(self.extra_args)!r} is no argument of {self.name}")
            self.host.load_configuration(self.config_file, self.home)

    def start(self) -> None:
        """Run the command, and exit with its status."""
        if self.subapp is not None:
            self.subapp.start()
        elif self.subcommands:
            self.print_help()
            self.exit(1)
        else:
            try:
                self.exit(self.run())
            except (CommandError, TraitError, ValueError) as error:
                self.fail(str(error))

    def run(self) -> int:
        """Do the work; the exit status. Raises CommandError."""
        raise NotImplementedError

    def fail(self, message: str) -> NoReturn:
        """Print an error, and exit with status 1."""
        sys.stderr.write(f"{self.name}: {message}\n")
        sys.exit(1)

    def make_gate(self) -> Gate:
        """The gate of the chosen site, not started, as file and command line configure it.

        Without any site of the class in the configuration, the command line alone counts.
        """
        sites = {}
        for name, (kind, options) in self.host.sites().items():
            gate_class = load_gate_class(kind)
            if issubclass(gate_class, self.gate_class):
                sites[name] = gate_class, options
        name, (chosen, options) = self._choose(sites)
        known = chosen.class_traits(config=True)
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise CommandError(f"site {name!r} has unknown options: {', '.join(unknown)}")
        return chosen(
            config=self.host.config, name=name, **{**options, **self._given(chosen, known)}
        )

    def _choose(
        self, sites: Mapping[str, tuple[type[Gate], Mapping[str, Any]]]
    ) -> tuple[str, tuple[type[Gate], Mapping[str, Any]]]:
        names = ", ".join(sorted(sites)) or "none"
        if self.site and self.site not in sites:
            raise CommandError(
                f"there is no site {self.site!r} of the class {self.gate_class.__name__}; "
                f"configured: {names}"
            )
        if len(sites) > 1 and not self.site:
            raise CommandError(f"there are several sites; choose one with --site: {names}")
        if not sites:
            return self.gate_class.__name__, (self.gate_class, {})
        name = self.site or next(iter(sites))
        return name, sites[name]

    def _given(self, chosen: type[Gate], known: Mapping[str, Any]) -> dict[str, Any]:
        """Options of the gate from the command line."""
        given = {}
        for section in (self.gate_class.__name__, chosen.__name__):
            for name, value in self.cli_config.get(section, {}).items():
                if name not in known:
                    raise CommandError(f"{section} has no option {name!r}")
                deferred = isinstance(value, DeferredConfig)
                given[name] = value.get_value(known[name]) if deferred else value
        return given
