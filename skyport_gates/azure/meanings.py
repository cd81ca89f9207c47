"""The codes of Azure's errors that are known, and the gate's error that each stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..gate import (
    ConfigurationError,
    GateError,
    GateUnavailable,
    InvalidRequest,
    NoCapacity,
    NotAuthorized,
    PartitionNotFound,
    QuotaExceeded,
    Scope,
)

HOUR = 3600.0
LOW_QUOTA = 600.0
"""Seconds after which a quota that is used up may have room again."""

NO_ROOM = 60.0
"""Seconds after which there may be room for a size that does not fit in a quota's rest."""

RESTRICTED = 23 * HOUR
"""Seconds after which a size that a region does not sell may be asked for again."""

_LIMIT = re.compile(r"Current Limit:\s*(\d+)", re.IGNORECASE)
_SETUP = "An admin runs: skyport-core azure setup"
_ELSEWHERE = "Another size, zone or region may have some."


@dataclass(frozen=True)
class Fault:
    """A code of Azure and the message beside it."""

    code: str
    message: str

    def __str__(self) -> str:
        words = " ".join(self.message.split()).rstrip(".")[:400]
        return f"{words} ({self.code})" if words and self.code else words or self.code


@dataclass(frozen=True)
class Subject:
    """The machine that a call was about.

    ``family`` are the sizes that share its quota.
    """

    flavor: str = ""
    region: str = ""
    zone: str = ""
    spot: bool = False
    family: frozenset[str] = frozenset()

    def __str__(self) -> str:
        words = f"{'spot ' if self.spot else ''}{self.flavor or 'the machine'}"
        return f"{words}{self.place}"

    @property
    def place(self) -> str:
        """In which region and zone, for a sentence; "" when that is not known."""
        if not self.region:
            return ""
        return f" in {self.region}" + (f" zone {self.zone}" if self.zone else "")

    def scope(
        self,
        *,
        zone: str | None = None,
        spot: bool | None = None,
        flavors: frozenset[str] | None = None,
    ) -> Scope | None:
        """Offers of the region: of ``flavors``, or of all; None while the region is not known."""
        return Scope(flavors, self.region, zone, spot) if self.region else None

    @property
    def size(self) -> frozenset[str]:
        """The size alone."""
        return frozenset({self.flavor})


Meaning = Callable[[Fault, Subject], "GateError | None"]
"""None: not known from this message; another code of the answer may tell."""


def _allocation_failed(fault: Fault, subject: Subject) -> GateError:
    # Who gets none by paying in full gets no spot machine either; the reverse does not hold.
    return _no_capacity(subject, HOUR, zone=subject.zone or None, spot=subject.spot or None)


def _zone_exhausted(fault: Fault, subject: Subject) -> GateError:
    return _no_capacity(subject, HOUR, zone=subject.zone or None)


def _not_sold(fault: Fault, subject: Subject) -> GateError:
    lasting = not subject.spot and "capacity" not in fault.message.lower()
    seconds = RESTRICTED if lasting else HOUR
    return _no_capacity(subject, seconds, zone=subject.zone or None, spot=subject.spot)


def _no_capacity(
    subject: Subject, seconds: float, *, zone: str | None = None, spot: bool | None = None
) -> GateError:
    scope = subject.scope(zone=zone, spot=spot, flavors=subject.size)
    return NoCapacity(
        f"Azure has no {subject} now.", hint=_ELSEWHERE, scope=scope, retry_after=seconds
    )


def _not_allowed(fault: Fault, subject: Subject) -> GateError | None:
    """OperationNotAllowed is said for a quota, a price, and for what its state forbids."""
    words = fault.message.lower()
    if "quota" in words:
        return _quota(fault, subject)
    if "max price" in words or "maxprice" in words:
        return _too_cheap(fault, subject)
    return None


