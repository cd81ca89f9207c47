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
    CancelQuery,
    EventQuery,
    EventView,
    FailureView,
    JobList,
    JobPatch,
    JobQuery,
    JobView,
)
from .logs import (
    MAX_CHUNK,
    LogQuery,
)
from .offers import (
    OfferList,
    OfferView,
)
from .shells import (
    ShellQuery,
)
from .sites import (
    NodeList,
    NodePatch,
    NodeView,
    PartitionList,
    PartitionQuery,
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
    TunnelQuery,
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
    "MAX_CHUNK",
    "MAX_SCRIPT",
    "Address",
    "CancelQuery",
    "CertificateIssued",
    "CertificateKind",
    "CertificateList",
    "CertificateRequest",
    "CertificateView",
    "ErrorBody",
    "ErrorView",
    "EventQuery",
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
    "LogQuery",
    "NodeList",
    "NodePatch",
    "NodeView",
    "OfferList",
    "OfferRequest",
    "OfferView",
    "PartitionList",
    "PartitionQuery",
    "PartitionView",
    "QuotaList",
    "QuotaView",
    "ShellQuery",
    "SiteList",
    "SiteView",
    "TunnelList",
    "TunnelQuery",
    "TunnelView",
    "UsageList",
    "UsageQuery",
    "UsageView",
    "Version",
]
