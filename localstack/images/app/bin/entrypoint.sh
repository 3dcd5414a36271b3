#!/bin/sh
# What many images do before they start: say who they are, then become the command.
echo "shop: $(hostname) starts: $*"
exec "$@"
