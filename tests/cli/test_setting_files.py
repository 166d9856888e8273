from pathlib import Path

import pytest
from tests.intake.certificates import make_authority

from ebpf_net.cli.setting_files import (
    check_authority,
    check_intake_files,
    check_pair,
)
from ebpf_net.errors import SettingError
from ebpf_net.settings import KERNEL_COLLECTOR, load


def settings(*arguments: object):
    texts = [str(argument) for argument in arguments]
    return load(KERNEL_COLLECTOR, texts, environment={})


def told(flag: str, path: Path) -> str:
    with pytest.raises(SettingError) as caught:
        check_intake_files(settings(flag, path))
    return str(caught.value).removeprefix(f"cannot use {flag} {path}: ")


@pytest.mark.parametrize("flag", ["--intake-token-file", "--intake-ca"])
def test_missing_file_is_named_once_with_its_flag(flag: str, tmp_path: Path):
    assert told(flag, tmp_path / "none") == "No such file or directory"


@pytest.mark.parametrize(
    ("flag", "content", "why"),
    [
        ("--intake-token-file", b" \n", "is empty"),
        ("--intake-token-file", b"\xff", "is not text"),
        ("--intake-ca", b"nothing", "has no certificate in PEM format"),
    ],
)
def test_content_that_cannot_do_is_told(flag, content, why, tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert told(flag, path) == why


def test_key_of_another_certificate_is_told(tmp_path: Path):
    authority = make_authority(tmp_path)
    one, its_key = authority.issue("one", "DNS:localhost")
    other, other_key = authority.issue("other", "DNS:localhost")
    pair = ("--intake-certificate", one, "--intake-key")
    check_intake_files(settings(*pair, its_key, "--intake-ca", authority.certificate))
    with pytest.raises(SettingError) as caught:
        check_intake_files(settings(*pair, other_key))
    assert str(caught.value) == (
        f"cannot use --intake-key {other_key}: is not the key of {one}"
    )
    with pytest.raises(SettingError) as caught:
        check_intake_files(settings(*pair, other))
    assert str(caught.value) == (
        f"cannot use --intake-key {other}: "
        "has no private key in PEM format that it can read"
    )


def test_names_of_a_kubeconfig_are_told_as_they_are(tmp_path: Path):
    path = tmp_path / "none"
    with pytest.raises(SettingError) as caught:
        check_authority("certificate-authority", path)
    assert str(caught.value) == (
        f"cannot use certificate-authority {path}: No such file or directory"
    )
    with pytest.raises(SettingError, match=f"cannot use client-certificate {path}: "):
        check_pair(("client-certificate", path), ("client-key", path))
