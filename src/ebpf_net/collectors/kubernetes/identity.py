"""Which cluster it is: by the uid of the namespace kube-system, which never changes."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from http import HTTPStatus

import msgspec

from ebpf_net.collectors.kubernetes.access import Access
from ebpf_net.collectors.kubernetes.api import ApiError, ApiServer
from ebpf_net.collectors.kubernetes.objects import PartialObject
from ebpf_net.errors import SettingError

_PATH = "/api/v1/namespaces/kube-system"
_SECONDS = 10.0
_ACCEPT = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_MAX_BACKOFF_SECONDS = 15.0

logger = logging.getLogger(__name__)


def wait_for_cluster_uid(
    api: ApiServer, stopped: threading.Event, refusal_seconds: float
) -> str | None:
    """Ask until the server tells, or has refused for so long; None after a stop.

    A cluster keeps its uid while the process lives, so one refusal does not decide it:
    an API server that starts may refuse all.
    """
    failures = 0
    said = ""
    refused: float | None = None  # since when every answer is a refusal
    while not stopped.is_set():
        try:
            return find_cluster_uid(api)
        except ApiError as error:
            if error.is_answer and str(error) != said:
                said = str(error)
                logger.warning("it is not known yet which cluster it is: %s", said)
            now = time.monotonic()
            if error.status != HTTPStatus.FORBIDDEN:
                refused = None
            elif refused is None:
                refused = now
            if refused is not None and now - refused >= refusal_seconds:
                logger.warning("its uid is made of the server's name and authority")
                return make_cluster_uid(api.access)
            step = min(0.25 * 2 ** min(failures, 10), _MAX_BACKOFF_SECONDS)
            failures += 1
            stopped.wait(error.retry_seconds + step * random.uniform(0.5, 1))
    return None


def find_cluster_uid(api: ApiServer) -> str:
    """Return the cluster's uid; raises ApiError when the server does not tell it."""
    body = api.get(_PATH, accept=_ACCEPT, seconds=_SECONDS)
    try:
        return msgspec.json.decode(body, type=PartialObject).metadata.uid
    except msgspec.DecodeError as error:
        raise ApiError(0, f"not a namespace: {error}") from error


def make_cluster_uid(access: Access) -> str:
    """Make one of the server's name and certificate authority: the same at each start.

    For where the right to see the true one is missing. Raises SettingError if the
    authority cannot be read.
    """
    authority = access.ca_data
    if not authority and access.ca_file is not None:
        try:
            authority = access.ca_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(
                f"cannot read the cluster's authority {access.ca_file}: {error}",
                "the cluster's uid is made of it where kube-system may not be seen",
            ) from error
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{access.server}\n{authority}"))
