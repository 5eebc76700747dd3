// An MCP server with everything that the conformance suite asks of one, on the official SDK. Its tool
// `announce` says something on the open stream of every session.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import * as types from "@modelcontextprotocol/sdk/types.js";

const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";
const text = (words) => ({ type: "text", text: words });
const image = { type: "image", data: PNG, mimeType: "image/png" };
const resource = (uri, words) => ({ type: "resource", resource: { uri, mimeType: "text/plain", text: words } });
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

const ENUMS = {
  untitledSingle: { type: "string", enum: ["option1", "option2", "option3"] },
  titledSingle: { type: "string", oneOf: [1, 2, 3].map((n) => ({ const: `value${n}`, title: `Option ${n}` })) },
  legacyEnum: { type: "string", enum: ["opt1", "opt2", "opt3"], enumNames: ["One", "Two", "Three"] },
  untitledMulti: { type: "array", items: { type: "string", enum: ["option1", "option2", "option3"] } },
  titledMulti: {
    type: "array",
    items: { anyOf: [1, 2, 3].map((n) => ({ const: `value${n}`, title: `Choice ${n}` })) },
  },
};
const DEFAULTS = {
  name: { type: "string", default: "John Doe" },
  age: { type: "integer", default: 30 },
  score: { type: "number", default: 95.5 },
  status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
  verified: { type: "boolean", default: true },
};
const SCHEMA_2020 = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  $defs: { address: { type: "object", properties: { street: { type: "string" }, city: { type: "string" } } } },
  properties: { name: { type: "string" }, address: { $ref: "#/$defs/address" } },
  additionalProperties: false,
};

// By name: what a tool does with its arguments and what surrounds the call.
const TOOLS = {
  test_simple_text: () => [text("This is a simple text response for testing.")],
  test_image_content: () => [image],
  test_audio_content: () => [{ type: "audio", data: WAV, mimeType: "audio/wav" }],
  test_embedded_resource: () => [resource("test://embedded-resource", "This is an embedded resource content.")],
  test_multiple_content_types: () => [
    text("Multiple content types test:"),
    image,
    resource("test://mixed-content-resource", '{"test":"data","value":123}'),
  ],
  test_tool_with_logging: async (_, { notify }) => {
    for (const data of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
      await notify("notifications/message", { level: "info", data });
      await wait(50);
    }
    return [text("logged")];
  },
  test_tool_with_progress: async (_, { notify, token }) => {
    for (const progress of [0, 50, 100]) {
      if (token !== undefined) {
        await notify("notifications/progress", { progressToken: token, progress, total: 100 });
      }
      await wait(50);
    }
    return [text(`progress of ${token}`)];
  },
  test_error_handling: () => {
    throw new Error("This tool intentionally returns an error for testing");
  },
  test_sampling: async ({ prompt }, { ask }) => {
    const messages = [{ role: "user", content: text(prompt) }];
    const params = { messages, maxTokens: 100 };
    const answer = await ask("sampling/createMessage", params, types.CreateMessageResultSchema);
    return [text(`LLM response: ${answer.content.text}`)];
  },
  test_elicitation: (input, call) => elicit(call, input.message, { response: { type: "string" } }),
  test_elicitation_sep1034_defaults: (_, call) => elicit(call, "Please confirm", DEFAULTS),
  test_elicitation_sep1330_enums: (_, call) => elicit(call, "Please choose", ENUMS),
  test_reconnection: async (_, { extra }) => {
    extra.closeSSEStream?.();
    await wait(100);
    return [text("Reconnection test completed")];
  },
  json_schema_2020_12_tool: () => [text("fine")],
  announce: async () => {
    const told = { jsonrpc: "2.0", method: "notifications/tools/list_changed" };
    await Promise.all([...sessions.values()].map((each) => each.send(told)));
    return [text(`${sessions.size}`)];
  },
};
const WITH_ARGUMENTS = { test_sampling: ["prompt"], test_elicitation: ["message"] };

async function elicit({ ask }, message, properties) {
  const params = { mode: "form", message, requestedSchema: { type: "object", properties, required: [] } };
  const answer = await ask("elicitation/create", params, types.ElicitResultSchema);
  return [text(`Elicitation completed: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`)];
}

