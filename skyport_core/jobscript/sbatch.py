"""What the options of ``#SBATCH`` lines mean on any site."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..model import Eviction
from . import values
from .draft import Directive, Draft
from .errors import shown
from .options import options
from .slurm_options import IGNORED, KNOWN, REFUSED, SHORT
from .source import Line

_GPUS = re.compile(r"(?:(?P<type>[A-Za-z_][\w.-]*):)?(?P<count>\d{1,5})", re.A)
_PATTERN = re.compile(r"%(.?)")


@dataclass
class Tasks:
    """How many tasks of which size a script asks for; what a node must have follows from all."""

    counts: dict[str, tuple[int, Directive]] = field(default_factory=dict)
    memory: dict[str, tuple[int, Directive]] = field(default_factory=dict)

    def count(self, name: str, otherwise: int) -> int:
        """A number that was given, or its default."""
        return self.counts[name][0] if name in self.counts else otherwise

    def apply(self, draft: Draft) -> None:
        """Fill in nodes, cpus, gpus and memory of a draft."""
        nodes = self._nodes()
        tasks = self._tasks_per_node(nodes)
        if nodes > 1 or "nodes" in self.counts:
            draft.set("nodes", nodes, self._origin("nodes", "ntasks", "ntasks-per-node"))
        gpus = self._gpus(nodes, tasks)
        if gpus is not None:
            origin = self._origin("gpus", "gpus-per-node", "gpus-per-task")
            draft.set("gpus", gpus, origin)
        asked = ("cpus-per-task", "cpus-per-gpu", "ntasks", "ntasks-per-node")
        cpus = tasks * self.count("cpus-per-task", 1)
        if "cpus-per-gpu" in self.counts and gpus:
            cpus = gpus * self.count("cpus-per-gpu", 1)
        if any(name in self.counts for name in asked):
            draft.set("cpus", cpus, self._origin(*asked))
        per = {"mem": 1, "mem-per-cpu": cpus, "mem-per-gpu": gpus or 1}
        for name, (amount, directive) in self.memory.items():
            draft.set("memory", amount * per[name], directive)
        self._tell(draft, nodes, tasks)

    def _tell(self, draft: Draft, nodes: int, tasks: int) -> None:
        """Have the job know its tasks, as Slurm tells them; what --export names holds."""
        asked = ("ntasks", "ntasks-per-node", "cpus-per-task")
        if not any(name in self.counts for name in asked):
            return
        origin = self._origin(*asked)
        total = self.count("ntasks", nodes * tasks)
        told = {"SLURM_NTASKS": str(total), "SLURM_NPROCS": str(total)}
        if "cpus-per-gpu" not in self.counts or "cpus-per-task" in self.counts:
            told["SLURM_CPUS_PER_TASK"] = str(self.count("cpus-per-task", 1))
        if "ntasks-per-node" in self.counts:
            told["SLURM_NTASKS_PER_NODE"] = str(tasks)
        draft.set("variables", told | draft.fields.get("variables", {}), origin)

    def _nodes(self) -> int:
        per_node = self.count("ntasks-per-node", 0)
        if "nodes" in self.counts or not per_node:
            return self.count("nodes", 1)
        return max(1, math.ceil(self.count("ntasks", per_node) / per_node))

    def _tasks_per_node(self, nodes: int) -> int:
        if "ntasks" in self.counts:
            return math.ceil(self.count("ntasks", 1) / nodes)
        return self.count("ntasks-per-node", 1)

    def _gpus(self, nodes: int, tasks: int) -> int | None:
        if "gpus-per-node" in self.counts:
            return self.count("gpus-per-node", 0)
        if "gpus-per-task" in self.counts:
            return tasks * self.count("gpus-per-task", 0)
        if "gpus" not in self.counts:
            return None
        total, directive = self.counts["gpus"]
        if total % nodes:
            raise directive.error(f"GPUs cannot be the same number on each of {nodes} nodes")
        return total // nodes

    def _origin(self, *names: str) -> Directive:
        return next(self.counts[name][1] for name in names if name in self.counts)


def read_line(line: Line, draft: Draft, tasks: Tasks) -> None:
    """Take one line over. Raises ScriptError."""
    for directive in options(line, KNOWN, SHORT):
        name = directive.name.partition(" --")[2]
        if name in IGNORED:
            continue
        if name in REFUSED:
            raise directive.error(f"cannot be had here: {REFUSED[name]}", "")
        RULES[name](draft, tasks, directive)


def finish(draft: Draft, tasks: Tasks) -> None:
    """Settle what follows from several options together. Raises ScriptError."""
    tasks.apply(draft)
    if "stderr" not in draft.fields:
        draft.fields["merge_output"] = True


Apply = Callable[[Draft, Tasks, Directive], None]


def _field(name: str, reader: Callable[[str], object] | None = None) -> Apply:
    def apply(draft: Draft, tasks: Tasks, directive: Directive) -> None:
        value = directive.read(reader) if reader else directive.value
        draft.set(name, value, directive)

    return apply


def _count(name: str, least: int = 1) -> Apply:
    def apply(draft: Draft, tasks: Tasks, directive: Directive) -> None:
        count = directive.read(values.integer)
        if count < least:
            raise directive.error(f"must be {least} or more")
        tasks.counts[name] = (count, directive)

    return apply


def _nodes(draft: Draft, tasks: Tasks, directive: Directive) -> None:
    least = directive.value.partition("-")[0]
    count = directive.read(values.integer, least)
    if count < 1:
        raise directive.error("must be 1 or more")
    tasks.counts["nodes"] = (count, directive)


def _memory(name: str) -> Apply:
    def apply(draft: Draft, tasks: Tasks, directive: Directive) -> None:
        amount = directive.read(values.mebibytes)
        if not amount:
            raise directive.error("(all memory of a node) cannot be had; name an amount")
        tasks.memory = {name: (amount, directive)}

    return apply


def _gpus(name: str) -> Apply:
    def apply(draft: Draft, tasks: Tasks, directive: Directive) -> None:
        match = _GPUS.fullmatch(directive.value)
        if not match:
            raise directive.error("must be COUNT or TYPE:COUNT")
        if match["type"]:
            draft.update("labels", {"gpu": match["type"]}, directive)
        tasks.counts[name] = (int(match["count"]), directive)

    return apply


def _gres(draft: Draft, tasks: Tasks, directive: Directive) -> None:
    for item in directive.value.split(","):
        parts = item.removeprefix("gres/").split(":")
        if item in ("", "none"):
            continue
        if parts[0] != "gpu" or len(parts) > 3:
            raise directive.error(f"must be gpu[:TYPE][:COUNT]; not {shown(item)}")
        if len(parts) == 1 or not parts[-1].isdigit():
            parts.append("1")
        _gpus("gpus-per-node")(
            draft, tasks, Directive(directive.line, directive.name, ":".join(parts[1:]))
        )


def _time(draft: Draft, tasks: Tasks, directive: Directive) -> None:
    if directive.value.upper() in ("UNLIMITED", "INFINITE", "0"):
        draft.set("walltime", None, directive)
        return
    seconds = values.clock(directive.value, alone=60)
    if seconds is None:
        raise directive.error("must be M, M:S, H:M:S, D-H, D-H:M or D-H:M:S")
    draft.set("walltime", seconds, directive)


def _output(name: str) -> Apply:
    def apply(draft: Draft, tasks: Tasks, directive: Directive) -> None:
        for match in _PATTERN.finditer(directive.value):
            if match[1] not in tuple("jxuNAa%"):
                raise directive.error("has a pattern other than %j %x %u %N %A %a %%", match[0])
        draft.set(name, directive.value, directive)

    return apply


def _partition(draft: Draft, tasks: Tasks, directive: Directive) -> None:
    draft.partition = directive.value


def _export(draft: Draft, tasks: Tasks, directive: Directive) -> None:
    for word in re.split(r",(?=[A-Za-z_]\w*(?:=|,|$))", directive.value):
        name, equals, value = word.partition("=")
        if equals:
            draft.update("variables", {name: value}, directive)
        elif name not in ("", "ALL", "NONE", "NIL"):
            raise directive.error("cannot be taken from where the job was submitted", name)


def _constraint(draft: Draft, tasks: Tasks, directive: Directive) -> None:
    for feature in re.split(r"[&,]", directive.value.strip("[]")):
        name, equals, value = feature.partition("=")
        if not equals or re.search(r"[|*()\[\]]", feature):
            raise directive.error("must be LABEL=VALUE, several by '&'", feature)
        draft.update("labels", {name: value}, directive)


def _dependency(draft: Draft, tasks: Tasks, directive: Directive) -> None:
    draft.append("dependencies", directive.read(values.dependencies), directive)


def _flag(name: str, value: object) -> Apply:
    def apply(draft: Draft, tasks: Tasks, directive: Directive) -> None:
        draft.set(name, value, directive)

    return apply


def _open_mode(draft: Draft, tasks: Tasks, directive: Directive) -> None:
    if directive.value not in ("t", "truncate"):
        raise directive.error("cannot be had here: files are written anew")


RULES: Mapping[str, Apply] = {
    "account": _field("account"),
    "array": _field("array"),
    "chdir": _field("workdir"),
    "comment": _field("comment"),
    "constraint": _constraint,
    "cpus-per-gpu": _count("cpus-per-gpu"),
    "cpus-per-task": _count("cpus-per-task"),
    "dependency": _dependency,
    "error": _output("stderr"),
    "export": _export,
    "gpus": _gpus("gpus"),
    "gpus-per-node": _gpus("gpus-per-node"),
    "gpus-per-task": _gpus("gpus-per-task"),
    "gres": _gres,
    "hold": _flag("hold", True),
    "input": _output("stdin"),
    "job-name": _field("name"),
    "mem": _memory("mem"),
    "mem-per-cpu": _memory("mem-per-cpu"),
    "mem-per-gpu": _memory("mem-per-gpu"),
    "no-requeue": _flag("on_eviction", Eviction.FAIL),
    "nodes": _nodes,
    "ntasks": _count("ntasks"),
    "ntasks-per-node": _count("ntasks-per-node"),
    "open-mode": _open_mode,
    "output": _output("stdout"),
    "partition": _partition,
    "requeue": _flag("on_eviction", Eviction.REQUEUE),
    "time": _time,
    "tmp": _field("storage", values.gibibytes),
}
"""All options with a meaning, by their long names."""
