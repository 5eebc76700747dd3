// An MCP server of the revision 2026-07-28 with everything that the conformance suite asks of one. It
// keeps nothing from one request to the next; the official SDK for Node knows older revisions only.

import { createHmac } from "node:crypto";
import { createServer } from "node:http";

// What the gateway before it speaks: the suite compares what both say.
const VERSIONS = ["2026-07-28", "2025-11-25", "2025-06-18"];
const META = "io.modelcontextprotocol/";
const SERVER = { name: "modern", version: "1" };
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";
const INVALID_PARAMS = -32602;
const text = (words) => ({ type: "text", text: words });
const image = { type: "image", data: PNG, mimeType: "image/png" };
const resource = (uri, words) => ({ type: "resource", resource: { uri, mimeType: "text/plain", text: words } });
const said = (...content) => ({ content });
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

class Refused extends Error {
  constructor(code, message, data, status = 400) {
    super(message);
    Object.assign(this, { code, data, status });
  }
}

// The state of a call that asks back travels with the caller, who cannot change it.
const mark = (body) => createHmac("sha256", "of this run").update(body).digest("base64url");
function seal(state) {
  const body = Buffer.from(JSON.stringify(state)).toString("base64url");
  return `${body}.${mark(body)}`;
}
function open(sealed) {
  const [body, found] = String(sealed).split(".");
  if (found !== mark(body)) throw new Refused(INVALID_PARAMS, "The request's state was changed.");
  return JSON.parse(Buffer.from(body, "base64url"));
}

const NEEDED = { "elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots" };
const roots = { method: "roots/list", params: {} };
function ask(message, name, type = "string") {
  const requestedSchema = { type: "object", properties: { [name]: { type } }, required: [name] };
  return { method: "elicitation/create", params: { mode: "form", message, requestedSchema } };
}
function sample(words) {
  const messages = [{ role: "user", content: text(words) }];
  return { method: "sampling/createMessage", params: { messages, maxTokens: 50 } };
}
const lacking = (names) => {
  const requiredCapabilities = Object.fromEntries(names.map((name) => [name, {}]));
  return new Refused(-32021, "The client has not declared what this needs.", { requiredCapabilities });
};

// What has yet to be answered of `wanted`; `null`: nothing. What the client cannot answer is not asked.
function open_questions(call, wanted, state) {
  const given = call.params.inputResponses ?? {};
  const missing = Object.entries(wanted).filter(([name]) => typeof given[name] !== "object");
  const possible = missing.filter(([, { method }]) => call.capabilities[NEEDED[method]]);
  if (!missing.length) return null;
  if (!possible.length) throw lacking(missing.map(([, { method }]) => NEEDED[method]));
  const sealed = state === undefined ? {} : { requestState: seal(state) };
  return { resultType: "input_required", inputRequests: Object.fromEntries(possible), ...sealed };
}
const asking = (wanted, answer, state) => (_, call) => {
  if (call.params.requestState !== undefined) open(call.params.requestState);
  return open_questions(call, wanted, state) ?? said(text(answer));
};

