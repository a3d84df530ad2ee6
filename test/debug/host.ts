/** Shims as a survey of a host would find them. */

import type { BundleFacts } from "../../src/debug/host/bundle-facts.ts";
import type { HostProcess } from "../../src/debug/host/process-table.ts";
import type { HostShim } from "../../src/debug/host/shims.ts";

export function processOf(given: Partial<HostProcess> = {}): HostProcess {
  return {
    pid: 100,
    parentPid: 1,
    state: "S",
    startedAtMs: 1_000_000,
    cpuMs: 70,
    args: [],
    ...given,
  };
}

export function bundleOf(given: Partial<BundleFacts> = {}): BundleFacts {
  return {
    path: "/run/containerd/io.containerd.runtime.v2.task/default/web",
    id: "web",
    namespace: "default",
    pod: undefined,
    podId: undefined,
    socket: "/run/containerd/s/abc",
    initPid: 101,
    exit: undefined,
    isManaged: true,
    ...given,
  };
}

export function shimOf(given: Partial<HostShim> = {}): HostShim {
  return {
    process: processOf(),
    kind: "wedge",
    isAsleep: false,
    namespace: "default",
    id: "web",
    mountNamespace: "mnt:[1]",
    root: "",
    socket: "/run/containerd/s/abc",
    connections: 1,
    bundle: "/run/containerd/io.containerd.runtime.v2.task/default/web",
    bundles: [bundleOf()],
    ...given,
  };
}
