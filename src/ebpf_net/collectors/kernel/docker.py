"""Names of containers from the Docker API, asked for beside the main loop."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebpf_net.collectors.kernel.cgroups import ContainerDetails

_TIMEOUT_SECONDS = 5.0
_MAX_QUESTIONS = 1024
_MAX_ANSWER_BYTES = 4 << 20
_FIRST_DELAY_SECONDS = 1.0
_LAST_DELAY_SECONDS = 60.0
_MAX_ATTEMPTS = 8
_MAX_TEXT_LENGTH = 4096
_MAX_LABEL_LENGTH = 4096
_MAX_LABELS_LENGTH = 32_768  # as JSON; the intake takes texts of 64 KiB
_HTTP_OK = 200
_HTTP_NOT_FOUND = 404


@dataclass(frozen=True)
class _Question:
    container_id: str
    attempts: int = 0


class DockerApi:
    """Asks in a thread of its own; nothing here waits for Docker but that thread."""

    def __init__(
        self,
        socket_path: Path | None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        first_delay_seconds: float = _FIRST_DELAY_SECONDS,
    ) -> None:
        self._socket_path = socket_path
        self._timeout_seconds = timeout_seconds
        self._first_delay_seconds = first_delay_seconds
        self._questions: queue.Queue[_Question] = queue.Queue(_MAX_QUESTIONS)
        self._answers: queue.SimpleQueue[tuple[str, ContainerDetails]] = (
            queue.SimpleQueue()
        )
        self._fresh = 0  # questions that were not tried yet
        self._is_well = True
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="docker-api", daemon=True
        )
        self.failures = 0
        """Questions without an answer since the start; each is asked again later."""
        self.dropped = 0
        """Questions given up."""

    def start(self) -> None:
        """Start asking; without a socket, nothing is ever asked."""
        if self._socket_path is not None:
            self._thread.start()

    def stop(self) -> None:
        """Stop asking; wait for a question on its way, at most its time-out."""
        self._stopped.set()
        with contextlib.suppress(queue.Full):
            self._questions.put_nowait(_Question(""))
        if self._thread.is_alive():
            self._thread.join(self._timeout_seconds)

    def ask(self, container_id: str) -> None:
        """Ask for a container; ``take_answers`` has the answer some time later."""
        if self._socket_path is None:
            return
        try:
            with self._changed:
                self._questions.put_nowait(_Question(container_id))
                self._fresh += 1
        except queue.Full:
            self.dropped += 1

    def wait_answers(self, timeout_seconds: float) -> None:
        """Wait until new questions were tried; not at all while Docker is unwell."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._fresh or not self._is_well, timeout_seconds
            )

    def take_answers(self) -> list[tuple[str, ContainerDetails]]:
        """Return what was answered since the last call, by container id."""
        answers = []
        with contextlib.suppress(queue.Empty):
            while True:
                answers.append(self._answers.get_nowait())
        return answers

    def _run(self) -> None:
        while not self._stopped.is_set():
            question = self._questions.get()
            if not self._stopped.is_set() and not self._try(question):
                self._ask_again(question)

    def _try(self, question: _Question) -> bool:
        """Say whether the question is settled."""
        path, details = self._socket_path, None
        try:
            if path is not None and path.exists():  # else there is no Docker here
                details = fetch_details(
                    path, question.container_id, self._timeout_seconds
                )
            is_settled = True
        except (OSError, http.client.HTTPException, ValueError):
            self.failures += 1
            is_settled = False
        if details is not None:
            self._answers.put((question.container_id, details))
        with self._changed:
            self._fresh -= question.attempts == 0
            self._is_well = is_settled
            self._changed.notify_all()
        return is_settled

    def _ask_again(self, question: _Question) -> None:
        attempts = question.attempts + 1
        if attempts >= _MAX_ATTEMPTS:
            self.dropped += 1
            return
        # Docker is not well: the others in the queue wait too.
        delay = self._first_delay_seconds * 2**question.attempts
        self._stopped.wait(min(delay, _LAST_DELAY_SECONDS))
        try:
            self._questions.put_nowait(_Question(question.container_id, attempts))
        except queue.Full:
            self.dropped += 1


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def fetch_details(
    socket_path: Path, container_id: str, timeout_seconds: float
) -> ContainerDetails | None:
    """Ask the API for one container; None if it does not know it.

    Raises OSError, HTTPException or ValueError for all else.
    """
    connection = _UnixConnection(socket_path, timeout_seconds)
    with contextlib.closing(connection):
        connection.request("GET", f"/containers/{container_id}/json")
        response = connection.getresponse()
        body = response.read(_MAX_ANSWER_BYTES + 1)
    if response.status == _HTTP_NOT_FOUND:
        return None
    if response.status != _HTTP_OK:
        raise ValueError(f"Docker answered {response.status}")
    if len(body) > _MAX_ANSWER_BYTES:
        raise ValueError(f"Docker's answer is larger than {_MAX_ANSWER_BYTES} bytes")
    return parse_details(json.loads(body))


def parse_details(answer: Any) -> ContainerDetails:
    """Take name, image and labels from an answer; what is missing stays empty."""
    container = _object(answer)
    config = _object(container.get("Config"))
    image, image_version = split_image(_text(config.get("Image")))
    labels = _object(config.get("Labels"))
    return ContainerDetails(
        name=_text(container.get("Name")).removeprefix("/"),
        image=image,
        image_version=image_version,
        labels=_bounded_labels(labels),
    )


def split_image(reference: str) -> tuple[str, str]:
    """Split an image reference into name and tag; a digest alone has no tag."""
    if reference.startswith("sha256:"):
        return reference, ""
    tagged, has_digest, _ = reference.partition("@")
    name, has_tag, tag = tagged.rpartition(":")
    if has_tag and "/" not in tag:  # else the colon is before a registry's port
        return name, tag
    return tagged, "" if has_digest or not tagged else "latest"


def _bounded_labels(labels: Mapping[str, Any]) -> Mapping[str, str]:
    """Leave out labels that are too long, and those beyond what a row can carry."""
    kept = {}
    left = _MAX_LABELS_LENGTH
    for key in sorted(labels):
        value = _text(labels[key])
        length = len(json.dumps({key: value}))
        if length <= min(left, _MAX_LABEL_LENGTH):
            kept[key] = value
            left -= length
    return kept


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value[:_MAX_TEXT_LENGTH] if isinstance(value, str) else ""
