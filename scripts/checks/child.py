"""Run one part in a separate process: ``python -m checks.child MODULE OPTIONS FILE`` (the options as JSON)."""

import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import torch
from benchmarks.harness import Options

from checks.report import SKIPPED, Report, Skipped


def main() -> None:
    """Run the part; its entries go to the file, an error to stderr."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the supervisor asks where it hangs before it ends it
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
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


def end_with(parent: int) -> None:
    """End this process and those that it started when its parent ends: nobody waits for the figures any more."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
