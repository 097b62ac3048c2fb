#!/bin/sh
# Arrows go down only: a folder of src/ may include only what lies below it. Prints each include that points up, and each
# name of a C file that is there twice outside the backends (host/, opencl/ and vulkan/ have the same names on purpose).
#   sh tools/check_arrows.sh
set -eu
cd "$(dirname "$0")/.."

# Each room, and the rooms that it may include besides itself.
below()
{
    case $1 in
    base) ;;
    device) echo base ;;
    formats) echo base ;;
    ops) echo base device ;;
    text) echo base formats ;;
    quant) echo base device ops ;;
    store) echo base device formats ops quant ;;
    model) echo base device formats ops quant store ;;
    arguments) echo base formats ;;
    infer) echo base device formats ops text quant store model ;;
    report) echo base formats ;;
    bench) echo base device ops quant ;;
    schedule) echo base device formats ops text quant store model arguments infer report ;;
    cli) echo base device formats ops text quant store model arguments infer bench report schedule ;;
    *) echo "check_arrows: room $1 has no line here" >&2; return 1 ;;
    esac
}

bad=0
for room in $(ls src); do
    [ -d "src/$room" ] || continue
    allowed=" $room $(below "$room") " || bad=1
    found=$(grep -rnoE --include='*.[ch]' '#include "[a-z_]+/' "src/$room" || true)
    [ -n "$found" ] || continue
    while IFS= read -r line; do
        target=${line##*\"}
        target=${target%/}
        case $allowed in *" $target "*) continue ;; esac
        [ -d "src/$target" ] || continue # a folder of its own, such as generated files'
        echo "$line: $room may not include $target"
        bad=1
    done <<END
$found
END
done
twice=$(find src -name '*.c' ! -path '*/host/*' ! -path '*/opencl/*' ! -path '*/vulkan/*' | sed 's|.*/||' | sort | uniq -d)
for name in $twice; do
    find src -name "$name" ! -path '*/host/*' ! -path '*/opencl/*' ! -path '*/vulkan/*'
    echo "$name: expected one file of this name"
    bad=1
done
[ $bad = 0 ] && echo "arrows: all point down"
exit $bad
