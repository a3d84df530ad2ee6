/** Run by Node, bundled: a server and a client over node:net. Prints what the calls gave. */

import { mountService } from "../../../src/rpc/service.ts";
import { connectNet, listenNet } from "../../../src/rpc/ttrpc/net.ts";
import { TtrpcServer } from "../../../src/rpc/ttrpc/server.ts";
import { createStub } from "../../../src/rpc/ttrpc/stub.ts";
import { Chat, ChatDefinition, word } from "./chat-service.ts";

async function* words() {
  yield word("a");
  yield word("b");
}

async function main(path: string): Promise<void> {
  const chat = new Chat();
  const server = new TtrpcServer({ services: [mountService(ChatDefinition, chat)] });
  await listenNet(server, { path });
  const client = await connectNet({ path });
  const call = createStub(client, ChatDefinition);
  const result: Record<string, unknown> = {};
  result["echo"] = (await call.echo(word("x".repeat(1_000_000)))).value.length;
  result["join"] = (await call.join(words())).value;
  const counted: string[] = [];
  for await (const { value } of call.count(word("3"))) counted.push(value);
  result["count"] = counted;
  const talked: string[] = [];
  for await (const { value } of call.talk(words())) talked.push(value);
  result["talk"] = talked;
  const late = call.wait(word("late"), { timeoutMs: 20 });
  result["late"] = await late.catch((error: { reason?: string }) => error.reason);
  await chat.until(() => chat.canceled.length === 1);
  client.close();
  await server.shutdown(1000);
  process.stdout.write(JSON.stringify(result));
}

await main(process.argv[2] ?? "");
