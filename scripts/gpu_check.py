"""Check in one command whether a GPU does all of this right: at most 8 minutes, one JSON file.

    python scripts/gpu_check.py --out gpu.json --data-root DATA     # as `make gpu-check`
    python scripts/gpu_check.py --out gpu.json --parts masks,packs
    python scripts/gpu_check.py --out cpu.json --device cpu         # the same parts, small, on a machine without a GPU

It needs PyTorch, NumPy, pyarrow, safetensors, scikit-learn, SciPy, Pillow and pytest, but neither Ray, MLflow nor
pydantic; autosparse itself need not be installed. Each part runs in a process of its own, for at most its share of the
time; what a part leaves over, the parts after it may use. The file is written whenever there is something new, so that
nothing is lost if the command is killed. Exit code 0: nothing failed; 1: something did; 2: the command was wrong.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the package may not be installed

from checks.report import plain
from checks.supervise import Result, run_part
from output import output

from autosparse.files import write_atomic

LIMIT = 465.0
"""Seconds in all: 8 minutes, less the time that Python takes to start and end."""


@dataclass(frozen=True)
class Part:
    """A part, with its share of the time of a whole check."""

    name: str
    share: float
    what: str

    @property
    def module(self) -> str:
        """The module of the part."""
        return f"checks.{self.name}"


PARTS = (
    Part("machine", 25, "what there is: card, driver, versions, and the rate of a matrix product"),
    Part("tests", 70, "the tests marked gpu"),
    Part("masks", 90, "masks of every criterion, IRP, and accuracies, beside the CPU's"),
    Part("packs", 50, "networks trained together beside alone"),
    Part("graphs", 40, "CUDA graphs beside eager steps"),
    Part("resnet", 75, "ResNet-18 on images of CIFAR's shape beside the usual loop"),
    Part("training", 45, "the benchmark of training"),
    Part("surface", 40, "the benchmark of a scorer's surface"),
    Part("fit", 30, "the benchmark of fitting, and each backbone"),
)
"""The parts, the most important first, because the time may not suffice for the last."""
BAD = ("failed", "timed out")


def main() -> None:
    """Parse, run, tell."""
    given = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a part that runs is ended too
    chosen = [part for part in PARTS if part.name == "machine" or not given.parts or part.name in given.parts]
    about = {"device": given.device, "data_root": given.data_root, "limit_s": given.limit_s}
    about |= {"utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit()}
    content = {
        "about": about,
        "status": "running",
        "parts": {part.name: {"status": "not run", "about": part.what} for part in chosen},
    }
    started = time.monotonic()
    try:
        run_all(chosen, given, content, started)
        content["status"] = "failed" if any(p["status"] in BAD for p in content["parts"].values()) else "ok"
    except (KeyboardInterrupt, SystemExit):
        content["status"] = "interrupted"
        raise
    finally:
        content["about"]["seconds"] = round(time.monotonic() - started, 1)
        write(given.out, content)
    print(f"{content['status']} after {content['about']['seconds']:.0f} s: {given.out}", file=sys.stderr)
    sys.exit(content["status"] != "ok")


def parsed() -> argparse.Namespace:
    """The command line."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=output, required=True, metavar="FILE", help="of JSON")
    parser.add_argument("--parts", type=lambda text: text.split(","), metavar="A,B", help=f"of {', '.join(names)}")
    parser.add_argument("--limit-s", type=float, default=LIMIT, metavar="SECONDS", help=f"in all; default {LIMIT:g}")
    parser.add_argument("--device", default="cuda", help="default cuda; cpu: the same parts, small")
    parser.add_argument(
        "--data-root", default=os.environ.get("AUTOSPARSE_DATA"), metavar="DIR", help="of MNIST and cifar10-jpeg"
    )
    given = parser.parse_args()
    for name in given.parts or ():
        if name not in names:
            parser.error(f"no part is called {name!r}: there are {', '.join(names)}")
    if given.limit_s <= 0:
        parser.error(f"--limit-s must be greater than 0, got {given.limit_s:g}")
    if given.data_root:
        given.data_root = str(Path(given.data_root).resolve())
        if not Path(given.data_root).is_dir():
            parser.error(f"--data-root: there is no folder {given.data_root}")
    return given


def run_all(parts: list[Part], given: argparse.Namespace, content: Result, started: float) -> None:
    """Run the parts; each may use its share of the time, and what earlier parts left over."""
    options = {"device": given.device, "data_root": given.data_root}
    unit, end = given.limit_s / sum(part.share for part in parts), 0.0
    for part in parts:
        end += part.share * unit
        about = {"about": part.what}

        def note(found: Result, part: Part = part, about: Result = about) -> None:
            content["parts"][part.name] = {**about, **found}
            write(given.out, content)

        print(f"- {part.name}: {part.what}", file=sys.stderr)
        if part.name != "machine" and content["parts"]["machine"]["status"] in BAD:
            note({"status": "skipped", "reason": "the device does not compute, see machine", "problems": []})
        else:
            note(run_part(part.module, options, end - (time.monotonic() - started), note))
        print("\n".join(summary(content["parts"][part.name])), file=sys.stderr)


def summary(result: Result) -> list[str]:
    """A few lines about a part: how it ended, and what is wrong."""
    count = sum(entry["status"] == "ok" for entry in result.get("entries", ()))
    reason = f": {result['reason']}" if result.get("reason") else ""
    fine = f"{count} of {len(result.get('entries', ()))} entries are ok"
    lines = [f"  {result['status']}{reason}; {fine}; {result.get('seconds', 0):.0f} s"]
    return lines + [f"  ! {problem}" for problem in result["problems"]]


def commit() -> str | None:
    """The commit of this code, marked if there are local changes; None if git cannot say."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def write(path: Path, content: Result) -> None:
    """Write the file, whole or not at all."""
    write_atomic(path, (json.dumps(plain(content), indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
