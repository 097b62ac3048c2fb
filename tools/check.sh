#!/bin/sh
# Everything that is checked: builds with warnings as errors, proves that each checker finds a planted defect, runs every
# test on PoCL and lavapipe, under validation layers, sanitizers and Oclgrind, and looks at the form of the source.
#   sh tools/check.sh [STEP...]     without a step: all of them, in order; --list names them
# Each line of the summary is a step. The last line is "N passed, M failed", with ", K skipped" where something was.
set -u

PACKAGES="gcc g++ libc6-dev cmake ninja-build pkg-config python3 glslang-tools spirv-tools ccache
    opencl-c-headers ocl-icd-opencl-dev pocl-opencl-icd libvulkan-dev libvulkan-volk-dev mesa-vulkan-drivers
    vulkan-validationlayers libclblast-dev libcjson-dev libpcre2-dev libutf8proc-dev libcmocka-dev
    clang-format clang-tidy gcc-mingw-w64-x86-64 oclgrind intel-opencl-icd"
STEPS="packages build checkers tests validation sanitizers oclgrind vendors windows format arrows tidy"

if [ "${1:-}" = --list ]; then
    echo "$STEPS"
    exit 0
fi
cd "$(dirname "$0")/.." || exit 1
source_dir=$(pwd)
out=build/check
logs=build/check-logs
mkdir -p $logs
passed=0
failed=0
skipped=0
summary=$logs/summary
: > $summary

good() { passed=$((passed + 1)); printf '  ok      %s\n' "$*"; }
bad() { failed=$((failed + 1)); printf '  FAILED  %s\n' "$*"; }
skip() { skipped=$((skipped + 1)); printf '  skipped %s\n' "$*"; }

# must NAME LOG COMMAND...: the command must end well; its last words are shown when it does not.
must()
{
    must_name=$1
    must_log=$logs/$2.log
    shift 2
    if "$@" > "$must_log" 2>&1; then
        good "$must_name"
    else
        bad "$must_name (all of its words: $must_log)"
        tail -n 40 "$must_log"
        return 1
    fi
}

launcher=
use_ccache() { command -v ccache > /dev/null && launcher=-DCMAKE_C_COMPILER_LAUNCHER=ccache; }

# The CPU drivers alone, so that the run is the same on every machine.
LAVAPIPE=/usr/share/vulkan/icd.d/lvp_icd.$(uname -m).json
[ -f "$LAVAPIPE" ] && export VK_ICD_FILENAMES="$LAVAPIPE"
if [ -f /etc/OpenCL/vendors/pocl.icd ]; then
    mkdir -p $logs/pocl
    cp /etc/OpenCL/vendors/pocl.icd $logs/pocl/
    export OCL_ICD_VENDORS="$source_dir/$logs/pocl"
fi
ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT:VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT
with_layers() { env VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation VK_LAYER_ENABLES=$ENABLES "$@"; }
without_instruments()
{
    env VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation VK_LAYER_ENABLES=${ENABLES%%:*} "$@"
}
# Without intercept_tls_get_addr=0 LeakSanitizer's tracer crashes now and then while PoCL's threads end ("Tracer caught
# signal 11", after the test has passed).
with_sanitizers()
{
    env ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:intercept_tls_get_addr=0 UBSAN_OPTIONS=print_stacktrace=1 \
        LSAN_OPTIONS=suppressions="$source_dir/tests/checkers/leaks_of_drivers.txt":print_suppressions=0 "$@"
}
with_oclgrind()
{
    env OCL_ICD_VENDORS="$source_dir/$logs/oclgrind" OCLGRIND_LOG="$source_dir/$logs/oclgrind.txt" OCLGRIND_CHECK_API=1 \
        OCLGRIND_DATA_RACES=1 OCLGRIND_BUILD_OPTIONS=-cl-opt-disable BITMILL_SMALL_CASES=1 "$@"
}

# count NAME LOG COMMAND...: a ctest run; its tests are counted one by one. A run in which nothing passed has failed.
count()
{
    count_name=$1
    count_log=$logs/$2.log
    shift 2
    "$@" > "$count_log" 2>&1
    count_passed=$(grep -cE '^ *[0-9]+/[0-9]+ Test .* Passed +[0-9.]+ sec' "$count_log")
    count_skipped=$(grep -cE '^ *[0-9]+/[0-9]+ Test .*\*\*\*Skipped' "$count_log")
    count_all=$(grep -cE '^ *[0-9]+/[0-9]+ Test ' "$count_log")
    count_failed=$((count_all - count_passed - count_skipped))
    passed=$((passed + count_passed))
    failed=$((failed + count_failed))
    skipped=$((skipped + count_skipped))
    printf '  %s: %d passed, %d failed, %d skipped\n' "$count_name" $count_passed $count_failed $count_skipped
    grep -E '^ *[0-9]+/[0-9]+ Test .*\*\*\*' "$count_log"
    if [ $count_failed != 0 ]; then
        grep -vE '^ *(Start|[0-9]+/[0-9]+ Test .*Passed)' "$count_log" | grep -E 'FAILED|ERROR|rror:|log:|SUMMARY' | head -n 40
        echo "  all words: $count_log"
    fi
    [ $count_passed != 0 ] || bad "$count_name: nothing passed"
}

