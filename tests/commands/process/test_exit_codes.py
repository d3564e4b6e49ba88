import signal

import click

from emonet_deploy.commands.process.exit_codes import ExitCode


def test_codes_are_those_of_shells_and_of_the_library_that_reads_the_options():
    assert ExitCode.OK == 0
    assert click.ClickException.exit_code == ExitCode.ERROR
    assert click.UsageError.exit_code == ExitCode.USAGE
    assert ExitCode.INTERRUPTED == 128 + signal.SIGINT
    assert ExitCode.OUTPUT_CLOSED == 128 + signal.SIGPIPE


def test_a_failed_gate_is_told_apart_from_errors_as_the_readme_says():
    assert ExitCode.GATE_FAILED == 3
    assert len({int(code) for code in ExitCode}) == len(ExitCode)
