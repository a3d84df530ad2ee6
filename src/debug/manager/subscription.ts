/** The events of a manager, as containerd's own event service tells them, over gRPC. */

import { Client, credentials } from "@grpc/grpc-js";
import { SubscribeRequest } from "../../gen/containerd/services/events/v1/events.ts";
import { Envelope } from "../../gen/containerd/types/event.ts";

const METHOD = "/containerd.services.events.v1.Events/Subscribe";

/**
 * Every event from now on that one of `filters` holds for; all without one. `filters` are containerd's:
 * `topic=="/tasks/exit"`, `namespace==k8s.io`. Ends when `signal` is aborted; throws the service's error
 * when the connection breaks.
 */
export async function* subscribe(
  address: string,
  filters: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<Envelope> {
  const client = new Client(`unix://${address}`, credentials.createInsecure());
  const stream = client.makeServerStreamRequest(
    METHOD,
    (request: SubscribeRequest) => Buffer.from(SubscribeRequest.encode(request).finish()),
    (bytes) => Envelope.decode(bytes),
    { filters: [...filters] },
  );
  const cancel = () => stream.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    for await (const envelope of stream) yield envelope;
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener("abort", cancel);
    client.close();
  }
}
