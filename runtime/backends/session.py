"""The session every backend is a subclass of: inputs are checked once, here."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import ClassVar, Final, NoReturn, Self

import numpy as np

from emonet_deploy.errors import BackendError, InputError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.choices import Backend
from emonet_deploy.runtime.metadata import ModelInfo

__all__ = ["Session", "check_images", "check_results"]

_LARGE: Final = 4096
"""Values of one image beyond which an output is looked at in every eighth row only."""

_SLACK: Final = 0.01
"""By how much rounding may take probabilities and their sum, valence and arousal out of range."""


class Session(ABC):
    """A loaded artifact, ready to run.

    Attributes:
        info: the artifact's record.
        provider: what runs it, as its library calls it, such as ``CPUExecutionProvider``.
        device: where it runs: ``cpu`` or ``cuda``, or ``remote``: on a server.
        max_batch: the largest batch that is run at once; larger ones are split.
    """

    backend: ClassVar[Backend]

    def __init__(
        self, info: ModelInfo, *, provider: str, device: str, max_batch: int | None = None
    ) -> None:
        self.info = info
        self.provider = provider
        self.device = device
        self.max_batch = max_batch
        self._open = True

    def run(self, images: Array, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run a batch of face crops; safe to call from several threads.

        Args:
            images: as ``info.inputs`` says. ``tensor``: float32, N x 3 x 256 x 256, RGB in
                [0, 1]. ``image``: uint8, N x 256 x 256 x 3, RGB. N is at least 1.
            outputs: names of the outputs that are wanted; by default all. Engines do not copy the
                others from the GPU.

        Returns:
            Fresh arrays under the names of ``info.outputs``, float32.

        Raises:
            InputError: wrong type, rank or shape, an empty batch, NaN or infinity, or an output
                that there is not.
            BackendError: the session is closed, the backend failed, or what the model returned is
                not of the shapes its record names, not finite or out of range.
        """
        if not self._open:
            raise BackendError("this session is closed; load the artifact again")
        check_images(images, self.info)
        names = self._wanted(outputs)
        limit = self.max_batch or len(images)
        if len(images) <= limit:
            results = self._run_for(images, names)
            check_results(results, self.info, len(images))
            return results
        batches = [images[i : i + limit] for i in range(0, len(images), limit)]
        parts = self._run_each(batches, names)
        for part, batch in zip(parts, batches, strict=True):
            check_results(part, self.info, len(batch))
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _wanted(self, outputs: Sequence[str] | None) -> tuple[str, ...]:
        known = tuple(output.name for output in self.info.outputs)
        if outputs is None:
            return known
        for name in outputs:
            if name not in known:
                raise InputError(f"there is no output {name!r}; choose of {', '.join(known)}")
        return tuple(name for name in known if name in outputs)

    @abstractmethod
    def _run(self, images: Array) -> dict[str, Array]:
        """Run checked images, at most ``max_batch`` of them."""

    def _run_for(self, images: Array, names: Sequence[str]) -> dict[str, Array]:
        """Run checked images for some of the outputs, in the order of ``info.outputs``."""
        results = self._run(images)
        return {name: results[name] for name in names}

    def _run_each(self, batches: Sequence[Array], names: Sequence[str]) -> list[dict[str, Array]]:
        """Run what a larger batch was split into."""
        return [self._run_for(images, names) for images in batches]

    def close(self) -> None:
        """Release what the session holds; closing twice is harmless."""
        self._open = False

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied.

        Raises:
            BackendError: always; it says what to do instead.
        """
        raise BackendError(
            "a session cannot be pickled or copied: its model lives in this process",
            hint="open the artifact in each worker, with load_session(path)",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def check_images(images: object, info: ModelInfo) -> None:
    """Raise ``InputError`` unless ``images`` is a batch the artifact takes."""
    want = info.inputs[0]
    shape = " x ".join("N" if size is None else str(size) for size in want.shape)
    if not isinstance(images, np.ndarray):
        kind = type(images).__name__
        raise InputError(f"images must be a NumPy array of {want.dtype}, {shape}, not {kind}")
    fits = images.ndim == len(want.shape) and images.shape[1:] == want.shape[1:]
    if not fits:
        got = " x ".join(map(str, images.shape)) or "a scalar"
        raise InputError(f"images must be {shape}, not {got}; runtime.preprocess makes such arrays")
    if len(images) == 0:
        raise InputError("the batch is empty; give at least one image")
    if images.dtype != want.dtype:
        raise InputError(
            f"images must be {want.dtype}, not {images.dtype}; runtime.preprocess makes such arrays"
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise InputError("images hold NaN or infinity; check what produced them")


def check_results(results: Mapping[str, Array], info: ModelInfo, n: int) -> None:
    """Raise ``BackendError`` unless a model returned what its record promises.

    Args:
        results: some of the outputs by name.
        info: the artifact's record.
        n: number of images.
    """
    for want in info.outputs:
        if want.name not in results:
            continue
        values = results[want.name]
        shape = (n, *want.shape[1:])
        if values.shape != shape or values.dtype.kind != "f":
            got, expected = (" x ".join(map(str, sizes)) for sizes in (values.shape, shape))
            raise _unbelievable(
                want.name, f"is {values.dtype}, {got}, where {want.dtype}, {expected} was due"
            )
        # What is not finite in a heatmap fills it, or is its peak, which is looked at when read.
        if not np.isfinite(values[:, :, ::8] if values.size > n * _LARGE else values).all():
            raise _unbelievable(want.name, "holds NaN or infinity")
    if info.interface == "image":
        _check_ranges(results)


def _check_ranges(results: Mapping[str, Array]) -> None:
    for name in ("valence", "arousal"):
        if name in results and np.abs(results[name]).max() > 1 + _SLACK:
            raise _unbelievable(name, "goes beyond -1 to 1")
    shares = results.get("probabilities")
    if shares is not None and (
        shares.min() < -_SLACK or np.abs(shares.sum(1, dtype=np.float64) - 1).max() > _SLACK
    ):
        raise _unbelievable("probabilities", "is not of shares that add up to 1")


def _unbelievable(name: str, what: str) -> BackendError:
    return BackendError(
        f"the model's output {name!r} {what}",
        hint="make the artifact again, and check it with `emonet parity`",
    )
