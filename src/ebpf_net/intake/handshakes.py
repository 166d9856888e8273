"""Failed TLS handshakes at the server, of which asyncio tells nobody."""

from __future__ import annotations

import ssl

from ebpf_net.intake.refusals import IntakeCounters


def count_failures(context: ssl.SSLContext, counters: IntakeCounters) -> None:
    """Let the handshakes of a context count their failures as refusals."""

    class Connection(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                counters.refused("tls", _words(error), "a stranger")
                raise

    context.sslobject_class = Connection


def _words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    reason = str(error.reason or error).lower().replace("_", " ")
    return f"the TLS handshake failed: {reason}"
