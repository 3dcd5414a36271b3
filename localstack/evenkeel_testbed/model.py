"""Checks a request against botocore's model of the operation, and cuts an answer down to its shape."""

from botocore.model import OperationModel, Shape, StructureShape

from .errors import elb_error, validation


def check(operation: OperationModel, request: dict) -> None:
    """Raises AWS's "N validation errors detected" for absent required members and values outside an enum."""
    problems: list[str] = []
    if operation.input_shape:
        _check(operation.input_shape, request or {}, "", problems)
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        message = count + "; ".join(problems)
        opsworks = operation.service_model.service_name == "opsworks"
        raise validation(message) if opsworks else elb_error("ValidationError", message)


def _check(shape: Shape, value, at: str, problems: list[str]) -> None:
    if value is None:
        return
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if value.get(name) is None:
                where = _join(at, name)
                problems.append(
                    f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
                )
        for name, member in shape.members.items():
            if name in value:
                _check(member, value[name], _join(at, name), problems)
    elif shape.type_name == "list":
        for index, item in enumerate(value, 1):
            _check(shape.member, item, f"{at}.{index}.member", problems)
    elif shape.type_name == "string" and getattr(shape, "enum", None) and value not in shape.enum:
        problems.append(
            f"Value '{value}' at '{at}' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        )


def _join(at: str, name: str) -> str:
    lower = name[0].lower() + name[1:]
    return f"{at}.{lower}" if at else lower


def shaped(shape: Shape, value):
    """The members of `value` that the response shape has, all the way down: a store's own keys never leak out."""
    if isinstance(shape, StructureShape):
        return {n: shaped(m, value[n]) for n, m in shape.members.items() if value.get(n) is not None}
    if shape.type_name == "list":
        return [shaped(shape.member, item) for item in value]
    return value
