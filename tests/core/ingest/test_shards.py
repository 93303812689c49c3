import tarfile
from pathlib import Path

from core.ingest.shards import ShardWriter


def test_shard_is_what_tarfile_would_write(tmp_path: Path) -> None:
    files = {"a" * 32: b"", "b.jpg": b"x" * 513, "c" * 100: b"y" * 512}
    writer = ShardWriter(tmp_path / "shards", 1024**2)

    places = {name: writer.write(name, content) for name, content in files.items()}
    writer.close()

    with tarfile.open(tmp_path / "shards" / "0.tar") as archive:
        members = archive.getmembers()
        assert {member.name: (0, member.offset_data, member.size) for member in members} == places
        headers = [member.tobuf(tarfile.USTAR_FORMAT) for member in members]
    content = (tmp_path / "shards" / "0.tar").read_bytes()
    assert [content[member.offset : member.offset + 512] for member in members] == headers
