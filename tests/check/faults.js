/* faults.js — what breaks while everybody publishes and reads.
 * Each fault is a function of the world: it breaks something once, mends it,
 * and returns when it is mended. run.js repeats it, `every` ms. */
'use strict';

const { pause } = require('../e2e/kit/wait');

async function killGateway({ nodes, random }) {
    const gw = nodes[random.below(nodes.length)];
    gw.isDown = true;
    await gw.kill();
    await pause(200 + random.below(1800));
    await gw.restart();
    gw.isDown = false;
}

async function killServer({ server, random }) {
    await server.kill();
    await pause(200 + random.below(1300));
    await server.restart();
}

async function freezeServer({ server }) {
    server.proc.child.kill('SIGSTOP');
    try {
        await pause(7000);
    } finally {
        server.proc.child.kill('SIGCONT');
    }
}

async function dropReader({ readers, random }) {
    const reader = readers[random.below(readers.length)];
    reader.drop(random.below(1500), random.below(2) === 0);
}

async function slowReader({ readers, random }) {
    readers[random.below(readers.length)].pause(1000 + random.below(4000));
}

const FAULTS = {
    killGateway: { act: killGateway, every: 2500 },
    killServer: { act: killServer, every: 4000 },
    freezeServer: { act: freezeServer, every: 3000 },
    dropReader: { act: dropReader, every: 120 },
    slowReader: { act: slowReader, every: 250 },
};

module.exports = { FAULTS };
