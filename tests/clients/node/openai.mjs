// The calls of OpenAI's SDK for Node, each with what it gave.

import OpenAI, { toFile } from "openai";

import { all, serve } from "./calls.mjs";

const asked = [{ role: "user", content: "one two" }];
const parameters = { type: "object", properties: { text: { type: "string" } } };
const chatTools = [{ type: "function", function: { name: "say", parameters } }];
const responseTools = [{ type: "function", name: "say", parameters, strict: false }];
const model = "echo-1";

const connect = ({ url, key }) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const create = (to, options) =>
  connect(to).chat.completions.create({ model, messages: asked, ...options });
const content = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
const called = ({ function: { name, arguments: given } }) => [name, given];

const calls = {
  async chat(to) {
    const { data, response } = await create(to).withResponse();
    const [{ message, finish_reason: finish }] = data.choices;
    const { prompt_tokens: input, completion_tokens: output } = data.usage;
    const { headers } = response;
    const cost = headers.get("x-turnpike-cost-usd");
    const named = headers.get("x-turnpike-request-id").startsWith("req_");
    return { said: message.content, finish, input, output, cost, named };
  },
  async stream(to) {
    const chunks = await all(await create(to, { stream: true }));
    return { said: content(chunks), usages: chunks.filter((chunk) => chunk.usage).length };
  },
  async stream_with_usage(to) {
    const options = { stream: true, stream_options: { include_usage: true } };
    const chunks = await all(await create(to, options));
    return { said: content(chunks), total: chunks.at(-1).usage.total_tokens };
  },
  async helper(to) {
    const stream = connect(to).chat.completions.stream({ model, messages: asked });
    return stream.finalContent();
  },
  async tool(to) {
    const { choices } = await create(to, { model: "tool", tools: chatTools });
    return called(choices[0].message.tool_calls[0]);
  },
  async tool_in_a_stream(to) {
    const options = { model: "tool", messages: asked, tools: chatTools };
    const { choices } = await connect(to).chat.completions.stream(options).finalChatCompletion();
    return [...called(choices[0].message.tool_calls[0]), choices[0].finish_reason];
  },
  async completions(to) {
    const { choices } = await connect(to).completions.create({ model, prompt: ["a b", "c"] });
    return choices.map((choice) => choice.text);
  },
  async responses(to) {
    const answer = await connect(to).responses.create({ model, input: "one two" });
    return { said: answer.output_text, output: answer.usage.output_tokens };
  },
  async responses_in_a_stream(to) {
    const stream = connect(to).responses.stream({ model, input: "one two" });
    const kinds = (await all(stream)).map((event) => event.type);
    const { output_text: said } = await stream.finalResponse();
    return { first: kinds[0], last: kinds.at(-1), said };
  },
  async responses_call_a_tool(to) {
    const options = { model: "tool", input: "one two", tools: responseTools };
    const { output } = await connect(to).responses.create(options);
    return [output[0].name, output[0].arguments];
  },
  async embeddings(to) {
    // The SDK asks for base64 of its own accord, and unpacks it.
    const { embeddings } = connect(to);
    const options = { model, input: ["a b", "c"], dimensions: 8 };
    const usual = await embeddings.create(options);
    const floats = await embeddings.create({ ...options, encoding_format: "float" });
    const same = (each, index) => `${each.embedding}` === `${floats.data[index].embedding}`;
    return { input: usual.usage.prompt_tokens, same: usual.data.map(same) };
  },
  async images(to) {
    const { data } = await connect(to).images.generate({ model, prompt: "a red fox", n: 2 });
    return data.map((image) => Buffer.from(image.b64_json, "base64").toString("latin1", 1, 4));
  },
  async speech(to) {
    const options = { model, input: "say it", voice: "alloy" };
    const spoken = Buffer.from(await (await connect(to).audio.speech.create(options)).arrayBuffer());
    return { begin: spoken.toString("latin1", 0, 4), bytes: spoken.length };
  },
  async transcription(to) {
    const file = await toFile(Buffer.from("RIFF\0\r\n--"), "a.wav", { type: "audio/wav" });
    return (await connect(to).audio.transcriptions.create({ model, file, prompt: "one two" })).text;
  },
  async moderations(to) {
    const answer = await connect(to).moderations.create({ model, input: ["one", "two three"] });
    return answer.results.map((result) => result.flagged);
  },
  async models(to) {
    const names = (await all(connect(to).models.list())).map((each) => each.id);
    const { id } = await connect(to).models.retrieve(model);
    return { lists: names.includes(model), id };
  },
  async broken({ model, ...to }) {
    return all(await create(to, { model, stream: true }));
  },
  async broken_response({ model, ...to }) {
    const { responses } = connect(to);
    return all(await responses.create({ model, input: "one two", stream: true }));
  },
  async provoke({ model, how, tokens, bytes, ...to }) {
    const client = connect(to);
    if (how === "nowhere") return client.post("/nowhere", { body: {} });
    if (how === "invalid") return client.post("/chat/completions", { body: { messages: asked } });
    const messages = how === "large" ? [{ role: "user", content: "x".repeat(bytes) }] : asked;
    const options = { model, messages, max_completion_tokens: tokens };
    return client.chat.completions.create(options);
  },
};

await serve(calls, ({ status, code, error, headers, requestID }) => ({
  status,
  code,
  request: requestID,
  message: error?.message,
  metadata: error?.metadata,
  headers: Object.fromEntries(headers ?? []),
}));
