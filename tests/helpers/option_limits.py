"""Options whose numbers have limits, typed at them and beyond."""


def check_limits(command, option, taken, refused, *others):
    """Check that a command does its work once with what is taken, and ends with 2 otherwise.

    Args:
        command: called with options; returns how it ended, and what was asked of it.
        option: whose limits these are.
        taken: values at its limits.
        refused: values beyond.
        others: options that go with each value that is taken.
    """
    for value in taken:
        done, given = command(option, value, *others)
        assert (done.exit_code, len(given)) == (0, 1), (value, done.output)
    for value in refused:
        done, given = command(option, value)
        assert (done.exit_code, given) == (2, []), value