// By name: what a tool does with its arguments and what surrounds the call.
const TOOLS = {
  test_simple_text: () => said(text("This is a simple text response for testing.")),
  test_image_content: () => said(image),
  test_audio_content: () => said({ type: "audio", data: WAV, mimeType: "audio/wav" }),
  test_embedded_resource: () => said(resource("test://embedded-resource", "This is an embedded resource content.")),
  test_multiple_content_types: () => {
    const data = resource("test://mixed-content-resource", '{"test":"data","value":123}');
    return said(text("Multiple content types test:"), image, data);
  },
  test_error_handling: () => ({ ...said(text("This tool intentionally returns an error for testing")), isError: true }),
  test_tool_with_progress: async (_, { params, notify }) => {
    const { progressToken } = params._meta;
    for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
      notify("notifications/progress", { progressToken, progress, total: 100 });
      await wait(20);
    }
    return said(text("done"));
  },
  test_logging_tool: (_, { params, notify }) => {
    if (params._meta[`${META}logLevel`]) notify("notifications/message", { level: "info", data: "logged" });
    return said(text("logged"));
  },
  test_missing_capability: (_, { capabilities }) => {
    if (!capabilities.sampling) throw lacking(["sampling"]);
    return said(text("sampled"));
  },
  test_streaming_elicitation: (_, call) =>
    open_questions(call, { go_on: ask("Go on?", "ok", "boolean") }) ?? said(text("went on")),
  test_trigger_tool_change: (_, { tell }) => tell("tools") ?? said(text("told")),
  test_trigger_prompt_change: (_, { tell }) => tell("prompts") ?? said(text("told")),
  test_input_required_result_elicitation: (_, call) => {
    const wanted = { user_name: ask("What is your name?", "name") };
    return open_questions(call, wanted) ?? said(text(`Hello, ${call.params.inputResponses.user_name.content?.name}!`));
  },
  test_input_required_result_sampling: asking({ capital_question: sample("What is the capital of France?") }, "Paris"),
  test_input_required_result_list_roots: (_, call) =>
    open_questions(call, { client_roots: roots }) ??
    said(text(JSON.stringify(call.params.inputResponses.client_roots.roots))),
  test_input_required_result_request_state: asking({ confirm: ask("Please confirm", "ok", "boolean") }, "state-ok", {}),
  test_input_required_result_tampered_state: asking({ confirm: ask("Please confirm", "ok", "boolean") }, "fine", {}),
  test_input_required_result_multiple_inputs: asking(
    { user_name: ask("What is your name?", "name"), greeting: sample("Generate a greeting"), client_roots: roots },
    "all of it",
    {},
  ),
  test_input_required_result_multi_round: (_, call) => {
    const { inputResponses = {}, requestState } = call.params;
    const round = requestState === undefined ? 0 : open(requestState).round;
    if (round < 1 || (round === 1 && !inputResponses.step1)) {
      return open_questions(call, { step1: ask("Step 1: What is your name?", "name") }, { round: 1 });
    }
    const step2 = ask("Step 2: What is your favorite color?", "color");
    return open_questions(call, { step2 }, { round: 2 }) ?? said(text("both"));
  },
  test_input_required_result_capabilities: asking(
    { name: ask("What is your name?", "name"), greeting: sample("Generate a greeting") },
    "what you can",
  ),
};

const PROMPTS = {
  test_simple_prompt: () => [text("This is a simple prompt for testing.")],
  test_prompt_with_arguments: (given) => [text(`Prompt with arguments: arg1='${given.arg1}', arg2='${given.arg2}'`)],
  test_prompt_with_embedded_resource: (given) => [
    resource(given.resourceUri, "Embedded resource content for testing."),
    text("Please process the embedded resource above."),
  ],
  test_prompt_with_image: () => [image, text("Please analyze the image above.")],
  test_input_required_result_prompt: () => [text("with a context")],
};
const PROMPT_ARGUMENTS = {
  test_prompt_with_arguments: ["arg1", "arg2"],
  test_prompt_with_embedded_resource: ["resourceUri"],
};
const RESOURCES = ["test://static-text", "test://static-binary"];

function read(uri) {
  const found = uri.match(/^test:\/\/template\/(.*)\/data$/);
  if (found) {
    const data = { id: found[1], templateTest: true, data: `Data for ID: ${found[1]}` };
    return { uri, mimeType: "application/json", text: JSON.stringify(data) };
  }
  if (!RESOURCES.includes(uri)) throw new Refused(INVALID_PARAMS, "Resource not found", { uri });
  if (uri === RESOURCES[1]) return { uri, mimeType: "image/png", blob: PNG };
  return { uri, mimeType: "text/plain", text: "This is the content of the static text resource." };
}

const CACHED = { ttlMs: 1000, cacheScope: "private" };
const CAPABILITIES = { tools: { listChanged: true }, prompts: { listChanged: true }, resources: {}, completions: {} };
const named = (all, name) => all[name] ?? refuse(INVALID_PARAMS, `There is no ${name}.`);
function refuse(...why) {
  throw new Refused(...why);
}

