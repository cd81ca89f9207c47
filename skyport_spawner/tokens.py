"""The API token of a server, found again after a restart of the hub without keeping the token.

A hub that was restarted no longer knows the tokens it gave out, and so could not revoke the one of
a server that it stops.
"""

from __future__ import annotations

from dataclasses import dataclass

from jupyterhub import orm
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class TokenMark:
    """Which token it is: its number in the hub's database and when it was made.

    The time belongs to it because a database may give the number of a deleted token again.
    """

    id: int
    created: str

    @classmethod
    def of(cls, session: Session, token: str) -> TokenMark | None:
        """The mark of a token; None when the hub has no such token."""
        found = orm.APIToken.find(session, token) if token else None
        return None if found is None else cls(found.id, str(found.created))

    def revoke(self, session: Session) -> bool:
        """Delete the token; False when it is gone already."""
        found = session.get(orm.APIToken, self.id)
        if found is None or str(found.created) != self.created:
            return False
        session.delete(found)
        session.commit()
        return True
