"""`xgen plot`: a run drawn."""

from pathlib import Path
from typing import Annotated

import typer

from xgen.cli.extras import require_extra
from xgen.cli.options import Json
from xgen.cli.printing import print_text
from xgen.show import print_json


def plot(
    run: Annotated[Path, typer.Argument(metavar="RUN", show_default=False, help="The folder of a run.")],
    *,
    as_json: Json = False,
) -> None:
    """Draw a run into RUN/run.svg: loss over tokens with its stages, by position, by language.

    It can be drawn while it runs.
    """
    require_extra("train", "matplotlib")
    from xgen.train.plot import plot_run

    path = plot_run(run)
    if as_json:
        print_json({"plot": str(path)})
    else:
        print_text(str(path))
