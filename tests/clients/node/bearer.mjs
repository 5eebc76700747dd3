// Passes requests on to `node bearer.mjs URL SECRET` with the secret as their bearer token.

import { createServer, request as ask } from "node:http";

const [target, secret] = process.argv.slice(2);

const listener = createServer((request, response) => {
  const headers = { ...request.headers, authorization: `Bearer ${secret}` };
  const upward = ask(target, { method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  upward.on("error", () => response.destroy());
  response.on("close", () => upward.destroy());
  request.pipe(upward);
});
listener.listen(0, "127.0.0.1", () => console.log(listener.address().port));
