"""Threads when the process forks or ends, and the command line when it is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

MODEL = """
import os, signal, sys, threading, time
import numpy as np, scipy.sparse as sp, sparsexmc as sx
rng = np.random.default_rng(0)
X, y = rng.standard_normal((32, 64)).astype(np.float32), rng.integers(0, 50_000, 32)
model = sx.Classifier(64, 50_000, fan_in=16, group_size=8, batch_size=32, num_threads=2)
going = [True]
def loop(call):
    while going[0]:
        call()
def start(*calls, daemon=False):
    threads = [threading.Thread(target=loop, args=(call,), daemon=daemon) for call in calls]
    [thread.start() for thread in threads]
    time.sleep(0.2)
    return threads
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", MODEL + code], capture_output=True, text=True, timeout=60)


def test_exit_while_daemon_threads_are_in_calls() -> None:
    done = run(
        """
S, Y = sp.random(3000, 500, 0.05, "csr", np.float32), sp.random(3000, 400, 0.01, "csr", np.float32)
start(lambda: model.train_step(X, y), lambda: model.topk(X, 5), lambda: sx.Linear(S, Y), daemon=True)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("call", ["model.train_step(X, y)", "model.topk(X, 5)"])
def test_children_of_a_fork_use_a_model_that_another_thread_uses(call: str) -> None:
    done = run(
        f"""
threads, bad = start(lambda: {call}), 0
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        model.topk(X, 5), model.step, model.train_step(X, y)
        os._exit(0)
    bad += os.waitpid(pid, 0)[1] != 0
going[0] = False
[thread.join() for thread in threads]
sys.exit(bad)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_in_the_middle_of_a_long_call_is_told() -> None:
    done = run(
        """
from sparsexmc.core import forking
forking._PATIENCE = 0.0
threads = start(lambda: model.topk(np.tile(X, (500, 1)), 5))
pid = os.fork()
if pid == 0:
    signal.alarm(10)
    try:
        model.step
    except sx.Error as error:
        os._exit("forked while another thread" in str(error) and "spawn" in str(error))
    os._exit(2)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
going[0] = False
sys.exit(status)
"""
    )
    assert (done.returncode, done.stderr) == (1, "")


def test_interrupts_of_a_starting_command_line() -> None:
    # Before the package begins to be imported Python itself is starting, and shows its traceback.
    hook = "import sys; sys.argv = ['-m']; sys.orig_argv = ['python', '-m', 'sparsexmc', 'doctor']; "
    code = hook + "import sparsexmc._command; print(flush=True); import time; time.sleep(30)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "sparsexmc: interrupted\n" and process.returncode == 130
