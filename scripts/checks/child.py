"""Run one part in a separate process: ``python -m checks.child MODULE OPTIONS FILE`` (the options as JSON)."""

import faulthandler
import importlib
import json
import os
import signal
import sys
from pathlib import Path

import torch
from benchmarks.harness import Options
from orphaned import when_orphaned

from checks.report import SKIPPED, Report, Skipped


def main() -> None:
    """Run the part; its entries go to the file, an error to stderr."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the supervisor asks where the part hangs before ending it
    when_orphaned(lambda: os.killpg(0, signal.SIGKILL))  # with everything that the part has started
    module, options, path = sys.argv[1:]
    given = json.loads(options)
    report = Report(Path(path), given["device"])
    device = torch.device(given["device"])
    if device.type == "cpu":
        torch.set_num_threads(1)  # the work is small: on a busy machine, threads would wait for each other
    try:
        importlib.import_module(module).check(Options(device.type == "cpu", device, given["data_root"]), report)
    except Skipped as reason:
        print(reason, file=sys.stderr)
        sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
