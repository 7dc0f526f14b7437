#!/bin/sh
# Says `ready`, then runs until SIGTERM.
trap 'echo draining >&2; exit 0' TERM
echo "some line"
echo "$@" >&2
echo 'ready {"data":"127.0.0.1:4001","control":"127.0.0.1:4002"}'
while :; do sleep 0.01; done
