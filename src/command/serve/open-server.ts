/** The server of a shim: the Task API in both versions, the handoff, what a shim tells about itself, and gRPC. */

import type { Logger } from "../../base/log.ts";
import { TaskDefinition as TaskDefinitionV2 } from "../../gen/containerd/task/v2/task.ts";
import { TaskDefinition as TaskDefinitionV3 } from "../../gen/containerd/task/v3/task.ts";
import { HandoffDefinition } from "../../gen/wedge/handoff/v1/handoff.ts";
import type { HandoffService } from "../../handoff/service.ts";
import type { ShimParts } from "../../handoff/snapshot.ts";
import { socketPath } from "../../linux/listener.ts";
import { ownPid } from "../../linux/self.ts";
import type { GrpcServer } from "../../rpc/grpc/server.ts";
import { SharedTransport } from "../../rpc/grpc/shared-transport.ts";
import { type MountedService, mountLazily, mountService } from "../../rpc/service.ts";
import { type Acceptor, TtrpcServer } from "../../rpc/ttrpc/server.ts";
import type { Transport } from "../../rpc/ttrpc/transport.ts";
import type { CallHistory } from "../../runtime/call-history.ts";
import type { InspectSources } from "../../service/inspect.ts";
import type { TraceSources } from "../../service/trace.ts";
import type { Invocation } from "../invocation/invocation.ts";

/** The server, and what takes its connections. */
export function openServer(
  { namespace, id }: Invocation,
  handoff: HandoffService,
  sources: Pick<ShimParts, "service" | "publisher" | "sink" | "listener"> & {
    readonly history: CallHistory;
    readonly log: Logger;
    readonly events: TraceSources["events"];
  },
): { readonly server: TtrpcServer; readonly acceptor: Acceptor } {
  const { service, publisher, history, sink, listener, log, events } = sources;
  const services = [
    mountService(TaskDefinitionV2, service),
    mountService(TaskDefinitionV3, service),
    mountService(HandoffDefinition, handoff),
    ...aboutItself({
      ...{ pid: ownPid(), namespace, id, socket: socketPath(listener) ?? "" },
      ...{ publisher, history, events },
      containers: () => service.containers,
      server: () => server,
      lostLogLines: () => sink.lost,
      descriptors: new Map([
        [2, "log"],
        [listener, "listener"],
      ]),
    }),
  ];
  const server: TtrpcServer = new TtrpcServer({ services, log });
  return { server, acceptor: openToGrpc(server, services, log) };
}

/** What a shim tells about itself to those who ask, and what it does to those who watch; loaded by then. */
function aboutItself(
  sources: Omit<InspectSources, "connections"> & TraceSources,
): readonly MountedService[] {
  const connections = () => sources.server().connections;
  return [
    mountLazily("wedge.inspect.v1.Inspect", { Inspect: "unary" }, async () => {
      const { mountInspect } = await import("../../service/inspect.ts");
      return mountInspect({ ...sources, connections });
    }),
    mountLazily("wedge.trace.v1.Trace", { Watch: "serverStream" }, async () => {
      const { mountTrace } = await import("../../service/trace.ts");
      return mountTrace(sources);
    }),
  ];
}

/** Clients that speak gRPC on the same socket are served too; nothing of it is loaded before the first. */
function openToGrpc(
  server: TtrpcServer,
  services: readonly MountedService[],
  log: Logger,
): Acceptor {
  let loaded: Promise<GrpcServer> | undefined;
  const load = async () => {
    const grpc = await import("../../rpc/grpc/server.ts");
    return new grpc.GrpcServer(services);
  };
  const openSession = async (transport: Transport) => {
    loaded ??= load();
    return (await loaded).open(transport);
  };
  const onReceived = () => server.noteReceived();
  return {
    serve: (transport, peer) =>
      server.serve(new SharedTransport(transport, { openSession, onReceived, log }), peer),
    addListener: (listener) => server.addListener(listener),
  };
}
