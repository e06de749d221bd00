"""The command line: `sparsexmc train | predict | evaluate | convert | plan | info | doctor`.

Every subcommand is a module with `add_arguments(parser)` and `run(args) -> int`: arguments in, tables out. What they
do is done by the library, so that Python can do it as well.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TextIO, cast

from .. import _core
from .._command import INTERRUPTED, Interrupts
from ..errors import Error
from . import convert, doctor, evaluate, info, plan, predict, train
from .errors import UsageError
from .output import Output, escaped

COMMANDS = (
    ("train", train, "train a classifier on a data set"),
    ("predict", predict, "write the best labels of every instance"),
    ("evaluate", evaluate, "measure a model on a data set"),
    ("convert", convert, "write a data set in another format"),
    ("plan", plan, "print every byte a classifier would hold, without allocating it"),
    ("info", info, "describe a saved model and verify its files"),
    ("doctor", doctor, "report versions and hardware, and test the engine"),
)
EXIT_ERROR = 2
EXIT_BROKEN_PIPE = 141  # 128 + the number of the signal, as shells report it


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="sparsexmc",
        description="Train and use extreme classifiers: one sparse output layer for 10^4 to 10^7 labels.",
        epilog="New here? `sparsexmc train --demo` trains on a built-in data set in under two minutes.",
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module, summary in COMMANDS:
        command = commands.add_parser(name, help=summary, description=module.__doc__)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line on `argv` (default: the process's arguments) and returns the exit code.

    0: done; 1: the command's answer is "no" (doctor); 2: an error, explained on stderr; 130: Ctrl-C; 129 and 143:
    SIGHUP and SIGTERM, which end a command as Ctrl-C does; 141: the reader of the output has left.
    """
    debug = False
    try:
        with Interrupts():
            args = build_parser().parse_args(argv)
            debug = args.debug
            with _signals_as_interrupts(), redirect_stdout(cast(TextIO, Output(sys.stdout))):
                code: int = args.run(args)
                sys.stdout.flush()
            return code
    except _Signal as interrupt:
        print(f"sparsexmc: {interrupt}", file=sys.stderr)
        return 128 + interrupt.number
    except BrokenPipeError:
        # The reader of our output (`| head`) has left: nobody to tell. Keep the interpreter's last flush quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        print(f"sparsexmc: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if debug or not _is_expected(error):
            traceback.print_exc()
        print(f"sparsexmc: error: {_message(error)}", file=sys.stderr)
        return EXIT_ERROR


class _Signal(KeyboardInterrupt):
    """A signal that asks the process to end; what runs cleans up as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP raise in the main thread, so that temporary files vanish. An ignored one (nohup) stays so."""

    def stop(number: int, frame: object) -> None:
        raise _Signal(number)

    old = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                old[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _is_expected(error: Exception) -> bool:
    """Whether it is the user's or the machine's doing; anything else is a bug, whose traceback we want to see."""
    return isinstance(error, (UsageError, Error, OSError, MemoryError))


def _message(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return escaped("; ".join([text, *getattr(error, "__notes__", ())]))


class _Version(argparse.Action):
    """`--version`."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the version and leave")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"sparsexmc {_core.version()}")
        parser.exit()
