"""Jobs and their events in words."""

from __future__ import annotations

from ..wire import EventView, JobView
from .output import clock, length, line, price


def job_fields(view: JobView) -> list[tuple[str, object]]:
    """All that is known of a job, as names and values."""
    failure = view.failure
    waits = [f"{each.when.value} {each.job}" for each in view.dependencies]
    cost = price(view.price)
    return [
        ("Job", view.id),
        ("Array", f"{view.array}, index {view.array_index}" if view.array else None),
        ("Name", view.name),
        ("Comment", view.comment),
        ("Owner", view.owner),
        ("Account", view.account),
        ("Kind", view.kind.value),
        ("State", view.state),
        ("Held", "yes" if view.held else None),
        ("Waits for", view.wait_reason),
        ("Position", view.position),
        ("After", ", ".join(waits)),
        ("Node", place(view)),
        ("Partition", view.partition),
        ("Flavor", view.flavor),
        ("Region", view.region),
        ("Price per hour", f"{cost} {view.currency}" if cost is not None else None),
        ("Kept as", view.keep),
        ("Container", view.container),
        ("Resources", _resources(view)),
        ("Walltime", length(view.walltime) if view.walltime else None),
        ("Address", f"{view.address.host}:{view.address.port}" if view.address else None),
        ("Inputs", ", ".join(view.inputs)),
        ("Outputs", ", ".join(view.outputs)),
        ("Submitted", clock(view.created_at)),
        ("Started", clock(view.started_at)),
        ("Ends at", clock(view.expires_at) if not view.state.final else ""),
        ("Ended", clock(view.ended_at)),
        ("Exit code", view.exit_code),
        ("Failure", f"{failure.message} [{failure.reason}]" if failure else None),
        ("Hint", failure.hint if failure else None),
    ]


def place(view: JobView) -> str:
    """Where a job is: ``SITE/NODE``, a site, or nothing yet."""
    return f"{view.site}/{view.node}" if view.node else view.site or ""


_BELOW = "The log below "


def elsewhere(hint: str) -> str:
    """A hint where no log is shown below it; "" when that is all that it speaks of."""
    return "" if hint.startswith(_BELOW) else hint


def event_line(event: EventView) -> str:
    """An event on a line."""
    said = elsewhere(event.hint)
    hint = f" ({said})" if said else ""
    return line(
        f"{clock(event.time)} {event.progress:3d}% {event.state.value:<10} {event.message}{hint}"
    )


def _resources(view: JobView) -> str:
    parts = [
        f"{view.nodes} nodes" if view.nodes > 1 else "",
        f"{view.cpus:g} cpus" if view.cpus else "",
        f"{view.memory} MiB" if view.memory else "",
        f"{view.gpus} gpus" if view.gpus else "",
    ]
    return ", ".join(part for part in parts if part)
