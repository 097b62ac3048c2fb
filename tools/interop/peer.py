"""What compare.py asks of a peer, inside the peer's environment: rows of logits, or log-probabilities, for ids and folders."""
import importlib.metadata
import json
import pathlib
import sys

import numpy


def versions(packages):
    for package in packages:
        try:
            yield f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            pass


def serve(logits_of, packages):
    """logits_of(folder, ids) gives an array of [ids, vocabulary]. What it raises is the answer for that folder."""
    job = json.loads(pathlib.Path(sys.argv[1]).read_text())
    errors = []
    for folder, out in zip(job["folders"], job["outputs"]):
        try:
            numpy.asarray(logits_of(pathlib.Path(folder), job["ids"]), dtype="<f4").tofile(out)
            errors.append(None)
        except Exception as error: # what a program says of a folder that it refuses is a result too
            words = " ".join(str(error).split()).split(" [type=")[0] # what pydantic adds says nothing of the folder
            errors.append(f"{type(error).__name__}: {words[:300]}")
    python = "Python " + sys.version.split()[0]
    answer = {"versions": ", ".join([*versions(packages), python]), "errors": errors}
    pathlib.Path(sys.argv[2]).write_text(json.dumps(answer))
