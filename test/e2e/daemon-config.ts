/**
 * The configuration file of a test's containerd, in the form that its release calls its own: version 2
 * for 1.x, version 3 for 2.x, which split the CRI plugin in three.
 */

import { join } from "node:path";

/** Everything that is not needed to run containers, by the names of all releases. */
const NEEDLESS_PLUGINS = [
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.restart",
  "io.containerd.internal.v1.tracing",
  "io.containerd.monitor.container.v1.restart",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
];
/** What CRI is made of. */
const CRI_PLUGINS = [
  "io.containerd.cri.v1.images",
  "io.containerd.cri.v1.runtime",
  "io.containerd.grpc.v1.cri",
];
/** Debian's plugins of the container network interface. */
const CNI_PROGRAMS = "/usr/lib/cni";
const CNI_FOLDER = "cni";

/** A `runtime_handler` of CRI: what a RuntimeClass names. */
export interface CriHandler {
  /** As `ctr --runtime` takes it. */
  readonly runtimeType: string;
  /** The keys of its `options` table; a type that is not the stock shim's takes `TypeUrl` and `ConfigPath` too. */
  readonly options?: Readonly<Record<string, string | boolean>>;
  /** Annotations of pods that reach the runtime. */
  readonly podAnnotations?: readonly string[];
}

export interface CriOptions {
  readonly handlers: Readonly<Record<string, CriHandler>>;
  readonly defaultHandler: string;
  /** The image of the process that holds a pod's namespaces. */
  readonly pauseImage: string;
}

export interface DaemonConfig {
  /** `1.7`. */
  readonly series: string;
  /** Where root, state and socket are. */
  readonly directory: string;
  /** Absent: no CRI. */
  readonly cri?: CriOptions | undefined;
}

/** The text of `config.toml`. */
export function daemonConfig({ series, directory, cri }: DaemonConfig): string {
  const isVersion3 = series >= "2";
  const disabled = cri === undefined ? [...NEEDLESS_PLUGINS, ...CRI_PLUGINS] : NEEDLESS_PLUGINS;
  const lines = [
    `version = ${isVersion3 ? 3 : 2}`,
    `root = ${quoted(join(directory, "root"))}`,
    `state = ${quoted(join(directory, "state"))}`,
    `disabled_plugins = ${JSON.stringify(disabled)}`,
    "[grpc]",
    `address = ${quoted(join(directory, "containerd.sock"))}`,
  ];
  if (cri !== undefined) lines.push(...(isVersion3 ? cri3 : cri2)(directory, cri));
  return `${lines.join("\n")}\n`;
}

/** The network of pods: a bridge, and the addresses of one small network. */
export function networkConfig(directory: string): string {
  const ranges = [[{ subnet: "10.88.0.0/24" }]];
  const bridge = {
    type: "bridge",
    bridge: "wedge0",
    isGateway: true,
    ipam: { type: "host-local", ranges, dataDir: join(directory, CNI_FOLDER, "leases") },
  };
  return JSON.stringify({ cniVersion: "0.4.0", name: "wedge", plugins: [bridge] });
}

/** Where {@link networkConfig} is looked for. */
export function networkConfigPath(directory: string): string {
  return join(directory, CNI_FOLDER, "net.d/10-wedge.conflist");
}

function cri2(directory: string, { handlers, defaultHandler, pauseImage }: CriOptions): string[] {
  const cri = `plugins."io.containerd.grpc.v1.cri"`;
  return [
    `[${cri}]`,
    `sandbox_image = ${quoted(pauseImage)}`,
    // The tests' root may not make a process likelier to survive than containerd is.
    "restrict_oom_score_adj = true",
    `[${cri}.cni]`,
    ...networkLines(directory),
    `[${cri}.containerd]`,
    `default_runtime_name = ${quoted(defaultHandler)}`,
    ...handlerLines(`${cri}.containerd`, handlers),
  ];
}

function cri3(directory: string, { handlers, defaultHandler, pauseImage }: CriOptions): string[] {
  const runtime = `plugins."io.containerd.cri.v1.runtime"`;
  return [
    `[plugins."io.containerd.cri.v1.images".pinned_images]`,
    `sandbox = ${quoted(pauseImage)}`,
    `[${runtime}]`,
    "restrict_oom_score_adj = true",
    `[${runtime}.cni]`,
    ...networkLines(directory),
    `[${runtime}.containerd]`,
    `default_runtime_name = ${quoted(defaultHandler)}`,
    ...handlerLines(`${runtime}.containerd`, handlers),
  ];
}

function networkLines(directory: string): string[] {
  return [
    `bin_dir = ${quoted(CNI_PROGRAMS)}`,
    `conf_dir = ${quoted(join(networkConfigPath(directory), ".."))}`,
  ];
}

function handlerLines(table: string, handlers: CriOptions["handlers"]): string[] {
  return Object.entries(handlers).flatMap(([name, handler]) => [
    `[${table}.runtimes.${quoted(name)}]`,
    `runtime_type = ${quoted(handler.runtimeType)}`,
    `pod_annotations = ${JSON.stringify(handler.podAnnotations ?? [])}`,
    `[${table}.runtimes.${quoted(name)}.options]`,
    ...Object.entries(handler.options ?? {}).map(([key, value]) => `${key} = ${quoted(value)}`),
  ]);
}

/** JSON's strings and booleans are TOML's. */
function quoted(value: string | boolean): string {
  return JSON.stringify(value);
}
