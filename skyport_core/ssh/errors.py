"""What can go wrong between the core and a node, in words for people and for programs."""

from __future__ import annotations


class NodeError(Exception):
    """Base of all that the SSH layer raises.

    Parameters
    ----------
    message : str
        What happened, in words a user may see.
    reason : str
        One word for programs; each subclass has its own default.
    hint : str
        What the user or the admin can do next.
    permanent : bool
        Another try on the same node is useless now.

    The technical cause is chained with ``raise … from cause``; it goes to the log only.
    """

    default_reason = "node_error"
    default_permanent = False

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        hint: str = "",
        permanent: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = self.default_reason if reason is None else reason
        self.hint = hint
        self.permanent = self.default_permanent if permanent is None else permanent


class NodeUnreachable(NodeError):
    """The node does not answer, or the connection to it was lost."""

    default_reason = "node_unreachable"


class HostKeyMismatch(NodeError):
    """The node showed a host key that is not among the accepted ones."""

    default_reason = "host_key_mismatch"
    default_permanent = True


class LoginRefused(NodeError):
    """The node does not let the user log in with the key or certificate offered."""

    default_reason = "login_refused"
    default_permanent = True


class ShellRefused(NodeError):
    """The login works, but its shell runs no commands (``nologin``, a forced command)."""

    default_reason = "shell_refused"
    default_permanent = True


class DiskFull(NodeError):
    """The user's home on the node has no room left, or its quota is used up."""

    default_reason = "disk_full"
    default_permanent = True


class AddressInUse(NodeError):
    """Something else listens where a tunnel must listen."""

    default_reason = "address_in_use"
    default_permanent = True


class CommandFailed(NodeError):
    """A command on the node failed or did not end in time."""

    default_reason = "command_failed"


class ForwardRefused(NodeError):
    """The node's sshd refuses to forward ports."""

    default_reason = "forward_refused"
    default_permanent = True


class StagingFailed(NodeError):
    """Files could not be brought to the node or back."""

    default_reason = "staging_failed"


class StagingRefused(StagingFailed):
    """What the job itself asks for cannot be done, on no node: nothing speaks against this one."""

    default_permanent = True
