import pytest

from ebpf_net.errors import SettingError
from ebpf_net.intake.tokens import TokenFile


def test_first_is_sent_and_any_is_allowed(tmp_path):
    path = tmp_path / "token"
    path.write_text("new\n\n  old \n")
    tokens = TokenFile(path)
    assert tokens.first() == "new"
    assert tokens.allows("new")
    assert tokens.allows("old")
    assert not tokens.allows("")
    assert not tokens.allows("new\n")
    assert not tokens.allows("nëw")


def test_changed_file_is_read_again(tmp_path):
    path = tmp_path / "token"
    path.write_text("one")
    tokens = TokenFile(path)
    (tmp_path / "next").write_text("two")
    (tmp_path / "next").replace(path)
    assert tokens.first() == "two"
    assert not tokens.allows("one")


def test_file_that_is_gone_for_a_moment_changes_nothing(tmp_path):
    path = tmp_path / "token"
    path.write_text("one")
    tokens = TokenFile(path)
    path.unlink()
    assert tokens.allows("one")
    path.write_text("")
    assert tokens.allows("one")


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_file_without_a_token_is_a_wrong_setting(tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError):
        TokenFile(path)
