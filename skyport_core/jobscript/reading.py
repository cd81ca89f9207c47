"""A script's directives, of both dialects, as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from . import sbatch, swm
from .draft import Directive, Draft
from .ports import Port
from .source import directives, source

_DICTS = ("variables", "labels")


@dataclass(frozen=True)
class Directives:
    """What a script asks for.

    Attributes
    ----------
    script
        The text as it can be run: with LF at the end of its lines.
    fields
        Fields of a :class:`~skyport_core.model.JobSpec`, without those that need more than the
        script to be known: inputs, forwards and the site of a Slurm partition.
    inputs
        Files at the terminal, as the script names them; in the job they have their last part as
        their name.
    outputs
        Files to bring home, as the script names them.
    out
        Ports near the core that the job wants to reach.
    submission_address
        Where they are; "": where the job was submitted.
    partition
        A partition of Slurm; "": none.
    origins
        The directive behind each field and entry of a field, for messages.
    """

    script: str
    fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    out: tuple[Port, ...] = ()
    submission_address: str = ""
    partition: str = ""
    origins: Mapping[str, Directive] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )


def read(text: str) -> Directives:
    """Read the ``#SWM`` and ``#SBATCH`` lines of a script; where both speak, ``#SWM`` holds.

    Raises
    ------
    ScriptError
        For a script that cannot be run, and for a directive that is unknown or invalid; it names
        the line, the directive and what is allowed.
    """
    script = source(text)
    ours, slurm, tasks = Draft(), Draft(), sbatch.Tasks()
    for_slurm = False
    for line in directives(script):
        if line.dialect == "#SWM":
            swm.read_line(line, ours)
        else:
            for_slurm = True
            sbatch.read_line(line, slurm, tasks)
    if for_slurm:
        sbatch.finish(slurm, tasks)
    if "stderr" in ours.fields:
        slurm.drop("merge_output")
    return _merged(script, ours, slurm)


def _merged(script: str, ours: Draft, slurm: Draft) -> Directives:
    fields = {**slurm.fields, **ours.fields}
    for name in _DICTS:
        if name in fields:
            fields[name] = {**slurm.fields.get(name, {}), **ours.fields.get(name, {})}
    origins = {**slurm.origins, **ours.origins}
    if ours.inputs:
        origins["inputs"] = ours.inputs[0][0]
        origins |= {f"inputs.{number}": each for number, (each, _) in enumerate(ours.inputs)}
    if ours.out:
        origins["forwards"] = ours.out[0][0]
    return Directives(
        script=script,
        fields=MappingProxyType(fields),
        inputs=tuple(path for _, path in ours.inputs),
        outputs=fields.get("outputs", ()),
        out=tuple(dict.fromkeys(port for _, port in ours.out)),
        submission_address=ours.submission_address,
        partition=slurm.partition if "site" not in ours.fields else "",
        origins=MappingProxyType(origins),
    )
