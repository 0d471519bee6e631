"""What the installed Ray says, asked in a separate process: the process of the tests may start a Ray session later,
and must set Ray's variables before it imports Ray for the first time."""

import json
import subprocess
import sys

import pytest
from cluster_files import REPOSITORY

QUESTIONS = """
import json, logging, sys, yaml
logging.disable(logging.WARNING)
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray

def options(command, words):
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from options(inner, [*words, name])
    else:
        yield " ".join(words), [o for p in command.params for o in (*p.opts, *p.secondary_opts)]

def refusal(config):
    try:
        validate_config(config)
    except ValidationError as error:
        return error.message

launcher = {}
for name in ("aws", "gcp", "on-premise"):
    with open(f"cluster/ray/{name}.yaml") as file:
        config = prepare_config(yaml.safe_load(file))
    launcher[name] = {"refusal": refusal(config), "refusal_of_a_wrong_key": refusal({**config, "max_worker": 3})}
print(json.dumps({"options": dict(options(ray, ["ray"])), "launcher": launcher}))
"""


@pytest.fixture(scope="session")
def installed():
    """The ``options`` of each of Ray's commands, and as ``launcher`` what Ray makes of the files for ``ray up``."""
    ran = subprocess.run([sys.executable, "-c", QUESTIONS], cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])
