"""Names, sizes and published figures that every room of the toolkit shares.

Source of each figure: Toisoul, Kossaifi, Bulat, Tzimiropoulos, Pantic, "Estimation of continuous
valence and arousal levels from faces in naturalistic conditions", Nature Machine Intelligence 3,
42-50, 2021, and the authors' public repository.
"""

from dataclasses import astuple, dataclass
from typing import Final

__all__ = [
    "CLASS_NAMES",
    "HEATMAP_SIZE",
    "IMAGE_OUTPUTS",
    "INPUT_NAME",
    "INPUT_SIZE",
    "METRIC_NAMES",
    "NUM_LANDMARKS",
    "PUBLISHED",
    "TENSOR_OUTPUTS",
    "Accuracy",
    "Regression",
]

INPUT_NAME: Final = "image"
INPUT_SIZE: Final = 256
"""Height and width of the face crop, in pixels."""

NUM_LANDMARKS: Final = 68
HEATMAP_SIZE: Final = 64
"""Height and width of a landmark heatmap: a quarter of the crop's."""

TENSOR_OUTPUTS: Final = ("heatmap", "expression", "valence", "arousal")
"""Outputs of the network proper (``--io tensor``), in order."""

IMAGE_OUTPUTS: Final = ("probabilities", "valence", "arousal", "landmarks")
"""Outputs when pre- and postprocessing are embedded in the graph (``--io image``), in order."""

# The authors' demo calls class 4 of the 5-class model "fear"; the data set code behind the
# published accuracy drops fear and maps anger to 4, so anger is what the weights have learned.
CLASS_NAMES: Final[dict[int, tuple[str, ...]]] = {
    5: ("neutral", "happy", "sad", "surprise", "anger"),
    8: ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"),
}

METRIC_NAMES: Final = (
    "expression ACC",
    *(
        f"{axis} {metric}"
        for axis in ("valence", "arousal")
        for metric in ("CCC", "PCC", "RMSE", "SAGR")
    ),
)


@dataclass(frozen=True)
class Regression:
    """Agreement of a continuous prediction in [-1, 1] with its truth, as the paper reports it."""

    CCC: float | None
    """None where it is undefined: truth or prediction is constant."""
    PCC: float | None
    """None where it is undefined: truth or prediction is constant."""
    RMSE: float
    SAGR: float


@dataclass(frozen=True)
class Accuracy:
    """A row of the paper's table."""

    ACC: float | None
    """None where no sample has a class."""
    valence: Regression
    arousal: Regression

    def by_name(self) -> dict[str, float | None]:
        """Return the nine metrics under the names of ``METRIC_NAMES``, in that order."""
        return dict(
            zip(
                METRIC_NAMES,
                (self.ACC, *astuple(self.valence), *astuple(self.arousal)),
                strict=True,
            )
        )


PUBLISHED: Final[dict[int, Accuracy]] = {
    5: Accuracy(0.82, Regression(0.90, 0.90, 0.24, 0.85), Regression(0.80, 0.80, 0.24, 0.79)),
    8: Accuracy(0.75, Regression(0.82, 0.82, 0.29, 0.84), Regression(0.75, 0.75, 0.27, 0.80)),
}
"""By number of classes: cleaned AffectNet test set, with test-time flip."""
