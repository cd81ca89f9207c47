"""What is looked at before a job gets into the queue."""

from __future__ import annotations

from collections.abc import Collection

from ..accounts import UnknownAccount, sites_of
from ..api.caller import Caller
from ..api.services import ServiceError
from ..model import Dependency, JobSpec, array_tasks
from ..settings import Settings
from ..store import Store
from ..wire import JobRequest

MAX_ARRAY_SECRETS = 2**26
"""Characters of files and environment that all jobs of one array may have together."""


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

    async def check(self, owner: str, spec: JobSpec, by: Caller | None) -> None:
        """Check what a job asks for; ``by`` is who asks, None the core itself."""
        if spec.site is not None and spec.site not in self._sites:
            known = ", ".join(sorted(self._sites))
            raise _refusal(
                "unknown_site", f"There is no site {spec.site!r}; allowed: {known}", "site"
            )
        self._check_account(owner, spec, by)
        self._check_storages(spec)
        self.check_walltime(spec.walltime, by)
        if spec.dependencies:
            await self._check_dependencies(owner, spec.dependencies, by)

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
        unknown = [name for name in spec.storages if name not in self._settings.storages]
        if unknown:
            known = ", ".join(sorted(self._settings.storages)) or "none is configured"
            message = f"There is no storage {unknown[0]!r}; allowed: {known}"
            raise _refusal("unknown_storage", message, "storages")

    async def _check_dependencies(
        self, owner: str, dependencies: Collection[Dependency], by: Caller | None
    ) -> None:
        known = await self._store.some_jobs({dependency.job for dependency in dependencies})
        anybodys = by is None or by.admin
        for number, dependency in enumerate(dependencies):
            job = known.get(dependency.job)
            if job is None or not (anybodys or job.owner == owner):
                message = f"dependencies.{number}.job: there is no job {dependency.job}"
                raise _refusal("invalid", message, f"dependencies.{number}.job")


def check_array(request: JobRequest) -> None:
    """Refuse an array whose jobs would have too many secrets together."""
    if request.array is None:
        return
    size = sum(len(file.content) for file in request.files)
    for values in (request.environment, request.environment_templates):
        size += sum(len(name) + len(value) for name, value in values.items())
    count = len(array_tasks(request.array).indices)
    if size * count > MAX_ARRAY_SECRETS:
        message = (
            f"files: {size} characters of files and environment for each of {count} jobs are too "
            f"many; all together must be at most {MAX_ARRAY_SECRETS}. Upload inputs instead."
        )
        raise _refusal("too_large", message, "files")


def _unlimited(by: Caller | None) -> bool:
    return by is None or by.admin or by.may_name_owner


def _refusal(code: str, message: str, field: str) -> ServiceError:
    return ServiceError(message, code=code, status=422, field=field)
