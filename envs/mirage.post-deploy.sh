#!/usr/bin/env bash
# Snakemake runs this once in the new environment, from the repository root.
set -euo pipefail
pip install --no-deps -e .
