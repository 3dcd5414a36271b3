"""What happens when LocalStack starts and when it is asked to end."""

import threading

from localstack.runtime import hooks
from localstack.services.plugins import SERVICE_PLUGINS

from . import boot, clearing, control, deployments, gateway, machines, registration, servers
from .ec2 import lifecycle as ec2_lifecycle
from .elbv2 import registration as v2_registration
from .testbed import store


@hooks.on_infra_start()
def start():
    """Picks up every instance and balancer that is still running: only LocalStack had gone."""
    store.load()
    gateway.install()
    control.install()
    machines.ensure_network()
    registration.resume()
    v2_registration.start_all()
    boot.resume()
    deployments.resume()
    servers.resume()
    ec2_lifecycle.start()
    threading.Thread(target=machines.watch, args=(boot.machine_changed,), name="docker-events", daemon=True).start()
    threading.Thread(target=v2_registration.watch, name="targets", daemon=True).start()


@hooks.on_infra_ready()
def warm_up():
    """Loads the services now: the first call of a test should not pay for it."""
    for service in ("opsworks", "elb", "elbv2", "rds", "ec2", "ssm", "sts", "cloudwatch"):
        SERVICE_PLUGINS.require(service)


@hooks.on_infra_shutdown()
def shutdown():
    """An orderly end takes the machines with it; a LocalStack that was killed leaves them to its successor."""
    clearing.reset(None)
