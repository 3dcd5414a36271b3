"""EC2 and what belongs to it, one concept a file.

`launch`, `instances`, `status`, `ebs`, `modify`, `network`, `images`, `tags` and `ssm` answer the requests, over the
tables that `world` looks things up in; `life` walks an instance through its states and `containers` is its machine;
`metadata` is what the machine asks who it is.
"""
