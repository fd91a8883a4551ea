#!/usr/bin/env python3
"""validate_json.py [--refuse] SCHEMA JSON...: checks documents against a JSON Schema (2020-12).

Exit status 0: all are valid (with --refuse: none is); 1: not so, with a line for each fault (or for
each file that should have been refused); 77: python3-jsonschema is missing.
"""
import json
import sys

try:
    from jsonschema import Draft202012Validator
except ImportError:
    print("python3-jsonschema is not installed")
    sys.exit(77)


def no_constant(name):
    raise ValueError(f"{name} is not JSON")


def read(path):
    with open(path, encoding="utf-8") as stream:
        return json.load(stream, parse_constant=no_constant)


def main():
    arguments = sys.argv[1:]
    refuse = arguments[0] == "--refuse"
    schema, *paths = arguments[refuse:]
    Draft202012Validator.check_schema(read(schema))
    validator = Draft202012Validator(read(schema))
    bad = 0
    for path in paths:
        faults = list(validator.iter_errors(read(path)))
        if refuse:
            bad += not faults
            if not faults:
                print(f"{path}: accepted")
            continue
        bad += bool(faults)
        for fault in faults:
            place = "/".join(str(step) for step in fault.absolute_path)
            print(f"{path}: {place}: {fault.message[:300]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
