#!/usr/bin/env python3
"""What A8W8 costs by each way of preparing activations: perplexity, KL divergence and top-1 agreement, as Markdown tables.

    tools/ptq_table.py --program build/release/bitmill --data DATA --results FILE [--only NAME]... [--configuration NAME]...
                       [--seed N]... [--steps N] [--tokens N] [--set KEY=VALUE]... [--method weights]
    tools/ptq_table.py --protocol paddleslim --tokenize build/release/tests/text/tokenize ...
    tools/ptq_table.py --table --results FILE

Each run appends a JSON line to FILE; one that is there is not run again. Standard library only.

Protocol held-out: texts are those of tools/compare_peers.py, three seeds of calibration text (other parts of a corpus) and
one text that nothing was chosen on. Checkpoints whose name ends in "+outliers" are made by tools/plant_outliers.py and
compute what the plain ones do. Protocol paddleslim: the ids of DATA/paddleslim/calib_MODEL.json, 8 steps of 4 sequences
in their order, and the evaluation of DATA/paddleslim/README.md, beside the recorded divergences. --set adds a key to every
configuration (its rows belong in a FILE of their own).
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from compare_peers import CHECKPOINTS, parts_of

TOOLS = pathlib.Path(__file__).resolve().parent
OUTLIERS = "+outliers"
NAMES = list(CHECKPOINTS) + ["stories260K" + OUTLIERS, "prose-8m" + OUTLIERS]
SWITCHES = ["smooth", "smooth_all_linears", "smooth_piecewise_search", "shift", "shift_all_linears"]
# The published parameter file's search, which the short form cuts down.
PIECES = ["smooth_k_piece=3", "smooth_search_piece=true", "piecewise_candidates=\"absolute\"", "search_alpha_step=0.01",
          "search_tokens=2048", "search_rounds=2"]

# name: keys that are true, further keys, the strategy among the recorded figures
CONFIGURATIONS = {
    "plain": ([], ['act_quant_method="avg"'], "a8w8"),
    "plain, searched steps": ([], [], "a8w8"),
    "smooth": (["smooth"], [], "smooth"),
    "smooth, all": (["smooth", "smooth_all_linears"], [], "smooth_all"),
    "shift": (["shift"], [], "shift_none"),
    "shift, all": (["shift", "shift_all_linears"], [], "shift_none_all"),
    "shift+smooth": (["shift", "smooth"], [], None),
    "shift+smooth, all": (SWITCHES[:2] + SWITCHES[3:], [], None),
    "PSS": (["smooth", "smooth_piecewise_search"], PIECES, "pss_search3"),
    "PSS, all": (SWITCHES[:3], PIECES, "pss_search3_all"),
    "shift+PSS, all": (SWITCHES, PIECES, None),
    "--method a8w8": (SWITCHES[:3], [], "pss_search3_all"),
}
# Of --method weights, 4 bits: the short form's method, its keys, the strategy among the recorded figures.
NO_SEARCH = ["scale_search=abs_max", "signed_scales=false"]
NORMS_ALONE = ["smooth_all_linears=false"]
WEIGHTS = {
    "plain": ("rtn", NO_SEARCH, "w4g"),
    "clip": ("rtn", NO_SEARCH + ["auto_clip=true"], "clip_g"),
    "rounding, gram": ("rtn", [], "clip_g"),
    "AWQ, published": ("awq", NO_SEARCH + NORMS_ALONE + ["awq_candidates=published"], "awq_g"),
    "AWQ, norms": ("awq", NO_SEARCH + NORMS_ALONE, "awq_g"),
    "AWQ": ("awq", NO_SEARCH + ["smooth_all_linears=true"], "awq_g"),
    "AWQ, clip": ("awq", NO_SEARCH + ["smooth_all_linears=true", "auto_clip=true"], "awq_clip_g"),
    "AWQ, gram, norms": ("awq", NORMS_ALONE, "awq_clip_g"),
    "AWQ, gram": ("awq", ["smooth_all_linears=true"], "awq_clip_g"),
    "GPTQ": ("gptq", [], None),
    "GPTQ behind AWQ": ("gptq", ["scaling=awq", "smooth_all_linears=true"], None),
}
GROUPS = {"prose-8m": ["group_size=128"], "stories260K": ["group_size=32", "skip_list_names=down_proj"]} # 172 inputs
BESTS = {"a8w8": "PSS, all", "weights": "AWQ, gram"}


class Failed(Exception):
    pass


def configurations_of(o):
    return CONFIGURATIONS if o.method == "a8w8" else WEIGHTS


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, encoding="utf-8")
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stderr.strip()}")
    return done.stdout


def write_ids(path, sequences):
    path.write_text("".join(json.dumps({"input_ids": ids}) + "\n" for ids in sequences), encoding="utf-8")


# --- protocols: for a checkpoint (calibration data, keys for them, evaluation data, options for them) -----------------

def held_out(o, name, seed, work):
    name = name.removesuffix(OUTLIERS)
    context = CHECKPOINTS[name][0]
    heldout, calibration = parts_of(name, o.data)
    texts = work / "calibration.txt", work / "heldout.txt"
    for path, text in zip(texts, (calibration[seed], heldout)):
        path.write_text(text, encoding="utf-8", newline="\n")
    keys = [f"max_length={context}", f"seed={seed}", "per_device_train_batch_size=8"]
    keys += [f"{step}={o.steps}" for step in ("ptq_step", "smooth_step", "shift_step")]
    return texts[0], keys, texts[1], ["--context", context, "--max-tokens", o.tokens]


def ids_of(o, name, text, work):
    path = work / "text.txt"
    path.write_text(text, encoding="utf-8", newline="\n")
    return [int(i) for i in run([o.tokenize, o.data / name / "tokenizer.json", path, "--special"]).split()]


def paddleslim(o, name, _, work):
    if name == "prose-8m":
        ids = ids_of(o, name, (o.data / "text/prose/valid.txt").read_text(encoding="utf-8"), work)
        evaluation = [ids[i * 512:(i + 1) * 512] for i in range(32)]
    else:
        stories = (o.data / "text/tinystories/tinystories-valid-sample.txt").read_text(encoding="utf-8").split("<|endoftext|>")
        evaluation = [ids_of(o, name, s.strip()[:1200], work)[:256] for s in stories[:100]]
    paths = work / "calibration.jsonl", work / "evaluation.jsonl"
    write_ids(paths[0], json.loads((o.data / "paddleslim" / f"calib_{name}.json").read_text(encoding="utf-8"))["ids"])
    write_ids(paths[1], evaluation)
    keys = ["max_length=128", "keep_order=true", "per_device_train_batch_size=4", "ptq_step=8", "smooth_step=8", "shift_step=8"]
    return paths[0], keys, paths[1], ["--max-length", 512]


PROTOCOLS = {"held-out": held_out, "paddleslim": paddleslim}


# --- runs -------------------------------------------------------------------------------------------------------------

def model_of(o, name, work):
    if not name.endswith(OUTLIERS):
        return o.data / name
    folder = work / name
    if not folder.exists():
        run([sys.executable, TOOLS / "plant_outliers.py", o.data / name.removesuffix(OUTLIERS), folder])
    return folder


def evaluate(o, model, reference, data, options):
    return json.loads(run([o.program, "eval", model, "--data", data, "--dtype", "float32", "--reference", reference, "--device",
                           o.device, "--json", "--quiet"] + options))


def measure(o, name, configuration, seed, work):
    model = model_of(o, name, work)
    calibration, keys, evaluation, options = PROTOCOLS[o.protocol](o, name, seed, work)
    if configuration == "float":
        return evaluate(o, model, model, evaluation, options)
    output = work / "result"
    if o.method == "a8w8":
        on, more, _ = CONFIGURATIONS[configuration]
        method, bits, more = "a8w8", 8, [f"{key}={json.dumps(key in on)}" for key in SWITCHES] + more
    else:
        method, more, _ = WEIGHTS[configuration]
        keys, bits = keys + GROUPS.get(name.removesuffix(OUTLIERS), ["group_size=32"]), 4
        step = next(key for key in keys if key.startswith("ptq_step=")).partition("=")[2]
        keys = [key for key in keys if not key.startswith("shift_step")] + [f"autoclip_step={step}", f"gptq_step={step}"]
    keys = keys + more
    command = [o.program, "quantize", model, "--method", method, "--bits", bits, "--data", calibration, "--output", output,
               "--device", o.device, "--quiet"]
    for key in keys + (o.set or []) + ["overwrite_output_dir=true"]:
        command += ["--set", key]
    run(command)
    return evaluate(o, output, model, evaluation, options)


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def fill(o):
    """Appends what is not in the file yet; returns how many runs failed."""
    done = {(r["protocol"], r["model"], r["configuration"], r["seed"]) for r in rows_of(o.results)}
    failed = 0
    seeds = o.seed or ((0, 1, 2) if o.protocol == "held-out" else (0,))
    names = o.only or (NAMES if o.protocol == "held-out" else ["stories260K", "babyllama-tok105", "prose-8m"])
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            for configuration in ["float"] + (o.configuration or list(configurations_of(o))):
                for seed in seeds if configuration != "float" else (0,):
                    job = (o.protocol, name, configuration, seed)
                    if job in done:
                        continue
                    try:
                        found = measure(o, name, configuration, seed, pathlib.Path(work))
                    except Failed as words:
                        print(f"{job}: {words}", file=sys.stderr, flush=True)
                        failed += 1
                        continue
                    row = dict(zip(("protocol", "model", "configuration", "seed"), job), eval=found)
                    with o.results.open("a", encoding="utf-8") as out:
                        out.write(json.dumps(row) + "\n")
    return failed


# --- tables -----------------------------------------------------------------------------------------------------------

def spread(values, digits):
    text = f"{statistics.mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def recorded_of(o, name, configuration):
    strategy = configurations_of(o)[configuration][2] if configuration in configurations_of(o) else None
    path = o.data / "paddleslim" / f"{name}__{strategy}.json" if o.data else None
    return json.loads(path.read_text(encoding="utf-8"))["result"]["kl"] if path and path.exists() else None


def table_of(o, name, found):
    """One checkpoint's table. Returns by configuration the mean perplexity and the mean divergence."""
    is_recorded = o.protocol == "paddleslim"
    last = ("recorded KL", "by recorded") if is_recorded else ()
    print(f"\n### {name}\n")
    print("| " + " | ".join(("configuration", "perplexity", "KL divergence, nats", "by plain", "same top token") + last) + " |")
    print("|---" * (5 + len(last)) + "|")
    means = {}
    for configuration in ["float"] + list(configurations_of(o)):
        evals = found.get(configuration)
        if not evals:
            continue
        perplexities, kls = [e["perplexity"] for e in evals], [e["kl_divergence"] for e in evals]
        means[configuration] = statistics.mean(perplexities), statistics.mean(kls)
        if configuration == "float":
            print(f"| float | {perplexities[0]:.4f} | | | |" + " |" * len(last))
            continue
        cells = [configuration, spread(perplexities, 4), spread(kls, 5)]
        cells.append(f"{means[configuration][1] / means['plain'][1]:.3f}" if "plain" in means else "")
        cells.append(spread([e["top1_agreement"] for e in evals], 4))
        if is_recorded:
            recorded = recorded_of(o, name, configuration)
            cells += [f"{recorded:.5f}", f"{means[configuration][1] / recorded:.3f}"] if recorded else ["", ""]
        print("| " + " | ".join(cells) + " |")
    return means


