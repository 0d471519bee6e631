#!/usr/bin/env python
"""Make the user who writes runs on the MLflow server beside this script, and who is not its administrator.

It waits for the server, and may be run at every start. It makes the user ``MLFLOW_USER`` [autosparse] with the password
``MLFLOW_USER_PASSWORD``; if there is such a user, it sets the password anew. The user may write to all experiments and
registered models, even those that the administrator has made. The administrator's password is
``MLFLOW_AUTH_ADMIN_PASSWORD``, the server is ``MLFLOW_SERVER`` [http://127.0.0.1:5000].
"""

import os
import sys
import time
import urllib.request
from collections.abc import Callable

PATIENCE = 180.0
"""Seconds for the server to answer: its first start makes the tables."""
MAY_MANAGE = ("experiment", "registered_model")
"""Kinds of things that the user may read, write and delete, whoever made them; users and passwords are none of them."""


def main() -> int:
    """Make the user; return the exit code."""
    server = os.environ.get("MLFLOW_SERVER", "http://127.0.0.1:5000")
    name = os.environ.get("MLFLOW_USER", "autosparse")
    password, admin = (os.environ.get(key, "") for key in ("MLFLOW_USER_PASSWORD", "MLFLOW_AUTH_ADMIN_PASSWORD"))
    if not password or not admin or password == admin:
        print("error: set MLFLOW_USER_PASSWORD and MLFLOW_AUTH_ADMIN_PASSWORD, to two passwords", file=sys.stderr)
        return 2
    if not answers(server):
        print(f"error: no MLflow at {server} in {PATIENCE:.0f} s: see its log", file=sys.stderr)
        return 1
    os.environ |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": admin}

    from mlflow.exceptions import RestException  # here: it takes seconds, in which the server starts
    from mlflow.server.auth.client import AuthServiceClient

    client = AuthServiceClient(server)

    def made(call: Callable[..., object], *given: str) -> bool:
        """Whether the call made something: False if that is there already."""
        try:
            call(*given)
        except RestException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return False
        return True

    if not made(client.create_user, name, password):
        client.update_user_password(name, password)
        client.update_user_admin(name, False)
    for kind in MAY_MANAGE:
        made(client.grant_user_permission, name, kind, "*", "MANAGE")
    print(f"MLflow at {server} has the user {name}")
    return 0


def answers(server: str) -> bool:
    """Whether the server answers within :data:`PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{server}/health", timeout=5):
                return True
        except OSError:
            time.sleep(0.5)
    return False


if __name__ == "__main__":
    sys.exit(main())
