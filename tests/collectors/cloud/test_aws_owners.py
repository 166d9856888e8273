import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.cloud.aws_owners import Owner, owner_of, role_of_tags
from ebpf_net.collectors.cloud.records import Kind


@pytest.mark.parametrize(
    ("interface_type", "requester", "description", "owner"),
    [
        (
            "interface",
            "amazon-elb",
            "ELB app/front/50dc6c495c0c9188",
            Owner(Kind.LOAD_BALANCER, "front"),
        ),
        (
            "network_load_balancer",
            "amazon-elb",
            "ELB net/ingress-1/5d4c3b2a19080706",
            Owner(Kind.LOAD_BALANCER, "ingress-1"),
        ),
        (
            "interface",
            "amazon-elb",
            "ELB classic",
            Owner(Kind.LOAD_BALANCER, "classic"),
        ),
        (
            "nat_gateway",
            "123456789012",
            "Interface for NAT Gateway nat-0abc12de34f567890",
            Owner(Kind.NAT_GATEWAY, "nat-0abc12de34f567890"),
        ),
        (
            "vpc_endpoint",
            "123456789012",
            "VPC Endpoint Interface vpce-0fedcba9876543210",
            Owner(Kind.VPC_ENDPOINT, "vpce-0fedcba9876543210"),
        ),
        (
            "lambda",
            "AROAXXXX:awslambda_1",
            "AWS Lambda VPC ENI-orders-api-6f1ad2e8-11a1-4f77-9d5c-0d6a4c7b2b11",
            Owner(Kind.FUNCTION, "orders-api"),
        ),
        (
            "interface",
            "AROAXXXX:awslambda_1",
            "AWS Lambda VPC ENI-plain",
            Owner(Kind.FUNCTION, "plain"),
        ),
        (
            "interface",
            "123456789012",
            "EFS mount target for fs-0123abcd (fsmt-4567ef01)",
            Owner(Kind.FILE_SYSTEM, "fs-0123abcd"),
        ),
        ("interface", "123", "Amazon EKS prod", Owner(Kind.KUBERNETES, "prod")),
        ("branch", "123", "aws-k8s-branch-eni", Owner(Kind.KUBERNETES)),
        ("interface", "amazon-rds", "RDSNetworkInterface", Owner(Kind.DATABASE, "rds")),
        (
            "interface",
            "amazon-redshift",
            "RedshiftNetworkInterface",
            Owner(Kind.DATABASE, "redshift"),
        ),
        ("interface", "123", "ES search-logs", Owner(Kind.DATABASE, "search-logs")),
        (
            "interface",
            "amazon-elasticache",
            "ElastiCache sessions-001",
            Owner(Kind.CACHE, "sessions-001"),
        ),
        (
            "interface",
            "AROAXXXX:kafka",
            (
                "DO NOT DELETE - Amazon MSK network interface for cluster "
                "arn:aws:kafka:eu-west-2:123456789012:cluster/events/6411a16c-75d7-2"
            ),
            Owner(Kind.OTHER, "events"),
        ),
        (
            "transit_gateway",
            "123456789012",
            "Network Interface for Transit Gateway Attachment tgw-attach-0a1b2c3d",
            Owner(Kind.GATEWAY, "tgw-attach-0a1b2c3d"),
        ),
        (
            "interface",
            "578734482556",
            "arn:aws:ecs:us-east-1:123456789012:attachment/8f0a-1",
            Owner(Kind.CONTAINER),
        ),
        ("gateway_load_balancer_endpoint", "1", "", Owner(Kind.VPC_ENDPOINT)),
        ("interface", "amazon-rds", "something new", Owner(Kind.DATABASE, "rds")),
        (
            "interface",
            "amazon-aws",
            "a new service",
            Owner(Kind.OTHER, "a new service"),
        ),
        ("interface", "AIDAX", "mine", Owner(Kind.OTHER)),
        ("", "", "", Owner(Kind.OTHER)),
    ],
)
def test_a_description_says_whose_it_is(interface_type, requester, description, owner):
    found = owner_of(interface_type, requester, description, has_instance=False)
    assert found == owner


def test_an_instances_interface_is_the_instances_whatever_people_write():
    owner = owner_of("interface", "123456789012", "ELB old", has_instance=True)
    assert owner == Owner(Kind.INSTANCE)
    assert owner_of("trunk", "", "", has_instance=True) == Owner(Kind.INSTANCE)


@given(st.text(), st.text(), st.text(), st.booleans())
def test_any_texts_have_an_owner(interface_type, requester, description, has_instance):
    owner_of(interface_type, requester, description, has_instance=has_instance)


def test_roles_come_from_tags_of_groups():
    assert role_of_tags({"aws:autoscaling:groupName": "web-asg"}) == "web-asg"
    assert role_of_tags({"Name": "x"}) == ""
    assert role_of_tags({"aws:autoscaling:groupName": ""}) == ""


def test_a_node_group_says_more_than_its_scaling_group():
    tags = {
        "aws:autoscaling:groupName": "eks-workers-12c4",
        "eks:nodegroup-name": "workers",
        "eks:cluster-name": "prod",
    }
    assert role_of_tags(tags) == "prod/workers"
    del tags["eks:cluster-name"]
    assert role_of_tags(tags) == "workers"


def test_a_scaling_group_is_not_told_with_a_cluster():
    tags = {"aws:autoscaling:groupName": "g", "eks:cluster-name": "prod"}
    assert role_of_tags(tags) == "g"