def _quota(fault: Fault, subject: Subject) -> GateError:
    words = fault.message.lower().replace(" ", "")
    limit = _LIMIT.search(fault.message)
    seconds = LOW_QUOTA if limit is None else HOUR
    flavors: frozenset[str] | None = subject.family | subject.size
    spot: bool | None = False
    if "lowprioritycores" in words or "spotcores" in words or subject.spot:
        flavors, spot = None, True
    elif "totalregional" in words or "regionalcores" in words:
        flavors, spot = None, False
    elif "publicip" in words or "virtualmachinesquota" in words:
        flavors, spot = None, None
    if limit is not None and int(limit.group(1)) > 0:
        # A smaller machine may fit still, and this one as soon as another has gone.
        flavors, spot, seconds = subject.size, subject.spot, NO_ROOM
    return QuotaExceeded(
        f"The quota of the subscription does not allow {subject}: {fault}.",
        hint="Use another size or region, or have an admin ask for more: "
        "https://aka.ms/azquotaincrease",
        scope=subject.scope(flavors=flavors, spot=spot),
        retry_after=seconds,
    )


def _limit_reached(fault: Fault, subject: Subject) -> GateError:
    return QuotaExceeded(
        f"A limit of the subscription does not allow {subject}: {fault}.",
        hint="Wait until other machines are gone, or have an admin ask for a higher limit.",
        scope=subject.scope(),
        retry_after=LOW_QUOTA,
    )


def _subnet_full(fault: Fault, subject: Subject) -> GateError:
    return NoCapacity(
        f"The subnet{subject.place} has no address left.",
        hint="An admin makes it larger, or names another in c.AzureGate.subnets.",
        scope=subject.scope(),
        retry_after=LOW_QUOTA,
    )


def _too_cheap(fault: Fault, subject: Subject) -> GateError:
    return NoCapacity(
        f"The price of {subject} is above the limit that was set.",
        hint="Allow a higher price, or wait.",
        scope=subject.scope(flavors=subject.size, spot=True),
        retry_after=HOUR,
    )


def _unauthorized(fault: Fault, subject: Subject) -> GateError:
    return NotAuthorized(
        f"Azure refuses the core: {fault}.",
        hint="An admin gives the core's identity the role that skyport-core azure setup makes.",
    )


def _credential(fault: Fault, subject: Subject) -> GateError:
    return NotAuthorized(
        "Azure does not accept the core's credential.",
        hint="An admin checks c.AzureGate.credential: skyport-core azure check tells more.",
    )


def _disabled(fault: Fault, subject: Subject) -> GateError:
    return NotAuthorized(
        "The Azure subscription is disabled or may only be read.",
        hint="An admin looks after it in the Azure portal, under Subscriptions.",
    )


def _no_subscription(fault: Fault, subject: Subject) -> GateError:
    return ConfigurationError(
        "Azure does not know the subscription, or the core may not see it.",
        hint="An admin corrects c.AzureGate.subscription or the core's role in it.",
    )


def _not_set_up(fault: Fault, subject: Subject) -> GateError:
    return ConfigurationError(f"Azure is not set up for the core: {fault}.", hint=_SETUP)


def _not_found(fault: Fault, subject: Subject) -> GateError:
    words = fault.message.lower()
    # What is named, and is no machine, is what machines need: a subnet, an identity.
    if "microsoft." in words and "microsoft.compute/virtualmachines" not in words:
        return _not_set_up(fault, subject)
    if "subnet" in words or "virtualnetworks" in words:
        return _not_set_up(fault, subject)
    return PartitionNotFound("Azure does not have the machine any more.")


def _missing_reference(fault: Fault, subject: Subject) -> GateError | None:
    words = fault.message.lower()
    if "/subnets/" in words or "/virtualnetworks/" in words or "identit" in words:
        return _not_set_up(fault, subject)
    return None


def _policy(fault: Fault, subject: Subject) -> GateError:
    return InvalidRequest(
        f"A policy of the organisation forbids {subject}: {fault}.",
        hint="Ask for another size or region, or have an admin look at the policy.",
    )


def _locked(fault: Fault, subject: Subject) -> GateError:
    return ConfigurationError(
        f"The resource group is locked: {fault}.",
        hint="An admin removes the lock from the resource group of c.AzureGate.",
    )


def _image(fault: Fault, subject: Subject) -> GateError:
    return InvalidRequest(
        f"There is no such image for {subject}: {fault}.",
        hint="Ask for another image, or have an admin correct c.AzureGate.boot_images.",
    )


