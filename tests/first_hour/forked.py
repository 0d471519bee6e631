"""Run by the wheel's Python: ``autosparse`` in several folders, each in a fork, so that torch is imported once.

Reads ``[[folder, arguments], ...]`` from stdin, and writes ``[[exit status, stdout, stderr], ...]``.
"""

import json
import os
import sys
from pathlib import Path

import torch

import autosparse
import autosparse.runner.experiment  # so that the forks have it
import autosparse.tracking.log
from autosparse.cli import main

SAID = ("stdout.txt", "stderr.txt")


def in_fork(folder, arguments):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.chdir(folder)
    for stream, name in enumerate(SAID, start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.argv = ["autosparse", *arguments]
    status = 1
    try:
        main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


assert "unpacked" in autosparse.__file__, autosparse.__file__
torch.set_num_threads(1)
answers = []
for folder, arguments in json.load(sys.stdin):
    status = in_fork(folder, arguments)
    answers.append([status, *(Path(folder, name).read_text() for name in SAID)])
print(json.dumps(answers))
