"""The errors of the two services, with the codes that AWS's API references list."""

from localstack.aws.api import CommonServiceException


def validation(message: str) -> CommonServiceException:
    """OpsWorks: "Indicates that a request was not valid." (HTTP 400)"""
    return CommonServiceException("ValidationException", message, 400, sender_fault=True)


def not_found(kind: str, resource_id: str) -> CommonServiceException:
    """OpsWorks: "Indicates that a resource was not found." (HTTP 400)"""
    return CommonServiceException(
        "ResourceNotFoundException", f"Unable to find {kind} with ID {resource_id}", 400, sender_fault=True
    )


def elb_error(code: str, message: str, status: int = 400) -> CommonServiceException:
    return CommonServiceException(code, message, status, sender_fault=True)


def no_load_balancer(name: str) -> CommonServiceException:
    return elb_error("LoadBalancerNotFound", f"There is no ACTIVE Load Balancer named '{name}'")


def no_ec2_instance(instance_id: str) -> CommonServiceException:
    return elb_error("InvalidInstance", f"Could not find EC2 instance {instance_id}.")
