"""What a fault meets, and what it leaves alone."""

import pytest

from evenkeel_testbed.faults import Faults


def errors(faults: Faults, calls: int) -> list[str | None]:
    taken = [faults.take("ec2", "DescribeInstances", "eu-west-1", {}) for _ in range(calls)]
    return [fault["error"] if fault else None for fault in taken]


def test_one_that_meets_every_third_call_leaves_the_others_to_those_after_it():
    faults = Faults()
    faults.add({"service": "ec2", "error": "A", "every": 3})
    faults.add({"service": "ec2", "error": "B", "every": 2})
    assert errors(faults, 7) == ["A", "B", None, "A", "B", None, "A"]


def test_one_that_meets_so_many_calls_is_over_then():
    faults = Faults()
    faults.add({"service": "ec2", "error": "A", "every": 2, "times": 2})
    assert errors(faults, 5) == ["A", None, "A", None, None]


@pytest.mark.parametrize("every", [0, -1, "2", 1.5])
def test_one_that_could_never_be_due_is_refused(every):
    with pytest.raises(ValueError, match="every is a whole number"):
        Faults().add({"service": "ec2", "error": "A", "every": every})