const PROMPTS = {
  test_simple_prompt: () => [text("This is a simple prompt for testing.")],
  test_prompt_with_arguments: (given) => [
    text(`Prompt with arguments: arg1='${given.arg1}', arg2='${given.arg2}'`),
  ],
  test_prompt_with_embedded_resource: (given) => [
    resource(given.resourceUri, "Embedded resource content for testing."),
    text("Please process the embedded resource above."),
  ],
  test_prompt_with_image: () => [image, text("Please analyze the image above.")],
};
const PROMPT_ARGUMENTS = {
  test_prompt_with_arguments: ["arg1", "arg2"],
  test_prompt_with_embedded_resource: ["resourceUri"],
};

function read(uri) {
  const found = uri.match(/^test:\/\/template\/(.*)\/data$/);
  if (found) {
    const data = { id: found[1], templateTest: true, data: `Data for ID: ${found[1]}` };
    return { uri, mimeType: "application/json", text: JSON.stringify(data) };
  }
  if (uri === "test://static-binary") return { uri, mimeType: "image/png", blob: PNG };
  return { uri, mimeType: "text/plain", text: "This is the content of the static text resource." };
}

function made() {
  const capabilities = {
    tools: {}, prompts: {}, resources: { subscribe: true }, logging: {}, completions: {},
  };
  const server = new Server({ name: "everything", version: "1" }, { capabilities });
  const on = (schema, handler) => server.setRequestHandler(schema, handler);
  on(types.ListToolsRequestSchema, () => ({
    tools: Object.keys(TOOLS).map((name) => {
      const given = WITH_ARGUMENTS[name] ?? [];
      const properties = Object.fromEntries(given.map((one) => [one, { type: "string" }]));
      const inputSchema =
        name === "json_schema_2020_12_tool" ? SCHEMA_2020 : { type: "object", properties, required: given };
      return { name, description: `Does what ${name} says`, inputSchema };
    }),
  }));
  on(types.CallToolRequestSchema, async ({ params }, extra) => {
    const call = {
      extra,
      token: params._meta?.progressToken,
      notify: (method, told) => extra.sendNotification({ method, params: told }),
      ask: (method, asked, schema) => extra.sendRequest({ method, params: asked }, schema),
    };
    try {
      return { content: await TOOLS[params.name](params.arguments ?? {}, call) };
    } catch (error) {
      return { content: [text(error.message)], isError: true };
    }
  });
  on(types.ListPromptsRequestSchema, () => ({
    prompts: Object.keys(PROMPTS).map((name) => ({
      name,
      description: `The prompt ${name}`,
      arguments: (PROMPT_ARGUMENTS[name] ?? []).map((one) => ({ name: one, required: true })),
    })),
  }));
  on(types.GetPromptRequestSchema, ({ params }) => ({
    messages: PROMPTS[params.name](params.arguments ?? {}).map((content) => ({ role: "user", content })),
  }));
  on(types.ListResourcesRequestSchema, () => ({
    resources: ["static-text", "static-binary"].map((name) => ({ uri: `test://${name}`, name, description: name })),
  }));
  on(types.ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: [{ uriTemplate: "test://template/{id}/data", name: "template", description: "data" }],
  }));
  on(types.ReadResourceRequestSchema, ({ params }) => ({ contents: [read(params.uri)] }));
  on(types.SubscribeRequestSchema, () => ({}));
  on(types.UnsubscribeRequestSchema, () => ({}));
  on(types.SetLevelRequestSchema, () => ({}));
  on(types.CompleteRequestSchema, () => ({ completion: { values: [], total: 0, hasMore: false } }));
  return server;
}

// Events of all streams, so that a client can come back for what it missed.
class Events {
  kept = [];
  async storeEvent(stream, message) {
    this.kept.push({ stream, message });
    return `${this.kept.length}`;
  }
  async getStreamIdForEventId(id) {
    return this.kept[Number(id) - 1]?.stream;
  }
  async replayEventsAfter(last, { send }) {
    const stream = this.kept[Number(last) - 1]?.stream;
    for (const [place, event] of this.kept.entries()) {
      if (place >= Number(last) && event.stream === stream && Object.keys(event.message).length) {
        await send(`${place + 1}`, event.message);
      }
    }
    return stream;
  }
}

const sessions = new Map();

async function transport(request, response) {
  const name = request.headers["mcp-session-id"];
  if (name) {
    const known = sessions.get(name);
    if (!known) response.writeHead(404).end();
    return known;
  }
  const opened = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => sessions.set(id, opened),
    onsessionclosed: (id) => sessions.delete(id),
    eventStore: new Events(),
    retryInterval: 100,
  });
  await made().connect(opened);
  return opened;
}

const listener = createServer(async (request, response) => {
  const found = await transport(request, response);
  await found?.handleRequest(request, response);
});
listener.listen(0, "127.0.0.1", () => console.log(listener.address().port));
