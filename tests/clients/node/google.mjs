// The calls of Google's SDK for Node, each with what it gave.

import { GoogleGenAI } from "@google/genai";

import { all, serve } from "./calls.mjs";

const parametersJsonSchema = { type: "object", properties: { text: { type: "string" } } };
const tools = [{ functionDeclarations: [{ name: "say", parametersJsonSchema }] }];
const asked = { model: "echo-1", contents: "one two" };

const connect = ({ url, key }, options) =>
  new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: url, ...options } });
const create = (to, options) => connect(to).models.generateContent({ ...asked, ...options });
const stream = async (to, options) =>
  all(await connect(to).models.generateContentStream({ ...asked, ...options }));
const said = (chunks) => chunks.map((chunk) => chunk.text ?? "").join("");

const calls = {
  async content(to) {
    const { text, usageMetadata: usage, sdkHttpResponse, candidates } = await create(to);
    const { headers } = sdkHttpResponse;
    const cost = headers["x-turnpike-cost-usd"];
    const named = headers["x-turnpike-request-id"].startsWith("req_");
    const [input, output] = [usage.promptTokenCount, usage.candidatesTokenCount];
    return { said: text, finish: candidates[0].finishReason, input, output, cost, named };
  },
  async under_v1beta(to) {
    return (await connect(to, { apiVersion: "v1beta" }).models.generateContent(asked)).text;
  },
  async stream(to) {
    const chunks = await stream(to);
    return { said: said(chunks), total: chunks.at(-1).usageMetadata.totalTokenCount };
  },
  async chat(to) {
    const chat = connect(to).chats.create({ model: "echo-1" });
    await chat.sendMessage({ message: "one two" });
    const { text, usageMetadata } = await chat.sendMessage({ message: "three" });
    return { said: text, input: usageMetadata.promptTokenCount };
  },
  async tool(to) {
    const { functionCalls } = await create(to, { model: "tool", config: { tools } });
    return functionCalls.map(({ name, args }) => ({ name, args }));
  },
  async tool_in_a_stream(to) {
    const chunks = await stream(to, { model: "tool", config: { tools } });
    return chunks.flatMap((chunk) => chunk.functionCalls ?? []).map(({ args }) => args);
  },
  async thoughts(to) {
    const { candidates, usageMetadata: usage } = await create(to, { model: "thinking" });
    const [thought, answer] = candidates[0].content.parts;
    return [thought.thought, thought.text, answer.text, usage.thoughtsTokenCount];
  },
  async count_tokens(to) {
    return (await connect(to).models.countTokens(asked)).totalTokens;
  },
  async embeddings(to) {
    const options = { model: "echo-1", contents: ["a b", "c"], config: { outputDimensionality: 8 } };
    const { embeddings } = await connect(to).models.embedContent(options);
    return embeddings.map((each) => each.values.length);
  },
  async models(to) {
    const names = (await all(await connect(to).models.list())).map((each) => each.name);
    const { name } = await connect(to).models.get({ model: "echo-1" });
    return { lists: names.includes("models/echo-1"), name };
  },
  async asks_for_tries(to) {
    const retryOptions = { attempts: 3 };
    return (await connect(to, { retryOptions }).models.generateContent(asked)).text;
  },
  async broken({ model, ...to }) {
    try {
      return await stream(to, { model });
    } catch (thrown) {
      const told = thrown.message.includes("PROVIDER_ERROR");
      return { kind: thrown.constructor.name, status: thrown.status, told };
    }
  },
  async provoke({ model, how, tokens, bytes, ...to }) {
    const client = connect(to);
    if (how === "nowhere") return client.caches.get({ name: "cachedContents/nowhere" });
    const config = { maxOutputTokens: tokens };
    if (how === "invalid") {
      config.httpOptions = { extraBody: { generationConfig: { maxOutputTokens: "many" } } };
    }
    const contents = how === "large" ? "x".repeat(bytes) : asked.contents;
    return client.models.generateContent({ model, contents, config });
  },
};

// The message of Google's error is the body of the answer; it keeps nothing else.
await serve(calls, ({ status, message }) => ({ status, ...JSON.parse(message) }));
