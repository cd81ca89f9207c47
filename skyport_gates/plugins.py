"""Finding the class of a gate by its short name or its dotted path."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points

from .gate import Gate

GROUP = "skyport.gates"
"""Entry-point group in which a package announces its gates."""


class PluginError(ValueError):
    """A gate's class could not be loaded; the message names it and says why."""


def gate_names() -> list[str]:
    """The short names that installed packages announce, sorted; nothing is imported."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


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
    source, loaded = _load_path(name) if _is_path(name) else _load_entry(name)
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


def _is_path(name: str) -> bool:
    return ":" in name or "." in name


def _load_entry(name: str) -> tuple[str, object]:
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        raise PluginError(
            f"There is no gate {name!r}. Installed: {', '.join(gate_names()) or 'none'}. "
            "A gate that no package announces is named by its class: 'package.module:Class'."
        )
    if len({entry.value for entry in found}) > 1:
        sources = ", ".join(sorted(_source(entry) for entry in found))
        raise PluginError(f"Gate {name!r} is announced more than once: {sources}. Remove one.")
    entry = found[0]
    try:
        return _source(entry), entry.load()
    except Exception as error:
        raise PluginError(
            f"Gate {name!r} ({_source(entry)}) cannot be imported: {_words(error)}"
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
