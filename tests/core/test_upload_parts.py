import pytest

from core.db.tables import Upload
from core.upload_parts import MAX_PARTS, MEBIBYTE, choose_part_bytes, plan_parts


@pytest.mark.parametrize("size_bytes", [1, 16 * MEBIBYTE, 16 * MEBIBYTE + 1, 2 * 1024**3 + 7, 10 * 1024**3, 10**12])
def test_parts_are_few_and_make_the_whole(size_bytes: int) -> None:
    part_bytes = choose_part_bytes(size_bytes, at_least=16 * MEBIBYTE)

    parts = plan_parts(Upload(size_bytes=size_bytes, part_bytes=part_bytes))

    assert part_bytes % MEBIBYTE == 0
    assert sum(part.size_bytes for part in parts) == size_bytes
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert len(parts) <= MAX_PARTS
    assert all(part.size_bytes == part_bytes for part in parts[:-1])
    assert 0 < parts[-1].size_bytes <= part_bytes
