"""The command line: errors, exit codes, and which function answers which command.

Results go to standard output, progress and warnings to standard error; ``ExitCode`` says how it
went. Heavy imports live inside the commands, so that ``emonet --help`` starts at once.
"""

import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from emonet_deploy import __version__
from emonet_deploy.commands import checkpoint, dataset
from emonet_deploy.commands.batch import batch, summarize
from emonet_deploy.commands.bench.command import bench
from emonet_deploy.commands.build import build
from emonet_deploy.commands.console import logging_to_stderr, say, show, warn
from emonet_deploy.commands.doctor import doctor
from emonet_deploy.commands.eval.command import evaluate
from emonet_deploy.commands.export import export
from emonet_deploy.commands.options import grouped
from emonet_deploy.commands.parity import parity
from emonet_deploy.commands.predict.command import predict
from emonet_deploy.commands.process.exit_codes import ExitCode
from emonet_deploy.commands.process.signals import lost_interrupts_raised, sigterm_as_interrupt
from emonet_deploy.commands.process.streams import (
    libraries_silenced,
    open_missing_streams,
    standard_output,
)
from emonet_deploy.commands.prove.command import prove
from emonet_deploy.commands.serve import serve
from emonet_deploy.commands.triton import triton
from emonet_deploy.commands.tune.command import tune
from emonet_deploy.errors import EmonetError, InputError, ParityError, one_line

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """The one place where errors become a line, or two, and an exit code."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:  # noqa: ANN401
        extra["standalone_mode"] = False  # so that what goes wrong arrives here
        try:
            with standard_output():
                _require_folder()
                code = super().main(*args, **extra) or ExitCode.OK
                if sys.stdout is not None:
                    sys.stdout.flush()
        except typer.Exit as stop:
            code = stop.exit_code
        except typer.Abort:  # Ctrl-C before a command has begun
            code = ExitCode.INTERRUPTED
        except SystemExit as stop:  # how rich ends where nobody reads the help
            closed = isinstance(stop.__context__, BrokenPipeError)
            code = ExitCode.OUTPUT_CLOSED if closed else stop.code
        except typer.TyperException as error:
            code = ExitCode.USAGE
            _report_usage(error)
        except EmonetError as error:
            code = ExitCode.GATE_FAILED if isinstance(error, ParityError) else ExitCode.ERROR
            _report(error.message, error.hint)
        except MemoryError:
            code = ExitCode.ERROR
            _report("there is not enough memory", "give it less at once, or more memory")
        except ImportError as error:  # of OpenCV without libGL.so.1, as in slim containers
            code = ExitCode.ERROR
            _report(
                f"a package that is needed cannot be loaded ({one_line(error)})",
                "`emonet doctor` says which, and what to install",
            )
        except Exception as error:  # a fault of ours, or of a library, that nobody foresaw
            code = ExitCode.ERROR
            _report(
                f"{type(error).__name__}: {one_line(error)}",
                "nobody foresaw this: please report it, with what `emonet --debug ...` shows",
            )
        if standalone_mode:
            sys.exit(code)
        return code

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own context and result
        try:
            with logging_to_stderr():
                return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            say("interrupted; what was complete is kept")
            raise typer.Exit(ExitCode.INTERRUPTED) from interrupt
        except Exception:
            if ctx.params.get("debug"):
                traceback.print_exc()
            raise


def _require_folder() -> None:
    """Raise ``InputError`` where the current folder was deleted: libraries end the process then."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError("the current folder is gone", hint="change to one that exists") from error


def _report(message: str, hint: str | None) -> None:
    warn(f"error: {message}")
    if hint:
        warn(f"hint: {hint}")


def _report_usage(error: Any) -> None:  # noqa: ANN401 - typer's own, of several kinds
    # The message is empty where the help was printed instead.
    if message := error.format_message().replace(": Value error, ", ": "):
        where = error.ctx.command_path if getattr(error, "ctx", None) else "emonet"
        _report(message[0].lower() + message[1:], f"`{where} --help` lists what it takes")


_EPILOG = "Exit codes: " + ", ".join(
    f"{code.value} {code.name.lower().replace('_', ' ')}" for code in ExitCode
)

app = typer.Typer(
    name="emonet",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="EmoNet in production: export to ONNX and TensorRT, run, measure, and prove agreement.",
    epilog=_EPILOG,
)
for command in (
    export, build, parity, bench, tune, predict, batch, summarize, serve, triton, prove, doctor
):  # fmt: skip
    app.command()(grouped(command))
app.command("eval")(grouped(evaluate))

checkpoint_app = typer.Typer(no_args_is_help=True, help="Get, check or make a checkpoint.")
for subcommand in (checkpoint.fetch, checkpoint.verify, checkpoint.standin):
    checkpoint_app.command()(grouped(subcommand))
app.add_typer(checkpoint_app, name="checkpoint")

dataset_app = typer.Typer(no_args_is_help=True, help="Make and convert data sets.")
dataset_app.command()(grouped(dataset.make))
dataset_app.command()(grouped(dataset.convert))
app.add_typer(dataset_app, name="dataset")


@app.callback(invoke_without_command=True)
@grouped
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    if version:
        show(f"emonet-deploy {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    open_missing_streams()
    # Read when OpenCV is loaded, by whichever option or command: what goes wrong is said by us.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    for stream in (sys.stdout, sys.stderr):
        # What the encoding of a terminal or pipe lacks is written as an escape.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with sigterm_as_interrupt(), lost_interrupts_raised(), libraries_silenced():
        app()


if __name__ == "__main__":
    main()
