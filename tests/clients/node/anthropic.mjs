// The calls of Anthropic's SDK for Node, each with what it gave.

import Anthropic from "@anthropic-ai/sdk";

import { all, serve } from "./calls.mjs";

const asked = [{ role: "user", content: "one two" }];
const schema = { type: "object", properties: { text: { type: "string" } } };
const tools = [{ name: "say", description: "says", input_schema: schema }];
const thinking = { type: "enabled", budget_tokens: 1024 };
const common = { model: "echo-1", messages: asked, max_tokens: 1500 };

const connect = ({ url, key }) => new Anthropic({ baseURL: url, apiKey: key });
const create = (to, options) => connect(to).messages.create({ ...common, ...options });
const figures = ({ input_tokens: input, output_tokens: output }) => ({ input, output });

const calls = {
  async message(to) {
    const { data, response } = await create(to).withResponse();
    const { headers } = response;
    const cost = headers.get("x-turnpike-cost-usd");
    const named = headers.get("x-turnpike-request-id").startsWith("req_");
    const said = data.content[0].text;
    return { said, stop: data.stop_reason, ...figures(data.usage), cost, named };
  },
  async bearer({ url, key }) {
    const client = new Anthropic({ baseURL: `${url}/anthropic`, authToken: key, apiKey: null });
    return (await client.messages.create(common)).content[0].text;
  },
  async stream(to) {
    return (await all(await create(to, { stream: true }))).map((event) => event.type);
  },
  async helper(to) {
    const { content, usage } = await connect(to).messages.stream(common).finalMessage();
    return { said: content[0].text, ...figures(usage) };
  },
  async tool(to) {
    const { content, stop_reason: stop } = await create(to, { model: "tool", tools });
    return { name: content[0].name, input: content[0].input, stop };
  },
  async tool_in_a_stream(to) {
    const stream = connect(to).messages.stream({ ...common, model: "tool", tools });
    return (await stream.finalMessage()).content[0].input;
  },
  async thinking(to) {
    const { content, usage } = await create(to, { model: "thinking", thinking });
    return [content[0].thinking, content[0].signature, content[1].text, usage.output_tokens];
  },
  async thinking_in_a_stream(to) {
    const stream = connect(to).messages.stream({ ...common, model: "thinking", thinking });
    const { content, usage } = await stream.finalMessage();
    return [content[0].thinking, content[0].signature, content[1].text, usage.output_tokens];
  },
  async count_tokens(to) {
    const { model, messages } = common;
    return (await connect(to).messages.countTokens({ model, messages })).input_tokens;
  },
  async models(to) {
    const names = (await all(connect(to).models.list())).map((each) => each.id);
    return { lists: names.includes("echo-1"), id: (await connect(to).models.retrieve("echo-1")).id };
  },
  async broken({ model, ...to }) {
    return all(await create(to, { model, stream: true }));
  },
  async provoke({ model, how, tokens, bytes, ...to }) {
    const client = connect(to);
    if (how === "nowhere") return client.messages.batches.list();
    if (how === "invalid") return client.post("/v1/messages", { body: { messages: asked } });
    const messages = how === "large" ? [{ role: "user", content: "x".repeat(bytes) }] : asked;
    return client.messages.create({ model, messages, max_tokens: tokens });
  },
};

await serve(calls, ({ status, errorCode, type, apiMessage, details, requestID, headers }) => ({
  status,
  code: errorCode,
  type,
  message: apiMessage,
  metadata: details?.metadata,
  request: requestID,
  headers: Object.fromEntries(headers ?? []),
}));