const METHODS = {
  "server/discover": () => ({ supportedVersions: VERSIONS, capabilities: CAPABILITIES, ...CACHED }),
  "tools/list": () => ({
    tools: Object.keys(TOOLS).map((name) => ({ name, description: name, inputSchema: { type: "object" } })),
    ...CACHED,
  }),
  "tools/call": (call) => named(TOOLS, call.params.name)(call.params.arguments ?? {}, call),
  "prompts/list": () => ({
    prompts: Object.keys(PROMPTS).map((name) => ({
      name,
      description: name,
      arguments: (PROMPT_ARGUMENTS[name] ?? []).map((one) => ({ name: one, required: true })),
    })),
    ...CACHED,
  }),
  "prompts/get": (call) => {
    const { name, arguments: given = {} } = call.params;
    const content = named(PROMPTS, name)(given);
    const wanted = { user_context: ask("What context should the prompt use?", "context") };
    const asked = name === "test_input_required_result_prompt" ? open_questions(call, wanted) : null;
    return asked ?? { messages: content.map((each) => ({ role: "user", content: each })) };
  },
  "resources/list": () => ({ resources: RESOURCES.map((uri) => ({ uri, name: uri.slice(7) })), ...CACHED }),
  "resources/templates/list": () => ({
    resourceTemplates: [{ uriTemplate: "test://template/{id}/data", name: "template" }],
    ...CACHED,
  }),
  "resources/read": ({ params }) => ({ contents: [read(params.uri)], ...CACHED }),
  "completion/complete": () => ({ completion: { values: [], total: 0, hasMore: false } }),
};

// Streams of those who listen, each with what it wants to hear of.
const listening = new Set();
function tell(kind) {
  for (const one of listening) {
    if (one.wanted[`${kind}ListChanged`]) one.notify(`notifications/${kind}/list_changed`, {});
  }
}

function checked(headers, message) {
  const meta = message.params?._meta ?? {};
  const version = meta[`${META}protocolVersion`];
  const capabilities = meta[`${META}clientCapabilities`];
  if (typeof version !== "string" || typeof capabilities !== "object") {
    throw new Refused(INVALID_PARAMS, "The request says too little of itself.");
  }
  if (headers["mcp-protocol-version"] !== version) throw new Refused(-32020, "Header and body differ.");
  if (!VERSIONS.includes(version)) {
    throw new Refused(-32022, "Unsupported", { supported: VERSIONS, requested: version });
  }
  return capabilities;
}

async function answer(request, response, message) {
  const { id, method, params } = message;
  const events = (what) => {
    if (!response.headersSent) response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", ...what })}\n\n`);
  };
  try {
    const capabilities = checked(request.headers, message);
    if (method === "subscriptions/listen") {
      const _meta = { [`${META}subscriptionId`]: id };
      const notify = (name, told) => events({ method: name, params: { ...told, _meta } });
      const wanted = params.notifications ?? {};
      notify("notifications/subscriptions/acknowledged", { notifications: wanted });
      const one = { wanted, notify };
      listening.add(one);
      response.on("close", () => listening.delete(one));
      return;
    }
    const serve = METHODS[method] ?? refuse(-32601, "Method not found", undefined, 404);
    const notify = (name, told) => events({ method: name, params: told });
    const found = await serve({ params, capabilities, notify, tell });
    const result = { resultType: "complete", ...found, _meta: { [`${META}serverInfo`]: SERVER } };
    if (response.headersSent) return response.end(events({ id, result }));
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ jsonrpc: "2.0", id, result }));
  } catch (thrown) {
    const { code = -32603, message: words, data, status = 500 } = thrown;
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify({ jsonrpc: "2.0", id, error: { code, message: words, data } }));
  }
}

const listener = createServer(async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  const message = JSON.parse(body || "{}");
  if (message.id === undefined) return response.writeHead(202).end();
  await answer(request, response, message);
});
listener.listen(0, "127.0.0.1", () => console.log(listener.address().port));
