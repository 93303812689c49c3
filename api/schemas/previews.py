"""What `POST /jobs/validate` and `GET /job-schema` answer."""

from typing import Any, Literal

from pydantic import ConfigDict

from api.schemas.common import ApiModel
from core.previews import Preview
from core.speeds import Estimate

EstimateStatus = Literal["measured", "probing", "probe_failed", "unavailable"]


class AdviceOut(ApiModel):
    code: str
    message: str
    hint: str


class PreviewOut(ApiModel):
    """Nothing was created."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "resolved_spec": {"backbone": "tf_efficientnet_lite0", "training": {"epochs": 40}},
                    "warnings": [
                        {
                            "code": "imbalanced",
                            "message": "the largest class has 800 training samples and the smallest 90",
                            "hint": 'consider `"class_weights": "auto"`',
                        }
                    ],
                    "estimate": {
                        "seconds": 412.0,
                        "total_steps": 640,
                        "is_upper_bound": False,
                        "device": "CPU",
                        "measured_by": "probe",
                        "actual_seconds": None,
                        "error": None,
                    },
                    "estimate_status": "measured",
                }
            ]
        }
    )

    resolved_spec: dict[str, Any] | None  # a ResolvedSpec; None while the dataset is not imported
    warnings: list[AdviceOut]
    estimate: Estimate | None
    estimate_status: EstimateStatus


class FieldOut(ApiModel):
    name: str  # as in `training.batch_size`
    type: str
    default: Any  # of the field's own type
    minimum: float | None
    maximum: float | None
    choices: list[str] | None
    description: str


class BackboneChoice(ApiModel):
    name: str
    num_parameters: int
    image_size: int
    weights_at_hand: bool


class JobSchema(ApiModel):
    """For a person, `fields` and `backbones`; for a program, `json_schema` of the body of `POST /jobs`."""

    fields: list[FieldOut]
    backbones: list[BackboneChoice]
    json_schema: dict[str, Any]


def render_preview(preview: Preview, estimate: Estimate | None, status: EstimateStatus) -> PreviewOut:
    return PreviewOut.model_validate(
        {
            "resolved_spec": None if preview.size is None else preview.size.spec.model_dump(mode="json"),
            "warnings": [advice._asdict() for advice in preview.advice],
            "estimate": estimate,
            "estimate_status": status,
        }
    )
