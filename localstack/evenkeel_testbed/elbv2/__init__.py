"""Application and network load balancers ("Elastic Load Balancing v2"), one concept a file.

`balancers`, `groups`, `listeners`, `rules`, `targets` and `tags` answer the requests, over the tables that
`records` looks things up in; `config` is what HAProxy is told; `registration` is how targets come and go; `health` is
what is said of them.
"""
