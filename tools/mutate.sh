#!/bin/sh
# Would the tests see a mistake? Makes the one-line mistakes of tests/mutations.txt, one at a time, in a copy of what git tracks
# (build/mutate), builds the tests that should see it, runs them, and prints a table; a mistake that no test sees lives. By hand,
# not by check.sh: all of them take six to twenty minutes on two cores. docs/testing.md has the last table.
#   sh tools/mutate.sh [NAME...]      without a name: all of them
# A line of that file:  NAME | FILE | TEST... | SED EXPRESSION
#   TEST is a name known to ctest, or KERNEL@DEVICE for one kernel of test_kernels; with "layers:" before it, it runs under
#   Vulkan's synchronization validation. The first that fails has seen the mistake. The expression must change one line.
# The last line is "N mistakes, M live, K could not be tried"; the exit status is 1 when more live than LIVING (3), or K is not 0.
set -u
cd "$(dirname "$0")/.." || exit 1
living=${LIVING:-3}
list=tests/mutations.txt
out=$(pwd)/build/mutate
copy=$out/tree build=$out/build log=$out/log
rm -rf "$out"
mkdir -p "$copy"
git ls-files -z | tar cf - --null -T - | tar xf - -C "$copy"
LAYERS="VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation
    VK_LAYER_ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT"

# The programs that a test runs, as targets of the build.
targets_of()
{
    case $1 in
    *@*) echo tests/kernels/test_kernels ;;
    *) find "$build/tests" -name CTestTestfile.cmake -exec cat {} + | grep "^add_test(\(\[=\[\)*${1#layers:}[] ]" | tr -d '")' | tr ' ' '\n' |
        sed -n "s!^$build/!!p" ;;
    esac
}

compile()
{
    # shellcheck disable=SC2046  # words
    cmake --build "$build" --target $(for test in "$@"; do targets_of "$test"; done | sort -u) > "$log" 2>&1 < /dev/null
}

# passes TEST: false when it is skipped, too.
passes()
{
    under=
    case $1 in layers:*) under="env $LAYERS" ;; esac
    program=${1#layers:}
    # shellcheck disable=SC2086  # words
    case $program in
    *@*) timeout 300 $under "$build/tests/kernels/test_kernels" "${program#*@}" "${program%@*}" ;;
    *) timeout 600 $under ctest --test-dir "$build" -R "^$program\$" --no-tests=error ;;
    esac > "$log" 2>&1 < /dev/null && ! grep -q '\*\*\*Skipped' "$log"
}

# The asked lines: name, file, tests, expression.
grep -v '^ *\(#\|$\)' $list | sed 's/ *| */|/; s/ *| */|/2; s/ *| */|/3' > "$out/all"
[ $# = 0 ] && cp "$out/all" "$out/asked"
[ $# = 0 ] || for name in "$@"; do grep "^$name|" "$out/all" || { echo "$list has no $name" >&2; exit 2; }; done > "$out/asked"

launcher=
command -v ccache > /dev/null && launcher=-DCMAKE_C_COMPILER_LAUNCHER=ccache
tests=$(cut -d '|' -f 3 "$out/asked" | tr ' ' '\n' | sort -u)
# shellcheck disable=SC2086  # words
if ! cmake -S "$copy" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release $launcher > "$log" 2>&1 || ! compile $tests; then
    cat "$log"
    exit 1
fi
for test in $tests; do
    passes "$test" || { cat "$log"; echo "$test: fails or is skipped where there is no mistake"; exit 1; }
done

count=0 live=0 wrong=0
echo '| mistake | file | seen by |'
echo '|---|---|---|'
while IFS='|' read -r name file tests expression; do
    count=$((count + 1))
    cp "$copy/$file" "$out/original"
    sed -i -e "$expression" "$copy/$file"
    changed=$(diff "$out/original" "$copy/$file" | grep -c '^<')
    result=
    # shellcheck disable=SC2086  # words
    if [ "$changed" != 1 ]; then
        result="CHANGES $changed LINES: mend it in $list"
        wrong=$((wrong + 1))
    elif ! compile $tests; then
        result="DOES NOT BUILD: mend it in $list"
        wrong=$((wrong + 1))
    else
        for test in $tests; do
            passes "$test" || { result=$test; break; }
        done
        [ -n "$result" ] || { result='nothing: LIVES'; live=$((live + 1)); }
    fi
    echo "| $name | $file | $result |"
    cp "$out/original" "$copy/$file"
done < "$out/asked"
echo "$count mistakes, $live live, $wrong could not be tried"
[ $live -le "$living" ] && [ $wrong = 0 ]
