"""What an import may use: of the archive, and of the host."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from core.images import ImageLimits

if TYPE_CHECKING:
    from core.settings import Settings  # the import process has none, and would load them for a tenth of a second

MEBIBYTE = 1024**2


class IngestLimits(BaseModel):
    """Counted while inflating; no header is believed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_unpacked_bytes: int = 10 * 1024**3
    max_members: int = 100_000
    max_ratio: float = 20.0  # unpacked to packed, above `ratio_free_bytes`
    ratio_free_bytes: int = 64 * MEBIBYTE
    max_member_ratio: float = 200.0  # of a zip's member, above `member_ratio_free_bytes`
    member_ratio_free_bytes: int = MEBIBYTE
    max_zstd_window_bytes: int = 128 * MEBIBYTE  # what `zstd -d` takes without asking
    max_labels_file_bytes: int = 32 * MEBIBYTE
    image: ImageLimits = ImageLimits()
    min_images_per_class: int = 5  # different ones
    max_classes: int = 10_000
    shard_bytes: int = 256 * MEBIBYTE

    decoders: int = 0  # processes that decode pictures beside the one that reads; with none, it does so itself
    memory_bytes: int = 2 * 1024**3  # of each process
    cpu_seconds: int = 3600
    wall_seconds: int = 3600
    max_file_bytes: int = 512 * MEBIBYTE  # of any file that the child writes
    max_open_files: int = 64

    @property
    def max_member_bytes(self) -> int:
        """Of a longer member only so many bytes, and one, are kept."""
        return max(self.image.max_bytes, self.max_labels_file_bytes)

    @classmethod
    def from_settings(cls, settings: "Settings") -> "IngestLimits":
        return cls(
            max_unpacked_bytes=settings.max_unpacked_bytes,
            max_members=settings.max_members,
            max_ratio=settings.max_unpack_ratio,
            ratio_free_bytes=settings.unpack_ratio_free_bytes,
            max_member_ratio=settings.max_member_ratio,
            max_zstd_window_bytes=settings.max_zstd_window_bytes,
            max_labels_file_bytes=settings.max_labels_file_bytes,
            image=ImageLimits(
                max_bytes=settings.max_image_bytes,
                max_pixels=settings.max_image_pixels,
                max_side=settings.max_image_side,
                min_side=settings.min_image_side,
            ),
            min_images_per_class=settings.min_images_per_class,
            max_classes=settings.max_classes,
            decoders=settings.import_decoders,
            memory_bytes=settings.import_memory_bytes,
            cpu_seconds=settings.import_timeout_seconds,
            wall_seconds=settings.import_timeout_seconds,
        )
