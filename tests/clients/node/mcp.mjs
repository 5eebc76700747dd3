// Calls to MCP servers with the official SDK.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { serve } from "./calls.mjs";

// Longer than what `calls.mjs` takes for a wait between two tries, which it does not spend.
const patience = { timeout: 200_000 };
let client, transport;

const calls = {
  async connect({ url, secret }) {
    const requestInit = { headers: { authorization: `Bearer ${secret}` } };
    transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
    client = new Client({ name: "test", version: "1" });
    await client.connect(transport, patience);
    return { session: transport.sessionId, version: transport.protocolVersion };
  },
  async tools() {
    return (await client.listTools({}, patience)).tools.map((tool) => tool.name);
  },
  async tool({ tool: name, input }) {
    return (await client.callTool({ name, arguments: input }, undefined, patience)).content;
  },
  async progress({ tool: name }) {
    const seen = [];
    const onprogress = ({ progress }) => seen.push(progress);
    await client.callTool({ name, arguments: {} }, undefined, { onprogress, ...patience });
    return seen;
  },
  async prompts() {
    return (await client.listPrompts({}, patience)).prompts.map((prompt) => prompt.name);
  },
  async resource({ uri }) {
    return (await client.readResource({ uri }, patience)).contents;
  },
  async close() {
    await transport.terminateSession();
    await client.close();
  },
};

await serve(calls, (thrown) => ({ code: thrown.code, data: thrown.data }));