def closes(means, best_name):
    """In words, how much of the gap in perplexity between float and plain the best configuration closes."""
    floats, plain, best = (means[c][0] for c in ("float", "plain", best_name))
    gap = plain / floats - 1
    closed = f"; {best_name} closes {(plain - best) / (plain - floats):.1%} of it" if gap >= 0.05 else ""
    return f"gap of plain {gap:.2%}{closed}"


def print_tables(o):
    found, best = {}, BESTS[o.method]
    for r in rows_of(o.results):
        if r["protocol"] == o.protocol:
            found.setdefault(r["model"], {}).setdefault(r["configuration"], []).append(r["eval"])
    ratios = {}
    for name in NAMES:
        if name not in found or o.only and name not in o.only:
            continue
        means = table_of(o, name, found[name])
        if all(c in means for c in ("float", "plain", best)):
            print(f"\n{closes(means, best)}; KL of {best} {means[best][1] / means['plain'][1]:.3f} of plain's")
            ratios.setdefault(name.endswith(OUTLIERS), []).append(means[best][1] / means["plain"][1])
    print()
    for outliers, values in ratios.items():
        print(f"KL of {best} by plain's, geometric mean of {len(values)} checkpoints {'with' if outliers else 'without'} outliers: "
              f"{statistics.geometric_mean(values):.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default="build/release/bitmill")
    parser.add_argument("--tokenize", type=pathlib.Path, default="build/release/tests/text/tokenize")
    parser.add_argument("--data", type=pathlib.Path, help="the folder of checkpoints and texts")
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--protocol", choices=list(PROTOCOLS), default="held-out")
    parser.add_argument("--table", action="store_true", help="print what the file holds, run nothing")
    parser.add_argument("--device", default="opencl")
    parser.add_argument("--method", choices=list(BESTS), default="a8w8", help="weights: 4 bits in groups")
    parser.add_argument("--steps", type=int, default=16, help="of 8 calibration sequences (16; held-out)")
    parser.add_argument("--tokens", type=int, default=40960, help="of the held-out text (40960)")
    parser.add_argument("--only", action="append", choices=NAMES)
    parser.add_argument("--configuration", action="append", choices=list({**CONFIGURATIONS, **WEIGHTS}))
    parser.add_argument("--seed", action="append", type=int, choices=[0, 1, 2])
    parser.add_argument("--set", action="append", metavar="KEY=VALUE")
    o = parser.parse_args()
    if not o.table and not o.data:
        parser.error("--data is needed to run anything")
    failed = 0 if o.table else fill(o)
    print_tables(o)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
