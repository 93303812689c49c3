from collections.abc import Iterator

import pytest

from core.db.session import SessionFactory
from core.db.tables import Installation
from core.errors import ConflictError
from core.installation import claim_bucket, require_old_claim
from core.storage import Storage
from core.storage_keys import INSTALLATION_KEY


@pytest.fixture(autouse=True)
def unclaimed_bucket(storage: Storage) -> Iterator[None]:
    storage.delete_keys([INSTALLATION_KEY])
    yield
    storage.delete_keys([INSTALLATION_KEY])


def test_bucket_may_be_claimed_again_by_the_same_database(storage: Storage, sessions: SessionFactory) -> None:
    claimed_at = claim_bucket(storage, sessions)

    assert claim_bucket(storage, sessions) == claimed_at


def test_bucket_of_another_database_is_refused(storage: Storage, sessions: SessionFactory) -> None:
    claim_bucket(storage, sessions)
    with sessions.begin() as session:
        session.get_one(Installation, 1).name = "inst_other"

    with pytest.raises(ConflictError, match="belongs to another database"):
        claim_bucket(storage, sessions)


def test_claim_has_to_be_as_old_as_asked(storage: Storage, sessions: SessionFactory) -> None:
    require_old_claim(storage, sessions, min_age_hours=0)

    with pytest.raises(ConflictError, match="for less than 24 h"):
        require_old_claim(storage, sessions, min_age_hours=24)
