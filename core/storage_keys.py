"""Makes every key of the object store. All that an attempt writes carries the attempt."""

INSTALLATION_KEY = "installation"  # the name of the database that the bucket belongs to
ORPHAN_ROOTS = ("uploads/", "datasets/", "jobs/", "models/", "doctor/")
UPLOAD_ROOTS = (*ORPHAN_ROOTS, "backbones/")


def doctor_key(object_id: str) -> str:
    """What `bitune doctor` writes to see what the store can do, and deletes."""
    return f"doctor/{object_id}"


def upload_prefix(upload_id: str) -> str:
    return f"uploads/{upload_id}/"


def fetched_key(upload_id: str, attempt: int) -> str:
    """What an attempt fetched from a URL; a file that a user sent has no attempt."""
    return f"uploads/{upload_id}/{attempt}/archive"


def backbone_key(name: str, sha256: str) -> str:
    return f"backbones/{name}/{sha256}.safetensors"


def dataset_prefix(dataset_id: str) -> str:
    return f"datasets/{dataset_id}/"


def dataset_attempt_prefix(dataset_id: str, attempt: int) -> str:
    return f"datasets/{dataset_id}/{attempt}/"


def job_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/"


def checkpoint_prefix(job_id: str, attempt: int, step: int) -> str:
    return f"jobs/{job_id}/{attempt}/checkpoints/{step}/"


def metric_segment_key(job_id: str, attempt: int, number: int) -> str:
    return f"jobs/{job_id}/{attempt}/metrics/{number}.jsonl"


def log_segment_key(job_id: str, attempt: int, number: int) -> str:
    return f"jobs/{job_id}/{attempt}/log/{number}.txt"


def model_prefix(model_id: str) -> str:
    return f"models/{model_id}/"
