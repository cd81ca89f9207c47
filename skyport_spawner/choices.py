"""The part of the spawner that asks users what they want, and checks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from traitlets import default

from skyport_core.client import CoreClient, CoreError, CoreUnavailable
from skyport_core.wire import FlavorView

from . import form
from .failures import option_failure
from .options import OptionError, UserOptions, parse, resolve
from .settings import SkyPortSettings

if TYPE_CHECKING:
    from jupyterhub.spawner import Spawner
else:
    Spawner = object


class SkyPortChoices(SkyPortSettings, Spawner):
    """Options form, options of REST requests, and their limits, for :class:`SkyPortSpawner`.

    The hub keeps what was chosen and starts servers again with it, so the same check is made on
    every start.
    """

    @property
    def core_client(self) -> CoreClient:
        """The client of the core."""
        raise NotImplementedError

    @default("options_form")
    def _options_form_default(self) -> Any:
        return type(self).render_options_form

    @default("options_from_form")
    def _options_from_form_default(self) -> Any:
        return self.read_options_form

    @default("apply_user_options")
    def _apply_user_options_default(self) -> Any:
        return type(self).accept_user_options

    async def render_options_form(self) -> str:
        """The form as HTML, with what the sites offer now and the last choice preselected."""
        await self.apply_group_overrides()
        limits = self.limits(self._groups())
        try:
            chosen = parse(self._own_options(self.user_options))
        except OptionError:
            # Kept by a configuration that knew other options.
            chosen = UserOptions()
        flavors: list[FlavorView] = []
        images: list[str] = []
        outage = ""
        if not limits.profiles:
            try:
                flavors = await self.core_client.flavors()
                images = sorted({image.name for image in await self.core_client.images()})
            except (CoreUnavailable, CoreError) as error:
                self.log.warning("Cannot show what the sites offer: %s", error)
                outage = "Sky Port does not answer now, so what the sites offer is not known."
        return form.render(flavors, limits, chosen, images=images, outage=outage)

    def read_options_form(self, form_data: Mapping[str, list[Any]]) -> dict[str, Any]:
        """User options from the form or from a query string; HTTP error 400 if not valid."""
        names = self._extra_names()
        own = {name: value for name, value in form_data.items() if name not in names}
        extra = {name: value for name, value in form_data.items() if name in names}
        try:
            chosen = form.read(own).chosen()
        except OptionError as error:
            raise option_failure(error) from None
        return {**self._simple_options_from_form(extra), **chosen}

    def accept_user_options(self, user_options: Mapping[str, Any]) -> None:
        """Nothing to apply here: ``start()`` checks the options and puts them into the job."""

    def resolve_options(self, user_options: Mapping[str, Any]) -> UserOptions:
        """What the job asks for; HTTP error 400 for options not valid or not allowed."""
        try:
            options = parse(self._own_options(user_options))
            return resolve(options, self.limits(self._groups()))
        except OptionError as error:
            raise option_failure(error) from None

    def _own_options(self, user_options: Mapping[str, Any]) -> dict[str, Any]:
        names = self._extra_names()
        return {name: value for name, value in user_options.items() if name not in names}

    def _extra_names(self) -> set[str]:
        names = set(self.extra_options)
        if isinstance(self.apply_user_options, dict):
            names |= set(self.apply_user_options)
        return names

    def _groups(self) -> frozenset[str]:
        return frozenset(group.name for group in self.user.groups)
