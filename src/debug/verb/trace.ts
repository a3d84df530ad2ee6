/** `shim trace`: what a shim does, live, like strace for the Task API. */

import { writeFileSync } from "node:fs";
import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { hasReason, messageOf } from "../../base/error.ts";
import { TraceDefinition, type TraceRecord } from "../../gen/wedge/trace/v1/trace.ts";
import { createStub } from "../../rpc/ttrpc/stub.ts";
import { connectShim, type ShimConnection } from "../connection.ts";
import { requireDuration } from "../duration.ts";
import { findShims } from "../host/shims.ts";
import { findTarget } from "../host/target.ts";
import { toJson } from "../output/output.ts";
import { EXIT_FAILURE, Refusal } from "../refusal.ts";
import { formatStep } from "../trace/lines.ts";
import { toPerfetto } from "../trace/perfetto.ts";
import { toSvg } from "../trace/picture.ts";
import { type Reader, Story } from "../trace/story.ts";
import { type Context, newVerb } from "../verb.ts";
import { MessageJson } from "../wire/message-json.ts";

const TEXT = {
  summary: "follow what a shim does: calls, runtime processes, events",
  description: `Follows what a wedge shim does, live: each call with its request, answer, duration and status, each
runtime process with its duration, each event. Ends with the shim, with --duration, or with Ctrl-C.

--output writes a file that Perfetto (ui.perfetto.dev) opens as a timeline with one lane per process;
--svg draws a picture of it.`,
  examples: [
    { line: "shim trace web", what: "until Ctrl-C" },
    { line: "shim trace web --duration 30s --output trace.json", what: "a timeline for Perfetto" },
    { line: "shim trace web --svg life.svg", what: "a picture of its life" },
    { line: "shim trace web --json", what: "one record per line, for programs" },
  ],
};

interface TraceOptions {
  readonly namespace?: string | undefined;
  readonly duration?: number | undefined;
  readonly output?: string | undefined;
  readonly svg?: string | undefined;
  readonly json?: true | undefined;
  readonly all?: true | undefined;
}

export function trace(context: Context): CommandUnknownOpts {
  return newVerb("trace", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .option("-a, --all", "everything of its shim, not only of this container")
    .option("-d, --duration <time>", "end after this: 500ms, 10s, 2m", requireDuration)
    .option("-o, --output <file>", "write a timeline for Perfetto at the end")
    .option("--svg <file>", "draw a picture at the end")
    .option("--json", "one JSON object per line instead of text")
    .action(async (word, options: TraceOptions) => {
      const { shim, id } = findTarget(findShims(), word, { namespace: options.namespace });
      using connection = await connectShim(shim);
      const story = new Story(readerOf(new MessageJson()));
      await follow(connection, story, { ...options, id: options.all ? "" : id }, context);
      writeResults(story, id, options);
    });
}

/** Prints step by step until the end. */
async function follow(
  connection: ShimConnection,
  story: Story,
  options: TraceOptions & { readonly id: string },
  { output }: Context,
): Promise<void> {
  const stop = new AbortController();
  const end = () => stop.abort();
  process.on("SIGINT", end).on("SIGTERM", end);
  const timer = options.duration === undefined ? undefined : setTimeout(end, options.duration);
  try {
    const stub = createStub(connection.client, TraceDefinition);
    for await (const record of stub.watch({ id: options.id }, { signal: stop.signal })) {
      const step = story.take(record);
      if (step === undefined) continue;
      if (options.json) output.print(`${JSON.stringify(toPlain(record, step))}\n`);
      else output.print(formatStep(step, output.style));
    }
  } catch (error) {
    if (!isEnd(error, stop.signal)) throw refusalOf(error);
  } finally {
    clearTimeout(timer);
    process.off("SIGINT", end).off("SIGTERM", end);
  }
}

/** A record for programs: its time, and what is reported of it. */
function toPlain(record: TraceRecord, step: NonNullable<ReturnType<Story["take"]>>): object {
  return JSON.parse(toJson({ atUs: record.atUs, ...step }));
}

/** On request, or when the shim has ended: usually with its last container. */
function isEnd(error: unknown, signal: AbortSignal): boolean {
  return signal.aborted || hasReason(error, "unavailable");
}

function refusalOf(error: unknown): Refusal {
  const isOther = hasReason(error, "unimplemented");
  const message = isOther
    ? "Cannot trace this shim: it is not wedge's, or of a version that has no trace; see shim inspect"
    : `Cannot trace: ${messageOf(error)}`;
  return new Refusal(EXIT_FAILURE, message, { cause: error });
}

function writeResults(story: Story, id: string, { output, svg }: TraceOptions): void {
  const nowUs = (performance.timeOrigin + performance.now()) * 1000;
  if (output !== undefined) writeFile(output, toJson(toPerfetto(story, nowUs)));
  if (svg !== undefined) writeFile(svg, toSvg(story, `${id}: what its shim did`, nowUs));
}

function writeFile(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw new Refusal(EXIT_FAILURE, `Cannot write ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** Bytes that cannot be read are shown as their number. */
function readerOf(messages: MessageJson): Reader {
  const read = (bytes: Uint8Array, decode: () => unknown): unknown => {
    try {
      return decode();
    } catch {
      return { bytes: bytes.length };
    }
  };
  const message = (service: string, name: string, side: "input" | "output", bytes: Uint8Array) => {
    const method = messages.method(service, name);
    return method === undefined ? { bytes: bytes.length } : messages.decode(method[side], bytes);
  };
  return {
    request: (service, name, bytes) => read(bytes, () => message(service, name, "input", bytes)),
    response: (service, name, bytes) => read(bytes, () => message(service, name, "output", bytes)),
    event: (typeUrl, value) => {
      const { "@type": _type, ...fields } = messages.decodeAny(typeUrl, value);
      return fields;
    },
  };
}
