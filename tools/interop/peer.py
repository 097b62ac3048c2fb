"""What compare.py asks of a peer, inside the peer's environment: for folders and kinds of arithmetic, rows of logits or log-probabilities
of ids, and the mean loss of longer texts."""
import gc
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


def loss_of(logits, ids):
    """Negative log-likelihoods of all ids but the first."""
    rows = numpy.asarray(logits, dtype=numpy.float64)[:len(ids) - 1]
    peaks = rows.max(axis=1, keepdims=True)
    sums = numpy.log(numpy.exp(rows - peaks).sum(axis=1)) + peaks[:, 0]
    return sums - rows[numpy.arange(len(rows)), ids[1:]]


def run(load, job, folder, arithmetic, out):
    logits_of = load(pathlib.Path(folder), arithmetic)
    numpy.asarray(logits_of(job["ids"]), dtype="<f4").tofile(out)
    losses = [loss_of(logits_of(ids), ids) for ids in job["slices"]]
    return float(numpy.concatenate(losses).mean()) if losses else None


def serve(load, packages):
    """load(folder, arithmetic) gives a function from ids to an array of [ids, vocabulary]. What either raises is the answer."""
    job = json.loads(pathlib.Path(sys.argv[1]).read_text())
    answers = []
    for row, (folder, arithmetic) in enumerate(job["runs"]):
        try:
            answers.append({"loss": run(load, job, folder, arithmetic, f"{job['output']}-{row}")})
        except Exception as error: # what a program says of a folder that it refuses is a result too
            words = " ".join(str(error).split()).split(" [type=")[0] # what pydantic adds says nothing of the folder
            answers.append({"error": f"{type(error).__name__}: {words[:300]}"})
        gc.collect()
    python = "Python " + sys.version.split()[0]
    pathlib.Path(sys.argv[2]).write_text(json.dumps({"versions": ", ".join([*versions(packages), python]), "answers": answers}))
