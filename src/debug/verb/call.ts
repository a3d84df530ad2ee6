/** `shim call`: any method of the known services, JSON in and JSON out. */

import type { DescMethod, JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { messageOf } from "../../base/error.ts";
import { addressScheme } from "../../bundle/address.ts";
import { callFailure, connectAddress, connectShim, type ShimConnection } from "../connection.ts";
import { requireDuration } from "../duration.ts";
import { findShims } from "../host/shims.ts";
import { findTarget } from "../host/target.ts";
import { toJson } from "../output/output.ts";
import { usageError } from "../refusal.ts";
import { type Context, newVerb } from "../verb.ts";
import { MessageJson } from "../wire/message-json.ts";

const TASK_SERVICE = /^containerd\.task\.v[23]\.Task$/;
/** For a call without --timeout: longer than any of a shim's own deadlines. */
const USUAL_TIMEOUT_MS = 3_600_000;

const TEXT = {
  summary: "call any method of a shim, JSON in and JSON out",
  description: `Calls any method of the services that wedge knows, with a request in JSON, and prints the answer.

A method is named Service/Method, or by its own name where that is unambiguous: State, Task/State,
containerd.task.v3.Task/State. Field names are lowerCamelCase, bytes are base64, and a field of any type
is an object with "@type". The field "id" defaults to the container's. "-" reads
the request from stdin.`,
  examples: [
    { line: "shim call web State", what: "of a container" },
    { line: `shim call web Kill '{"signal": 15}'`, what: "with fields" },
    { line: "shim call unix:///run/containerd/s/x Connect", what: "any shim's socket" },
    { line: "shim call web --list", what: "services, methods and their fields" },
  ],
};

interface Request {
  readonly method: string | undefined;
  readonly json: string | undefined;
}

export function call(context: Context): CommandUnknownOpts {
  return newVerb("call", TEXT)
    .argument("<container>", "see shim help names; or the address of any shim, unix://PATH")
    .argument("[method]", "Service/Method")
    .argument("[request]", "JSON, or - for stdin")
    .option("-n, --namespace <name>", "only in this namespace")
    .option(
      "--timeout <time>",
      "give up after this: 500ms, 10s, 2m",
      requireDuration,
      USUAL_TIMEOUT_MS,
    )
    .option("--list", "list what can be called, and call nothing")
    .action(async (word, method, json, { namespace, timeout, list }) => {
      const { output } = context;
      const messages = new MessageJson();
      const { connection, id } = await connect(word, namespace);
      using shim = connection;
      if (list) return output.print(listMethods(messages, shim.taskVersion));
      const answer = await makeCall(shim, messages, { method, json }, id, {
        timeoutMs: timeout,
      });
      output.print(`${toJson(answer)}\n`);
    });
}

async function connect(
  word: string,
  namespace: string | undefined,
): Promise<{ readonly connection: ShimConnection; readonly id: string }> {
  // An address may be of a shim that cannot be found here.
  if (word.startsWith(addressScheme)) {
    return { connection: await connectAddress(word.slice(addressScheme.length), ""), id: "" };
  }
  const { shim, id } = findTarget(findShims(), word, { namespace });
  return { connection: await connectShim(shim), id };
}

async function makeCall(
  shim: ShimConnection,
  messages: MessageJson,
  { method: word, json }: Request,
  id: string,
  options: { readonly timeoutMs: number },
): Promise<JsonValue> {
  if (word === undefined)
    throw usageError("No method; give one, shim call CONTAINER --list lists them");
  const method = choose(messages.findMethods(word), word, shim.taskVersion);
  if (method.methodKind !== "unary") {
    throw usageError(
      `${method.name} answers with a stream, which call does not take; see shim trace`,
    );
  }
  const request = withId(parseRequest(await readRequest(json)), method, id);
  const target = { service: method.parent.typeName, method: method.name };
  try {
    const bytes = messages.encode(method.input, request);
    return messages.decode(method.output, await shim.client.call(target, bytes, options), "all");
  } catch (error) {
    throw callFailure(`${target.service}/${target.method}`, error, options.timeoutMs);
  }
}

/** Of the two versions of the Task API the one that the shim serves. */
function choose(found: readonly DescMethod[], word: string, version: 2 | 3): DescMethod {
  const served = found.filter(({ parent }) => isServed(parent.typeName, version));
  const exact = found.filter(({ parent, name }) => `${parent.typeName}/${name}` === word);
  const [only, other] = exact.length > 0 ? exact : served;
  if (only !== undefined && other === undefined) return only;
  if (only === undefined) {
    throw usageError(`No method ${JSON.stringify(word)}; shim call CONTAINER --list lists them`);
  }
  const names = served.map(({ parent, name }) => `${parent.typeName}/${name}`);
  throw usageError(`${JSON.stringify(word)} may be ${names.join(" or ")}; give one of them`);
}

function isServed(service: string, version: 2 | 3): boolean {
  return !TASK_SERVICE.test(service) || service.includes(`.v${version}.`);
}

async function readRequest(json: string | undefined): Promise<string> {
  return json === "-" ? await Bun.stdin.text() : (json ?? "{}");
}

function parseRequest(text: string): JsonObject {
  try {
    const value: JsonValue = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch (cause) {
    throw usageError(`The request is not JSON: ${messageOf(cause)}`, { cause });
  }
  throw usageError("The request is not a JSON object; give one, for instance {}");
}

function withId(request: JsonObject, { input }: DescMethod, id: string): JsonObject {
  const hasField = input.fields.some(({ name }) => name === "id");
  return hasField && id !== "" && request["id"] === undefined ? { id, ...request } : request;
}

/** Every method with its request's fields, by service; of the Task API the version that is served. */
function listMethods(messages: MessageJson, version: 2 | 3): string {
  const lines = messages.services
    .filter(({ typeName }) => isServed(typeName, version) && !typeName.includes(".events."))
    .flatMap(({ typeName, methods }) => [
      typeName,
      ...methods.map(({ name, input, methodKind }) => {
        const fields = input.fields.map(({ jsonName }) => jsonName).join(", ");
        return `  ${name} {${fields}}${methodKind === "unary" ? "" : " (a stream of answers)"}`;
      }),
    ]);
  return `${lines.join("\n")}\n`;
}
