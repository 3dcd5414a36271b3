"""What a listener or a rule does with a request: here, forward it to one target group."""

from ..errors import elb_error
from . import records
from .records import ALB_PROTOCOLS, invalid


def checked(tables: dict, region: str, balancer: dict, protocol: str, actions: list[dict]) -> list[dict]:
    """The actions as AWS tells them afterwards. A group has to fit the listener, and no other balancer's may it be."""
    if not actions:
        raise invalid("An action must be specified")
    if len(actions) > 1:
        raise elb_error("TooManyActions", "The proving ground knows listeners and rules with one action, to forward")
    action = actions[0]
    if action["Type"] != "forward":
        raise elb_error(
            "InvalidLoadBalancerAction", f"Actions of type '{action['Type']}' are not among the proving ground's"
        )
    wanted = [g["TargetGroupArn"] for g in (action.get("ForwardConfig") or {}).get("TargetGroups") or []]
    if action.get("TargetGroupArn") and action["TargetGroupArn"] not in wanted:
        wanted.append(action["TargetGroupArn"])
    if not wanted:
        raise invalid("A target group must be specified for an action of type 'forward'")
    if len(wanted) > 1:
        raise elb_error("TooManyTargetGroups", "The proving ground forwards to one target group, not to several by weight")
    group = records.group(tables, region, wanted[0])
    if records.kind_of_group(group) != balancer["Type"] or (protocol == "TCP" and group["Protocol"] != "TCP"):
        raise elb_error(
            "IncompatibleProtocols",
            f"Target group '{group['Arn']}' of protocol {group['Protocol']} does not go with a listener of protocol "
            f"{protocol}",
        )
    if group["VpcId"] != balancer["VpcId"]:
        raise elb_error(
            "InvalidConfigurationRequest",
            f"Target group '{group['Arn']}' is in {group['VpcId']}, load balancer '{balancer['Arn']}' in "
            f"{balancer['VpcId']}",
        )
    if records.users(tables).get(group["Arn"], balancer["Arn"]) != balancer["Arn"]:
        raise elb_error(
            "TargetGroupAssociationLimit",
            f"The following target groups cannot be associated with more than one load balancer: {group['Arn']}",
        )
    shown = {"Type": "forward", "TargetGroupArn": group["Arn"]}
    if protocol in ALB_PROTOCOLS:
        shown["Order"] = 1
        shown["ForwardConfig"] = {
            "TargetGroups": [{"TargetGroupArn": group["Arn"], "Weight": 1}],
            "TargetGroupStickinessConfig": {"Enabled": False},
        }
    return [shown]
