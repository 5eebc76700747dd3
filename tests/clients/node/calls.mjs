// Reads calls from standard input, one JSON object a line, and answers each with one line.

import { createInterface } from "node:readline";

// Who waits longer guards a request against never being answered.
const LONGEST_WAIT_MS = 120_000;
const waits = [];

/** Lets no SDK wait between two tries: the waits are told instead. */
function spendNoTime() {
  const usual = globalThis.setTimeout;
  globalThis.setTimeout = (done, wait, ...values) => {
    // Node itself keeps its own times, such as those of idle connections.
    const isOfSdk = new Error().stack.includes("node_modules");
    if (!isOfSdk || wait > LONGEST_WAIT_MS) return usual(done, wait, ...values);
    waits.push(wait / 1000);
    return usual(done, 0, ...values);
  };
}

/**
 * Serves `calls`, functions by name, until standard input ends. An answer has the `value` that the
 * function gave or what was `thrown`, described by `told`, and the `waits` in seconds.
 */
export async function serve(calls, told) {
  spendNoTime();
  for await (const line of createInterface({ input: process.stdin })) {
    const { call, ...options } = JSON.parse(line);
    const answer = {};
    try {
      answer.value = await calls[call](options);
    } catch (thrown) {
      answer.thrown = { kind: thrown?.constructor?.name, text: `${thrown}`, ...told(thrown) };
    }
    answer.waits = waits.splice(0);
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

/** The elements of a stream, all of them. */
export async function all(stream) {
  const elements = [];
  for await (const element of stream) elements.push(element);
  return elements;
}
