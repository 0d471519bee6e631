"""Writes to S3 that the store does only if the object is still the one that was seen (``If-None-Match``, ``If-Match``).

pyarrow's filesystems have none, so these go through boto3, of the extra ``cluster``. If it is not installed, or the
store is not S3, there are none.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import parse_qs

from pyarrow.fs import SubTreeFileSystem

from autosparse.storage.bucket import Bucket

NEVER = '"00000000000000000000000000000000"'
"""An ETag that no object has."""
AGAIN = (409, 429)
"""HTTP status codes of a request to send again: another wrote at the same time, or too many did."""


class NotConditional(Exception):
    """The store refuses a condition, or does not let boto3 in."""


class ConditionalWrites:
    """A bucket's objects, read with their ETags and written on condition."""

    def __init__(self, bucket: Bucket, client: Any):
        head, _, _ = bucket.address.partition("?")
        self.bucket, self.client = bucket, client
        self.name, _, self.prefix = head.removeprefix("s3://").partition("/")

    @classmethod
    def to(cls, bucket: object) -> Self | None:
        """Conditional writes to a bucket in S3; None if the place has none."""
        if not isinstance(bucket, Bucket) or not bucket.address.startswith("s3://"):
            return None
        try:
            import boto3  # here: it is an extra, and takes a moment
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ModuleNotFoundError:
            return None
        asked = {name: values[-1] for name, values in parse_qs(bucket.address.partition("?")[2]).items()}
        server = asked.get("endpoint_override")
        other = server or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        config = Config(
            s3={"addressing_style": "path" if other else "auto"},  # as pyarrow does
            request_checksum_calculation="when_required",  # other servers may not know the newer ones
        )
        try:
            client = boto3.session.Session().client(
                "s3",
                region_name=asked.get("region") or _region(bucket.filesystem),
                endpoint_url=f"{asked.get('scheme', 'https')}://{server}" if server else None,
                config=config,
            )
        except BotoCoreError:  # such as a profile that boto3 does not find
            return None
        return cls(bucket, client)

    def read(self, name: str) -> tuple[bytes, str | None]:
        """An object's content and its ETag; ``(b"", None)`` if there is none.

        :raises NotConditional: if the store does not let boto3 read it.
        """

        def get() -> tuple[bytes, str | None]:
            with self._told():
                found = self.client.get_object(**self._object(name))
                return found["Body"].read(), found["ETag"]

        try:
            return self.bucket.asked(get)
        except FileNotFoundError:
            return b"", None

    def write(self, name: str, data: bytes, tag: str | None) -> str | None:
        """Write an object if its ETag is ``tag``, or, for None, if there is none.

        :param data: content that nobody else writes, so that a write can be recognised if its answer is lost.
        :returns: the new ETag; None if the object has changed; then nothing was written.
        :raises NotConditional: if the store refuses the condition.
        """
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}

        def put() -> str | None:
            with self._told():
                return self.client.put_object(**self._object(name), Body=data, **condition)["ETag"]

        try:
            return self.bucket.asked(put)
        except (FileExistsError, FileNotFoundError):
            held, now = self.read(name)
            return now if held == data else None

    def honoured(self, name: str, data: bytes) -> bool:
        """Whether the store refuses to write over ``name``, which is there, on conditions that do not hold.

        Some stores ignore what they do not know, and write.
        """
        return self.write(name, data + b" ", None) is None and self.write(name, data + b"  ", NEVER) is None

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self.name, "Key": f"{self.prefix}/{name}" if self.prefix else name}

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn boto3's errors into those that :meth:`Bucket.asked` knows."""
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

        try:
            yield
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status == 412:
                raise FileExistsError(str(error)) from error
            if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                raise FileNotFoundError(str(error)) from error
            if status in AGAIN or (status >= 500 and status != 501):
                raise OSError(f"UNAVAILABLE: {error}") from error
            raise NotConditional(str(error)) from error
        except (ConnectionError, HTTPClientError) as error:
            raise OSError(f"NETWORK_CONNECTION: {error}") from error
        except BotoCoreError as error:
            raise NotConditional(str(error)) from error


def _region(filesystem: Any) -> str | None:
    """The region that pyarrow found the bucket in."""
    while isinstance(filesystem, SubTreeFileSystem):
        filesystem = filesystem.base_fs
    return getattr(filesystem, "region", None)
