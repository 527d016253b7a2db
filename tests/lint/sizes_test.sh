#!/bin/sh
# The size lint must see what is too long, and accept what just fits.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

# function NAME LINES - a C function of that many lines
function_of() {
    printf 'static int %s(int x)\n{\n' "$1"
    awk -v n=$(($2 - 4)) 'BEGIN { while (n-- > 0) print "    x += 1;" }'
    printf '    return x;\n}\n'
}

line_of() { awk -v n="$1" -v c="$2" 'BEGIN { while (n-- > 4) s = s c; print "/*" s "*/" }'; }

fresh() {
    rm -rf "${tree:?}"/*
    mkdir -p "$tree/base" "$tree/tests/lint"
    function_of small 5 >"$tree/base/small.c"
}

# expect PASS|REFUSED WHAT [TEXT]
expect() {
    rc=0
    out=$("$here/sizes" "$tree" 2>&1) || rc=$?
    if [ "$1" = PASS ] && [ $rc -ne 0 ]; then
        echo "$2 was refused: $out"
        failed=1
    elif [ "$1" = REFUSED ] && [ $rc -eq 0 ]; then
        echo "$2 was not refused"
        failed=1
    elif [ "$1" = REFUSED ] && ! printf '%s\n' "$out" | grep -qF "$3"; then
        echo "$2 was refused for another reason: $out"
        failed=1
    fi
}

fresh
expect PASS 'a short function'
function_of fits 60 >"$tree/base/f.c"
expect PASS 'a function of 60 lines'
function_of tall 61 >"$tree/base/f.c"
expect REFUSED 'a function of 61 lines' 'base/f.c:1: tall has 61 lines, at most 60'
echo 'base/f.c tall' >"$tree/tests/lint/allow"
expect PASS 'an allowed function of 61 lines'
function_of tall 121 >"$tree/base/f.c"
expect REFUSED 'an allowed function of 121 lines' 'tall has 121 lines, at most 120'
function_of tall 60 >"$tree/base/f.c"
expect REFUSED 'an exception nobody needs' 'needs no exception'
echo 'base/f.c' >"$tree/tests/lint/allow"
expect REFUSED 'a broken exception' 'is not "path function"'

fresh
line_of 100 x >"$tree/base/line.h"
expect PASS 'a line of 100 columns'
line_of 100 … >"$tree/base/line.h"
expect PASS 'a line of 100 characters that are more bytes'
line_of 101 x >"$tree/base/line.h"
expect REFUSED 'a line of 101 columns' 'base/line.h:1: 101 columns'

fresh
awk 'BEGIN { for (i = 0; i < 800; i++) print "" }' >"$tree/base/lines.h"
expect PASS 'a file of 800 lines'
echo >>"$tree/base/lines.h"
expect REFUSED 'a file of 801 lines' 'base/lines.h: 801 lines'

rm -rf "${tree:?}"/*
expect REFUSED 'an empty tree' 'no C source'
exit $failed
