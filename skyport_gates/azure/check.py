"""``skyport-core azure check``: whether a site can work, and what stands in the way."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import asyncssh
from azure.core.exceptions import AzureError, ResourceNotFoundError
from yarl import URL

from ..gate import ConfigurationError, GateError
from .admin import AdminClients
from .check_region import RegionCheck
from .clients import wire
from .findings import GIVE, Finding, error, failed, ok, warning
from .images import ImageBook
from .pricelist import shipped
from .rights import ASSIGN_IDENTITY, JOIN_SUBNET, missing, needed
from .settings import AzureSettings

_SETUP = "skyport-core azure setup makes it"


class Check:
    """Looks at all that a site stands on.

    Parameters
    ----------
    settings
        Of the site.
    clients
        Open ones, with the core's own credential.
    authority
        Public key of the core's SSH authority; "" if it has none yet.
    """

    def __init__(self, settings: AzureSettings, clients: AdminClients, authority: str) -> None:
        self._settings = settings
        self._clients = clients
        self._authority = authority

    async def findings(self) -> list[Finding]:
        """All that was found; without a login only that."""
        login = await self._credential()
        if login.level == "error":
            return [login]
        group = await self._group()
        found = [login, group]
        if group.level == "ok":
            found += [*await self._rights(), await self._machines()]
        try:
            images = ImageBook(self._settings.boot_images, self._settings.default_image)
        except ConfigurationError as cause:
            return [*found, failed("images", cause)]
        for region in self._settings.regions:
            found += await RegionCheck(self._settings, self._clients, region, images).findings()
        return [*found, await self._prices(), self._ssh()]

    async def _credential(self) -> Finding:
        """Log in, and say as whom."""
        kind = self._settings.credential
        try:
            token = await self._clients.call(
                self._clients.credential.get_token(self._settings.scope)
            )
        except GateError as cause:
            words = str(cause.__cause__ or "").strip().splitlines()
            return error(
                "credential",
                f"no login with {kind}: {words[0] if words else cause.message}",
                cause.hint,
            )
        return ok("credential", f"logged in with {kind} as {_who(_claims(token.token))}")

    async def _group(self) -> Finding:
        name = self._settings.resource_group
        try:
            await self._clients.resources.resource_groups.get(name)
        except ResourceNotFoundError:
            return error("resource group", f"there is no {name!r}", _SETUP)
        except AzureError as cause:
            right = "Microsoft.Resources/subscriptions/resourceGroups/read"
            return failed("resource group", cause, right=right, where=f"the group {name}")
        return ok("resource group", f"{name!r} is there")

    async def _rights(self) -> list[Finding]:
        """The rights in the group, and on what is outside it."""
        settings, permissions = self._settings, self._clients.authorization.permissions
        group = settings.resource_group
        found = [
            await self._rights_on(
                f"the group {group}",
                permissions.list_for_resource_group(group),
                needed(settings),
            )
        ]
        outside = [
            (subnet, JOIN_SUBNET, "Network Contributor") for subnet in settings.subnets.values()
        ]
        if settings.identity:
            outside.append((settings.identity, ASSIGN_IDENTITY, "Managed Identity Operator"))
        for resource, action, role in outside:
            parts = resource.strip("/").split("/")
            if len(parts) not in (8, 10):
                found.append(error("rights", f"{resource} is no id of a resource"))
                continue
            listing = permissions.list_for_resource(
                parts[3], parts[5], "/".join(parts[6:-2]), parts[-2], parts[-1]
            )
            hint = (
                f"az role assignment create --assignee OBJECT-ID --role '{role}' --scope {resource}"
            )
            found.append(await self._rights_on(resource, listing, [action], hint))
        return found

    async def _machines(self) -> Finding:
        """Whether the look works by which the gate watches its machines."""
        machines = self._clients.compute.virtual_machines
        try:
            await self._clients.all(machines.list_all(status_only="true"))
        except GateError as cause:
            right = "Microsoft.Compute/virtualMachines/read"
            where = f"the subscription {self._settings.subscription}"
            return failed("machines", cause, right=right, where=where)
        return ok("machines", "their states can be read")

    async def _rights_on(
        self, where: str, listing: Any, wanted: list[str], hint: str = GIVE
    ) -> Finding:
        try:
            permissions = [wire(one) async for one in listing]
        except AzureError as cause:
            right = "Microsoft.Authorization/permissions/read"
            return failed("rights", cause, right=right, where=where, hint=hint)
        lacking = missing(wanted, permissions)
        if lacking:
            return error(
                "rights",
                f"missing on {where}: {', '.join(lacking)}",
                f"{hint}; new rights may take some minutes",
            )
        return ok("rights", f"all {len(wanted)} that are needed on {where}")

    async def _prices(self) -> Finding:
        """Whether the price list answers, and what is shown instead if not."""
        settings = self._settings
        old = await asyncio.to_thread(shipped, settings.regions, settings.currency)
        instead = next((table.remark for table in old.values()), "none")
        if not settings.prices_url:
            return warning("prices", f"not asked for (prices_url is empty); shown: {instead}")
        wanted = (
            "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' "
            f"and armRegionName eq '{settings.regions[0]}'"
        )
        url = URL(settings.prices_url).update_query({"$filter": wanted})
        try:
            async with self._clients.http.get(url) as answer:
                answer.raise_for_status()
                document = await answer.json(content_type=None)
            rows = len(document["Items"])
        except (
            *(aiohttp.ClientError, asyncio.TimeoutError, OSError),
            *(ValueError, LookupError, TypeError),
        ) as cause:
            words = str(cause).strip() or type(cause).__name__
            return warning(
                "prices",
                f"cannot be read from {url.host}: {words}",
                f"shown instead: {instead}",
            )
        if not rows:
            return warning("prices", f"{url.host} has none of {settings.regions[0]}")
        return ok("prices", f"{url.host} answers, {rows} on the first page; in {settings.currency}")

    def _ssh(self) -> Finding:
        if not self._authority:
            return warning("SSH authority", "there is none yet", "the core makes it when it starts")
        print_ = asyncssh.import_public_key(self._authority).get_fingerprint()
        return ok("SSH authority", f"machines will trust {print_}")


def _claims(token: str) -> Mapping[str, Any]:
    """What a token says of its owner; nothing is verified, that is for Azure to do."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _who(claims: Mapping[str, Any]) -> str:
    """The identity that a token names, with the object id that roles are given to."""
    name = claims.get("upn") or claims.get("unique_name") or claims.get("xms_mirid")
    application = claims.get("appid") or claims.get("azp")
    parts = [
        str(name) if name else "",
        f"object {claims['oid']}" if claims.get("oid") else "",
        f"application {application}" if application else "",
        f"tenant {claims['tid']}" if claims.get("tid") else "",
    ]
    return ", ".join(part for part in parts if part) or "somebody (the token does not tell)"
