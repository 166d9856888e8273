from ebpf_net.collectors.cloud.providers import (
    CallFailed,
    PartFailed,
    PartKey,
    one_line,
)


def test_a_part_is_named_by_what_it_has():
    assert str(PartKey("aws", "123456789012", "eu-west-1")) == (
        "aws/123456789012/eu-west-1"
    )
    assert str(PartKey("gcp", "my-project")) == "gcp/my-project"


def test_failures_say_why_and_what_would_help():
    failed = PartFailed("not allowed", "ec2:DescribeRegions")
    assert str(failed) == "not allowed"
    assert failed.missing_permission == "ec2:DescribeRegions"
    assert CallFailed("slow down", throttled=True, retry_after_seconds=2).throttled


def test_reasons_are_one_line_of_some_length():
    assert one_line("a\n b\t c ") == "a b c"
    assert one_line("m" * 10_000) == "m" * 600 + "..."
