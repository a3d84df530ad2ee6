/** `shim events`: what managers tell of tasks, of all namespaces. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { messageOf } from "../../base/error.ts";
import type { Envelope } from "../../gen/containerd/types/event.ts";
import { requireDuration } from "../duration.ts";
import { findShims, managersOf } from "../host/shims.ts";
import type { Style } from "../output/style.ts";
import { EXIT_UNREACHABLE, Refusal } from "../refusal.ts";
import { toDate } from "../timestamp.ts";
import { type Context, newVerb } from "../verb.ts";
import { MessageJson } from "../wire/message-json.ts";

const USUAL_ADDRESS = "/run/containerd/containerd.sock";

const TEXT = {
  summary: "follow managers' events, in all namespaces",
  description: `Follows the events that containerd passes to its clients, in all namespaces, until Ctrl-C.

Managers are found by the shims that they have started; if there are none, the default containerd is used.
What a shim has published and its manager has not taken yet is shown by shim inspect and shim trace only.`,
  examples: [
    { line: "shim events", what: "everything" },
    { line: "shim events -n k8s.io --topic /tasks/exit", what: "exits of one namespace" },
    { line: `shim events --filter 'topic~="/tasks/.*"' --json`, what: "containerd's own filters" },
  ],
};

interface EventsOptions {
  readonly address?: string | undefined;
  readonly namespace?: string | undefined;
  readonly topic?: string | undefined;
  readonly filter: readonly string[];
  readonly duration?: number | undefined;
  readonly json?: true | undefined;
}

export function events(context: Context): CommandUnknownOpts {
  return newVerb("events", TEXT)
    .option("--address <socket>", "gRPC address of one manager")
    .option("-n, --namespace <name>", "only this namespace")
    .option("--topic <topic>", "only this topic, or below it")
    .option("--filter <filter>", "a containerd filter; several are alternatives", collect, [])
    .option("-d, --duration <time>", "end after this: 500ms, 10s, 2m", requireDuration)
    .option("--json", "one JSON object per line instead of text")
    .action((options: EventsOptions) => followEvents(options, context));
}

function collect(value: string, list: readonly string[]): readonly string[] {
  return [...list, value];
}

async function followEvents(options: EventsOptions, { output }: Context): Promise<void> {
  const messages = new MessageJson();
  const found = options.address === undefined ? managersOf(findShims()) : [options.address];
  const addresses = found.length === 0 ? [USUAL_ADDRESS] : found;
  const stop = new AbortController();
  const end = () => stop.abort();
  process.on("SIGINT", end).on("SIGTERM", end);
  const timer = options.duration === undefined ? undefined : setTimeout(end, options.duration);
  const show = (envelope: Envelope) => {
    if (!isMeant(envelope, options)) return;
    const { typeUrl = "", value = new Uint8Array(0) } = envelope.event ?? {};
    const { "@type": type, ...fields } = messages.decodeAny(typeUrl, value);
    const { namespace, topic } = envelope;
    const at = (toDate(envelope.timestamp) ?? new Date()).toISOString();
    if (options.json) {
      output.print(`${JSON.stringify({ at, namespace, topic, type, event: fields })}\n`);
    } else output.print(formatEvent(at, namespace, topic, JSON.stringify(fields), output.style));
  };
  try {
    await Promise.all(addresses.map((address) => followOne(address, options.filter, stop, show)));
  } finally {
    stop.abort();
    clearTimeout(timer);
    process.off("SIGINT", end).off("SIGTERM", end);
  }
}

async function followOne(
  address: string,
  filters: readonly string[],
  stop: AbortController,
  show: (envelope: Envelope) => void,
): Promise<void> {
  const { subscribe } = await import("../manager/subscription.ts");
  try {
    for await (const envelope of subscribe(address, filters, stop.signal)) show(envelope);
  } catch (cause) {
    throw new Refusal(
      EXIT_UNREACHABLE,
      `Cannot follow the events of ${address}: ${messageOf(cause)}; is containerd running there? --address names another`,
      { cause },
    );
  }
}

/** The manager does not filter by prefix, and its filters of one flag are not joined with those of another. */
function isMeant({ namespace, topic }: Envelope, options: EventsOptions): boolean {
  if (options.namespace !== undefined && namespace !== options.namespace) return false;
  const { topic: wanted } = options;
  return wanted === undefined || topic === wanted || topic.startsWith(`${wanted}/`);
}

function formatEvent(
  at: string,
  namespace: string,
  topic: string,
  fields: string,
  style: Style,
): string {
  return `${style.faint(at)} ${namespace} ${style.heading(topic)} ${fields}\n`;
}