def _marketplace(fault: Fault, subject: Subject) -> GateError:
    return InvalidRequest(
        f"The subscription may not use that image of the marketplace: {fault}.",
        hint="Ask for another image, or have an admin accept its terms: az vm image terms accept",
    )


def _invalid(fault: Fault, subject: Subject) -> GateError:
    if "max price" in fault.message.lower():
        return _too_cheap(fault, subject)
    return InvalidRequest(
        f"Azure refuses {subject} as it was asked for: {fault}.",
        hint="Ask for another size, region or image, or tell an admin.",
    )


def _did_not_boot(fault: Fault, subject: Subject) -> GateError:
    return GateError(
        f"The machine did not come up: {fault}.",
        hint="Another try may work; if not, the image may not fit the size.",
    )


def _trouble(fault: Fault, subject: Subject) -> GateError:
    return GateUnavailable(f"Azure has a fault of its own: {fault}.", hint="It is tried again.")


def _table(*rows: tuple[Meaning, str]) -> Mapping[str, Meaning]:
    return {code.lower(): meaning for meaning, listed in rows for code in listed.split()}


MEANINGS: Mapping[str, Meaning] = _table(
    (_allocation_failed, "AllocationFailed"),
    (
        _zone_exhausted,
        "ZonalAllocationFailed OverconstrainedAllocationRequest"
        " OverconstrainedZonalAllocationRequest",
    ),
    (_not_sold, "SkuNotAvailable NotAvailableForSubscription"),
    (_not_allowed, "OperationNotAllowed"),
    (_quota, "QuotaExceeded ResourceQuotaExceeded"),
    (
        _limit_reached,
        "PublicIPCountLimitReached PublicIpAddressCountLimitReached"
        " NetworkInterfaceCountLimitReached ResourceCountExceedsLimitDueToTemplate"
        " SubscriptionRequestsLimitReached",
    ),
    (_subnet_full, "SubnetIsFull SubnetFull"),
    (_too_cheap, "SpotPriceTooLow MaxPriceTooLow"),
    (_unauthorized, "AuthorizationFailed LinkedAuthorizationFailed Forbidden"),
    (
        _credential,
        "InvalidAuthenticationToken ExpiredAuthenticationToken AuthenticationFailed"
        " InvalidAuthenticationTokenTenant InvalidAuthenticationTokenAudience Unauthorized",
    ),
    (_disabled, "ReadOnlyDisabledSubscription DisabledSubscription SubscriptionDisabled"),
    (_no_subscription, "SubscriptionNotFound InvalidSubscriptionId"),
    (
        _not_set_up,
        "ResourceGroupNotFound MissingSubscriptionRegistration SubscriptionNotRegistered"
        " NoRegisteredProviderFound SubnetNotFound NetworkNotFound",
    ),
    (_not_found, "NotFound ResourceNotFound"),
    (_missing_reference, "InvalidResourceReference LinkedInvalidPropertyId PrincipalNotFound"),
    (_policy, "RequestDisallowedByPolicy"),
    (_locked, "ScopeLocked"),
    (
        _image,
        "ImageNotFound PlatformImageNotFound GalleryImageNotFound VMImageNotFound"
        " ImageVersionDeprecated",
    ),
    (
        _marketplace,
        "MarketplacePurchaseEligibilityFailed ResourcePurchaseValidationFailed"
        " VMMarketplaceInvalidInput ResourcePurchaseCanceled",
    ),
    (
        _invalid,
        "InvalidParameter BadRequest InvalidRequestContent InvalidRequestFormat"
        " InvalidTemplate LocationNotAvailableForResourceType InvalidResourceLocation"
        " VMSizeDoesntExist AvailabilityZoneNotSupported PropertyChangeNotAllowed",
    ),
    (
        _did_not_boot,
        "OSProvisioningTimedOut OSProvisioningClientError OSProvisioningInternalError"
        " VMStartTimedOut VMExtensionProvisioningError VMExtensionProvisioningTimeout",
    ),
    (
        _trouble,
        "InternalServerError InternalExecutionError InternalOperationError ServerTimeout"
        " GatewayTimeout NetworkingInternalOperationError ServiceUnavailable ServerBusy"
        " OperationTimedOut RetryableError RetryableErrorDueToAnotherOperation",
    ),
)
"""By code in lower case."""
