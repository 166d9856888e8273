from ebpf_net.errors import BatchError, EbpfNetError, ExportError, SettingError


def test_a_user_error_has_a_line_and_a_hint():
    error = SettingError("--port is '80a'", "see --help")
    assert isinstance(error, EbpfNetError)
    assert (str(error), error.hint) == ("--port is '80a'", "see --help")


def test_a_batch_error_names_the_counter():
    assert BatchError("schema", "no column").reason == "schema"


def test_an_export_error_says_whether_to_try_again():
    error = ExportError("busy", retryable=True, retry_after_seconds=2.0)
    assert error.retryable
    assert error.retry_after_seconds == 2.0
