/**
 * `wedge/ttrpc`: a ttrpc client and server for programs, under Node 20 and later and under Bun.
 *
 * Services are described by tables as ts-proto generates them (`outputServices=generic-definitions`).
 * The protocol is specified in `rpc/ttrpc/PROTOCOL.md`.
 */

// biome-ignore-start lint/performance/noBarrelFile: the one entry point of a package, which nothing here imports.
export { type Reason, ShimError as RpcError } from "../base/error.ts";
export {
  type CallContext,
  type Codec,
  type Implementation,
  type Metadata,
  type MethodDefinition,
  type MountedService,
  mountService,
  type Peer,
  type ServiceDefinition,
} from "../rpc/service.ts";
export { type CallOptions, TtrpcClient } from "../rpc/ttrpc/client.ts";
export {
  connectNet as connect,
  listenNet as listen,
  type NetAddress as Address,
} from "../rpc/ttrpc/net.ts";
export { type Listener, TtrpcServer, type TtrpcServerOptions } from "../rpc/ttrpc/server.ts";
export { type Call, createStub, type Stub } from "../rpc/ttrpc/stub.ts";
// biome-ignore-end lint/performance/noBarrelFile: see above.
