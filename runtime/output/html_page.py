"""A page of HTML that needs nothing but itself, from a Jinja template."""

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.runtime.output.table_formats import as_html

__all__ = ["write_page"]


def write_page(folder: Path, package: str, template: str, /, **values: Any) -> Path:
    """Write ``index.html`` into a folder, made where it is missing, and return its path.

    Args:
        folder: where to write; an older page there is replaced.
        package: the Python package that holds the template.
        template: its file. It has the filters ``table`` (of a ``Table``), ``figure`` (a number, or
            a dash for None) and ``readable`` (a name of a file); all else is escaped.
        values: what the template names.

    Raises:
        InputError: the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "table": lambda table: Markup(as_html(table)),  # noqa: S704 - which escapes its cells
        "figure": lambda value: "-" if value is None else f"{value:.6f}",
        "readable": readable,
    }
    path = folder / "index.html"
    with atomic_write(path) as temporary:
        temporary.write_text(environment.get_template(template).render(**values), encoding="utf-8")
    return path
