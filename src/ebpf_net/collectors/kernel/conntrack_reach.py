"""Whether ``conntrack_opener`` can be asked: counts when not, and starts it again."""

from __future__ import annotations

import logging

from ebpf_net.collectors.kernel.conntrack_opener import (
    ConntrackOpener,
    UnreachableError,
)
from ebpf_net.collectors.kernel.translation_signal import EVERYWHERE, find_attach

_LOG = logging.getLogger(__name__)


class ConntrackReach:
    """Watches over the program for who asks it: a stall may end by itself.

    ``attach`` is how far it could listen at the start. Started again with less, as the
    rights were given up meanwhile, it is left alone: what is told would have gaps.
    """

    def __init__(self, opener: ConntrackOpener, attach: str = EVERYWHERE) -> None:
        self._opener = opener
        self._attach = attach
        self._is_reached = self._is_proved = True
        self._is_given_up = False
        self._unanswered = 0

    def begin_window(self) -> None:
        """Allow so much waiting anew, and start the program again if it has ended."""
        self._opener.begin_window()
        if self._opener.has_ended and not self._is_given_up:
            self._is_proved = False
            try:
                self._opener.restart()
            except OSError as error:
                self._miss(error)
        if not self._is_proved and not self._opener.has_ended:
            self._prove()
        elif not self._opener.has_ended:
            self._is_reached = True

    def note(self, error: UnreachableError) -> None:
        """Take note of a question without an answer."""
        self._unanswered += 1
        self._miss(error)

    def status(self) -> dict[str, int]:
        """Return the questions without an answer, and whether it is reached now."""
        return {
            "lost.conntrack_unreachable": self._unanswered,
            "signal.translations.conntrack": int(self._is_reached),
        }

    def _prove(self) -> None:
        """See whether what was started again has the rights of the first one."""
        try:
            attach = find_attach(self._opener)
        except UnreachableError as error:
            self._miss(error)
            return
        except OSError:
            attach = ""
        if attach == self._attach:
            self._is_reached = self._is_proved = True
            _LOG.warning("conntrack_opener was started again")
            return
        self._is_given_up = True
        self._opener.close()
        _LOG.warning(
            "conntrack_opener cannot be started again with the rights that are left: "
            "restart the collector"
        )

    def _miss(self, error: OSError) -> None:
        if self._is_reached:
            _LOG.warning(
                "address translation cannot be looked at: %s", error.strerror or error
            )
        self._is_reached = False
