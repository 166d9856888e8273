"""Which cluster it is: by the uid of the namespace kube-system, which never changes."""

from __future__ import annotations

import uuid
from http import HTTPStatus

import msgspec

from ebpf_net.collectors.kubernetes.api import ApiError, ApiServer
from ebpf_net.collectors.kubernetes.objects import PartialObject

_PATH = "/api/v1/namespaces/kube-system"
_SECONDS = 10.0
_ACCEPT = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def find_cluster_uid(api: ApiServer) -> str:
    """Return the cluster's uid; raises ApiError when the server cannot tell now.

    Where the right to see it is missing, one is made of the server's name and
    certificate authority: the same at each start.
    """
    try:
        body = api.get(_PATH, accept=_ACCEPT, seconds=_SECONDS)
        return msgspec.json.decode(body, type=PartialObject).metadata.uid
    except msgspec.DecodeError as error:
        raise ApiError(0, f"not a namespace: {error}") from error
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
    access = api.access
    authority = access.ca_data
    if not authority and access.ca_file is not None:
        authority = access.ca_file.read_text()
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{access.server}\n{authority}"))
