#!/bin/sh
# The include lint must see every kind of wrong include, and no right one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

# write FILE LINE... - a source file of these lines
write() {
    file=$tree/$1
    shift
    mkdir -p "$(dirname "$file")"
    printf '%s\n' "$@" >"$file"
}

fresh() {
    rm -rf "${tree:?}"/*
    write base/a.h '#include <stdint.h>' '#include <sys/queue.h>'
    write throttle/t.h '#include "base/a.h"'
    write presence/p.h '#include "base/a.h"' '#include <uthash.h>'
    write hub/h.h '#include "presence/p.h"' '#include "throttle/t.h"' \
        '#include <xxhash.h>' '#include <pthread.h>'
    write gateway/server.c '#include "hub/h.h"' '#include <libwebsockets.h>' \
        '#include <uv.h>'
    write gateway/config.c '#include <jansson.h>'
    write gateway/config_keys.c '#include <jansson.h>'
    write gateway/api/api.c '#include <jansson.h>'
    write gateway/transport/ws.c '#include <libwebsockets.h>' \
        '#include <http_parser.h>' '#include "../../base/a.h"'
    write gateway/transport/tls.c '#include <openssl/ssl.h>'
    write gateway/auth/jwt.c '#include <openssl/hmac.h>'
    write gateway/broker/nats.c '#include <nats/nats.h>'
    write gateway/main.c '#include "gateway/protocol/codes.h"'
    write gateway/protocol/codes.h '#include "base/a.h"'
    write loadtest/load.c '#include "loadtest/stats.h"' '#include <sys/epoll.h>'
    write loadtest/stats.h '#include <math.h>'
    write examples/feed.c '#include <stdio.h>' '#include "feed_text.h"'
    write examples/feed_text.h '#include <stdio.h>'
}

# refused FILE INCLUDE - the tree with this one line more is refused there
refused() {
    fresh
    write "$1" '/* a line before */' "#include $2"
    if out=$("$here/includes" "$tree" 2>&1); then
        echo "not refused: $1: #include $2"
        failed=1
    elif ! printf '%s\n' "$out" | grep -q "^$1:2: "; then
        echo "refused, but not at $1:2: $out"
        failed=1
    fi
}

fresh
if ! out=$("$here/includes" "$tree" 2>&1); then
    echo "a right tree was refused: $out"
    failed=1
fi

refused base/bad.c '"hub/h.h"'
refused base/bad.c '<hub/h.h>'
refused base/bad.c '"../hub/h.h"'
refused base/bad.c '"throttle/t.h"'
refused base/bad.c '<uv.h>'
refused throttle/bad.c '"presence/p.h"'
refused presence/bad.c '"throttle/t.h"'
refused presence/bad.c '<jansson.h>'
refused hub/bad.c '"gateway/protocol/codes.h"'
refused hub/bad.c '<uv.h>'
refused hub/bad.c '<libwebsockets.h>'
refused hub/bad.c '<nats/nats.h>'
refused hub/bad.h '"tests/kit/kit.h"'
refused hub/bad.c 'WHATEVER_H'
refused gateway/bad.c '<libwebsockets.h>'
refused gateway/server.h '<libwebsockets.h>'
refused gateway/api/bad.c '<libwebsockets.h>'
refused gateway/transport/bad.c '<nats/nats.h>'
refused gateway/transport/bad.c '<nats.h>'
refused gateway/transport/bad.c '<jansson.h>'
refused gateway/config.h '<jansson.h>'
refused gateway/transport/bad.c '<openssl/ssl.h>'
refused gateway/bad.c '"loadtest/stats.h"'
refused gateway/bad.c '"gateway/main.h"'
refused gateway/bad.c '"gateway/config.c"'
refused loadtest/bad.c '"hub/h.h"'
refused examples/bad.c '"base/a.h"'

# An empty tree is a mistake of the caller, not a clean one.
rm -rf "${tree:?}"/*
if "$here/includes" "$tree" 2>/dev/null; then
    echo "an empty tree was accepted"
    failed=1
fi
exit $failed
