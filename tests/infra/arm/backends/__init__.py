"""What stands behind a virtual machine of the endpoint: nothing, a node, or an emulated PC."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


class BootFailed(Exception):
    """The guest agent never reported: the create operation fails.

    Parameters
    ----------
    message
        What Azure would say.
    code
        Azure's code.
    """

    def __init__(self, message: str, code: str = "OSProvisioningTimedOut") -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class Machine:
    """A virtual machine as its backend sees it.

    Attributes
    ----------
    name, id, vm_id
        Its name, resource id and UUID.
    location, zone, group
        Where it is; zone "" for none.
    size
        "Standard_D4s_v5".
    custom_data
        Decoded; b"" for none.
    user_data
        Base64 as sent; "" for none.
    admin_username
        The login that the platform makes.
    public_keys
        Public keys of that login.
    os_profile
        ``osProfile`` as sent, secrets included.
    properties
        ``properties`` as sent, secrets included.
    tags
        The VM's tags at its creation.
    identity
        ``identity`` as sent; None for none.
    spot
        Whether it can be evicted.
    address
        Its private IP address; "" until the backend's ``create`` returned.
    """

    name: str
    id: str
    vm_id: str
    location: str = ""
    zone: str = ""
    group: str = ""
    size: str = ""
    custom_data: bytes = b""
    user_data: str = ""
    admin_username: str = ""
    public_keys: list[str] = field(default_factory=list)
    os_profile: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    identity: dict[str, Any] | None = None
    spot: bool = False
    address: str = ""


class Listener(Protocol):
    """Hears what machines do by themselves; called in the endpoint's event loop."""

    def powered_off(self, machine: Machine) -> None:
        """The guest shut itself down: "PowerState/stopped", still billed."""
        ...

    def acknowledged(self, machine: Machine, event_id: str) -> None:
        """The guest asked IMDS to start a scheduled event before its time."""
        ...

    def identity_token(
        self, machine: Machine, resource: str, client_id: str
    ) -> dict[str, Any] | None:
        """IMDS's token for a user-assigned identity of the machine; None when it has none.

        ``client_id`` may also be the identity's resource id; "" takes any.
        """
        ...


class Backend(Protocol):
    """Runs machines for the endpoint. All methods run in the endpoint's event loop.

    ``listener`` is set by the endpoint.
    """

    listener: Listener | None

    async def create(self, machine: Machine) -> str:
        """Begin to boot a new machine; its private address, as soon as that is known."""
        ...

    async def booted(self, machine: Machine) -> None:
        """Return when the guest agent would report ready; :class:`BootFailed` when it will not."""
        ...

    async def stop(self, machine: Machine) -> None:
        """Switch it off: its processes are gone, its disk stays."""
        ...

    async def start(self, machine: Machine) -> str:
        """Switch a stopped machine on again; its private address."""
        ...

    async def delete(self, machine: Machine) -> None:
        """Remove it with all it had; harmless when it is gone or was never made."""
        ...

    async def notice(self, machine: Machine, event: dict[str, Any]) -> None:
        """Show the machine a scheduled event in its metadata service.

        ``event`` is as IMDS words it: EventId, EventType ("Preempt"), ResourceType, Resources,
        EventStatus ("Scheduled"), NotBefore, Description, EventSource, DurationInSeconds.
        """
        ...

    async def serial_log(self, machine: Machine) -> str:
        """What the machine printed while booting."""
        ...

    async def close(self) -> None:
        """Remove all machines."""
        ...
