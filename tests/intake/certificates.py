"""Certificates made with the openssl program, for the tests of TLS."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Authority:
    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.pem"

    def issue(self, name: str, alternative: str) -> tuple[Path, Path]:
        """Return the files of a certificate and its key."""
        base = self.directory / name
        certificate, key = base.with_suffix(".pem"), base.with_suffix(".key")
        extensions = base.with_suffix(".ext")
        extensions.write_text(
            f"subjectAltName={alternative}\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                 "-nodes", "-subj", f"/CN={name}", "-keyout", key,
                 "-out", base.with_suffix(".csr"))  # fmt: skip
        _openssl("x509", "-req", "-in", base.with_suffix(".csr"), "-days", "2",
                 "-CA", self.certificate, "-CAkey", self.directory / "ca.key",
                 "-extfile", extensions, "-out", certificate)  # fmt: skip
        return certificate, key


def make_authority(directory: Path) -> Authority:
    directory.mkdir(parents=True, exist_ok=True)
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=test authority", "-days", "2",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign",
             "-keyout", directory / "ca.key", "-out", directory / "ca.pem")  # fmt: skip
    return Authority(directory)


def _openssl(*arguments: object) -> None:
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)
