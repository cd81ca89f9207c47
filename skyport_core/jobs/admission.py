"""What is looked at before a job gets into the queue."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

from ..accounts import UnknownAccount, sites_of
from ..caller import Caller
from ..model import IMAGE, Dependency, JobSpec, array_tasks
from ..service import ServiceError
from ..settings import Settings
from ..store import Store
from ..wire import JobRequest
from .environment import OWN_NAMES, OWN_PREFIX
from .shares import LiveJobs
from .totals import StoredTotals, size_of

MAX_ARRAY = 2**26
"""Bytes that the jobs of one array may take in the database together."""


class Admission:
    """Refuses what can be seen to be wrong at once; raises ServiceError 422.

    Parameters
    ----------
    sites : collection of str
        Names of the sites.
    """

    def __init__(self, store: Store, settings: Settings, sites: Collection[str]) -> None:
        self._store = store
        self._settings = settings
        self._sites = sites
        self._live = LiveJobs(store, settings.max_jobs)
        self._stored = StoredTotals(store, settings.max_stored_total)

    async def check(self, owner: str, spec: JobSpec, by: Caller | None) -> None:
        """Check what a job asks for; ``by`` is who asks, None the core itself."""
        if spec.site is not None and spec.site not in self._sites:
            known = ", ".join(sorted(self._sites))
            raise _refusal(
                "unknown_site", f"There is no site {spec.site!r}; allowed: {known}", "site"
            )
        self._check_account(owner, spec, by)
        self._check_storages(spec)
        self._check_workdir(spec)
        check_program(spec)
        check_outputs(spec)
        check_names(spec)
        self.check_walltime(spec.walltime, by)
        if spec.dependencies:
            await self._check_dependencies(owner, spec.dependencies, by)

    async def count(self, owner: str, request: JobRequest, by: Caller | None) -> int:
        """Count the jobs that a submission makes; how many were counted.

        Raises ServiceError 409 when the owner would have too many, or too much would be stored of
        them; admins may have any number.
        """
        if by is None or by.admin:
            return 0
        count = tasks_of(request)
        await self._stored.add(owner, count * size_of(request) + len(request.script or ""))
        await self._live.add(owner, count)
        return count

    def settle(self, owner: str, count: int, *, stored: bool) -> None:
        """The jobs that were counted have been stored, or will not be."""
        self._live.settle(owner, count, stored=stored)

    def walltime(self, asked: int | None, by: Caller | None) -> int | None:
        """The walltime of a job that may not run for ever."""
        limit = 0 if _unlimited(by) else self._settings.max_walltime
        return limit if asked is None and limit else asked

    def check_walltime(self, asked: int | None, by: Caller | None) -> None:
        """Refuse more than users may ask for."""
        limit = 0 if _unlimited(by) else self._settings.max_walltime
        if limit and asked is not None and asked > limit:
            message = f"walltime ({asked}): must be at most {limit} s"
            raise _refusal("invalid", message, "walltime")

    def _check_account(self, owner: str, spec: JobSpec, by: Caller | None) -> None:
        if spec.account is None:
            return
        user = None if by is None or by.admin else owner
        try:
            sites = sites_of(self._settings.accounts, spec.account, user, self._sites)
        except UnknownAccount as error:
            raise _refusal("unknown_account", str(error), "account") from None
        if spec.site is not None and spec.site not in sites:
            message = (
                f"Jobs of account {spec.account!r} do not run at site {spec.site}; "
                f"allowed: {', '.join(sorted(sites))}"
            )
            raise _refusal("invalid", message, "site")

    def _check_storages(self, spec: JobSpec) -> None:
        for number, name in enumerate(spec.storages):
            if name not in self._settings.storages:
                known = ", ".join(sorted(self._settings.storages)) or "none is configured"
                message = f"There is no storage {name!r}; allowed: {known}"
                raise _refusal("unknown_storage", message, f"storages.{number}")

    def _check_workdir(self, spec: JobSpec) -> None:
        boxed = spec.container is not None and self._settings.container_engine != "none"
        if boxed and ":" in spec.workdir:
            message = "workdir: a container cannot be shown a folder whose path has a colon"
            raise _refusal("invalid", message, "workdir")

    async def _check_dependencies(
        self, owner: str, dependencies: Collection[Dependency], by: Caller | None
    ) -> None:
        known = await self._store.tallies({dependency.job for dependency in dependencies})
        anybodys = by is None or by.admin
        for number, dependency in enumerate(dependencies):
            found = known.get(dependency.job)
            if found is None or not (anybodys or found.owner == owner):
                message = f"dependencies.{number}.job: there is no job {dependency.job}"
                raise _refusal("invalid", message, f"dependencies.{number}.job")


def check_array(request: JobRequest) -> None:
    """Refuse an array whose jobs would be too large together: each is stored with all it has."""
    if request.array is None:
        return
    size = len(request.model_dump_json(exclude={"script"}, exclude_defaults=True).encode())
    count = tasks_of(request)
    if size * count > MAX_ARRAY:
        message = (
            f"array: {size} bytes of variables, environment, files and the rest for each of "
            f"{count} jobs are too many; all together must be at most {MAX_ARRAY}. Upload inputs, "
            "or have fewer jobs."
        )
        raise _refusal("too_large", message, "array")


def check_program(spec: JobSpec) -> None:
    """Refuse a program that has no name, and an image that no engine could know."""
    if spec.command and not spec.command[0].strip():
        raise _refusal("invalid", "command.0: must name a program", "command.0")
    if spec.container is not None and not IMAGE.fullmatch(spec.container):
        message = (
            f"container ({spec.container!r}): must be an image, such as ubuntu:24.04 or "
            "registry.example.org/team/tool@sha256:…, or the path of an image file"
        )
        raise _refusal("invalid", message, "container")


def check_outputs(spec: JobSpec) -> None:
    """Refuse results that are not below the working directory."""
    for number, pattern in enumerate(spec.outputs):
        parts = PurePosixPath(pattern).parts
        if not parts or pattern.startswith("/") or ".." in parts:
            message = (
                f"outputs.{number} ({pattern[:80]!r}): must be a path below the working "
                "directory, without '..'"
            )
            raise _refusal("invalid", message, f"outputs.{number}")


def check_names(spec: JobSpec) -> None:
    """Refuse names that are the core's own: of variables, and of files beside a script."""
    given = {"variables": spec.variables}
    if isinstance(spec, JobRequest):
        given["environment"] = spec.environment
        given["environment_templates"] = spec.environment_templates
    for field, values in given.items():
        taken = next((name for name in values if name.startswith(OWN_PREFIX)), None)
        if taken is not None:
            message = f"{field}: names that begin with {OWN_PREFIX} are Sky Port's: {taken!r}"
            raise _refusal("invalid", message, f"{field}.{taken}")
    if not isinstance(spec, JobRequest) or spec.script is None:
        return
    for number, file in enumerate(spec.files):
        if file.path.partition("/")[0] in OWN_NAMES:
            message = (
                f"files.{number}.path: {file.path!r} is the name of something of the job's own; "
                f"choose one that does not begin with {', '.join(sorted(OWN_NAMES))}"
            )
            raise _refusal("name_taken", message, f"files.{number}.path")


def tasks_of(request: JobRequest) -> int:
    """How many jobs a submission makes."""
    return 1 if request.array is None else len(array_tasks(request.array).indices)


def _unlimited(by: Caller | None) -> bool:
    return by is None or by.admin or by.may_name_owner


def _refusal(code: str, message: str, field: str) -> ServiceError:
    return ServiceError(message, code=code, status=422, field=field)
