from botocore.loaders import Loader

from ebpf_net.collectors.cloud.aws_models import LeanLoader


def test_only_what_is_called_of_ec2_is_kept():
    model = LeanLoader().load_service_model("ec2", "service-2")
    assert list(model["operations"]) == [
        "DescribeAvailabilityZones",
        "DescribeInstances",
        "DescribeNetworkInterfaces",
        "DescribeRegions",
    ]
    assert "documentation" not in str(model)
    assert len(model["shapes"]) < 150


def test_what_is_read_is_there():
    whole = Loader().load_service_model("ec2", "service-2")["shapes"]
    lean = LeanLoader().load_service_model("ec2", "service-2")["shapes"]
    for name in ("NetworkInterface", "NetworkInterfaceAttachment", "Instance"):
        members = lean[name]["members"]
        assert set(members) <= set(whole[name]["members"])
        assert {one["shape"] for one in members.values()} <= set(lean)
    assert "TagSet" in lean["NetworkInterface"]["members"]
    assert list(lean["Instance"]["members"]) == ["InstanceId", "InstanceType", "Tags"]


def test_other_services_keep_their_operations():
    whole = Loader().load_service_model("sts", "service-2")
    lean = LeanLoader().load_service_model("sts", "service-2")
    assert list(lean["operations"]) == list(whole["operations"])
    assert list(lean["shapes"]) == list(whole["shapes"])


def test_endpoints_of_all_partitions_are_known():
    data, _ = LeanLoader().load_data_with_path("endpoints")
    names = [one["partition"] for one in data["partitions"]]
    assert names[:3] == ["aws", "aws-cn", "aws-us-gov"]
    assert "ec2" in data["partitions"][0]["services"]
    assert "s3" not in data["partitions"][0]["services"]


def test_nothing_is_kept_twice():
    loader = LeanLoader()
    first = loader.load_service_model("ec2", "service-2")
    loader.load_service_model("ec2", "endpoint-rule-set-1")
    assert loader.load_service_model("ec2", "service-2") is first
