"""A LocalStack plug-in that puts real machines behind OpsWorks and classic Elastic Load Balancing.

A started instance is a Docker engine of its own, an EBS volume is a loop block device, a load balancer is
a HAProxy process. See localstack/README.md.
"""
