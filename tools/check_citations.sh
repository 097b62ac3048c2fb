#!/bin/sh
# A source file that a comment, a shell script or a document names must be there. Prints each name that no file of the tree
# bears. A name in capitals (NAME.c, test_NAME.c) stands for any.
#   sh tools/check_citations.sh
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What belongs to the tree; without git, all that lies in it.
git ls-files --cached --others --exclude-standard > "$work/all" 2> /dev/null ||
    find . \( -name .git -o -name build \) -prune -o -type f -print > "$work/all"
while IFS= read -r file; do
    [ ! -f "$file" ] || printf './%s\n' "${file#./}"
done < "$work/all" > "$work/tree"
{
    cat "$work/tree"
    # Files that the build generates.
    grep -hoE '[a-z_]+\.[ch]\b' src/device/CMakeLists.txt tools/generate_kernels.py | sed 's|^|./generated/device/|'
    # Files of others that comments cite.
    printf './%s\n' cblas.h cl_ext.h pack_quantized.py
} > "$work/names"

# check MARK PATTERN: the files whose name matches the pattern; of each line what stands behind the mark of a comment, with
# an empty mark the whole line.
check()
{
    grep -E "$2" "$work/tree" | sort | tr '\n' '\0' | xargs -0 awk -v mark="$1" -v names="$work/names" '
        BEGIN {
            while ((getline path < names) > 0) # every end of a path: "buffer.c", "vulkan/buffer.c", ...
                for (; (at = index(path, "/")) > 0; known[path] = 1)
                    path = substr(path, at + 1)
        }
        (begin = mark == "" ? 1 : index($0, mark)) > 0 {
            text = substr($0, begin)
            while (match(text, /[A-Za-z0-9_][A-Za-z0-9_.\/-]*\.(c|h|cl|comp|glsl|def|sh|py)/)) {
                name = base = substr(text, RSTART, RLENGTH)
                before = RSTART > 1 ? substr(text, RSTART - 1, 1) : ""
                text = substr(text, RSTART + RLENGTH)
                sub(/.*\//, "", base)
                # A longer word; a pattern, a variable or a path of the system; any name.
                if (text ~ /^[A-Za-z0-9_]/ || before ~ /[*.$}>\/]/ || base ~ /(^|_)[A-Z]+\./)
                    continue
                if (!(name in known)) {
                    print FILENAME ":" FNR ": " name " is not in the tree"
                    bad = 1
                }
            }
        }
        END { exit bad }'
}
bad=0
check '//' '\.(c|h|cl|comp|glsl|def)$' || bad=1
check '#' '(CMakeLists\.txt|\.cmake|\.py)$' || bad=1
check '' '\.(sh|md|1)$' || bad=1
[ $bad = 0 ] && echo "citations: every source file that is named is there"
exit $bad
