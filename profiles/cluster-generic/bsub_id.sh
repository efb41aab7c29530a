#!/bin/sh
# `bsub` prints "Job <123> is submitted to queue <normal>."; Snakemake wants the number alone.
printed=$(bsub "$@") || exit
number=$(echo "$printed" | sed -n 's/^Job <\([0-9]*\)>.*/\1/p')
if [ -z "$number" ]; then
    echo "bsub_id.sh: found '$printed', expected 'Job <number> is submitted ...'" >&2
    exit 1
fi
echo "$number"
