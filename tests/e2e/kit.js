/* kit.js — everything an end-to-end test needs, under one name.
 * Why:    tests say what they pin; how to start a gateway, speak raw frames
 *         or read metrics stands in kit/.
 * Env:    WEIR_BIN        the gateway to test (default build/weir)
 *         WEIR_TEST_SLOW  multiplies every deadline (sanitizer builds: 5)
 *         NODE_PATH       where `npm ci` put the packages of package.json */
'use strict';

module.exports = {
    ...require('./kit/wait'),
    ...require('./kit/process'),
    ...require('./kit/http'),
    ...require('./kit/raw'),
    ...require('./kit/ws'),
    ...require('./kit/sse'),
    ...require('./kit/nats'),
    ...require('./kit/metrics'),
    ...require('./kit/throttle'),
    ...require('./kit/slow'),
    ...require('./kit/history'),
};
