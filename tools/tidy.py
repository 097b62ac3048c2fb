#!/usr/bin/env python3
"""Runs clang-tidy over the C files that a build compiles, and remembers what passed, as ccache does for objects: a file is looked
at again when its text behind the preprocessor (comments kept), its flags, the checks or clang-tidy have changed.

Usage: tidy.py BUILD [FILE...]     BUILD: a folder with compile_commands.json; no FILE: every C file of src, tests, examples, tools
Exit status 1 when clang-tidy says something. What passed lies in $XDG_CACHE_HOME/bitmill-check/tidy (~/.cache), a name a file.
"""
import concurrent.futures, glob, hashlib, json, os, shlex, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "bitmill-check", "tidy")


def compile_words(build):
    """A file's path -> (the folder that its compiler runs in, the compiler's words without output, input and -c)."""
    found = {}
    for entry in json.load(open(os.path.join(build, "compile_commands.json"))):
        words = shlex.split(entry["command"])
        path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
        words = words[1:] if os.path.basename(words[0]) == "ccache" else words
        kept = [w for w, before in zip(words, [""] + words) if before not in ("-o", "-c") and w not in ("-o", "-c")]
        found[path] = (entry["directory"], kept)
    return found


def key_of(path, commands, common):
    """None: the build does not compile this file, so what it sees is not known."""
    if path not in commands:
        return None
    folder, words = commands[path]
    text = subprocess.run(words + ["-E", "-CC", path], cwd=folder, capture_output=True)
    if text.returncode != 0:
        return None
    parts = [common, open(path, "rb").read(), " ".join(w.replace(ROOT, "") for w in words).encode(),
             text.stdout.replace(ROOT.encode(), b"")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def look_at(path, build, commands, common):
    key = key_of(path, commands, common)
    stamp = key and os.path.join(CACHE, key)
    if stamp and os.path.exists(stamp):
        os.utime(stamp)
        return True
    run = subprocess.run(["clang-tidy", "--quiet", "-p", build, "--extra-arg=-Wno-unknown-warning-option", path],
                         capture_output=True, text=True)
    if run.returncode != 0:
        print(run.stdout + run.stderr, flush=True)
    elif stamp:
        open(stamp, "w").close()
    return run.returncode == 0


def main():
    build = sys.argv[1]
    files = sys.argv[2:] or [f for room in ("src", "tests", "examples", "tools")
                             for f in glob.glob(f"{ROOT}/{room}/**/*.c", recursive=True) if "/checkers/" not in f]
    os.makedirs(CACHE, exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    common = version + open(os.path.join(ROOT, ".clang-tidy"), "rb").read()
    commands = compile_words(build)
    if not files or not commands:
        sys.exit("tidy.py: no C files, or no commands of a compiler")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        passed = list(pool.map(lambda f: look_at(os.path.realpath(f), build, commands, common), sorted(files)))
    print(f"{passed.count(True)} of {len(passed)} files passed")
    sys.exit(0 if all(passed) else 1)


main()
