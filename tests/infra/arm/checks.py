"""What Azure refuses at once in the PUT of a virtual machine, in its own words."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from tests.infra.arm.router import ArmError, Call
from tests.infra.arm.state import Resource

_NAME = re.compile(r"^[^_\W][\w\-.]{0,79}(?<![-.])$")
_CUSTOM_DATA_LIMIT = 87_380
_USERS = frozenset(
    [
        "administrator",
        "admin",
        "user",
        "user1",
        "test",
        "user2",
        "test1",
        "user3",
        "admin1",
        "1",
        "123",
        "a",
        "actuser",
        "adm",
        "admin2",
        "aspnet",
        "backup",
        "console",
        "david",
        "guest",
        "john",
        "owner",
        "root",
        "server",
        "sql",
        "support",
        "support_388945a0",
        "sys",
        "test2",
        "test3",
        "user4",
        "user5",
    ]
)


def bad_parameter(message: str, target: str) -> ArmError:
    """InvalidParameter."""
    return ArmError(400, "InvalidParameter", message, target)


def check_request(call: Call) -> dict[str, Any]:
    """The body of a PUT, checked as far as it goes without looking at anything else."""
    name = call.name
    if not _NAME.match(name):
        raise bad_parameter(
            f"The entity name '{name}' is invalid according to its validation rule: "
            f"{_NAME.pattern}.",
            "name",
        )
    request = call.body
    if not isinstance(request, dict):
        raise ArmError(
            400, "InvalidRequestContent", "The request content was invalid: it is no JSON object."
        )
    if not request.get("location"):
        raise ArmError(
            400,
            "LocationRequired",
            "The location property is required for this definition.",
        )
    location = request["location"].replace(" ", "").lower()
    if location not in (each.lower() for each in call.arm.regions):
        raise ArmError(
            400,
            "LocationNotAvailableForResourceType",
            f"The provided location '{request['location']}' is not available for resource type "
            "'Microsoft.Compute/virtualMachines'. List of available regions for the resource type "
            f"is '{','.join(call.arm.regions)}'.",
        )
    properties = request.get("properties") or {}
    _check_os(properties.get("osProfile"), name)
    return request


def _check_os(profile: dict[str, Any] | None, name: str) -> None:
    if profile is None:
        return
    host = profile.get("computerName", name)
    if len(host) > 64 or re.search(r"[~!@#$%^&*()=+_\[\]{}\\|;:'\",<>/?\s]", host):
        raise bad_parameter(
            "Linux host name cannot exceed 64 characters in length or contain the following "
            "characters: ` ~ ! @ # $ % ^ & * ( ) = + _ [ ] { } \\ | ; : ' \" , < > / ?.",
            "computerName",
        )
    user = profile.get("adminUsername") or ""
    if not user or user.lower() in _USERS:
        raise bad_parameter(
            "The Admin Username specified is not allowed."
            if user
            else "Required parameter 'adminUsername' is missing (null).",
            "adminUsername",
        )
    linux = profile.get("linuxConfiguration") or {}
    keys = (linux.get("ssh") or {}).get("publicKeys") or []
    if linux.get("disablePasswordAuthentication") and not keys:
        raise bad_parameter(
            "Authentication using SSH is enabled, but no public key was provided: "
            "'linuxConfiguration.ssh.publicKeys' must not be empty.",
            "linuxConfiguration.ssh.publicKeys",
        )
    if not linux.get("disablePasswordAuthentication") and not profile.get("adminPassword"):
        raise bad_parameter(
            "Required parameter 'adminPassword' is missing (null).", "adminPassword"
        )
    for key in keys:
        _check_key(key, user)
    _check_data(profile.get("customData"))


def _check_key(key: dict[str, str], user: str) -> None:
    path = f"/home/{user}/.ssh/authorized_keys"
    if key.get("path") != path:
        raise bad_parameter(
            "Destination path for SSH public keys is currently limited to its default value "
            f"{path} due to a known issue in Linux provisioning agent.",
            "linuxConfiguration.ssh.publicKeys.path",
        )
    words = (key.get("keyData") or "").split()
    if len(words) < 2 or words[0] not in ("ssh-rsa", "ssh-ed25519"):
        raise bad_parameter(
            "The value of parameter linuxConfiguration.ssh.publicKeys.keyData is invalid.",
            "linuxConfiguration.ssh.publicKeys.keyData",
        )


def _check_data(data: str | None) -> None:
    if not data:
        return
    try:
        base64.b64decode(data, validate=True)
        good = len(data) <= _CUSTOM_DATA_LIMIT
    except (binascii.Error, ValueError):
        good = False
    if not good:
        raise bad_parameter(
            "Custom data in OSProfile must be in Base64 encoding and with a maximum length of "
            f"{_CUSTOM_DATA_LIMIT} characters.",
            "customData",
        )


def check_update(old: Resource, request: dict[str, Any]) -> None:
    """What of an existing VM cannot be changed."""
    location = request["location"].replace(" ", "").lower()
    if location != old.location:
        raise ArmError(
            409,
            "InvalidResourceLocation",
            f"The resource '{old.name}' already exists in location '{old.location}' in resource "
            f"group '{old.group}'. A resource with the same name cannot be created in location "
            f"'{location}'. Please select a new resource name.",
        )
    before = old.hidden["request"].get("properties") or {}
    after = request.get("properties") or {}
    for path in (
        "osProfile.customData",
        "osProfile.adminUsername",
        "osProfile.computerName",
        "osProfile.linuxConfiguration.ssh.publicKeys",
        "storageProfile.imageReference",
        "storageProfile.osDisk.name",
        "priority",
        "evictionPolicy",
    ):
        was, now = _dig(before, path), _dig(after, path)
        if now is not None and was != now:
            raise _unchangeable(path)
    if (request.get("zones") or []) != (old.hidden["request"].get("zones") or []):
        raise _unchangeable("zones", code="ResourceAvailabilityZonesCannotBeModified")


def _dig(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = (value or {}).get(key)
    return value


def _unchangeable(path: str, code: str = "PropertyChangeNotAllowed") -> ArmError:
    return ArmError(409, code, f"Changing property '{path}' is not allowed.", path)
