"""The model card that travels with a model: what it is for, what not, and how it was judged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2

from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write, sha256_file
from emonet_deploy.errors import ExportError
from emonet_deploy.runtime.metadata import ModelInfo

__all__ = ["card_path", "render_card", "write_card"]

_WEIGHTS: Final = {
    "original": "those of EmoNet's authors",
    "standin": "an untrained stand-in",
    "sha256": "your own",
}
_LICENCES: Final = {
    "original": "The weights are their authors', under CC BY-NC-ND 4.0: to be attributed, not for "
    "commercial use, not to be changed and passed on.",
    "standin": "Apache-2.0, as the toolkit that made the weights.",
    "sha256": "Of the weights: fill in before you pass the model on.",
}


def card_path(model: Path) -> Path:
    """Return where a model's card lies: ``emonet_8.fp32.onnx`` has ``emonet_8.fp32.card.md``.

    Example:
        >>> card_path(Path("emonet_8.fp32.onnx")).name
        'emonet_8.fp32.card.md'
    """
    return model.with_suffix(".card.md")


def render_card(
    name: str, info: ModelInfo, parity: Mapping[str, Any], sha256: str | None = None
) -> str:
    """Return the card as Markdown.

    Args:
        name: of the model's file.
        info: its record.
        parity: the measured part of the JSON result of ``emonet parity``.
        sha256: of the file.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, ""),
        autoescape=jinja2.select_autoescape(),  # of HTML; this is Markdown
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["figure"] = lambda value: "none" if value is None else f"{value:.6g}"
    kind = info.checkpoint.partition(":")[0]
    return environment.get_template("model_card.md.jinja").render(
        name=name,
        info=info,
        classes=CLASS_NAMES[info.nclass],
        weights=f"{_WEIGHTS[kind]} (`{info.checkpoint}`)",
        licence=_LICENCES[kind],
        standin=kind == "standin",
        parity=parity,
        sha256=sha256,
    )


def write_card(model: Path, info: ModelInfo, parity: Mapping[str, Any]) -> Path:
    """Write a model's card beside it, and return its path.

    Raises:
        ExportError: it cannot be written.
    """
    path = card_path(model)
    text = render_card(model.name, info, parity, sha256_file(model))
    with atomic_write(path, ExportError) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
