#!/bin/sh
# Does not start.
echo 'no such key: bread' >&2
exit 64
