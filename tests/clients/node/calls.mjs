// Reads calls from standard input, one JSON object a line, and answers each with one line.

import { createInterface } from "node:readline";

/** Serves `calls`, functions by name, until standard input ends. `told` describes what is thrown. */
export async function serve(calls, told) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { call, ...options } = JSON.parse(line);
    let answer;
    try {
      answer = await calls[call](options);
    } catch (thrown) {
      answer = { thrown: { kind: thrown?.constructor?.name, text: `${thrown}`, ...told(thrown) } };
    }
    process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
  }
}
