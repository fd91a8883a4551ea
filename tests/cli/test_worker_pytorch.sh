#!/usr/bin/env bash
# The example of a worker in Python with PyTorch.
. "$(dirname "$0")/lib.sh"
use_installed
torch=$(torch_python) || { echo "no pytorch"; exit 77; }
take_examples
passes "$torch pytorch_eager.py"
