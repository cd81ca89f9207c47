"""The bodies of the REST API, version 1: what the server validates and the client parses."""

from .certificates import (
    CertificateIssued,
    CertificateKind,
    CertificateList,
    CertificateRequest,
    CertificateView,
)
from .core import (
    ErrorBody,
    ErrorView,
    Health,
    Version,
)
from .files import (
    FileList,
    FileView,
)
from .flavors import (
    FlavorList,
    FlavorQuery,
    FlavorView,
    ImageList,
    ImageView,
    QuotaList,
    QuotaView,
)
from .jobs import (
    Address,
    EventView,
    FailureView,
    JobList,
    JobPatch,
    JobQuery,
    JobView,
)
from .offers import (
    OfferList,
    OfferView,
)
from .sites import (
    NodeList,
    NodePatch,
    NodeView,
    PartitionList,
    PartitionView,
    SiteList,
    SiteView,
)
from .submissions import (
    MAX_SCRIPT,
    FileUpload,
    JobRequest,
    JobSecrets,
    OfferRequest,
)
from .tunnels import (
    TunnelList,
    TunnelView,
)
from .usage import (
    UsageList,
    UsageQuery,
    UsageView,
)

API_PREFIX = "/api/v1"

__all__ = [
    "API_PREFIX",
    "MAX_SCRIPT",
    "Address",
    "CertificateIssued",
    "CertificateKind",
    "CertificateList",
    "CertificateRequest",
    "CertificateView",
    "ErrorBody",
    "ErrorView",
    "EventView",
    "FailureView",
    "FileList",
    "FileUpload",
    "FileView",
    "FlavorList",
    "FlavorQuery",
    "FlavorView",
    "Health",
    "ImageList",
    "ImageView",
    "JobList",
    "JobPatch",
    "JobQuery",
    "JobRequest",
    "JobSecrets",
    "JobView",
    "NodeList",
    "NodePatch",
    "NodeView",
    "OfferList",
    "OfferRequest",
    "OfferView",
    "PartitionList",
    "PartitionView",
    "QuotaList",
    "QuotaView",
    "SiteList",
    "SiteView",
    "TunnelList",
    "TunnelView",
    "UsageList",
    "UsageQuery",
    "UsageView",
    "Version",
]
