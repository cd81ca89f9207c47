"""Finding the class of a gate by its short name or its dotted path, and the commands of gates."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points

from traitlets.config import Application

from .gate import Gate

GROUP = "skyport.gates"
"""Entry-point group in which a package announces its gates."""

COMMANDS = "skyport.commands"
"""Entry-point group of the commands that gates add to ``skyport-core``, each a GateCommand."""


class PluginError(ValueError):
    """A gate's class or command could not be loaded; the message names it and says why."""


def load_gate_class(name: str) -> type[Gate]:
    """The class of a gate.

    Parameters
    ----------
    name : str
        A short name of the entry-point group ``skyport.gates`` (``"onprem"``), or the path of a
        class: ``"package.module:Class"`` or ``"package.module.Class"``.

    Raises
    ------
    PluginError
        No such gate, it cannot be imported, or it is not a subclass of Gate.
    """
    source, loaded = _load_path(name) if _is_path(name) else _load(GROUP, name)
    if not (isinstance(loaded, type) and issubclass(loaded, Gate)):
        raise PluginError(
            f"Gate {name!r}: {source} is not a class derived from skyport_gates.gate.Gate"
        )
    # Configurable's metaclass is not ABCMeta, so the marks have to be looked for.
    missing = [
        member
        for member in dir(loaded)
        if getattr(getattr(loaded, member, None), "__isabstractmethod__", False)
    ]
    if missing:
        raise PluginError(f"Gate {name!r}: {source} lacks the method(s) {', '.join(missing)}")
    return loaded


def command_names() -> list[str]:
    """The commands that installed packages announce, sorted; nothing is imported."""
    return sorted({entry.name for entry in entry_points(group=COMMANDS)})


def load_command(name: str) -> type[Application]:
    """The command of a gate, by its name in the entry-point group ``skyport.commands``.

    Raises
    ------
    PluginError
        No such command, it cannot be imported, or it is not a subclass of Application.
    """
    source, loaded = _load(COMMANDS, name)
    if not (isinstance(loaded, type) and issubclass(loaded, Application)):
        raise PluginError(f"Command {name!r}: {source} is not a class derived from Application")
    return loaded


def _is_path(name: str) -> bool:
    return ":" in name or "." in name


def _load(group: str, name: str) -> tuple[str, object]:
    word = "gate" if group == GROUP else "command"
    announced = entry_points(group=group)
    found = [entry for entry in announced if entry.name == name]
    if not found:
        installed = ", ".join(sorted({entry.name for entry in announced})) or "none"
        path = (
            " A gate that no package announces is named by its class: 'package.module:Class'."
            if group == GROUP
            else ""
        )
        raise PluginError(f"There is no {word} {name!r}. Installed: {installed}.{path}")
    if len({entry.value for entry in found}) > 1:
        sources = ", ".join(sorted(_source(entry) for entry in found))
        raise PluginError(
            f"{word.title()} {name!r} is announced more than once: {sources}. Remove one."
        )
    entry = found[0]
    try:
        return _source(entry), entry.load()
    except Exception as error:
        raise PluginError(
            f"{word.title()} {name!r} ({_source(entry)}) cannot be imported: {_words(error)}"
        ) from error


def _load_path(name: str) -> tuple[str, object]:
    separator = ":" if ":" in name else "."
    module_name, _, class_name = name.rpartition(separator)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise PluginError(f"Gate {name!r} cannot be imported: {_words(error)}") from error
    try:
        return name, getattr(module, class_name)
    except AttributeError:
        raise PluginError(f"Gate {name!r}: {module_name} has no {class_name!r}") from None


def _source(entry: EntryPoint) -> str:
    package = f" of {entry.dist.name}" if entry.dist is not None else ""
    return f"{entry.value}{package}"


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
