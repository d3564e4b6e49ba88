"""The command line: errors, exit codes, and which function answers which command.

Results go to standard output, progress and warnings to standard error. Exit codes: 0 good,
1 error, 2 usage, 3 a parity or accuracy gate failed. Heavy imports live inside the commands, so
that ``emonet --help`` starts at once.
"""

import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from emonet_deploy import __version__
from emonet_deploy.commands import checkpoint, dataset
from emonet_deploy.commands.bench.command import bench
from emonet_deploy.commands.build import build
from emonet_deploy.commands.console import say
from emonet_deploy.commands.doctor import doctor
from emonet_deploy.commands.eval.command import evaluate
from emonet_deploy.commands.export import export
from emonet_deploy.commands.parity import parity
from emonet_deploy.commands.predict.command import predict
from emonet_deploy.errors import EmonetError, ParityError

__all__ = ["app", "main"]

ERROR, GATE_FAILED = 1, 3


class _Commands(TyperGroup):
    """The one place where errors become a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own context and result
        try:
            return super().invoke(ctx)
        except EmonetError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            say(f"error: {error}")
            raise typer.Exit(GATE_FAILED if isinstance(error, ParityError) else ERROR) from error
        except KeyboardInterrupt as interrupt:
            say("interrupted; what was complete is kept")
            raise typer.Exit(130) from interrupt


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="EmoNet in production: export to ONNX and TensorRT, run, measure, and prove agreement.",
)
for command in (export, build, parity, bench, predict, doctor):
    app.command()(command)
app.command("eval")(evaluate)

checkpoint_app = typer.Typer(no_args_is_help=True, help="Get, check or make a checkpoint.")
for subcommand in (checkpoint.fetch, checkpoint.verify, checkpoint.standin):
    checkpoint_app.command()(subcommand)
app.add_typer(checkpoint_app, name="checkpoint")

dataset_app = typer.Typer(no_args_is_help=True, help="Make data sets.")
dataset_app.command()(dataset.make)
app.add_typer(dataset_app, name="dataset")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    if version:
        print(f"emonet-deploy {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
