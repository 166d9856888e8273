from ebpf_net.intake.options import ClientOptions, ServerOptions


def test_defaults_need_no_protection():
    assert ServerOptions().host == ""  # loopback
    assert not ServerOptions().allow_insecure
    assert ClientOptions().host == "127.0.0.1"


def test_body_of_a_batch_fits_into_what_is_buffered():
    options = ServerOptions()
    assert options.max_body_bytes <= options.max_buffered_bytes
    assert options.max_body_bytes <= options.max_decoded_bytes