step_packages()
{
    command -v dpkg-query > /dev/null || { skip "packages: no Debian system"; return; }
    missing=
    for package in $PACKAGES; do
        dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || { good "packages are all here"; return; }
    echo "  to install:$missing"
    root=
    [ "$(id -u)" = 0 ] || root=sudo
    LC_ALL=C apt-get install --simulate --no-install-recommends $missing > /dev/null 2>&1 || $root apt-get update -q > /dev/null
    must "packages installed" packages $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends $missing
}

step_build()
{
    use_ccache
    must "configured" configure cmake --preset release -B $out -DCMAKE_EXPORT_COMPILE_COMMANDS=ON $launcher &&
        must "built without a warning" build cmake --build $out
    must "configured where no C++ compiler is" configure-c \
        env CXX=/nonexistent cmake --preset release -B $out-c --fresh
}

# finds_defect NAME PATTERN LOG COMMAND...: a planted defect; the checker must report PATTERN and fail.
finds_defect()
{
    defect_name=$1
    defect_pattern=$2
    defect_log=$logs/defect-$3.log
    shift 3
    "$@" > "$defect_log" 2>&1
    defect_status=$?
    if grep -q "$defect_pattern" "$defect_log" && [ $defect_status != 0 ]; then
        good "$defect_name finds its planted defect"
    else
        bad "$defect_name did not find its planted defect ($defect_log, exit status $defect_status)"
    fi
}

# Oclgrind's exit status says nothing: silent, or what it wrote is a failure.
oclgrind_is_silent()
{
    rm -f $logs/oclgrind.txt
    with_oclgrind "$@"
    silent_status=$?
    [ -s $logs/oclgrind.txt ] && { head -n 60 $logs/oclgrind.txt; return 1; }
    return $silent_status
}

find_oclgrind()
{
    oclgrind=$(ls /usr/lib/oclgrind/liboclgrind-rt-icd.so /usr/lib/*/oclgrind/liboclgrind-rt-icd.so 2> /dev/null | head -n 1)
    [ -n "$oclgrind" ] || return 1
    mkdir -p $logs/oclgrind
    echo "$oclgrind" > $logs/oclgrind/oclgrind.icd
}

step_checkers()
{
    here=tests/checkers
    there=$logs/checkers
    flags="-std=c11 -O1 -g -Wall -Wextra -Werror"
    mkdir -p $there
    must "planted defects are built" checkers sh -ec "
        gcc $flags -fsanitize=address -o $there/heap_overflow $here/heap_overflow.c
        gcc $flags -fsanitize=undefined -fno-sanitize-recover=all -o $there/signed_overflow $here/signed_overflow.c
        gcc $flags -o $there/local_race $here/local_race.c -lOpenCL
        gcc $flags -o $there/vulkan_defects $here/vulkan_defects.c -lvulkan
        glslangValidator -V --target-env vulkan1.2 -o $there/out_of_bounds.spv $here/out_of_bounds.comp
        glslangValidator -V --target-env vulkan1.2 -o $there/copy.spv $here/copy.comp" || return
    finds_defect "AddressSanitizer" heap-buffer-overflow asan with_sanitizers $there/heap_overflow
    finds_defect "UBSan" "signed integer overflow" ubsan with_sanitizers $there/signed_overflow
    finds_defect "GPU-assisted validation" "out of bounds" bounds \
        with_layers $there/vulkan_defects bounds $there/out_of_bounds.spv
    finds_defect "synchronization validation" SYNC-HAZARD-READ-AFTER-WRITE barrier \
        with_layers $there/vulkan_defects barrier $there/copy.spv
    must "validation is silent on the same write within bounds" sound-bounds \
        with_layers $there/vulkan_defects sound-bounds $there/out_of_bounds.spv
    must "validation is silent on the same copies with a barrier" sound-barrier \
        with_layers $there/vulkan_defects sound-barrier $there/copy.spv
    find_oclgrind || { bad "Oclgrind is not here"; return; }
    finds_defect "Oclgrind" "data race" oclgrind oclgrind_is_silent $there/local_race race
    must "Oclgrind is silent on the same kernel with a barrier" sound-race oclgrind_is_silent $there/local_race sound
}

# ctest is called with -j2: more, and the drivers' own threads get into each other's way.
# Tests on Vulkan run under validation; without its layers they run in the step of the sanitizers.
step_tests() { count "every test but those on Vulkan" tests ctest --test-dir $out -j2 --output-on-failure -E '[vV]ulkan'; }

step_validation()
{
    count "every test on Vulkan under core and synchronization validation" validation without_instruments \
        ctest --test-dir $out -j2 --output-on-failure -R '[vV]ulkan'
    count "their shorter cases under GPU-assisted validation as well" validation-gpu with_layers \
        ctest --test-dir $out -j2 --output-on-failure -R '[vV]ulkan'
}

step_sanitizers()
{
    use_ccache
    must "sanitized: configured" asan-configure cmake --preset asan -B $out-asan $launcher &&
        must "sanitized: built without a warning" asan-build cmake --build $out-asan || return
    count "every test under AddressSanitizer and UBSan" sanitizers \
        with_sanitizers ctest --test-dir $out-asan -j2 --output-on-failure
}

# Kernels that are quick enough under an interpreter.
OCLGRIND_KERNELS="add column_range convert dequantize embedding gate group_normalize group_range pack_codes quantize row_error
    unpack_codes cholesky_block code_sweep gptq_block grid_choose nested_search row_dot scale_refit"
step_oclgrind()
{
    find_oclgrind || { skip "Oclgrind is not here"; return; }
    before_oclgrind=$passed
    for kernel in $OCLGRIND_KERNELS; do
        oclgrind_is_silent timeout 120 $out/tests/kernels/test_kernels opencl $kernel > $logs/oclgrind-$kernel.log 2>&1
        case $? in
        0) good "Oclgrind: $kernel" ;;
        124) skip "Oclgrind: $kernel took longer than 120 s" ;;
        *)
            bad "Oclgrind: $kernel (all of its words: $logs/oclgrind-$kernel.log)"
            tail -n 40 $logs/oclgrind-$kernel.log ;;
        esac
    done
    [ $passed != $before_oclgrind ] || bad "Oclgrind: no kernel was checked"
}

# Compilers of GPUs that are not here: Mesa's for AMD, ocloc for Intel.
step_vendors()
{
    [ -n "$(ls /usr/share/vulkan/icd.d/radeon_icd*.json 2> /dev/null)" ] || { skip "vendors: no RADV here"; return; }
    command -v ocloc > /dev/null || skip "vendors: no ocloc here, which compiles for Intel's GPUs"
    [ -n "${BITMILL_MESA:-}" ] || skip "vendors: BITMILL_MESA names no folder of tools/fetch_mesa.sh, whose Mesa knows AMD's matrix units"
    # shellcheck disable=SC2086  # words
    must "vendors: every kernel compiles, no default variant spills" vendors \
        python3 tools/compile_vendors.py --bitmill $out/bitmill --out $logs/vendors --quick ${BITMILL_MESA:+--mesa $BITMILL_MESA}
}

step_windows()
{
    command -v x86_64-w64-mingw32-gcc > /dev/null || { skip "no compiler for Windows"; return; }
    use_ccache
    must "Windows: configured" windows-configure cmake --preset mingw -B $out-mingw $launcher &&
        must "Windows: every source file compiles without a warning" windows-build cmake --build $out-mingw
}

step_format()
{
    must "formatting" format sh -c "find src include tests tools examples -name '*.[ch]' -print0 |
        xargs -0 clang-format --dry-run -Werror"
}

step_arrows()
{
    must "arrows point down" arrows sh tools/check_arrows.sh
    must "every source file that is named is there" citations sh tools/check_citations.sh
}

# The rooms that read what others wrote.
step_tidy()
{
    command -v clang-tidy > /dev/null || { skip "no clang-tidy"; return; }
    must "clang-tidy: every C file but the planted defects" tidy python3 tools/tidy.py $out
}

start=$(date +%s)
for step in ${*:-$STEPS}; do
    case " $STEPS " in *" $step "*) ;; *) echo "check: no step '$step'; there are: $STEPS" >&2; exit 2 ;; esac
    printf '\n%s\n' "$step"
    before="$passed $failed $skipped"
    step_start=$(date +%s)
    step_$step
    seconds=$(($(date +%s) - step_start))
    echo "$before $passed $failed $skipped $seconds $step" |
        awk '{printf "  %-11s %4d passed, %3d failed, %3d skipped, %5d s\n", $8, $4 - $1, $5 - $2, $6 - $3, $7}' >> $summary
done
printf '\nSummary (%d s)\n' $(($(date +%s) - start))
cat $summary
echo
tail_words=
[ $skipped = 0 ] || tail_words=", $skipped skipped"
if [ $passed = 0 ]; then
    echo "nothing passed: that is a failure"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed$tail_words"
[ $failed = 0 ]
